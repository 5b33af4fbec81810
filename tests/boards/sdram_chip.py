# SPDX-License-Identifier: Apache-2.0
"""A 256 Mbit SDRAM of 16 bits in Amaranth's simulator: states, and times of AS4C16M16SA-7.

What a master does wrong is collected in `faults`, as sentences.  The chip sees a command in the
middle of the cycle after the one in which it stands in the controller's registers (registers of the
pins, and a clock that is half a period late).
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

# Nanoseconds (data sheet, table 16): activate to activate, refresh, activate to read or write,
# precharge, mode register, active at least and at most, write recovery, clock at CAS latency 2,
# output, average interval of refreshes, and what the eight of them may be late by.
RC, RFC, RCD, RP, MRD, RAS, RAS_MOST, WR = 63, 63, 21, 21, 14, 42, 120_000, 14
CLOCK, ACCESS, REFRESH, LATE = 10, 6, 7_800, 8 * 7_800
POWER_UP, FIRST_REFRESHES = 200_000, 2
# Of the board and the pins, there and back.
FLIGHT = 9
NEVER = -1e9
NAMES = {0b100: "activate", 0b010: "read", 0b011: "write", 0b101: "precharge", 0b110: "refresh",
         0b111: "mode", 0b001: "stop"}


@dataclass
class SdramChip:
    """`words` by word address (row, bank, column), noise where nothing was written.

    commands: (cycle, name) of each
    """

    words: dict[int, int] = field(default_factory=dict)
    power_up: float = POWER_UP
    faults: list[str] = field(default_factory=list)
    commands: list[tuple[int, str]] = field(default_factory=list)
    mode: int | None = None
    refreshes: list[float] = field(default_factory=list)
    rows: list[int | None] = field(default_factory=lambda: [None] * 4)
    activated: list[float] = field(default_factory=lambda: [NEVER] * 4)
    precharged: list[float] = field(default_factory=lambda: [NEVER] * 4)
    written: list[float] = field(default_factory=lambda: [NEVER] * 4)
    idle_from: float = 0.0

    def load(self, address: int, contents: bytes) -> None:
        """Bytes at a byte address."""
        for n, word in enumerate(np.frombuffer(contents, "<u2").tolist()):
            self.words[address // 2 + n] = word

    def _least(self, what: str, since: float, time: float, least: float) -> None:
        if time - since < least - 1e-6:
            self.faults.append(f"{what}: {time - since:g} ns, at least {least:g}")

    def command(self, time: float, name: str, bank: int, a: int) -> int | None:
        """Take a command; returns the word address of a read."""
        banks = range(4) if name == "precharge" and a >> 10 & 1 else (bank,)
        self._least(f"{name} after refresh or mode", self.idle_from, time, 0)
        if name == "stop":
            self.faults.append("burst stop is not used with bursts of one")
        if self.mode is None and name in ("activate", "read", "write"):
            self.faults.append(f"{name} before the mode is set")
        if name == "precharge":
            self._least("power up", 0, time, self.power_up)
            for b in banks:
                if self.rows[b] is not None:
                    self._least("tRAS", self.activated[b], time, RAS)
                    self._least("tWR", self.written[b], time, WR)
                    if time - self.activated[b] > RAS_MOST:
                        self.faults.append(f"a row was open for {time - self.activated[b]} ns")
                self.rows[b], self.precharged[b] = None, time
        elif name in ("refresh", "mode"):
            if any(row is not None for row in self.rows) or max(self.precharged) == NEVER:
                self.faults.append(f"{name} with an open row")
            for b in range(4):
                self._least("tRP", self.precharged[b], time, RP)
            self.idle_from = time + (RFC if name == "refresh" else MRD)
            if name == "refresh":
                self.refreshes.append(time)
            else:
                if len(self.refreshes) < FIRST_REFRESHES:
                    self.faults.append("the mode is set before the first refreshes")
                self.mode = a
                if a & 0x1FF != 2 << 4 or a >> 9 != 1:
                    self.faults.append(f"mode {a:#x} is not CAS latency 2 and bursts of one")
        elif name == "activate":
            if self.rows[bank] is not None:
                self.faults.append("activate with an open row")
            self._least("tRP", self.precharged[bank], time, RP)
            self._least("tRC", self.activated[bank], time, RC)
            self.rows[bank], self.activated[bank] = a, time
        elif name in ("read", "write"):
            if self.rows[bank] is None:
                self.faults.append(f"{name} without an open row")
                return None
            if a >> 9:
                self.faults.append(f"{name} with auto precharge or a column beyond the row")
            self._least("tRCD", self.activated[bank], time, RCD)
            place = (self.rows[bank] << 2 | bank) << 9 | a & 511
            if name == "read":
                return place
            self.written[bank] = time
        return None

    def end(self, time: float) -> None:
        """Were there refreshes enough?"""
        since = self.refreshes[0] if self.refreshes else 0.0
        for number, moment in enumerate([*self.refreshes[1:], time]):
            if moment - since > (number + 1) * REFRESH + LATE:
                self.faults.append(f"refresh {number} comes late, at {moment} ns")

    def serve(self, bench: Any, pins: Any, period_ns: float) -> None:
        """Answer on `pins` of a design whose clock has a period of `period_ns`."""
        rng = np.random.default_rng(5)
        if period_ns < CLOCK or period_ns < ACCESS + FLIGHT:
            self.faults.append(f"the clock must have {max(CLOCK, ACCESS + FLIGHT)} ns or more")

        async def chip(ctx):
            cycle = 0
            # Words that the controller samples at the end of later cycles.
            coming: dict[int, int] = {}
            async for _, _, ras, cas, we, bank, a, dq, oe in ctx.tick().sample(
                    pins.ras, pins.cas, pins.we, pins.ba, pins.a, pins.dq_o, pins.dq_oe):
                time = (cycle + 1.5) * period_ns
                name = NAMES.get(ras << 2 | cas << 1 | we)
                # Sampled in cycle + 2, two clocks of the chip after a read.
                if name is not None:
                    self.commands.append((cycle, name))
                    place = self.command(time, name, bank, a)
                    if place is not None:
                        coming[cycle + 3] = self.words.get(place, int(rng.integers(1 << 16)))
                    if name == "write":
                        if not oe:
                            self.faults.append("write without data on the pins")
                        row = self.rows[bank]
                        if row is not None:
                            self.words[(row << 2 | bank) << 9 | a & 511] = dq
                # The chip drives from a clock after a read until the data was taken.
                if oe and (cycle + 1 in coming or cycle in coming or cycle + 2 in coming):
                    self.faults.append("both sides drive the data pins")
                if oe and name != "write":
                    self.faults.append("data pins are driven without a write")
                cycle += 1
                coming.pop(cycle - 4, None)
                # For the cycle that begins now.
                ctx.set(pins.dq_i, coming.get(cycle, int(rng.integers(1 << 16))))
                self._last = (cycle + 1.5) * period_ns
        bench.sim.add_testbench(chip, background=True)

    _last: float = 0.0

    def finish(self) -> list[str]:
        """All faults, once the run is over."""
        self.end(self._last)
        return self.faults
