# SPDX-License-Identifier: Apache-2.0
"""The sequence of power-up of a DDR3 chip: what it is told, and the times between."""

from types import ModuleType
from unittest.mock import patch

from amaranth import Array, Cat, Const, Mux, Signal

from boards.ddr3_chip import ALL_BANKS, COMMAND, MODES, Ddr3Timings
from sim.formal.harness import Break, Harness, Proof

# A cycle is 1 ns; the calibration is shortened too.
SHORT = Ddr3Timings(power_up=2, wake_up=3, refresh_cycle=0)
SHORT_CALIBRATION = 3
# As the data sheet has them: mode registers in their order, then the long calibration.
MODE_ORDER = (2, 3, 1, 0)
BETWEEN_MODES, AFTER_MODES, CALIBRATION, AFTER_ENABLE = 4, 12, 512, 5


def _power_up(timings: Ddr3Timings, mhz: int, calibration: int, units: ModuleType) -> Harness:
    """Resets whenever it pleases; commands as the pins have them, a cycle after the unit."""
    proof = Harness()
    m = proof.m

    def cycles(nanoseconds: float) -> int:
        return -(-round(nanoseconds * mhz) // 1000)
    with patch.object(units, "CALIBRATION_CYCLES", calibration):
        unit = units.PowerUp(timings, cycles)
    reset = proof.free(1, "reset")
    probes, was_reset = proof.add(unit, reset=reset), proof.later(reset, "was_reset")
    command = COMMAND(proof.later(unit.command, "command"))
    code = Cat(command.ras, command.cas, command.we)

    # In reset, before the clock enable, with it, after each command; the last stage is for ever.
    times = [cycles(timings.power_up), cycles(timings.wake_up),
             max(AFTER_ENABLE, cycles(timings.refresh_cycle + 10)),
             *[BETWEEN_MODES] * 3, AFTER_MODES, calibration, 0]
    end, limit = len(times) - 1, max(times) + 1
    stage = Signal(range(end + 1), name="stage")
    on = Signal(range(end + 1), name="stage_now")
    least = Array(times)[stage]
    begins = Array([~unit.rst, unit.cke, *[code != 0] * 5, unit.done, Const(0)])[stage]
    again = (stage != 0) & (stage != end) & unit.rst
    moves = begins & ~again
    m.d.comb += on.eq(Mux(again, 0, stage + moves))
    m.d.sync += stage.eq(on)
    # Since a stage began; and since something that was to happen did, at most those.
    time, idle = (Signal(range(limit + 1), name=name) for name in ("time", "idle"))
    idle_now = Signal(range(limit + 1), name="idle_now")
    m.d.comb += idle_now.eq(Mux(moves | again | was_reset, 0, idle))
    m.d.sync += [time.eq(Mux(moves | again, 1, time + (time != limit))),
                 idle.eq(Mux(on == end, 0, idle_now + 1))]
    proof.implies("not_too_soon", moves, time >= least)
    proof.claim("goes_on", idle_now <= least + 1)
    proof.implies("only_a_reset_begins_anew", again, was_reset)
    proof.claim("reset_told", unit.rst == (on == 0))
    proof.claim("enabled", unit.cke == (on >= 2))
    mode, calibrate = code == 0b111, code == 0b100
    told = [mode & (command.ba == number) & (command.a == MODES[number]) for number in MODE_ORDER]
    # A chip in reset does not look at its command.
    proof.implies("as_the_data_sheet_says", ~unit.rst, (code == 0) | (moves & Array(
        [Const(0), Const(0), *told, calibrate & (command.a == ALL_BANKS), Const(0), Const(0)])[
            stage]))
    proof.claim("done_in_the_end", unit.done == (on == end))

    # For the induction.
    begun, wait = probes["begun"], probes["wait"]
    proof.claim("stages_true", on == Mux(unit.done, end, Mux(begun <= 1, 0, begun - 1)))
    proof.claim("begun_true", unit.done | (begun <= end))
    proof.implies("first", ~unit.done & (begun == 0), (wait == 0) & (idle_now == 0))
    for n in range(end):
        proof.implies(f"stage{n}_waits", ~unit.done & (begun == n + 1),
                      idle_now + wait + (n != 0) == times[n])
    proof.claim("time_fits", time <= limit)
    proof.claim("time_true", Mux(moves | again, 0, time) >= idle_now)
    return proof


PROOFS = [
    Proof(f"ddr3-power-up{name}", "boards.ddr3_startup",
          f"DDR3 after power-up, {what}: reset, clock enable, modes, calibration, each at its time",
          lambda units, timings=timings, mhz=mhz, calibration=calibration: _power_up(
              timings, mhz, calibration, units), depth=depth, induction=1, broken=broken)
    for name, what, timings, mhz, calibration, depth, broken in (
        ("", "short times", SHORT, 1000, SHORT_CALIBRATION, 45, (
            Break("self.cke.eq(done | (begun > 2))", "self.cke.eq(done | (begun > 1))"),
            Break("((2, MODE_CYCLES), (3, MODE_CYCLES)", "((3, MODE_CYCLES), (2, MODE_CYCLES)"),
            Break("done = Signal(reset_less=True)\n ", "done = Signal()\n "),
            Break("wait.eq(cycles - 1)", "wait.eq(cycles - 2)"))),
        ("-50", "at 50 MHz", Ddr3Timings(), 50, CALIBRATION, 8, (
            Break("self.rst.eq(~done & (begun < 2))", "self.rst.eq(~done & (begun < 1))"),
            Break("({}, cycles(timings.power_up))", "({}, cycles(timings.wake_up))"))))
]
