# SPDX-License-Identifier: Apache-2.0
"""The DDR3 controller once its chip is initialised: what it is told, and the times between."""

from types import ModuleType
from typing import Any

from amaranth import Cat, Mux, Signal, Value

from boards.ddr3_chip import (
    ALL_BANKS,
    BURST_CYCLES,
    COLUMN_BITS,
    TURN_CYCLES,
    WRITE_LATENCY,
    Ddr3Timings,
)
from sim.formal.harness import Break, Harness, Probes, Proof

# Longer than what the unit does anyway, so that each of its counters matters; a cycle is 1 ns.
LONG = Ddr3Timings(precharge=3, activate=4, active=9, refresh_cycle=8, write_recovery=6,
                   refresh_interval=48)


def _commands(timings: Ddr3Timings, mhz: int, units: ModuleType) -> Harness:
    """Any reads and writes of any blocks at any time; data under way for as long as it likes."""
    proof = Harness()

    def cycles(nanoseconds: float) -> int:
        return -(-round(nanoseconds * mhz) // 1000)
    unit = units.Commands(timings, cycles)
    probes, m, command = proof.add(unit), proof.m, unit.command
    for name in ("write", "read", "write_block", "read_block", "reading"):
        proof.drive(getattr(unit, name), name)
    enabled = proof.later(proof.drive(unit.enable, "enable"), "enabled")
    proof.assume(unit.enable | ~enabled)
    code = Cat(command.ras, command.cas, command.we)
    told = {name: code == value for name, value in (
        ("precharge", 0b101), ("activate", 0b001), ("refresh", 0b011), ("write", 0b110),
        ("read", 0b010))}
    # After each of them, until another one.
    dry = WRITE_LATENCY + BURST_CYCLES
    recovery = dry + cycles(timings.write_recovery)
    least = {("precharge", "activate"): timings.precharge, ("precharge", "refresh"):
             timings.precharge, ("activate", "read"): timings.activate,
             ("activate", "write"): timings.activate, ("activate", "precharge"): timings.active,
             ("refresh", "activate"): timings.refresh_cycle,
             ("refresh", "refresh"): timings.refresh_cycle,
             ("refresh", "precharge"): timings.refresh_cycle}
    spaces = {pair: cycles(time) for pair, time in least.items()} | {
        ("write", "write"): BURST_CYCLES, ("write", "read"): dry + TURN_CYCLES,
        ("write", "precharge"): recovery, ("read", "read"): BURST_CYCLES,
        ("read", "precharge"): TURN_CYCLES}
    limit = max(spaces.values())
    ages = {}
    for name, event in told.items():
        ages[name] = age = Signal(range(limit + 1), name=f"since_{name}", init=limit)
        m.d.sync += age.eq(Mux(event, 1, age + (age != limit)))
    proof.claim("ages_known", Cat(age <= limit for age in ages.values()).all())
    for (before, after), least_ in spaces.items():
        proof.implies(f"{before}_to_{after}", told[after], ages[before] >= least_)

    # What is open; at first that is not known, so all is closed.
    closed, is_open = Signal(name="closed"), Signal(name="row_open")
    bank, row = Signal(3, name="bank"), Signal(14, name="row")
    with m.If(told["precharge"]):
        m.d.sync += [closed.eq(1), is_open.eq(0)]
    with m.If(told["activate"]):
        m.d.sync += [is_open.eq(1), bank.eq(command.ba), row.eq(command.a)]
    block = Mux(unit.write, unit.write_block, unit.read_block)
    column = COLUMN_BITS - 3
    proof.implies("row_is_meant", told["read"] | told["write"], is_open & (Cat(
        command.a[3:COLUMN_BITS], command.ba, row) == block) & (command.ba == bank)
        & ((command.a & ~(((1 << column) - 1) << 3)) == 0))
    proof.implies("row_was_closed", told["activate"] | told["refresh"], closed & ~is_open)
    proof.implies("all_are_closed", told["precharge"], command.a == ALL_BANKS)
    proof.claim("as_told", (unit.writes == told["write"]) & (unit.reads == told["read"]))
    proof.implies("only_known", code != 0, Cat(told.values()).any() & unit.enable)
    proof.implies("as_wanted", unit.writes | unit.reads, Mux(unit.write, unit.writes, unit.read))
    proof.implies("pins_are_free", told["write"], ~unit.reading)

    _refreshes(proof, unit, probes, told["refresh"], told["activate"], timings, cycles)
    # For the induction.
    wait, young, wet = (probes[name] for name in ("wait", "young", "wet"))
    for (before, after), least_ in spaces.items():
        counter = {"activate": young, "write": wet}.get(before, wait) if (
            after == "precharge" or (before, after) == ("write", "read")) else wait
        proof.claim(f"{before}_to_{after}_waits", (ages[before] >= least_)
                    | (ages[before] + counter >= least_))
    proof.claim("open_told", (probes["is_open"] == (is_open | ~closed)) & (~is_open | (
        (probes["open_bank"] == bank) & (probes["open_row"] == row) & closed)))
    proof.implies("at_first", ~closed, probes["due"])
    proof.implies("awake", enabled, probes["awake"])
    # What is wanted and may be done begins as soon as the times allow.
    longest = Signal(8, name="longest")
    m.d.comb += longest.eq(_most(wait, young, wet))
    patience = max(recovery, dry + TURN_CYCLES, cycles(timings.active), cycles(
        timings.refresh_cycle))
    quiet, willing = Signal(8, name="quiet"), enabled & (
        Mux(unit.write, ~unit.reading, unit.read))
    m.d.sync += quiet.eq(Mux(willing & (code == 0), quiet + 1, 0))
    proof.claim("goes_on", quiet + longest <= patience)
    return proof


def _most(*values: Any) -> Value:
    most = values[0]
    for value in values[1:]:
        most = Mux(value > most, value, most)
    return Value.cast(most)


def _refreshes(proof: Harness, unit: Any, probes: Probes, refresh: Any, opens: Any,
               timings: Ddr3Timings, cycles: Any) -> None:
    """Between two of them is an interval, and what is under way when the second one is due."""
    m, interval = proof.m, cycles(timings.refresh_interval)
    late = WRITE_LATENCY + BURST_CYCLES + max(TURN_CYCLES, cycles(timings.write_recovery))
    late = max(late, cycles(timings.active), cycles(timings.refresh_cycle)) + cycles(
        timings.precharge)
    begun, since = Signal(name="refreshed"), Signal(range(interval + late + 2), name="since")
    m.d.sync += [begun.eq(begun | refresh),
                 since.eq(Mux(refresh, 1, since + (begun & (since <= interval + late))))]
    proof.implies("refreshed_first", opens, begun)
    proof.claim("refreshed_in_time", since <= interval + late)
    period, age, due = interval - 1, probes["age"], probes["due"]
    rest = Signal(8, name="until_refresh")
    longest = _most(probes["wait"], probes["young"], probes["wet"])
    m.d.comb += rest.eq(Mux(probes["is_open"], longest + cycles(timings.precharge),
                            probes["wait"]))
    proof.claim("age_counts", age < period)
    proof.implies("none_yet", ~begun, due & (since == 0))
    proof.implies("enabled_before", begun, unit.enable)
    proof.implies("not_yet_due", begun & ~due, since <= age + 1)
    proof.implies("not_late", begun & due, age + rest <= late)
    proof.implies("since_due", begun & due, since <= interval + age)


_COMMANDS = (
    Break("& (open_row == row)", ""),
    Break("command(1, 0, 1, precharge)", "command(1, 0, 1, 1)"),
    Break("command(1, 0, 0, activate)", "command(1, 0, 0, 1)"),
    Break("young.eq(active - 1)", "young.eq(active - 2)"),
    Break("wet.eq(dry - 1)", "wet.eq(dry - 2)"),
    Break("with m.Elif(due):", "with m.Elif(due & ~wanted):"),
    Break(", m.If(~self.reading):", ", m.If(1):"))

PROOFS = [
    *(Proof(f"ddr3-commands-{name}", "boards.ddr3_commands",
            f"DDR3 commands, {what}: rows, times between them, refreshes kept; they go on",
            lambda units, timings=timings, mhz=mhz: _commands(timings, mhz, units), depth=20,
            induction=2, broken=broken)
      for name, what, timings, mhz, broken in (
          ("50", "as at 50 MHz", Ddr3Timings(), 50, _COMMANDS[:1] + _COMMANDS[5:]),
          ("75", "as at 75 MHz", Ddr3Timings(), 75, _COMMANDS[:2]),
          ("long", "longer times", LONG, 1000, _COMMANDS))),
]
