# SPDX-License-Identifier: Apache-2.0
"""The flash controller against a chip on its pins: what that is told, and the beats of it."""

from types import ModuleType
from typing import Any
from unittest.mock import patch

from amaranth import Array, Cat, Const, Mux, Signal, Value

from sim.formal.chips import follow_burst
from sim.formal.harness import Break, Harness, Probes, Proof

PORT = 16          # a beat is two bytes here
NIBBLES = PORT // 4
CLOCK_HZ = 20_000_000
COMMAND, ADDRESS, DUMMY = 8, 24, 8
READ_BITS = COMMAND + ADDRESS + DUMMY
LENGTHS = {"WRITE_REGISTERS": 24, "READ_STATUS": 16, "WRITE_ENABLE": 8, "READ_CONFIGURATION": 16}
# States of the unit by the command that they send.
STEPS = {"Poll": "READ_STATUS", "Configuration": "READ_CONFIGURATION", "Status": "READ_STATUS",
         "Enable": "WRITE_ENABLE", "Write": "WRITE_REGISTERS"}
PATIENCE = 6       # cycles until the chip's clock moves, if something is to be done


class _Chip:
    """An S25FL128S on the pins, with any registers; what it must not be told is claimed.

    It is busy at first for as long as it likes, and after each writing of its registers.  Where
    the proof begins later than with a reset, it is not busy; it is set up for reads, or in one.
    """

    def __init__(self, proof: Harness, pins: Any, begin: str, units: ModuleType) -> None:
        self._proof, self._pins, self._units, self._begin = proof, pins, units, begin
        m = proof.m
        self.was = proof.later(pins.sck, "sck_before")
        self.selected = proof.later(pins.cs, "cs_before")
        self.rise, fall = pins.cs & pins.sck & ~self.was, pins.cs & ~pins.sck & self.was
        # Bits that came and clocks that ended, at most those before data; then, where it reads.
        first = READ_BITS * (begin == "Data")
        self.clocks = Signal(range(READ_BITS + 1), name="clocks")
        self.bits, ended = (Signal(range(READ_BITS + 1), name=name, init=first)
                            for name in ("bits", "ended"))
        self.at, self.low_half = Signal(ADDRESS, name="at"), Signal(name="low_half")
        at, low_half = Signal(ADDRESS, name="at_before"), Signal(name="low_half_before")
        self.word = Signal(COMMAND + ADDRESS, name="word")
        with m.If(self.rise):
            m.d.sync += self.bits.eq(self.bits + (self.bits != READ_BITS))
            with m.If(self.bits < COMMAND + ADDRESS):
                m.d.sync += self.word.eq(Cat(pins.dq_o[0], self.word))
        m.d.comb += [self.clocks.eq(ended), self.at.eq(at), self.low_half.eq(low_half)]
        with m.If(fall):
            m.d.comb += [self.at.eq(self.word), self.low_half.eq(0)]
            with m.If(ended == READ_BITS):
                m.d.comb += [self.at.eq(at + low_half), self.low_half.eq(~low_half)]
            with m.Else():
                m.d.comb += self.clocks.eq(ended + 1)
        m.d.sync += [ended.eq(self.clocks), at.eq(self.at), low_half.eq(self.low_half)]
        with m.If(~pins.cs):
            m.d.sync += [self.bits.eq(0), self.word.eq(0), ended.eq(0)]
        self.begins, self.ends = pins.cs & ~self.selected, ~pins.cs & self.selected
        proof.implies("clock_low_between", self.begins | self.ends, ~pins.sck & ~self.was)
        self._code = Signal(COMMAND, name="code", init=units.Command.QUAD_OUTPUT_READ)
        with m.If(self.rise & (self.bits == COMMAND - 1)):
            m.d.sync += self._code.eq(Cat(pins.dq_o[0], self.word))
        self._told = self.bits >= COMMAND
        self._registers()
        self._rules()
        self._answer()

    def command(self, name: str) -> Value:
        """Whether it is being told that command."""
        return self._told & (self._code == self._units.Command[name])

    def _registers(self) -> None:
        proof, m, word, quad = self._proof, self._proof.m, self.word, self._units.QUAD
        self.configuration = Signal(8, name="configuration", init=1 << quad)
        self.status = Signal(8, name="status")
        self.busy, self.enabled = Signal(name="busy"), Signal(name="enabled")
        first = [proof.constant(8, f"{name}_at_first") for name in ("configuration", "status")]
        write = self.command("WRITE_REGISTERS")
        if self._begin != "Wake":
            proof.assume(~first[1][0])
        if self._begin in ("Idle", "Data"):
            proof.assume(first[0][quad])
        with m.If(self.busy & proof.free(1, "done")):
            m.d.sync += self.busy.eq(0)
        with m.If(self.ends & self.command("WRITE_ENABLE")):
            m.d.sync += self.enabled.eq(1)
        with m.If(self.ends & write):
            m.d.sync += [self.configuration.eq(word[:8]), self.busy.eq(1), self.enabled.eq(0)]
        with m.If(~proof.started):
            m.d.sync += [self.configuration.eq(first[0]), self.status.eq(first[1]),
                         self.busy.eq(first[1][0]), self.enabled.eq(first[1][1])]
        # Once, and nothing but the one bit.
        proof.implies("only_what_is_meant", self.ends & write, (
            word[10:16] == self.status[2:]) & (word[:8] == self.configuration | 1 << quad)
            & ~self.configuration[quad])
        proof.implies("enabled_before", self.ends & write, self.enabled)

    def _rules(self) -> None:
        proof, pins, units = self._proof, self._pins, self._units
        code, reads = units.Command, self.command("QUAD_OUTPUT_READ")
        proof.implies("known_command", self._told, Array(
            [Const(n in list(code)) for n in range(256)])[self._code])
        for name, length in LENGTHS.items():
            proof.implies(f"{name.lower()}_whole", self.ends & self.command(name),
                          (self.bits == length) & (self.clocks == length))
        proof.implies("whole", self.ends, self._told & (~reads | (self.bits == READ_BITS)))
        proof.implies("only_status_while_busy", self._told & self.busy & ~self.ends,
                      self.command("READ_STATUS"))
        proof.implies("quad", reads, self.configuration[units.QUAD])
        # Between two commands; clocks before the first.
        self.low, self.alone = Signal(range(8), name="low", init=7), Signal(
            range(8), name="alone", init=units.WAKE_CLOCKS * (self._begin != "Wake"))
        proof.m.d.sync += [self.low.eq(Mux(pins.cs, 0, self.low + ~self.low.all())),
                           self.alone.eq(self.alone + (~pins.cs & pins.sck & ~self.was))]
        proof.implies("pause", self.begins, self.low * (1_000_000_000 // CLOCK_HZ)
                      >= units.PAUSE_NS)
        proof.implies("woken", pins.cs, self.alone >= units.WAKE_CLOCKS)
        # What it samples is there a cycle before, and driven; nobody drives against it.
        kept = [proof.later(Value.cast(each), name) == each for each, name in (
            (pins.dq_o, "dq_before"), (pins.dq_oe, "oe_before"))]
        addressed = COMMAND + ADDRESS
        proof.implies("set_up_in_time", self.rise, Cat(kept).all())
        proof.implies("driven", self.rise & ~(reads & (self.bits >= addressed)), pins.dq_oe[0])
        proof.implies("not_against_it", pins.cs, ~pins.dq_oe[1] & (
            (pins.dq_oe == 0) | ~reads | (self.clocks < READ_BITS)))
        proof.implies("no_hold", pins.cs & ~(reads & (self.clocks >= addressed)),
                      pins.dq_oe[2:].all() & pins.dq_o[2:].all())

    def _answer(self) -> None:
        """At the end of a clock what came of the one before; anything in between."""
        proof, pins = self._proof, self._pins
        noise, status = proof.free(4, "noise"), Cat(self.busy, self.enabled, self.status[2:])
        self.mask = proof.constant(8, "mask")
        register = Mux(self.command("READ_STATUS"), status, self.configuration)
        proof.m.d.comb += pins.dq_i.eq(noise)
        with proof.m.If(pins.sck & (self.command("READ_STATUS")
                                    | self.command("READ_CONFIGURATION"))):
            # The highest bit first.
            proof.m.d.comb += pins.dq_i[1].eq(register.bit_select(~self.clocks[:3], 1))
        with proof.m.If(pins.sck & self.command("QUAD_OUTPUT_READ") & (self.clocks == READ_BITS)):
            proof.m.d.comb += pins.dq_i.eq(self.half(self.at, self.low_half))

    def byte(self, address: Any) -> Value:
        """What it holds there, a function of the address that is not known."""
        return address[:8] ^ address[8:16] ^ address[16:24] ^ self.mask

    def half(self, address: Any, low: Any) -> Value:
        byte = self.byte(address)
        return Mux(low, byte[:4], byte[4:])


def _flash(begin: str, units: ModuleType) -> Harness:
    """Bursts of any length anywhere, at any time, taken at any time."""
    proof = Harness()
    with patch.object(units, "PORT_BITS", (PORT,)):
        unit = units.Flash(PORT, CLOCK_HZ)
    probes = proof.add(unit)
    probes.begin(begin, *(((probes["reading"], 1), (unit.pins.cs, 1), (probes["left"], 0))
                          if begin == "Data" else ()))
    m, size = proof.m, PORT // 8
    chip = _Chip(proof, unit.pins, begin, units)
    ar, r = unit.axi.ar, unit.axi.r
    asked, beat = proof.source(ar, "ar"), proof.sink(r, "r")
    proof.assume(~ar.valid | (ar.payload.addr % size == 0))

    def data(first: Any, number: Any) -> Value:
        return Cat(chip.byte((first + size * number + n)[:ADDRESS]) for n in range(size))

    burst = follow_burst(proof, unit.axi, asked, beat, data, 8)
    proof.implies("ready_when_set_up", unit.ready,
                  chip.configuration[units.QUAD] & ~chip.busy)
    # A burst that begins where the one before ended goes on in the same read.
    reading, end = Signal(name="reading", init=begin == "Data"), Signal(ADDRESS, name="end")
    with m.If(asked):
        m.d.sync += [reading.eq(1), end.eq(ar.payload.addr + size * (ar.payload.len + 1))]
    wanted = proof.later(reading & ar.valid & (ar.payload.addr[:ADDRESS] == end), "wanted")
    proof.implies("goes_on_in_one_read", wanted & chip.command("QUAD_OUTPUT_READ"), ~chip.ends)
    # While something is to be done the chip's clock, or what is given, moves: nothing hangs.
    quiet, waits = Signal(range(PATIENCE + 2), name="quiet"), ~unit.ready | ar.valid
    waits = (waits | (burst.owed > r.valid)) & (~r.valid | r.ready)
    m.d.sync += quiet.eq(Mux(waits & (chip.was == unit.pins.sck) & ~beat & ~asked,
                             quiet + (quiet <= PATIENCE), 0))
    proof.claim("goes_on", quiet <= PATIENCE)
    _Inside(proof, unit, probes, chip, burst).claim(quiet, reading, end)
    return proof


class _Inside:
    """What the unit knows of the chip in each of its states, so that induction does."""

    def __init__(self, proof: Harness, unit: Any, probes: Probes, chip: _Chip, burst: Any) -> None:
        self._proof, self._unit, self._probes = proof, unit, probes
        self._chip, self._burst = chip, burst

    def _on(self, *names: str) -> Value:
        state = self._probes.named("fsm_state")
        return Cat(state == self._probes.state(name) for name in names).any()

    def claim(self, quiet: Signal, reading: Signal, end: Signal) -> None:
        on, chip, pins, unit = self._on, self._chip, self._unit.pins, self._probes
        sends, ends = [f"{step} bits" for step in STEPS], [f"{step} end" for step in STEPS]
        reads = ("Command", "Data", "Close")
        claim, implies = self._proof.claim, self._proof.implies
        claim("state_known", on(*STEPS, *sends, *ends, "Wake", "Quad", "Keep", "Polled", "Idle",
                                *reads))
        claim("selected_true", pins.cs == on(*sends, *ends, *reads))
        implies("clock_true", pins.sck, on(*sends, "Wake", "Command", "Data"))
        claim("reading_true", unit["reading"] == on(*reads))
        wakes = chip._units.WAKE_CLOCKS
        claim("woken_true", Mux(on("Wake"), (chip.alone + unit["left"] == wakes)
                                & (unit["left"] != 0), chip.alone == wakes))
        implies("pause_true", ~pins.cs & ~on("Wake"), chip.low + unit["pause"] >= 2)
        claim("clocked", (chip.bits == chip.clocks) | ~pins.cs)
        implies("forgotten", ~pins.cs & ~chip.selected, (chip.word == 0) & (chip.clocks == 0)
                & (chip.bits == 0))
        self._sent()
        self._answered()
        self._collected(reading, end)
        # How long it may have stood still.
        implies("moves_data", on("Data"), quiet <= 1)
        implies("moves_close", on("Close"), quiet <= 2)
        implies("moves_idle", on("Idle"), quiet + unit["pause"] <= 5)
        implies("moves_wait", on(*STEPS, "Quad", "Keep", "Polled"), quiet + unit["pause"] <= 4)
        implies("moves_bits", on(*sends, *ends, "Command", "Wake"), quiet <= Mux(
            chip.clocks != 0, 1, 5 + pins.sck))

    def _sent(self) -> None:
        """The bits of a command are in the unit's register or in the chip."""
        chip, unit, on = self._chip, self._probes, self._on
        implies, codes = self._proof.implies, chip._units.Command
        whole = Signal(READ_BITS, name="whole")
        for step, name in STEPS.items():
            length = LENGTHS[name]
            sends, ends = on(f"{step} bits"), on(f"{step} end")
            with self._proof.m.If(sends | ends):
                self._proof.m.d.comb += whole[-COMMAND:].eq(codes[name])
            implies(f"{step.lower()}_left", sends, (unit["left"] + chip.clocks == length)
                    & (unit["left"] != 0))
            implies(f"{step.lower()}_sent", ends, (chip.clocks == length) & (unit["left"] == 0))
        m = self._proof.m
        with m.If(on("Write bits", "Write end")):
            m.d.comb += whole[16:32].eq(Cat(unit["configuration"] | 2, unit["status"]))
        with m.If(on("Command")):
            m.d.comb += whole.eq(Cat(Const(0, DUMMY), unit["address"],
                                     Const(codes["QUAD_OUTPUT_READ"], COMMAND)))
        told = chip.clocks >= COMMAND
        implies("read_left", on("Command"), (unit["left"] + chip.clocks == READ_BITS)
                & (unit["left"] != 0))
        implies("read_sent", on("Data", "Close"), (chip.clocks == READ_BITS)
                & (unit["left"] == 0) & chip.command("QUAD_OUTPUT_READ"))
        moved = Signal(2 * READ_BITS, name="moved")
        m.d.comb += moved.eq(whole << chip.clocks)
        command = self._unit.pins.cs & ~on("Data", "Close")
        implies("not_yet_sent", command, unit["shift"] == moved[:READ_BITS])
        implies("sent", command, chip.word == Mux(
            chip.clocks <= COMMAND + ADDRESS, moved[READ_BITS:], whole[DUMMY:])[:len(chip.word)])
        implies("code_true", command & told, chip._code == whole[-COMMAND:])

    def _answered(self) -> None:
        """What it knows of the chip's registers."""
        chip, unit, on, implies = self._chip, self._probes, self._on, self._proof.implies
        quad, answer = 1 << chip._units.QUAD, unit["answer"]
        write = ("Write", "Write bits", "Write end")
        after = ("Enable", "Enable bits", "Enable end", *write)
        known = ("Status", "Status bits", "Status end", "Keep", *after)
        ready = ("Idle", "Command", "Data", "Close")
        implies("not_busy", on("Configuration", "Configuration bits", "Configuration end", "Quad",
                               *known, *ready), ~chip.busy)
        implies("busy_told", on("Poll end", "Polled"), answer[0] | ~chip.busy)
        # The highest bits of a register have come.
        missing = (16 - chip.clocks)[:4]
        implies("configuration_told", on("Quad"), answer == chip.configuration)
        implies("status_told", on("Keep"), answer[2:] == chip.status[2:])
        for name, states, register, low in (
                ("configuration", ("Configuration bits", "Configuration end"),
                 chip.configuration, 0),
                ("status", ("Status bits", "Status end"), Cat(Const(0, 2), chip.status[2:]), 2)):
            mask = (0xFF << low & 0xFF) >> missing
            implies(f"{name}_comes", on(*states) & (chip.clocks >= COMMAND),
                    (answer & mask) == ((register >> missing) & mask))
        implies("configuration_kept", on(*known), (unit["configuration"] == chip.configuration)
                & ((chip.configuration & quad) == 0))
        implies("status_kept", on(*after), unit["status"][2:] == chip.status[2:])
        implies("enabled", on(*write), chip.enabled
                | (chip.ends & chip.command("WRITE_ENABLE")))
        implies("quad_set", on(*ready), (chip.configuration & quad) != 0)

    def _collected(self, reading: Signal, end: Signal) -> None:
        """Which parts of a beat have come, and which beats of the burst that is followed."""
        chip, unit, on, burst = self._chip, self._probes, self._on, self._burst
        proof, r, size = self._proof, self._unit.axi.r, PORT // 8
        implies, address = proof.implies, unit["address"]
        left, count, collected = (unit[f"data.{name}"] for name in ("left", "count", "collected"))
        implies("count_true", ~on("Data") | (left == 0), count == 0)
        parts = Array(collected[4 * n:4 * n + 4] for n in range(NIBBLES - 1))
        for n in range(NIBBLES - 1):
            implies(f"part{n}_true", count > n, parts[(NIBBLES - 1 - count + n)[:2]]
                    == chip.half((address + n // 2)[:ADDRESS], n % 2))
        implies("reads_on", on("Data"), (chip.at == (address + (count >> 1))[:ADDRESS])
                & (chip.low_half == count[0]))
        implies("reads_there", on("Command") & (chip.clocks > COMMAND + ADDRESS),
                (chip.at == address) & ~chip.low_half)
        implies("room", on("Data") & self._unit.pins.sck, (left != 0)
                & ~((count == NIBBLES - 1) & r.valid))
        implies("left_true", ~on("Command", "Data"), left == 0)
        implies("left_there", on("Command"), left != 0)
        proof.claim("owed_true", burst.owed == left + r.valid)
        proof.claim("okay", r.payload.resp == 0)
        implies("no_burst_yet", ~on("Idle", "Command", "Data", "Close"), ~r.valid)
        implies("reading_told", on("Command", "Data", "Close") | r.valid, reading)
        implies("end_true", reading, end == (address + size * left)[:ADDRESS])
        ar = self._unit.axi.ar
        implies("close_true", on("Close"), ar.valid & (ar.payload.addr[:ADDRESS] != address))
        active, first = burst.marked & (burst.number <= burst.last), burst.ahead == 0
        proof.claim("follows", (first | (active & (burst.ahead == 1) & r.valid
                                         & (burst.number == 0)))
                    & (burst.number <= burst.last + 1) & (burst.marked | (burst.number == 0)))
        # With its last beat waiting, the next burst may have begun.
        here = r.valid & first
        active &= ~(here & (burst.number == burst.last))
        implies("follows_beats", active, left + here + burst.number == burst.last + 1)
        implies("follows_address", active & (left != 0), address == (
            burst.first + size * (burst.number + here))[:ADDRESS])


PROOFS = [
    Proof("flash", "boards.flash",
          "Flash: what its chip is told and when; registers kept but for one bit; beats, in order",
          lambda units: _flash("Wake", units), depth=47, induction=2, broken=(
              Break("init=WAKE_CLOCKS)", "init=WAKE_CLOCKS - 1)"),
              Break("with m.If(answer[BUSY]):", "with m.If(0):"))),
    Proof("flash-configuration", "boards.flash",
          "Flash, from its second command on: likewise",
          lambda units: _flash("Configuration", units), depth=39, broken=(
              Break("with m.If(answer[QUAD]):", "with m.If(answer[QUAD + 1]):"),
              Break("answer.eq(Cat(pins.dq_i[1], answer))", "answer.eq(Cat(pins.dq_i[0], answer))"),
              )),
    Proof("flash-reads", "boards.flash", "Flash, from where it is ready on: likewise",
          lambda units: _flash("Idle", units), depth=8, broken=(
              Break("begin(40, Cat(Const(0, DUMMY_CLOCKS), first,",
                    "begin(40, Cat(Const(0, DUMMY_CLOCKS), first ^ 2,"),
              Break("reading & (left <= DUMMY_CLOCKS)", "reading"))),
    Proof("flash-beats", "boards.flash", "Flash, from where a read is open on: likewise",
          lambda units: _flash("Data", units), depth=18, broken=(
              Break("for place in (byte + 4, byte)", "for place in (byte, byte + 4)"),
              Break("with m.If(first == address):", "with m.If(1):"),
              Break("~(final & self.r.valid & ~self.r.ready)", "1"),
              Break("address.eq(address + self._bits // 8)", "address.eq(address + 1)"))),
]
