# SPDX-License-Identifier: Apache-2.0
"""The whole DDR3 controller: words to their places at their time, and who is served when."""

from types import ModuleType
from typing import Any
from unittest.mock import patch

from amaranth import Cat, Const, Mux, Signal, Value

from boards import ddr3_reads
from boards.ddr3_chip import (
    BURST_CYCLES,
    COLUMN_BITS,
    WRITE_LATENCY,
    Ddr3Timings,
)
from sim.formal.harness import Break, Harness, Probes, Proof

CLOCK_HZ = 50_000_000
# Of one or two cycles, so that a write is soon over.
SHORT = Ddr3Timings(precharge=20, activate=20, active=40, refresh_cycle=40, write_recovery=20)
AHEAD = 3
# Cycles that a reset lasts, at least; from a decision to its command, and to the end of its data.
RESET, COMMAND_CYCLE = 16, 1
DATA = COMMAND_CYCLE + WRITE_LATENCY
OVER = DATA + BURST_CYCLES


class _Row:
    """The row that is open after the commands on the pins."""

    def __init__(self, proof: Harness, pins: Any) -> None:
        m = proof.m
        code = Cat(pins.ras, pins.cas, pins.we)
        self.write, self.read = code == 0b110, code == 0b010
        activate, precharge = code == 0b001, code == 0b101
        is_open, bank, row = (Signal(width, name=name) for width, name in (
            (1, "row_open"), (3, "bank"), (14, "row")))
        # After this cycle's command.
        self.open = (is_open | activate) & ~precharge
        self.bank = Mux(activate, pins.ba, bank)
        self.row = Mux(activate, pins.a, row)
        m.d.sync += [is_open.eq(self.open), bank.eq(self.bank), row.eq(self.row)]
        column = pins.a[3:COLUMN_BITS]
        # Where a read or a write is.
        self.block = Cat(column, bank, row)
        self.fits = is_open & (pins.ba == bank) & (pins.a == column << 3)
        proof.implies("all_are_closed", precharge, pins.a[10])


def _controller(bits: int, begin: bool, units: ModuleType) -> Harness:
    """Any words, bursts, resets (of 16 cycles or more) and samples at any time.

    begin: after the training and a refresh, instead of at power-up
    """
    proof = Harness()
    m, reset = proof.m, proof.free(1, "reset")
    with patch.object(ddr3_reads, "BLOCKS_AHEAD", AHEAD):
        unit = units.Ddr3(bits, CLOCK_HZ, SHORT)
        probes = proof.add(unit, reset=reset)
    if begin:
        for name, value in (("power_up.done", 1), ("training.done", 1), ("commands.awake", 1),
                            ("commands.due", 0), ("commands.is_open", 0)):
            probes[name]._init = value
    # A reset begins in any cycle, and another one 16 cycles after that, or later.
    held = Signal(range(RESET + 1), name="held", init=0 if begin else RESET)
    m.d.sync += held.eq(Mux(reset, held + (held != RESET), 0))
    proof.assume(reset | (held == 0) | (held == RESET))
    for value, name in ((unit.writes.valid, "word_valid"), (unit.writes.payload, "word"),
                        (unit.axi.ar.valid, "ar_valid"), (unit.axi.ar.payload, "ar"),
                        (unit.axi.r.ready, "r_ready"), (unit.pins.dq_i, "samples")):
        proof.drive(value, name)

    taken, word = _served(proof, unit, probes)
    row = _Row(proof, unit.pins)
    read = probes["reads"].go
    proof.implies("read_as_wanted", read, probes["reads"].wants)
    proof.implies("pins_are_free", taken, ~probes["capture"].under_way)
    # Each is a command, in the next cycle, and there are no others.
    proof.claim("write_told", row.write == proof.later(taken, "was_taken"))
    proof.claim("read_told", row.read == proof.later(read, "was_read"))
    block = Mux(taken, word.address[4:28], probes["reads"].address)
    proof.implies("at_its_place", row.write | row.read, row.fits & (
        row.block == proof.later(block, "block")))
    starting = proof.later(~probes["power_up.done"], "was_starting")
    told = Cat(getattr(unit.pins, name) for name in ("ras", "cas", "we", "ba", "a"))
    proof.implies("power_up_told", starting, told == proof.later(
        probes["power_up"].command, "starts"))
    written, was_read = _history(proof, taken, OVER, "taken"), _history(
        proof, read, BURST_CYCLES, "read")
    _data(proof, unit.pins, probes, taken, word, written)

    # For the induction: one after the other, of an open row; what is decided outlives a reset.
    wait, due, is_open = (probes[f"commands.{name}"] for name in ("wait", "due", "is_open"))
    same = (is_open == row.open) & (~row.open | (
        (probes["commands.open_bank"] == row.bank) & (probes["commands.open_row"] == row.row)))
    proof.claim("row_known", same | (due & is_open))
    proof.implies("asleep", ~probes["power_up.done"], due & is_open)
    proof.claim("held_fits", held <= RESET)
    proof.claim("awake", probes["commands.awake"] == (held == 0))
    for name, history, apart in (("write", written, BURST_CYCLES + 1),
                                 ("read", was_read, BURST_CYCLES)):
        for n in range(1, len(history)):
            proof.implies(f"{name}{n}_waits", history[n] & (held == 0), n + wait >= apart)
            proof.implies(f"{name}{n}_reset", history[n] & (held != 0), held <= n)
            if n < apart:
                proof.claim(f"{name}s_apart{n}", (history & (history >> n)) == 0)
    return proof


def _history(proof: Harness, event: Any, cycles: int, name: str) -> Value:
    """Bit n: it was there n cycles ago, of 1 to `cycles`."""
    history = Signal(cycles, name=f"{name}_before")
    proof.m.d.sync += history.eq(Cat(event, history))
    return Cat(Const(0, 1), history)


def _served(proof: Harness, unit: Any, probes: Probes) -> tuple[Value, Any]:
    """The training alone, then the world alone; returns that a word is taken, and which."""
    ready, training, inside = unit.ready, probes["training"], probes["reads"].axi
    taken, word = probes["written"].go, probes["written"].word
    proof.implies("ready_for_ever", proof.later(ready, "was_ready"), ready)
    for name, these, port in (("training", ready, training), ("world", ~ready, unit)):
        proof.implies(f"{name}_not_served", these, ~(
            port.writes.ready | port.axi.ar.ready | port.axi.r.valid))
        proof.implies(f"{name}_served", ~these, (taken == (port.writes.valid & port.writes.ready))
                      & (~taken | (word == port.writes.payload))
                      & (inside.ar.valid == port.axi.ar.valid)
                      & (inside.ar.ready == port.axi.ar.ready)
                      & (inside.ar.payload == port.axi.ar.payload)
                      & (inside.r.valid == port.axi.r.valid)
                      & (inside.r.ready == port.axi.r.ready)
                      & (inside.r.payload == port.axi.r.payload))
    return taken, word


def _data(proof: Harness, pins: Any, probes: Probes, taken: Any, word: Any,
          written: Value) -> None:
    """One word, which can be any, is on the data pins at its time, in its half of the block."""
    m = proof.m
    age, item = Signal(range(OVER + 1), name="age"), Signal(96, name="followed")
    m.d.sync += age.eq(Mux((age == 0) | (age == OVER), 0, age + 1))
    with m.If(taken & proof.free(1, "marks") & ((age == 0) | (age == OVER))):
        m.d.sync += [age.eq(1), item.eq(word)]
    high, data = item[3], item[32:]
    for n in range(BURST_CYCLES):
        here = age == DATA + n
        proof.implies(f"masked_{n}", here, pins.dm_o == Mux(high == n // 2, 0, 3))
        proof.implies(f"data_{n}", here & (high == n // 2),
                      pins.dq_o == data.word_select(n % 2, 32))
    proof.claim("strobe_true", pins.dqs_o == written[DATA:OVER].any())
    # A cycle longer at both ends.
    proof.claim("driven", pins.dq_oe == written[DATA - 1:OVER + 1].any())
    # For the induction: it waits for the word before it to be over.
    proof.implies("followed_true", age != 0, (age <= OVER) & written.bit_select(age, 1))
    line, keeps = probes["written.line"], DATA - 1
    proof.claim("line_true", line == written[1:len(line) + 1])
    for prefix, when in (("next_", (age != 0) & (age < keeps)), ("", (age >= keeps) & (
            age < OVER))):
        proof.implies(f"{prefix}word_kept", when, (probes[f"written.{prefix}data"] == data)
                      & (probes[f"written.{prefix}high"] == high))


_BEGIN = (
    Break("begin = WRITE_LATENCY - 1", "begin = WRITE_LATENCY - 2"),
    Break("now[2:].any(), now[:2].any()", "now[:2].any(), now[2:].any()"),
    Break("with m.If(line[begin - 1]):", "with m.If(line[0]):"),
    Break("Mux(now[0] | now[2], data[:32], data[32:])", "Mux(now[0], data[:32], data[32:])"),
    Break("writes.payload.address[4:ADDRESS_BITS]", "writes.payload.address[3:ADDRESS_BITS]"),
    Break("command = Signal(COMMAND, reset_less=True)", "command = Signal(COMMAND)"))

PROOFS = [
    Proof("ddr3-controller", "boards.ddr3",
          "Ddr3: each word once, at its place and time, masked; nobody is served before the "
          "training is over",
          lambda units: _controller(64, False, units), depth=4, induction=1, broken=(
              Break("(training.done, self.axi, self.writes)", "(1, self.axi, self.writes)"),
              Break("self.ready.eq(training.done)", "self.ready.eq(1)")), quick=True),
    Proof("ddr3-controller-ready", "boards.ddr3", "Ddr3, from a refresh after that on: likewise",
          lambda units: _controller(128, True, units), depth=12, induction=1, broken=_BEGIN),
]
