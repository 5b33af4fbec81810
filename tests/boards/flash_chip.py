# SPDX-License-Identifier: Apache-2.0
"""A S25FL128S in Amaranth's simulator: commands, modes, and times of its data sheet (002-00466).

What a master does wrong is collected in `faults`, as sentences.  Between the fall of its clock and
the valid output its pins carry noise.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

# Nanoseconds, at 3.0 V and 30 pF: output valid, set-up and hold of inputs, select high after a read
# and after a write, select before and after clock edges.
OUTPUT_VALID, SET_UP, HOLD, HIGH_READ, HIGH_WRITE, SELECT = 8.0, 2.0, 2.0, 10.0, 50.0, 3.0
# Least period of the clock by command, latency code 00.
PERIOD = {0x01: 7.5, 0x05: 7.5, 0x06: 7.5, 0x35: 7.5, 0x6B: 12.5}
DUMMIES = {0b00: 8, 0b01: 8, 0b10: 8, 0b11: 0}
QUAD, WRITE_ENABLED, BUSY = 2, 2, 1
SIZE = 1 << 24


@dataclass
class FlashChip:
    """`contents` from address 0, the rest is erased; registers as after power-up.

    write_ns: time that writing a register takes (140 ms and more, in simulation less)
    reads:    address of each read command
    """

    contents: bytes
    configuration: int = 0
    status: int = 0
    write_ns: float = 3000.0
    faults: list[str] = field(default_factory=list)
    reads: list[int] = field(default_factory=list)
    commands: list[int] = field(default_factory=list)
    busy_until: float = 0.0

    def byte(self, address: int) -> int:
        address %= SIZE
        return self.contents[address] if address < len(self.contents) else 0xFF

    def serve(self, bench: Any, pins: Any, period_ns: float) -> None:
        """Answer on `pins` of a design whose clock has a period of `period_ns`.

        Pins are registers, so looking at each cycle sees every edge; times follow from the period.
        """
        rng = np.random.default_rng(7)

        def now_quad() -> bool:
            return bool(self.configuration & QUAD)

        async def chip(ctx):
            cycle, sck, cs = 0, 0, 0
            rose = fell = selected = -1e9
            released, wrote = -1e9, False
            bits: list[int] = []
            driven, mask, fresh = 0, 0, -1e9
            stable = 0.0   # since when the inputs hold
            before = None
            async for _, _, new_cs, new_sck, dq, oe in ctx.tick().sample(
                    pins.cs, pins.sck, pins.dq_o, pins.dq_oe):
                # Sampled at the end of a cycle: what holds since its begin.
                time, cycle = cycle * period_ns, cycle + 1
                held, before = before, (dq, oe)
                if (dq, oe) != held:
                    stable = time
                    if cs and time - rose < HOLD:
                        self.faults.append(f"inputs must hold for {HOLD} ns after the clock rises")
                if new_cs and not cs:
                    pause = HIGH_WRITE if wrote else HIGH_READ
                    if time - released < pause:
                        self.faults.append(f"select must be off for {pause} ns, "
                                           f"not {time - released}")
                    if new_sck:
                        self.faults.append("the clock must be low when select comes")
                    selected, bits, mask, wrote = time, [], 0, False
                if cs and not new_cs:
                    wrote = self._end(bits, time)
                    released, mask = time, 0
                    if sck or new_sck:
                        self.faults.append("the clock must be low when select goes")
                elif new_cs and new_sck and not sck:
                    least = PERIOD.get(_byte(bits), 7.5)
                    if bits and time - rose < least:
                        self.faults.append(f"the clock must have {least} ns, not {time - rose}")
                    if time - selected < SELECT or time - stable < SET_UP:
                        self.faults.append("select and inputs must come before the clock")
                    rose = time
                    # In single mode pin 3 is hold, unless all pins are data.
                    if not now_quad() and not (oe >> 3 & 1 and dq >> 3 & 1):
                        self.faults.append("hold must be high")
                    sending = _byte(bits) == 0x6B and len(bits) >= 32
                    if not sending and not oe & 1 and self._listening(bits):
                        self.faults.append("pin 0 must be driven while bits are sent")
                    bits.append(dq & 1)
                elif new_cs and not new_sck and sck:
                    fell = time
                    driven, mask = self._output(bits, time)
                    fresh = time + OUTPUT_VALID
                if mask & oe:
                    self.faults.append("both sides drive a pin")
                sck, cs = new_sck, new_cs
                # What the design samples at the end of the next cycle.
                noise = int(rng.integers(16))
                valid = time + 2 * period_ns >= fresh and fell > -1e9
                ctx.set(pins.dq_i, (driven if valid else noise) & mask | noise & ~mask)
        bench.sim.add_testbench(chip, background=True)

    def _listening(self, bits: list[int]) -> bool:
        lengths = {0x01: 24, 0x6B: 32}
        return len(bits) < (lengths.get(_byte(bits), 8) if len(bits) >= 8 else 8)

    def _output(self, bits: list[int], time: float) -> tuple[int, int]:
        """Pins that the chip drives after this fall of the clock, and which."""
        if len(bits) < 8:
            return 0, 0
        command = _byte(bits)
        if len(bits) == 8:
            self.commands.append(command)
            if command not in PERIOD:
                self.faults.append(f"there is no command {command:#04x}")
            if time < self.busy_until and command != 0x05:
                self.faults.append(f"command {command:#04x} came while a register was written")
        sent = len(bits) - 8
        if command in (0x05, 0x35):
            value = self.configuration if command == 0x35 else (
                self.status & ~BUSY | (time < self.busy_until))
            return (value >> 7 - sent % 8 & 1) << 1, 0b0010
        if command == 0x6B:
            if not self.configuration & QUAD:
                if sent == 24:
                    self.faults.append("quad read needs the quad bit")
                return 0, 0
            if sent == 24:
                self.reads.append(_number(bits[8:32]))
            sent -= 24 + DUMMIES[self.configuration >> 6]
            if sent >= 0:
                value = self.byte(self.reads[-1] + sent // 2)
                return (value & 15 if sent % 2 else value >> 4), 0b1111
        return 0, 0

    def _end(self, bits: list[int], time: float) -> bool:
        """Select goes; true if something is written now."""
        command = _byte(bits)
        if command == 0x06 and len(bits) == 8:
            self.status |= WRITE_ENABLED
        elif command == 0x01:
            if len(bits) != 24:
                self.faults.append(f"registers are written with 24 bits, not {len(bits)}")
            elif not self.status & WRITE_ENABLED:
                self.faults.append("writing registers needs write enable")
            else:
                self.status = _number(bits[8:16]) & ~(WRITE_ENABLED | BUSY)
                self.configuration = _number(bits[16:])
                self.busy_until = time + self.write_ns
                return True
        elif command in (0x05, 0x35) and len(bits) % 8:
            self.faults.append(f"command {command:#04x} ended within a byte")
        return False


def _number(bits: list[int]) -> int:
    return int("".join(map(str, bits)) or "0", 2)


def _byte(bits: list[int]) -> int:
    return _number(bits[:8]) if len(bits) >= 8 else -1
