# SPDX-License-Identifier: Apache-2.0
"""Parity of the residual stream, and what a fault does to the program."""

from types import ModuleType

from amaranth import Array, Cat, Signal

from hw.isa import Emit, Instruction
from sim.formal.harness import Break, Harness, Proof, small


def _stream(units: ModuleType) -> Harness:
    """Residual: any beats, any flips in the memory; errors are of words that are added, and all."""
    proof = Harness()
    m, hardware = proof.m, small(neurons=2, residual_width=4, parity=True)
    unit = units.Residual(hardware)
    probes = proof.add(unit)
    instruction = proof.constant(Instruction(hardware), "instruction")
    m.d.comb += unit.instruction.eq(instruction)
    proof.source(unit.i, "i")
    proof.drive(unit.clear, "clear")
    address = proof.drive(unit.address, "address")
    words, width = hardware.residual_words, 2 * hardware.residual_width
    before = proof.later(address, "address_before")
    proof.assume((address < words) & (unit.i.payload.tag.residual < words))
    proof.assume(~unit.i.valid | (proof.started & (before == unit.i.payload.tag.residual)))

    odd = [Signal(name=f"odd{row}") for row in range(words)]
    at, mask = proof.free(range(words), "at"), proof.free(width + 1, "mask")
    probes.flip(m, "stream", at, mask)
    is_residual = instruction.emit == Emit.RESIDUAL
    writes, place = unit.o.valid & is_residual, unit.o.payload.tag.residual
    proof.assume(~writes | (place != at) | (mask == 0))
    proof.claim("place", place < words)
    m.d.sync += Array(odd)[at].eq(Array(odd)[at] ^ mask.xor())
    with m.If(writes):
        m.d.sync += Array(odd)[place].eq(0)
    for row in range(words):
        proof.claim(f"word{row}", probes.word(m, "stream", row, width + 1).xor() == odd[row])
    added = unit.i.valid & is_residual & instruction.add_residual
    read = proof.later(Array(odd)[address], "odd_read")
    wrong = proof.later(added & read, "wrong", 2)
    # With the sum that the word is in.
    proof.claim("told", unit.error == wrong)
    proof.implies("with_the_sum", unit.error, unit.o.valid)
    return proof


def _held(units: ModuleType) -> Harness:
    """Sequencer with any program: while `hold` is 1 an instruction that runs is the last one."""
    proof = Harness()
    hardware = small(port_bits=64, program_words=8)
    unit = units.Sequencer(hardware, [])
    probes = proof.add(unit)
    hold, done = proof.drive(unit.hold, "hold"), proof.drive(unit.done, "done")
    for name in ("enable", "program_ready"):
        proof.drive(getattr(unit, name), name)
    for name in unit.load.signature.members:
        proof.drive(getattr(unit.load, name), f"load_{name}")
    state = probes.named("fsm_state")
    runs, begins = state == probes.state("Run"), state == probes.state("Start")
    ended = Signal(name="ended")
    proof.m.d.sync += ended.eq(runs & (ended | done))
    proof.implies("state", state.any(), Cat(state == probes.state(each) for each in (
        "Program", "Fetch", "Shift", "Start", "Run")).any())
    proof.implies("starts", unit.start.any(), begins)
    proof.implies("nothing_else", runs, ~unit.start.any() & ~unit.restart)
    proof.implies("begun", proof.later(begins, "began"), runs)
    proof.implies("stays", proof.later(runs & hold, "held"), runs)
    proof.implies("no_report", runs & hold, ~unit.report & ~unit.clear)
    proof.claim("instruction", ~proof.later(runs & hold, "held_then")
                | (unit.instruction.as_value() == proof.later(unit.instruction, "instruction")))
    proof.implies("goes_on", proof.later(runs & (ended | done) & ~hold, "free"), ~runs)
    proof.implies("ended", runs, probes["finished"] == ended)
    proof.implies("not_ended", ~runs, ~probes["finished"])
    return proof


PROOFS = [
    Proof("parity-residual", "hw.residual", "Parity of the residual stream: an error with each sum "
          "to which an odd word was added, and no other", _stream, depth=8, induction=6, quick=True,
          broken=(Break("(old_values.as_value().xor() ^ stored)", "old_values.as_value().xor()"),
                  Break("reading & self.instruction.add_residual\n", "reading\n"),
                  Break("Cat(new_values, new_values.as_value().xor())",
                        "Cat(new_values, new_values[0].xor())"))),
    Proof("program-held", "hw.sequencer", "Sequencer: while `hold` is 1, an instruction that runs "
          "goes on, none is reported, no other begins", _held, depth=16, induction=3,
          broken=(Break("(self.done | finished) & ~self.hold", "self.done | finished"),
                  Break("m.d.sync += finished.eq(self.done | finished)",
                        "m.d.sync += finished.eq(self.done)"))),
]
