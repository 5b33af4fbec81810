# SPDX-License-Identifier: Apache-2.0
"""What stands between a master and its memory: the gate for resets, the watch for faults."""

from types import ModuleType

from amaranth import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.axi import READ_AHEAD, Reader, ReadPort, WritePort
from hw.faults import FAULTS
from hw.identity import Identity
from hw.readout import OUTPUT
from sim.formal.harness import Break, Harness, Proof

BITS = 4
TIMEOUT_BITS = 3
BEATS = 2


def _gate(write: bool, units: ModuleType) -> Harness:
    """Master and memory keep the rules of AXI; `stop` is anything in each cycle."""
    proof = Harness()
    gate = units.PortGate((WritePort if write else ReadPort)(BITS))
    probes = proof.add(gate)
    stop = proof.drive(gate.stop, "stop")
    begin, end = ("aw", "b") if write else ("ar", "r")
    near, far = getattr(gate.i, begin), getattr(gate.o, begin)
    asked, taken = proof.source(near, "near"), proof.sink(far, "far")
    proof.claim("both_or_none", asked == taken)
    proof.implies("address_unchanged", far.valid,
                  near.valid & (Value.cast(far.payload) == Value.cast(near.payload)))
    # Everything else goes through as it is, in the same cycle.
    for name, (source, sink) in {
            end: (getattr(gate.o, end), getattr(gate.i, end)),
            **({"w": (gate.i.w, gate.o.w)} if write else {})}.items():
        gone, come = proof.source(source, name), proof.sink(sink, f"{name}_out")
        proof.claim(f"{name}_moves", gone == come)
        proof.implies(f"{name}_unchanged", sink.valid,
                      Value.cast(sink.payload) == Value.cast(source.payload))

    # Bursts under way, as the memory counts them.
    last = getattr(gate.o, end)
    ended = last.valid & last.ready & (1 if write else last.payload.last)
    bursts = Signal(range(READ_AHEAD + 1), name="bursts")
    proof.m.d.sync += bursts.eq(bursts + taken - ended)
    proof.assume(~last.valid | (bursts != 0))
    proof.assume(~near.valid | (bursts != READ_AHEAD))
    waited = proof.later(far.valid & ~far.ready, "address_waited")
    proof.claim("counted", probes["under_way"] == bursts)
    proof.claim("idle_true", gate.idle == (~waited & (bursts == 0)))
    proof.implies("none_begins", stop & ~waited, ~far.valid)
    # While it is stopped, what is left to do gets less whenever the memory does something, and
    # never more: so `idle` comes if the memory answers, and stays.
    work = Signal(range(2 * READ_AHEAD + 4), name="work")
    proof.m.d.comb += work.eq(Mux(waited, 2, 0) + bursts)
    stopped, before = proof.later(stop, "stopped"), proof.later(work, "work_before")
    proof.implies("never_more", stopped, work <= before)
    proof.implies("less", stopped & proof.later(taken | ended, "did"), work < before)
    proof.claim("idle_is_the_end", gate.idle == (work == 0))
    return proof


class _Core(wiring.Component):
    """A reader in place of an accelerator: any sample makes it read `BEATS` beats."""

    def __init__(self) -> None:
        super().__init__({
            "i": In(stream.Signature(8)), "o": Out(stream.Signature(OUTPUT)),
            "weights": Out(ReadPort(64)), "weights_address": In(32), "enable": In(1),
            "bad_image": Out(1), "faults": Out(FAULTS)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.reader = reader = Reader(64)
        m.d.comb += [reader.start.eq(self.i.valid & ~reader.busy), reader.beats.eq(BEATS),
                     reader.o.ready.eq(1)]
        wiring.connect(m, reader.port, wiring.flipped(self.weights))
        return m


def _peripheral(units: ModuleType) -> Harness:
    """Any writes to the registers, but no reset that does not wait; a memory that may wait."""
    proof = Harness()
    m = proof.m
    unit = units.Peripheral(_Core(), Identity(input_bits=8, samples=4, classes=1, layers=0))
    probes = proof.add(unit)
    for name in ("awaddr", "awvalid", "wdata", "wstrb", "wvalid", "bready"):
        proof.drive(getattr(unit, f"s_axi_{name}"), name)
    proof.drive(unit.s_axis_tvalid, "samples")
    takes, answers = (proof.drive(getattr(unit, f"m_axi_weights_{name}"), name)
                      for name in ("arready", "rvalid"))
    offers, length = unit.m_axi_weights_arvalid, unit.m_axi_weights_arlen
    owed, asked = Signal(range(8), name="owed"), offers & takes
    came = answers & unit.m_axi_weights_rready
    m.d.sync += owed.eq(owed + Mux(asked, (length + 1)[:3], 0) - came)
    m.d.comb += unit.m_axi_weights_rlast.eq(owed[0])   # bursts of two beats
    proof.assume(~answers | (owed != 0))
    proof.assume(~proof.later(answers & ~came, "beat_waited") | answers)
    proof.assume(~(unit.s_axi_wdata[0] & unit.s_axi_wdata[4]))

    resetting, stopped = probes["_resetting"], probes["_stopped"]
    proof.implies("nothing_left_behind", resetting, (owed == 0) & ~offers)
    proof.implies("address_stays", proof.later(offers & ~takes, "address_waited"), offers)
    proof.claim("takes_what_it_asked_for", unit.m_axi_weights_rready | (owed == 0))
    # A memory that does not wait is drained, and the core in reset, in a beat and a cycle each.
    willing = (takes | ~offers) & (answers | (owed == 0))
    lag = Signal(range(16), name="lag")
    m.d.sync += lag.eq(Mux(stopped & ~resetting, lag + (willing & ~lag.all()), 0))
    proof.claim("reset_comes", lag <= BEATS + 2)
    return proof


def _watch(units: ModuleType) -> Harness:
    """Anything may be owed, move and be refused in any cycle."""
    proof = Harness()
    unit = units.MemoryWatch(TIMEOUT_BITS)
    probes = proof.add(unit)
    seen = proof.drive(unit.i, "seen")
    stuck, limit = seen.owed & ~seen.moved, 1 << TIMEOUT_BITS
    # Cycles in a row in which nothing moved, before this one; that there ever were too many.
    run, long, refused = (Signal(range(limit + 1), name="run"), Signal(name="long"),
                          Signal(name="refused"))
    m = proof.m
    m.d.sync += [run.eq(Mux(stuck, run + (run != limit), 0)), long.eq(long | (run == limit)),
                 refused.eq(refused | seen.refused)]
    proof.claim("response", unit.response == proof.later(refused, "refused_before"))
    proof.claim("silence", unit.silence == proof.later(long, "long_before"))
    # For the induction.
    proof.claim("stuck_told", probes["stuck"] == (run != 0))
    proof.claim("refused_told", probes["refused"] == proof.later(seen.refused, "refused_now"))
    before = proof.later(run, "run_before")
    proof.claim("timer_true", long | (probes["timer"] == before))
    proof.claim("run_counted", run <= limit)
    proof.implies("long_true", before == limit, long)
    return proof


_RETRACTS = Break("opened.eq(~self.stop | offered)", "opened.eq(~self.stop)")
_LOSES = Break("near.ready.eq(far.ready & opened)", "near.ready.eq(far.ready)")
_OFFERED = Break("self.idle.eq(~offered & (under_way == 0))", "self.idle.eq(under_way == 0)")

PROOFS = [
    *(Proof(f"gate-{name}", "hw.axi_gate",
            "PortGate: nothing lost or changed; stopped, no burst begins and `idle` comes, truly",
            lambda units, write=write: _gate(write, units), depth=8, induction=2, broken=broken,
            quick=not write)
      for name, write, broken in (
          ("read", False, (_RETRACTS, _LOSES, _OFFERED,
                           Break('(last.payload.last if end == "r" else 1)', "1"))),
          ("write", True, (_RETRACTS, _LOSES, _OFFERED,
                           Break("sink.valid.eq(source.valid)",
                                 "sink.valid.eq(source.valid & ~self.stop)"))))),
    Proof("peripheral-reset", "hw.soc",
          "Peripheral: no reset while a burst is offered or under way; it comes when they end",
          _peripheral, depth=14, broken=(
              Break("begin.eq((draining & idle)", "begin.eq(draining"),
              Break("self._stopped.eq(draining | self._resetting)",
                    "self._stopped.eq(self._resetting)"))),
    Proof("memory-watch", "hw.faults",
          f"MemoryWatch: a refusal, and silence after {1 << TIMEOUT_BITS} cycles, no sooner, kept",
          _watch, depth=16, induction=3, quick=True, broken=(
              Break("self.i.owed & ~self.i.moved", "self.i.owed"),
              Break("timer.eq(Mux(stuck, timer + 1, 0))", "timer.eq(timer + stuck)"))),
]
