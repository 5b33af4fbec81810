# SPDX-License-Identifier: Apache-2.0
"""What each cycle was spent on: a probe for simulation, in no hardware that is built."""

from amaranth import Module, Mux, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from hw.config import HardwareConfig
from hw.isa import bits_for


class Activity(enum.Enum, shape=2):
    """The one thing that a cycle was spent on.

    IDLE:        no layer runs: input, fetch of instructions, output
    COMPUTE:     the lanes take an event, or the attention works on one
    WEIGHT_WAIT: neither, and Gather waits for a tile of weights
    FILL_DRAIN:  a layer runs but adds nothing for another reason: pipelines that fill or drain,
                 groups that must keep their distance, lines without spikes, attention's own rests
    """

    IDLE = 0
    COMPUTE = 1
    WEIGHT_WAIT = 2
    FILL_DRAIN = 3


class ActivityTrace(wiring.Signature):
    """Valid in every cycle.

    kind:   `Activity`
    events: rows of weights that the lanes take; not those of the attention
    clear:  the cycle between two layers, or between the input and the first layer; it is IDLE and
            in no layer's cycle counter
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        super().__init__({"kind": Out(Activity), "clear": Out(1),
                          "events": Out(event_bits(hardware))})


def event_bits(hardware: HardwareConfig) -> int:
    """Width of the number of events that the lanes take in a cycle."""
    return bits_for(hardware.geometry.slots)


class ActivityProbe(wiring.Component):
    """Sort the cycles into the four of `Activity`.

    Ports: `start` (pulse: a layer or a part of one begins), `ends` (pulse: a part ends that is no
    layer), `clear` (pulse: a layer or the input ends), `events` (that the lanes take), `acs` (the
    attention's counter), `waits` (level: Gather asks for a tile that is not there), `o`.
    Latency: none for the lanes, one cycle for the attention.
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        trace = ActivityTrace(hardware)
        super().__init__({
            "start": In(1), "ends": In(1), "clear": In(1), "waits": In(1),
            "acs": In(hardware.tally_bits),
            "events": In(event_bits(hardware)), "o": Out(trace)})

    def elaborate(self, platform):
        m = Module()
        running, before = Signal(), Signal.like(self.acs)
        m.d.sync += before.eq(self.acs)
        with m.If(self.clear | self.ends):
            m.d.sync += running.eq(0)
        with m.Elif(self.start):
            m.d.sync += running.eq(1)
        adds = (self.events != 0) | (self.acs != before)
        kind = Mux(adds, Activity.COMPUTE,
                   Mux(self.waits, Activity.WEIGHT_WAIT, Activity.FILL_DRAIN))
        m.d.comb += [self.o.kind.eq(Mux(running & ~self.clear, kind, Activity.IDLE)),
                     self.o.events.eq(self.events), self.o.clear.eq(self.clear)]
        return m
