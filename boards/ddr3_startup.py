# SPDX-License-Identifier: Apache-2.0
"""What `boards.ddr3` does once after power-up: modes of the chip, then where its data comes."""

from collections.abc import Callable

from amaranth import Array, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from boards.ddr3_chip import (
    ALL_BANKS,
    BLOCK_BYTES,
    CALIBRATION_CYCLES,
    COMMAND,
    MODE_CYCLES,
    MODES,
    MODES_CYCLES,
    Ddr3Timings,
)
from boards.sdram import WRITE
from hw.axi import ReadPort

# Samples of a pin, from the earliest that data may come with: what is searched.
POSITIONS = 64
# Of a data bit there are four samples; with one of them right there is no margin.
LEAST_RUN = 2
TRIES = 4   # reads at each position
# Words in the order of the pins: every bit changes, some together, and no shift of it is itself.
PATTERN = (0x0F5A, 0xF0A5, 0x33C6, 0x5A0F, 0xA5F0, 0xFFFF, 0x0000, 0xCC39)


class PowerUp(wiring.Component):
    """The sequence of a data sheet from power-up to the end of calibration.

    cycles: of nanoseconds
    Ports: `rst`, `cke`, `command` (nothing but in one cycle of each step) for the pins; `done`.
    A reset before `done` begins anew, a later one changes nothing.
    """

    def __init__(self, timings: Ddr3Timings, cycles: Callable[[float], int]) -> None:
        mode = {"ras": 1, "cas": 1, "we": 1}
        settings = [(mode | {"ba": number, "a": MODES[number]}, after)
                    for number, after in ((2, MODE_CYCLES), (3, MODE_CYCLES), (1, MODE_CYCLES),
                                          (0, MODES_CYCLES))]
        # Commands, and cycles until the next step: reset, without clock enable, with it, ...
        self._steps = [({}, cycles(timings.power_up)), ({}, cycles(timings.wake_up)),
                       ({}, max(5, cycles(timings.enable))), *settings,
                       ({"we": 1, "a": ALL_BANKS}, CALIBRATION_CYCLES)]
        super().__init__({"rst": Out(1), "cke": Out(1), "command": Out(COMMAND), "done": Out(1)})

    def elaborate(self, platform):
        m = Module()
        begun = Signal(range(len(self._steps) + 1))
        wait = Signal(range(max(cycles for _, cycles in self._steps)))
        done = Signal(reset_less=True)
        m.d.comb += [self.done.eq(done), self.rst.eq(~done & (begun < 2)),
                     self.cke.eq(done | (begun > 2))]
        with m.If(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        with m.Elif(~done):
            m.d.sync += begun.eq(begun + 1)
            with m.Switch(begun):
                for number, (command, cycles) in enumerate(self._steps):
                    with m.Case(number):
                        m.d.comb += self.command.eq(COMMAND.const(command))
                        m.d.sync += wait.eq(cycles - 1)
                with m.Default():
                    m.d.sync += done.eq(1)
        return m


class Training(wiring.Component):
    """Finds the sample of a cycle, and the cycle, in which the chip's data is read right.

    A pattern is written to address 0 and read at one position after the other; of the first run of
    positions that read it right, the middle is taken.
    Ports: `start` (level), `axi`, `writes` (the memory's, until `done`), `position`; `done`, after
    which resets change nothing, or `failed`, after which a reset begins anew.
    """

    def __init__(self, port_bits: int) -> None:
        self._bits = port_bits
        super().__init__({
            "start": In(1), "axi": Out(ReadPort(port_bits)), "writes": Out(stream.Signature(WRITE)),
            "position": Out(range(POSITIONS)), "done": Out(1), "failed": Out(1)})

    def elaborate(self, platform):
        m = Module()
        ar, r, writes, bits = self.axi.ar, self.axi.r, self.writes, self._bits
        whole = sum(word << 16 * n for n, word in enumerate(PATTERN))
        words, beats = ([whole >> n & (1 << size) - 1 for n in range(0, 128, size)]
                        for size in (64, bits))
        done, position = Signal(reset_less=True), Signal(range(POSITIONS), reset_less=True)
        part, tries, wrong = Signal(), Signal(range(TRIES)), Signal()
        first, run = Signal(range(POSITIONS)), Signal(range(POSITIONS + 1))
        right = Signal()
        m.d.comb += [
            self.done.eq(done), self.position.eq(position),
            writes.payload.address.eq(part << 3), writes.payload.data.eq(Array(words)[part]),
            ar.payload.len.eq(len(beats) - 1), ar.payload.burst.eq(1),
            ar.payload.size.eq((bits // 8).bit_length() - 1),
            right.eq(~wrong & (r.payload.data == Array(beats)[part if len(beats) > 1 else 0]))]
        with m.FSM():
            with m.State("Write"), m.If(self.start & ~done):
                m.d.comb += writes.valid.eq(1)
                m.d.sync += position.eq(0)
                with m.If(writes.ready):
                    m.d.sync += part.eq(part + 1)
                    with m.If(part == BLOCK_BYTES // 8 - 1):
                        m.next = "Ask"
            with m.State("Ask"):
                m.d.comb += ar.valid.eq(1)
                with m.If(ar.ready):
                    m.next = "Look"
            with m.State("Look"):
                m.d.comb += r.ready.eq(1)
                with m.If(r.valid):
                    m.d.sync += [part.eq(part + 1), wrong.eq(~right)]
                    with m.If(r.payload.last):
                        m.d.sync += [part.eq(0), tries.eq(tries + 1)]
                        m.next = "Ask"
                        with m.If(tries == TRIES - 1):
                            m.next = "Next"
            with m.State("Next"):
                m.d.sync += [wrong.eq(0), position.eq(position + 1)]
                m.next = "Ask"
                with m.If(~wrong):
                    m.d.sync += run.eq(run + 1)
                    with m.If(run == 0):
                        m.d.sync += first.eq(position)
                with m.If((wrong & (run != 0)) | (position == POSITIONS - 1)):
                    m.next = "Judge"
            with m.State("Judge"):
                m.d.sync += position.eq(first + (run >> 1))
                m.next = "End"
                with m.If(run >= LEAST_RUN):
                    m.d.sync += done.eq(1)
                with m.Else():
                    m.d.sync += self.failed.eq(1)
            with m.State("End"):
                pass
        return m
