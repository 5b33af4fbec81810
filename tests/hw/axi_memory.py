# SPDX-License-Identifier: Apache-2.0
"""A memory behind AXI4 ports in Amaranth's simulator, strict about the protocol.

It answers in order, after a random latency and with random pauses on every channel.  What a master
does wrong is collected in `faults`, as sentences, for the test to look at after the run.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.hw.harness import Bench, plain

PAGE = 4096
INCR = 1


@dataclass
class Burst:
    """A burst as it was asked for; `cycle` is that of the transfer of its address."""

    cycle: int
    address: int
    beats: int


@dataclass
class Pauses:
    """latency: least and most cycles from an address to the first beat; stall: share of cycles in
    which a channel of the memory pauses."""

    latency: tuple[int, int] = (1, 1)
    stall: float = 0.0


@dataclass
class AxiMemory:
    """`contents` in bytes; `read`, `written` bursts; `beats` (cycle, data) of the R channel.

    refused: cycles in which the master let the R channel wait
    late:    cycles within a burst in which the master had no W beat
    """

    port_bits: int
    contents: bytearray
    pauses: Pauses
    read: list[Burst] = field(default_factory=list)
    written: list[Burst] = field(default_factory=list)
    beats: list[tuple[int, int]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    refused: int = 0
    late: int = 0
    answered: int = 0

    @property
    def beat(self) -> int:
        return self.port_bits // 8

    def _burst(self, channel: str, cycle: int, payload: dict[str, int]) -> Burst:
        burst = Burst(cycle, payload["addr"], payload["len"] + 1)
        end = burst.address + burst.beats * self.beat
        if payload["burst"] != INCR or 1 << payload["size"] != self.beat:
            self.faults.append(f"{channel} must be whole incrementing beats, not {payload}")
        if burst.address % self.beat:
            self.faults.append(f"{channel} must be aligned, not {burst.address:#x}")
        if burst.address // PAGE != (end - 1) // PAGE:
            self.faults.append(f"{channel} burst at {burst.address:#x} crosses 4 KB")
        if end > len(self.contents):
            self.faults.append(f"{channel} burst at {burst.address:#x} leaves the memory")
        return burst

    def serve_reads(self, bench: Bench, port: Any) -> None:
        """Answer AR and R of `port`."""
        rng = np.random.default_rng(bench.rng.integers(1 << 30))

        async def serve(ctx):
            waiting: deque = deque()   # [address, beats left, cycle from which it may come]
            ready = valid = False
            kept, cycle, due = None, 0, 0
            async for _, _, ar_valid, ar, r_ready in ctx.tick().sample(
                    port.ar.valid, port.ar.payload, port.r.ready):
                ar = plain(ar)
                if kept is not None and (not ar_valid or ar != kept):
                    self.faults.append(f"AR changed while it waited in cycle {cycle}")
                kept = ar if ar_valid and not ready else None
                if ar_valid and ready:
                    burst = self._burst("AR", cycle, ar)
                    self.read.append(burst)
                    # In order: no burst before the one asked for earlier.
                    due = max(due, cycle + int(rng.integers(self.pauses.latency[0],
                                                            self.pauses.latency[1] + 1)))
                    waiting.append([burst.address, burst.beats, due])
                if valid and not r_ready:
                    self.refused += 1
                if valid and r_ready:
                    self.beats.append((cycle, ctx.get(port.r.payload.data)))
                    valid = False
                cycle += 1
                if not valid and waiting and waiting[0][2] <= cycle \
                        and rng.random() >= self.pauses.stall:
                    address, left, _ = waiting[0]
                    data = self.contents[address:address + self.beat]
                    ctx.set(port.r.payload, {"data": int.from_bytes(data, "little"),
                                             "last": left == 1, "resp": 0})
                    waiting[0][:2] = address + self.beat, left - 1
                    if left == 1:
                        waiting.popleft()
                    valid = True
                ctx.set(port.r.valid, valid)
                if not valid:   # what is not valid is nothing
                    ctx.set(port.r.payload.data, int(rng.integers(1 << 60)))
                ready = rng.random() >= self.pauses.stall
                ctx.set(port.ar.ready, ready)
        bench.sim.add_testbench(serve, background=True)

    def serve_writes(self, bench: Bench, port: Any) -> None:
        """Answer AW, W and B of `port`."""
        rng = np.random.default_rng(bench.rng.integers(1 << 30))

        async def serve(ctx):
            waiting: deque = deque()   # [address, beats left]
            answers: deque = deque()   # cycle from which each answer may come
            aw_ready = w_ready = b_valid = inside = False
            aw_kept = w_kept = None
            cycle = 0
            async for _, _, aw_valid, aw, w_valid, w, b_ready in ctx.tick().sample(
                    port.aw.valid, port.aw.payload, port.w.valid, port.w.payload, port.b.ready):
                aw, w = plain(aw), plain(w)
                for name, kept, valid, payload in (("AW", aw_kept, aw_valid, aw),
                                                   ("W", w_kept, w_valid, w)):
                    if kept is not None and (not valid or payload != kept):
                        self.faults.append(f"{name} changed while it waited in cycle {cycle}")
                aw_kept = aw if aw_valid and not aw_ready else None
                w_kept = w if w_valid and not w_ready else None
                if aw_valid and aw_ready:
                    burst = self._burst("AW", cycle, aw)
                    self.written.append(burst)
                    waiting.append([burst.address, burst.beats])
                self.late += inside and not w_valid
                if w_valid and not waiting:
                    self.faults.append(f"W came without an address in cycle {cycle}")
                elif w_valid and w_ready:
                    address, left = waiting[0]
                    self.contents[address:address + self.beat] = w["data"].to_bytes(
                        self.beat, "little")
                    if w["last"] != (left == 1):
                        self.faults.append(f"W last is wrong in cycle {cycle}")
                    waiting[0] = [address + self.beat, left - 1]
                    inside = left > 1
                    if not inside:
                        waiting.popleft()
                        answers.append(cycle + int(rng.integers(self.pauses.latency[0],
                                                                self.pauses.latency[1] + 1)))
                if b_valid and b_ready:
                    self.answered += 1
                    b_valid = False
                cycle += 1
                if not b_valid and answers and answers[0] <= cycle \
                        and rng.random() >= self.pauses.stall:
                    answers.popleft()
                    b_valid = True
                ctx.set(port.b.valid, b_valid)
                aw_ready = rng.random() >= self.pauses.stall
                w_ready = bool(waiting) and rng.random() >= self.pauses.stall
                ctx.set(port.aw.ready, aw_ready)
                ctx.set(port.w.ready, w_ready)
        bench.sim.add_testbench(serve, background=True)
