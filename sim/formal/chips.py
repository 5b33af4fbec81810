# SPDX-License-Identifier: Apache-2.0
"""Memory chips on the boards: the rules of their commands, and the beats that come of them."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from unittest.mock import patch

from amaranth import Array, Cat, Mux, Signal, Value

from sim.formal.harness import Break, Harness, Proof

PORT = 64
CYCLE_NS, CLOCK_HZ = 100, 10_000_000
# In cycles: power-up, precharge, activate, active, refresh, write recovery; between refreshes.
SHORT = (1, 2, 2, 4, 3, 2)
LONG = (1, 2, 4, 5, 2, 6)   # longer than the steps of the unit, so that its counters matter
OFTEN, NEVER = 12, 60   # within the cycles that are looked at
# Beyond an interval until the refresh: commands of a beat or write, and a precharge.
LATE = 8
BEATS = 2
PATIENCE = 13   # cycles until a command, if no refresh is due


def _age(proof: Harness, event: Any, limit: int, name: str) -> Signal:
    """Cycles since an event was last there, at most `limit`, and `limit` before the first."""
    age = Signal(range(limit + 1), name=name, init=limit)
    proof.m.d.sync += age.eq(Mux(event, 1, age + (age != limit)))
    return age


class _Chip:
    """An SDRAM on the pins: which rules its commands keep; what it answers to a read."""

    def __init__(self, proof: Harness, unit: Any, times: tuple[int, ...], interval: int,
                 units: ModuleType) -> None:
        self.pins = pins = unit.pins
        code = Cat(pins.ras, pins.cas, pins.we)
        read, write, activate, precharge, refresh, mode = (
            code == value for value in (0b010, 0b110, 0b001, 0b101, 0b011, 0b111))
        m = proof.m
        self.open, self.bank, self.row = Signal(name="row_open"), Signal(2, name="bank"), Signal(
            13, name="row")
        self.read, self.write = read, write
        _, after_precharge, after_activate, active, after_refresh, recovery = times
        ages = {name: _age(proof, event, 8, f"since_{name}") for name, event in (
            ("precharge", precharge), ("activate", activate), ("refresh", refresh),
            ("write", write), ("read", read), ("mode", mode))}
        with m.If(activate):
            m.d.sync += [self.open.eq(1), self.bank.eq(pins.ba), self.row.eq(pins.a)]
        with m.If(precharge):
            m.d.sync += self.open.eq(0)
        ready = (ages["precharge"] >= after_precharge) & (ages["refresh"] >= after_refresh)
        proof.implies("row_is_open", read | write, self.open & (pins.ba == self.bank)
                      & (ages["activate"] >= after_activate) & ~pins.a[10])
        proof.implies("row_was_closed", activate, ~self.open & ready & (ages["mode"] >= 2))
        proof.implies("row_was_long_open", precharge, pins.a[10] & (ages["activate"] >= active)
                      & (ages["write"] >= recovery))
        proof.implies("refresh_when_closed", refresh, ~self.open & ready)
        proof.implies("mode_when_closed", mode, ~self.open & ready
                      & (Cat(pins.a, pins.ba) == units.MODE))
        proof.claim("drives_what_it_writes", pins.dq_oe == write)
        # The last word that is read has left the pins.
        proof.implies("bus_is_free", write, ages["read"] > units.READ_LATENCY)
        begun, awake = Signal(name="refreshed"), Signal(name="awake")
        with m.If(mode):
            m.d.sync += awake.eq(1)
        proof.implies("initialised", activate, awake)
        with m.If(refresh):
            m.d.sync += begun.eq(1)
        since = _age(proof, refresh, interval + LATE + 1, "since_last_refresh")
        proof.implies("refreshed_in_time", begun, since <= interval + LATE)
        # Words are a function of their place that is not known.
        self.place = Cat(pins.a[:9], self.bank, self.row)
        self.mask = proof.constant(16, "mask")
        answer = proof.later(self.word(self.place), "answer", units.READ_LATENCY)
        m.d.comb += pins.dq_i.eq(answer)

    def word(self, place: Any) -> Any:
        return place[:16] ^ place[16:] ^ self.mask


@dataclass(frozen=True)
class Followed:
    """A burst that is followed: `ahead` beats come before it, and `number` of it have been given.

    owed: beats of all bursts that are to come
    """

    owed: Signal
    marked: Signal
    ahead: Signal
    first: Signal
    last: Signal
    number: Signal


def follow_burst(proof: Harness, axi: Any, asked: Any, beat: Any,
                 data: Callable[[Any, Any], Any], bits: int) -> Followed:
    """Claim of one burst, which can be any, that its beats are the data of its addresses, in order.

    asked, beat: a burst is taken from `axi`, a beat is given to it
    data:        of the address of a burst and the number of a beat, what must come
    bits:        of `len` as far as it is used
    """
    m, ar, r = proof.m, axi.ar, axi.r
    owed, ahead = Signal(bits + 3, name="owed"), Signal(bits + 3, name="ahead")
    m.d.sync += owed.eq(owed + Mux(asked, ar.payload.len[:bits] + 1, 0) - beat)
    marked, marks = Signal(name="marked"), proof.free(1, "marks")
    first, last, number = Signal(32, name="first"), Signal(bits, name="last"), Signal(
        bits + 1, name="number")
    with m.If(asked & marks & ~marked):
        m.d.sync += [marked.eq(1), first.eq(ar.payload.addr), last.eq(ar.payload.len),
                     ahead.eq(owed - beat)]
    with m.If(beat & marked):
        m.d.sync += ahead.eq(ahead - (ahead != 0))
        with m.If((ahead == 0) & (number <= last)):
            m.d.sync += number.eq(number + 1)
    mine = r.valid & marked & (ahead == 0) & (number <= last)
    proof.implies("not_invented", r.valid, owed != 0)
    proof.implies("data_true", mine, (r.payload.data == data(first, number))
                  & (r.payload.last == (number == last)) & (r.payload.resp == 0))
    return Followed(owed, marked, ahead, first, last, number)


def _sdram(times: tuple[int, ...], interval: int, units: ModuleType) -> Harness:
    """Reads of one or two beats and writes at any time, anywhere, taken at any time."""
    proof = Harness()
    m = proof.m
    with (patch.object(units, "BEATS_AHEAD", BEATS), patch.object(units, "INIT_REFRESHES", 1)):
        unit = units.Sdram(PORT, CLOCK_HZ, units.SdramTimings(*(
            n * CYCLE_NS for n in (*times, interval))))
        proof.add(unit)
    chip = _Chip(proof, unit, times, interval, units)
    ar, r = unit.axi.ar, unit.axi.r
    asked, beat = proof.source(ar, "ar"), proof.sink(r, "r")
    proof.assume(~ar.valid | ((ar.payload.len < BEATS) & (ar.payload.addr[:3] == 0)))

    proof.assume(~unit.writes.valid | (unit.writes.payload.address[:3] == 0))
    written = proof.source(unit.writes, "write")

    def words(first: Any, number: Any) -> Value:
        return Cat(chip.word((first[1:] + 4 * number + n)[:24]) for n in range(4))

    owed = follow_burst(proof, unit.axi, asked, beat, words, 1).owed

    # Writes: four words each, in order.
    item, place = unit.writes.payload, Signal(2, name="place")
    m.d.sync += place.eq(place + chip.write)
    before = Value.cast(proof.later(item, "item"))
    data, address = before[32:], before[:32]
    proof.implies("write_true", chip.write, (chip.place == Cat(place, address[3:25]))
                  & (unit.pins.dq_o == Array(data[16 * n:16 * n + 16] for n in range(4))[place])
                  & proof.later(unit.writes.valid, "was_valid"))
    proof.claim("write_whole", proof.later(written, "was_written") == (chip.write & (place == 3)))

    if (times, interval) != (SHORT, NEVER):   # commands take long, or refreshes come too often
        return proof
    # Writes come first, so a read may wait for as long as there are some.
    for name, waits in (("write", unit.writes.valid), ("read", ~unit.writes.valid & (
            ar.valid | (owed != 0)) & (r.ready | ~r.valid))):
        quiet = Signal(range(PATIENCE + 2), name=f"{name}_quiet")
        idle = unit.ready & waits & ~(chip.read | chip.write | beat)
        m.d.sync += quiet.eq(Mux(idle, quiet + (quiet <= PATIENCE), 0))
        proof.claim(f"{name}_goes_on", quiet <= PATIENCE)
    return proof


PROOFS = [
    Proof("sdram", "boards.sdram",
          "Sdram: open rows, times between commands, refreshes kept; words written",
          lambda units: _sdram(SHORT, OFTEN, units), depth=26, broken=(
              Break("young.eq(active - 1)", "young.eq(0)"),
              Break("& (open_row == row)", ""),
              Break("reads.may_begin.eq(~due.now & ~writes.valid & here)",
                    "reads.may_begin.eq(~writes.valid & here)"),
              Break("with m.If(due.now):", "with m.If(due.now & ~reads.wants):"))),
    Proof("sdram-goes-on", "boards.sdram",
          "Sdram: likewise between two refreshes; the beats of memory, in order; a command within "
          f"{PATIENCE} cycles",
          lambda units: _sdram(SHORT, NEVER, units), depth=23, broken=(
              Break("last = coming[READ_LATENCY]", "last = coming[READ_LATENCY - 1]"),
              Break("with m.If(~reads.under_way):", "with m.If(1):"),
              Break("with m.Elif(writes.valid | reads.wants):", "with m.Elif(writes.valid):"))),
    Proof("sdram-times", "boards.sdram", "Sdram: likewise where commands take longer",
          lambda units: _sdram(LONG, NEVER, units), depth=24, broken=(
              Break("wet.eq(recovery)", "wet.eq(0)"),
              Break("command(1, 0, 0, activate)", "command(1, 0, 0)"),
              Break("command(1, 0, 1, precharge)", "command(1, 0, 1)"))),
]
