# SPDX-License-Identifier: Apache-2.0
"""Sequencer: fetch an instruction, start its units, wait, store the layer's counters."""

from collections.abc import Sequence
from dataclasses import dataclass

from amaranth import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.config import HardwareConfig
from hw.isa import WORD_BITS, Instruction, Op, bits_for, count_up
from hw.tiles import RowWrite


def changing_bits(instructions: Sequence[int], bits: int) -> list[int | None]:
    """For each of the `bits` of an instruction where its value can be found: at the first bit that
    equals it in all instructions; None if it is constant.
    """
    columns = [tuple(each >> bit & 1 for each in instructions) for bit in range(bits)]
    first = {column: bit for bit, column in reversed(list(enumerate(columns)))}
    return [first[column] if len(set(column)) > 1 else None for column in columns]


@dataclass(frozen=True)
class StoredProgram:
    """What the program memory of a Sequencer holds.

    words:  of the memory; none if the program comes from outside
    width:  of a word
    places: of each bit of the instruction: a bit of the words that one instruction takes (True), or
            a constant

    The number of words stays that of the program: so does the time that they take.
    """

    words: list[int]
    width: int
    places: list[tuple[bool, int]]

    @classmethod
    def of(cls, hardware: HardwareConfig, program: Sequence[int]) -> "StoredProgram":
        """For a program of 32-bit words."""
        words = Instruction(hardware).words
        bits = words * WORD_BITS
        if hardware.streamed:
            return cls([], WORD_BITS, [(True, bit) for bit in range(bits)])
        instructions = [sum(word << WORD_BITS * n for n, word in enumerate(program[at:at + words]))
                        for at in range(0, len(program), words)]
        found = changing_bits(instructions, bits)
        kept = sorted(set(found) - {None})
        width = max(1, -(-len(kept) // words))
        packed = [sum((each >> bit & 1) << n for n, bit in enumerate(kept))
                  for each in instructions]
        place = {bit: n for n, bit in enumerate(kept)}
        return cls([each >> width * n & (1 << width) - 1 for each in packed for n in range(words)],
                   width, [(False, instructions[0] >> bit & 1) if home is None
                           else (True, place[home]) for bit, home in enumerate(found)])


class Sequencer(wiring.Component):
    """Run the program from its start, over and over: one pass is one inference.

    An instruction is shifted in word by word into `instruction`, which then stays constant until
    `done`.  Of a program that is known, most bits never change, or change together
    (`changing_bits`): they take no memory and no register, and what they control becomes simpler.
    `cycles` counts from the end of the input (Load) to the instruction's end, fetching included,
    and `report` pulses at the end of a layer; `clear` restarts the counters after it.

    Ports: `instruction`, `start` (pulse, by number of `Op`), `done` (pulse), `report`, `clear`,
    `cycles`, `restart` (pulse at the beginning of an inference), `hold` (level: external memory
    does not hold all results yet, the instruction must stay).  With streamed
    weights the program comes through `load` at each restart, which waits for `enable` (the memory
    holds the image) and then for `program_ready`.
    """

    def __init__(self, hardware: HardwareConfig, program: Sequence[int]) -> None:
        self._hardware, self._program = hardware, program
        self._layout = Instruction(hardware)
        super().__init__({
            "instruction": Out(self._layout), "start": Out(len(Op)), "done": In(1),
            "report": Out(1), "clear": Out(1), "cycles": Out(hardware.tally_bits),
            "restart": Out(1), "hold": In(1),
        } | ({"enable": In(1), "program_ready": In(1),
              "load": In(RowWrite(bits_for(hardware.program_words), WORD_BITS))}
             if hardware.streamed else {}))

    def elaborate(self, platform):
        m = Module()
        words = self._layout.words
        streamed = self._hardware.streamed
        stored = StoredProgram.of(self._hardware, self._program)
        width = stored.width
        depth = self._hardware.program_words if streamed else len(stored.words)
        m.submodules.program = program = Memory(shape=width, depth=max(2, depth), init=stored.words)
        read = program.read_port()
        if streamed:
            write = program.write_port()
            m.d.comb += [write.en.eq(self.load.en), write.addr.eq(self.load.address),
                         write.data.eq(self.load.data)]
        address, left = Signal.like(read.addr), Signal(range(words + 1))
        m.d.comb += read.addr.eq(address)
        shifted = Signal(words * width)
        m.d.comb += self.instruction.eq(Cat(shifted[bit] if changes else bit
                                            for changes, bit in stored.places))

        finished = Signal()
        count_up(m, self.cycles, 1)
        with m.If(self.clear):
            m.d.sync += self.cycles.eq(0)

        with m.FSM():
            with m.State("Restart"):
                m.d.comb += self.restart.eq(self.enable if streamed else 1)
                m.d.sync += address.eq(0)
                with m.If(self.restart):
                    m.next = "Program" if streamed else "Fetch"
            if streamed:
                with m.State("Program"), m.If(self.program_ready):
                    m.next = "Fetch"
            with m.State("Fetch"):
                m.d.sync += [left.eq(words), address.eq(address + 1)]
                m.next = "Shift"
            with m.State("Shift"):
                m.d.sync += [shifted.eq(Cat(shifted, read.data)[width:]), left.eq(left - 1)]
                with m.If(left == 1):
                    m.next = "Start"
                with m.Else():
                    m.d.sync += address.eq(address + 1)
            with m.State("Start"):
                m.d.comb += self.start.eq(1 << self.instruction.op.as_value())
                m.next = "Run"
            with m.State("Run"):
                m.d.sync += finished.eq(self.done | finished)
                with m.If((self.done | finished) & ~self.hold):
                    m.d.sync += finished.eq(0)
                    m.d.comb += [self.report.eq(self.instruction.report),
                                 self.clear.eq(self.instruction.report
                                               | (self.instruction.op == Op.LOAD))]
                    m.next = "Fetch"
                    with m.If(self.instruction.op == Op.END):
                        m.next = "Restart"
        return m
