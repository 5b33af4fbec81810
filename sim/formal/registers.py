# SPDX-License-Identifier: Apache-2.0
"""The peripheral's registers on AXI4-Lite, and its streams, around a core that does anything."""

from types import ModuleType
from typing import Any

from amaranth import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.identity import SIZE, Identity
from hw.readout import OUTPUT
from sim.formal.harness import Break, Harness, Probes, Proof

SAMPLES = 3
READ_CYCLES = 3
WHO = Identity(input_bits=8, samples=SAMPLES, classes=2, layers=1)


class _Core(wiring.Component):
    """In place of an accelerator; what it offers and takes is driven from outside."""

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(OUTPUT))})

    def elaborate(self, platform: object) -> Module:
        return Module()


class _Bus:
    """AXI4-Lite master that writes and reads anything at any time; what the channels promise."""

    def __init__(self, proof: Harness, unit: Any, units: ModuleType) -> None:
        self._proof, self._unit, self._units = proof, unit, units
        m = proof.m

        def line(name: str) -> Any:
            return getattr(unit, f"s_axi_{name}")
        channels = {"aw": ("awaddr", "awprot"), "w": ("wdata", "wstrb"), "ar": ("araddr", "arprot"),
                    "b": ("bresp",), "r": ("rdata", "rresp")}
        moved, waits = {}, {}
        for name, payload in channels.items():
            valid, ready = line(f"{name}valid"), line(f"{name}ready")
            of_master = name in ("aw", "w", "ar")
            for each in (*payload, f"{name}valid") if of_master else (f"{name}ready",):
                proof.drive(line(each), each)
            waited = proof.later(valid & ~ready, f"{name}_waited")
            offered = Cat(line(each) for each in payload)
            stays = ~waited | (valid & (offered == proof.later(offered, f"{name}_offered")))
            if of_master:
                proof.assume(stays)
            else:
                proof.claim(f"{name}_stable", stays)
            moved[name], waits[name] = valid & ready, valid
        self.wrote, self.asked = moved["aw"], moved["ar"]
        self.address, self.data = line("awaddr") & ~3, line("wdata")
        self.mask = Cat(bit.replicate(8) for bit in line("wstrb"))
        # A write is taken whole, at once if the answer before has gone, and answered once.
        owed = Signal(name="write_owed")
        m.d.sync += owed.eq((owed | self.wrote) & ~(moved["b"]))
        proof.claim("write_whole", moved["aw"] == moved["w"])
        proof.claim("write_answered", line("bvalid") == owed)
        proof.implies("write_goes_on", waits["aw"] & waits["w"] & ~owed, self.wrote)
        registers = [units.CONTROL, *(units.ADDRESSES + 4 * n for n in range(len(units.MEMORIES)))]
        known = Cat(self.address == each for each in registers).any()
        right = Signal(name="write_known")
        with m.If(self.wrote):
            m.d.sync += right.eq(known)
        proof.implies("write_told", owed, line("bresp") == Mux(right, 0, units.SLVERR))
        # A read is answered once, READ_CYCLES after it was taken.
        self.age = age = Signal(range(READ_CYCLES + 1), name="read_age")
        self.place = Signal(len(line("araddr")), name="read_place")
        m.d.sync += age.eq(Mux(self.asked, 1, Mux(moved["r"], 0, age + (
            (age != 0) & (age != READ_CYCLES)))))
        with m.If(self.asked):
            m.d.sync += self.place.eq(line("araddr") & ~3)
        proof.claim("read_answered", line("rvalid") == (age == READ_CYCLES))
        proof.implies("read_goes_on", waits["ar"] & (age == 0), self.asked)
        proof.implies("one_read", self.asked, age == 0)

    def reads(self, name: str, here: Any, value: Any, response: int = 0) -> None:
        """What a read of some place tells: the value as it was in the cycle before."""
        unit, before = self._unit, Value.cast(value)
        came = (self.age == READ_CYCLES) & self._proof.later(self.age != READ_CYCLES,
                                                             f"{name}_coming")
        self._proof.implies(f"reads_{name}", came & here, (
            unit.s_axi_rdata == self._proof.later(before, f"{name}_before"))
            & (unit.s_axi_rresp == response))


def _registers(units: ModuleType) -> Harness:
    """Any writes and reads, resets among them; a core and streams that wait and offer at will."""
    proof, core = Harness(), _Core()
    m, unit = proof.m, units.Peripheral(core, WHO)
    probes = proof.add(unit)
    bus = _Bus(proof, unit, units)
    # The control register and the addresses, as they were written.
    control = Signal(3, name="control")
    addresses = [Signal(32, name=f"address{n}") for n in range(len(units.MEMORIES))]
    told = bus.wrote & (bus.address == units.CONTROL) & bus.mask[0]
    with m.If(told):
        m.d.sync += control.eq(bus.data[1:4])
    for n, address in enumerate(addresses):
        with m.If(bus.wrote & (bus.address == units.ADDRESSES + 4 * n)):
            m.d.sync += address.eq((address & ~bus.mask) | (bus.data & bus.mask))
    reset = Signal(range(units.RESET_CYCLES + 1), name="reset")
    m.d.sync += reset.eq(Mux(told & bus.data[0], units.RESET_CYCLES, reset - (reset != 0)))
    taken, inferences, misplaced, active, complete, sent = _streams(
        proof, unit, core, control[0], reset != 0, probes)
    proof.claim("interrupt", unit.interrupt == (complete & control[1]))

    status = Cat(active, complete, misplaced, reset != 0)
    places = {"control": (units.CONTROL, control << 1), "status": (units.STATUS, status),
              "samples": (units.SAMPLES, taken), "inferences": (units.INFERENCES, inferences)}
    places |= {f"address{n}": (units.ADDRESSES + 4 * n, each) for n, each in enumerate(addresses)}
    for name, (place, value) in places.items():
        bus.reads(name, bus.place == place, value)
    packed, place = WHO.pack(), bus.place
    bus.reads("identity", place < SIZE, Array(Const(int.from_bytes(packed[n:n + 4], "little"), 32)
                                              for n in range(0, SIZE, 4))[place[2:6]])
    number, kept, there = sent
    mine = (place >= units.ANSWER) & (place[3:15] == number) & there
    # Of a word that was there when it was looked up, a cycle before it is told.
    bus.reads("answer", mine & proof.later(there, "was_there", 2),
              Mux(place[2], proof.later(kept, "kept_before")[32:], proof.later(kept, "kept")[:32]))
    somewhere = Cat(place == each for each, _ in places.values()).any() | (place < SIZE) | (
        (place >= units.ANSWER) & (place[3:15] < WHO.words))
    bus.reads("nowhere", ~somewhere, Const(0, 32), units.SLVERR)
    # For the induction.
    proof.claim("registers_kept", (Cat(probes["_stream"], probes["_interrupt"], probes["_enable"])
                                   == control) & (Cat(probes["_addresses"]) == Cat(addresses)))
    proof.claim("reset_lasts", (probes.named("count") == reset) & (reset <= units.RESET_CYCLES))
    return proof


def _streams(proof: Harness, unit: Any, core: _Core, streams: Any, resets: Any,
             probes: Probes) -> tuple[Any, ...]:
    """Samples in, words out; returns what the registers tell of them, and one word's contents."""
    m = proof.m
    for name in ("tdata", "tvalid", "tlast"):
        proof.drive(getattr(unit, f"s_axis_{name}"), name)
    proof.drive(unit.m_axis_tready, "tready")
    proof.drive(core.i.ready, "core_takes")
    offers = proof.source(core.o, "core_o")
    came = unit.s_axis_tvalid & unit.s_axis_tready
    left = unit.m_axis_tvalid & unit.m_axis_tready
    word = core.o.payload
    proof.claim("sample_moves", came == (core.i.valid & core.i.ready & ~resets))
    proof.implies("sample_unchanged", core.i.valid, core.i.payload == unit.s_axis_tdata)
    proof.claim("word_moves", Mux(streams, left == offers, ~left))
    proof.implies("word_unchanged", unit.m_axis_tvalid,
                  Cat(unit.m_axis_tdata, unit.m_axis_tlast) == Cat(word.data, word.last))
    proof.implies("nothing_in_reset", resets, ~(came | offers | left))
    waited = proof.later(unit.m_axis_tvalid & ~unit.m_axis_tready & streams, "word_waited")
    proof.implies("word_waits", waited & streams & ~resets, unit.m_axis_tvalid)

    taken, inferences = Signal(range(SAMPLES), name="samples"), Signal(32, name="inferences")
    active, complete, misplaced = (Signal(name=name) for name in (
        "active", "complete", "misplaced"))
    last = taken == SAMPLES - 1
    ends = offers & word.last
    with m.If(came):
        m.d.sync += [taken.eq(Mux(last, 0, taken + 1)),
                     misplaced.eq(misplaced | (last != unit.s_axis_tlast))]
    begins = came & ~active
    m.d.sync += [active.eq((active | came) & ~ends), inferences.eq(inferences + ends),
                 complete.eq((complete | ends) & ~begins)]
    with m.If(resets):
        m.d.sync += [taken.eq(0), misplaced.eq(0), active.eq(0), complete.eq(0)]
    # A word of the answer, which can be any.
    number, place = proof.constant(range(WHO.words), "number"), Signal(range(WHO.words + 1),
                                                                       name="word")
    there, kept = Signal(name="there"), Signal(64, name="kept")
    proof.assume(number < WHO.words)
    with m.If(offers & (place != WHO.words)):
        m.d.sync += place.eq(place + 1)
    with m.If(offers & (place == number)):
        m.d.sync += [there.eq(1), kept.eq(word.data)]
    with m.If(begins | resets):
        m.d.sync += [place.eq(0), there.eq(0)]
    proof.claim("answer_kept", (there == (place > number)) & (place <= WHO.words) & (
        ~there | (probes.word(m, "answer.storage", number, 64) == kept))
        & (probes["answer.count"] == place))
    proof.claim("states_true", (probes["_taken"] == taken) & (probes["_active"] == active)
                & (probes["_misplaced"] == misplaced) & (probes["_inferences"] == inferences)
                & (unit._answer.complete == complete) & (taken < SAMPLES))
    # What may move does: nothing waits for this unit but words for an answer that is complete.
    proof.implies("samples_go_on", unit.s_axis_tvalid & core.i.ready & ~resets, came)
    proof.implies("words_go_on", core.o.valid & ~complete & ~resets & (
        unit.m_axis_tready | ~streams), offers)
    return taken, inferences, misplaced, active, complete, (number, kept, there)


PROOFS = [
    Proof("peripheral-registers", "hw.soc",
          "Peripheral: each write done once, each read answered once, with what is true; streams",
          _registers, depth=10, induction=3, broken=(
              Break("~self.s_axi_bvalid),", "1),"),
              Break("register & ~mask | self.s_axi_wdata & mask", "self.s_axi_wdata"),
              Break("with m.If(self.s_axi_rready):", "with m.If(1):"),
              Break("~(here | waited | self.s_axi_rvalid)", "~(here | waited)"),
              Break("o.valid & running & (self.m_axis_tready | ~self._stream)",
                    "o.valid & running"),
              Break("o.valid & answer.i.ready & self._stream & running",
                    "o.valid & self._stream & running"))),
]
