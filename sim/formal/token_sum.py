# SPDX-License-Identifier: Apache-2.0
"""TokenSum: exact sums of all tokens, and every word of their bit planes."""

from types import ModuleType
from typing import Any

from amaranth import Array, Cat, Mux, Signal, Value, signed

from hw.isa import Instruction
from hw.layout import LINE_WORDS
from sim.formal.harness import Break, Harness, Probes, Proof, small

WIDE = 48
WIDTH = 6    # of a sum
WORD = 2     # channels of a word
BEATS = 4    # of all channels, at most


def _token_sum(neurons: int, units: ModuleType) -> Harness:
    """The sum of any channel, in wide integers, and every word that is written."""
    proof = Harness()
    m, hardware = proof.m, small(
        spike_word=WORD, neurons=neurons, token_sum_words=BEATS, channel_beats=BEATS,
        token_sum_width=WIDTH)
    unit = units.TokenSum(hardware)
    probes = proof.add(unit)
    ins = proof.constant(Instruction(hardware), "instruction")
    m.d.comb += unit.instruction.eq(ins)
    proof.source(unit.i, "i")
    start, tag = proof.drive(unit.start, "start"), unit.i.payload.tag
    beats, adds = ins.residual_stride, unit.i.valid & ins.token_sum
    proof.assume((ins.planes != 0) & (ins.planes <= WIDTH) & (beats != 0) & (beats <= BEATS)
                 & (beats & WORD // neurons - 1 == 0))
    proof.assume(~unit.i.valid | (tag.channel_beat < beats))

    place, lane = proof.constant(range(BEATS), "place"), proof.constant(range(neurons), "lane")
    total, new = Signal(signed(WIDE), name="total"), Signal(signed(WIDE), name="new")
    m.d.comb += new.eq(Mux(tag.first_token, 0, total) + Array(unit.i.payload.values)[lane])
    mine = adds & (tag.channel_beat == place)
    with m.If(mine):
        m.d.sync += total.eq(new)
    # `hw.layout.token_sum_width`
    proof.assume(~mine | new[WIDTH - 1:].all() | ~new[WIDTH - 1:].any())
    row = probes.word(m, "sums", place, neurons * WIDTH)
    proof.claim("sum", row.word_select(lane, WIDTH).as_signed() == total)

    planes = _Planes(proof, probes, unit, ins, start, neurons)
    # No layer adds meanwhile, and the instruction is there a cycle before.
    proof.assume(~(start & planes.running) & ~(adds & (planes.running | start)))
    proof.assume(proof.started | ~start)
    planes.claim_words()
    planes.claim_registers()
    return proof


class _Planes:
    """Words in their order: planes from the most significant one on, in each the words.

    cycles: since the word before, or `start`
    """

    def __init__(self, proof: Harness, probes: Probes, unit: Any, ins: Any, start: Any,
                 neurons: int) -> None:
        self._proof, self._probes, self._unit, self._ins = proof, probes, unit, ins
        self._neurons, self._per_word, m = neurons, WORD // neurons, proof.m
        self._shift = self._per_word.bit_length() - 1
        self.running, self._plane, self._word, self._cycles = (
            Signal(shape, name=f"ref_{name}") for name, shape in (
                ("running", 1), ("plane", range(WIDTH)), ("word", range(BEATS)), ("cycles", 8)))
        self._line, self._wrote = Signal.like(ins.target_base, name="ref_line"), unit.write.en != 0
        word_last = self._word == ((ins.residual_stride >> self._shift) - 1)[:len(self._word)]
        self._last = self._wrote & word_last & (self._plane == 0)
        with m.If(start):
            m.d.sync += [self.running.eq(1), self._plane.eq(ins.planes - 1), self._word.eq(0),
                         self._line.eq(ins.target_base)]
        with m.If(self._wrote):
            m.d.sync += self._word.eq(Mux(word_last, 0, self._word + 1))
            with m.If(word_last):
                m.d.sync += [self._plane.eq(self._plane - 1),
                             self._line.eq(self._line + ins.target_step)]
            with m.If(self._last):
                m.d.sync += self.running.eq(0)
        m.d.sync += self._cycles.eq(Mux(start, 0, Mux(self._wrote, 1,
                                                      self._cycles + self.running)))

    def _bits(self, number: int) -> Value:
        """Of a beat of the word whose turn it is: its channels' bits of the plane."""
        beat = self._probes.word(self._proof.m, "sums", (self._word << self._shift) + number,
                                 self._neurons * WIDTH)
        return Cat(beat.word_select(n, WIDTH).bit_select(self._plane, 1)
                   for n in range(self._neurons))

    def claim_words(self) -> None:
        proof, write, wrote, word = self._proof, self._unit.write, self._wrote, self._word
        proof.implies("asked", wrote, self.running)
        proof.implies("bank", wrote, write.en == 1 << word[:2])
        proof.implies("address", wrote, write.addresses[0] == (
            self._line + (word >> LINE_WORDS.bit_length() - 1))[:len(self._line)])
        proof.implies("half", wrote, write.half == self._ins.target_half)
        proof.implies("spikes", wrote, write.data[0] == Cat(
            self._bits(n) for n in range(self._per_word)))
        proof.claim("done_with_last", self._unit.done == self._last)
        # A beat a cycle, and a word is written a cycle after its last one.
        proof.claim("in_time", wrote == (self.running & (self._cycles == self._per_word)))
        proof.implies("goes_on", self.running, self._cycles <= self._per_word)

    def claim_registers(self) -> None:
        """Where the unit is when so much was written, so that induction knows."""
        proof, probes, plane, word = self._proof, self._probes, self._plane, self._word
        beats = self._ins.residual_stride
        ahead = Signal(range(BEATS + 1), name="ahead_beat")
        proof.m.d.comb += ahead.eq((word << self._shift) + self._cycles)
        at_end = ahead == beats
        inside = self.running & ~(self._wrote & at_end & (plane == 0))
        proof.claim("unit_flushing", probes["flushing"] == inside)
        for name, value in (
                ("beat", Mux(at_end, 0, ahead)), ("plane", plane - at_end),
                ("word", Mux(at_end, 0, word + self._wrote)),
                ("address", self._line + Mux(at_end, self._ins.target_step, 0))):
            ours = Signal(len(probes[name]), name=f"ref_unit_{name}")
            proof.m.d.comb += ours.eq(value)
            proof.implies(f"unit_{name}", inside, probes[name] == ours)
        proof.implies("ref_plane", self.running, plane < self._ins.planes)
        proof.implies("ref_word", self.running, (word << self._shift) < beats)
        # The beats of the word that were collected lie at the top.
        for have in range(1, self._per_word):
            for n in range(have):
                at = (self._per_word - have + n) * self._neurons
                proof.implies(f"collected{n}_of{have}", self.running & (self._cycles == have),
                              probes["spikes"][at:at + self._neurons] == self._bits(n))


_EACH_WORD = Break("Mux(flushing & word_last, 1 << word[:2], 0)",
                   "Mux(flushing, 1 << word[:2], 0)")

PROOFS = [
    Proof(f"token-sum-{neurons}", "hw.token_sum",
          f"TokenSum, {neurons} of {WORD} channels a beat: exact sums; each word of each plane "
          "once, in order, at its place, in time",
          lambda units, neurons=neurons: _token_sum(neurons, units),
          depth=6, induction=4, quick=neurons == 2, broken=(
              Break("write.en.eq(self.i.valid & ins.token_sum)", "write.en.eq(self.i.valid)"),
              Break("plane.eq(ins.planes - 1)", "plane.eq(ins.planes)"),
              *((_EACH_WORD,) * (neurons == 1)),
              Break("address.eq(address + ins.target_step)", "address.eq(address + 1)"),
              Break("Mux(tag.first_token, 0, read.data[n])", "read.data[n]")))
    for neurons in (1, 2)
]
