# SPDX-License-Identifier: Apache-2.0
"""Units between the accelerator and external memory, which answers and takes when it likes.

Memory keeps the rules of AXI: no beat that was not asked for, no acknowledgement of a burst that
was not sent.  Two copies of a unit get equal answers, one at once and the other at will.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any
from unittest.mock import patch

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from hw.axi import Reader, Writer
from hw.isa import Emit
from sim.formal.copies import Copies
from sim.formal.harness import Break, Harness, Proof, small
from sim.formal.queues import Scoreboard

PORT = 64
_PATIENCE = 4
_COUNT = 6   # bits of counters of the environment


def _taken(port: Any) -> Value:
    return Value.cast(port.valid) & Value.cast(port.ready)


def _read_port(copies: Copies, port: Callable[[Any], Any]) -> list[Any]:
    """A memory that answers what it was asked, in order, when it likes."""
    copies.sink("ar", lambda unit: port(unit).ar)

    def asked(unit: Any) -> Value:
        ar, r = port(unit).ar, port(unit).r
        owed = Signal(_COUNT, name=f"owed_{'a' if unit is copies.a else 'b'}")
        beats = Mux(_taken(ar), (ar.payload.len + 1)[:_COUNT], 0)
        copies.proof.m.d.sync += owed.eq(owed + beats - _taken(r))
        return owed != 0

    return copies.source("r", lambda unit: port(unit).r, when=asked)


def _window_load(units: ModuleType) -> Harness:
    """Rows of one or two lines; a row is taken when it is here, at once or at will."""
    hardware = small(port_bits=PORT, spills_maps=True, program_words=8)
    copies = Copies(lambda: units.RowLoader(hardware), items=4, patience=9)
    proof, m = copies.proof, copies.proof.m
    ins = copies.both("instruction", constant=True)
    proof.assume((ins.block_stride != 0) & (ins.block_stride <= 2) & (ins.blocks == 1)
                 & (ins.source_beats == ins.block_stride) & (ins.source_rows != 0)
                 & (ins.height != 0) & (ins.tiles != 0))
    copies.both("address", constant=True)
    copies.pulse("start", 2)
    beats = _read_port(copies, lambda unit: unit.port)
    taking = proof.free(1, "taking")
    for unit, label in ((copies.a, "a"), (copies.b, "b")):
        m.d.comb += unit.take_row.eq(unit.row_here & (1 if unit is copies.a else taking))
        rows, lines, taken = (Signal(_COUNT, name=f"{label}_{name}")
                              for name in ("rows", "lines", "taken"))
        m.d.sync += taken.eq(taken + unit.take_row)
        written, last = unit.write.en.any(), lines + 1 == ins.block_stride
        with m.If(written):
            m.d.sync += [lines.eq(Mux(last, 0, lines + 1)), rows.eq(rows + last)]
        # The row taken last and the two above may still be read.
        kept = Mux(taken < units.HELD_ROWS, 0, taken - units.HELD_ROWS)
        proof.implies(f"{label}_keeps_rows_in_use", written, rows - kept < ins.source_rows)
        proof.implies(f"{label}_here_is_whole", unit.row_here, rows > taken)
    copies.watch("place", lambda unit: unit.write.en.any(), lambda unit: Cat(
        unit.write.en, unit.write.half, Value.cast(unit.write.addresses)))
    copies.watch("write", lambda unit: unit.write.en.any(),
                 lambda unit: Value.cast(unit.write.data),
                 [beat.data[:hardware.geometry.line_bits] for beat in beats])
    copies.watch("row", lambda unit: unit.take_row, lambda unit: unit.row_here)
    return copies.finish()


def _window_store(units: ModuleType) -> Harness:
    """Rows of one or two lines, begun when there is room, done when they please."""
    hardware = small(port_bits=PORT, spills_maps=True, program_words=8)
    copies = Copies(lambda: units.RowStorer(hardware), items=3, patience=9)
    proof, m = copies.proof, copies.proof.m
    ins = copies.both("instruction", constant=True)
    proof.assume((ins.target_row != 0) & (ins.target_row <= 2) & ins.target_window
                 & (ins.target_beats == ins.target_row) & (ins.target_rows != 0))
    copies.both("address", constant=True)
    copies.pulse("start", 2)
    begun_at = proof.later(proof.later(proof.started, "one"), "two")
    mask = proof.constant(hardware.geometry.line_bits, "mask")
    for unit, label in ((copies.a, "a"), (copies.b, "b")):
        at_will = unit is copies.b
        open_, done, left = (Signal(_COUNT, name=f"{label}_{name}")
                             for name in ("open", "done", "unanswered"))
        begins, ends, reads, answers = (
            proof.free(1, f"{label}_{name}") if at_will else 1
            for name in ("begins", "ends", "reads", "answers"))
        m.d.comb += [
            # The units begin after the layer does, and end what they began.
            unit.begin_row.eq(begun_at & ~unit.start & unit.row_free & begins),
            unit.row_done.eq((open_ != done) & ends), unit.may_read.eq(reads),
            unit.port.b.valid.eq((left != 0) & answers)]
        m.d.sync += [open_.eq(open_ + unit.begin_row), done.eq(done + unit.row_done),
                     left.eq(left + (_taken(unit.port.w) & unit.port.w.payload.last)
                             - _taken(unit.port.b))]
        # Spike memory: a line depends on its place, in a way that is not known.
        with m.If(unit.read.en):
            m.d.sync += Value.cast(unit.read.data).eq(mask ^ unit.read.addresses[0])
        with m.Else():   # another client reads
            m.d.sync += Value.cast(unit.read.data).eq(
                proof.free(hardware.geometry.line_bits, f"{label}_other"))
        proof.implies(f"{label}_asks_when_free", unit.read.en, unit.may_read)
        # A row goes out only when it is complete, and its place is free only when it has.
        beats = proof.count(_taken(unit.port.w), _COUNT, f"{label}_beats")
        whole = proof.count(_taken(unit.port.b), _COUNT, f"{label}_acknowledged")
        complete = Mux(ins.target_row == 1, done, done << 1)
        proof.implies(f"{label}_complete_rows_only", _taken(unit.port.w), beats < complete)
        proof.claim(f"{label}_room", (open_ - whole)[:_COUNT] <= ins.target_rows)
        if at_will:
            copies.willing(begins, ends, reads, answers)
    copies.watch("begin", lambda unit: unit.begin_row, lambda unit: unit.row_free)
    copies.sink("aw", lambda unit: unit.port.aw)
    copies.sink("w", lambda unit: unit.port.w)
    return copies.finish()


def _map_window(units: ModuleType) -> Harness:
    """Both halves may do anything: each has its ports, and what both share reaches both."""
    def half(unit: Any) -> Any:
        return type(unit.__name__, (unit,), {"elaborate": lambda self, platform: Module()})

    proof = Harness()
    unit = units.MapWindow(small(port_bits=PORT, spills_maps=True, program_words=8))
    with (patch.object(units, "RowLoader", half(units.RowLoader)),
          patch.object(units, "RowStorer", half(units.RowStorer))):
        probes = proof.add(unit)
    outside = {path: Value.cast(value) for path, member, value in unit.signature.flatten(unit)}
    for path, member, value in unit.signature.flatten(unit):
        if member.flow == In:
            proof.drive(value, "_".join(map(str, path)))
    watches = []
    for name, port in (("load", "read"), ("store", "write")):
        each = probes[name]
        for path, member, value in each.signature.flatten(each):
            label, end = "_".join((name, *map(str, path))), Value.cast(value)
            if member.flow == Out:
                proof.drive(value, label)
            if path[0] == "watch":
                watches.append(end)
            else:
                where = ("port", port, *path[1:]) if path[0] == "port" else path
                proof.claim(label, outside[where] == end)
    told = Cat(value for path, value in outside.items() if path[0] == "watch")
    size = len(watches) // 2
    proof.claim("watch", told == (Cat(watches[:size]) | Cat(watches[size:])))
    return proof


class _AnyReader(Reader):
    """Nothing but the ports of what `axi-reader` proves; the proof drives the outputs."""

    def elaborate(self, platform: object) -> Module:
        return Module()


class _AnyWriter(Writer):
    """Likewise, `axi-writer`."""

    def elaborate(self, platform: object) -> Module:
        return Module()


def _spill(units: ModuleType) -> Harness:
    """A layer that adds or begins: groups are admitted, then take and give their words any time."""
    hardware = small(port_bits=PORT, residual_words=0, program_words=8)
    proof = Harness()
    reader, writer = _AnyReader(PORT), _AnyWriter(PORT)
    m, unit = proof.m, units.ResidualSpill(hardware)
    with (patch.object(units, "Reader", lambda bits: reader),
          patch.object(units, "Writer", lambda bits: writer)):
        probes = proof.add(unit)
    ins = proof.constant(unit.instruction.shape(), "instruction")
    m.d.comb += Value.cast(unit.instruction).eq(Value.cast(ins))
    start = proof.drive(unit.start, "start")
    for name in ("address", "last_tile"):
        m.d.comb += getattr(unit, name).eq(proof.constant(getattr(unit, name).shape(), name))
    beats = hardware.geometry.beats
    proof.assume((ins.emit == Emit.RESIDUAL) & (ins.last_beats != 0) & (ins.last_beats <= beats))
    size, adds = Mux(unit.last_tile, ins.last_beats, beats), ins.add_residual
    proof.drive(writer.busy, "writing")
    proof.claim("busy_told", unit.busy == writer.busy)
    for name, end, begins in (("read", reader, start & adds), ("write", writer, start)):
        proof.claim(f"{name}_begins", end.start == begins)
        proof.implies(f"{name}_as_told", end.start, (end.address == unit.address)
                      & (end.beats == ins.stream_beats))

    # The pipeline asks for a group only when it is permitted, for words of groups that it has, and
    # gives a word back after it took it.
    came, sent = proof.source(reader.o, "old_beat"), proof.sink(writer.i, "new_beat")
    proof.assume(~reader.o.valid | adds)
    reserve = proof.drive(unit.reserve, "reserve")
    pop, push = proof.drive(unit.words.pop, "pop"), proof.drive(unit.words.push, "push")
    proof.drive(unit.words.new, "new")
    promised, popped, pushed = (Signal(_COUNT, name=name)
                                for name in ("promised", "popped", "pushed"))
    m.d.sync += [promised.eq(promised + Mux(reserve, size, 0)), popped.eq(popped + pop),
                 pushed.eq(pushed + push)]
    proof.assume(~reserve | unit.permit)
    proof.assume(~pop | (popped != promised))
    proof.assume(~push | (pushed != popped))

    # What comes from memory is added, what was added goes there: each word once, in order.
    word = len(unit.words.old)
    Scoreboard(proof, came, reader.o.payload[:word], pop & adds, unit.words.old, 40, "old")
    Scoreboard(proof, push, unit.words.new, sent, writer.i.payload[:word], 40, "new")
    # What was permitted is there.
    proof.implies("old_is_here", pop & adds, probes["olds"].r_rdy)
    # While words come and go, groups are permitted, and results leave.
    quiet = Signal(range(_PATIENCE + 2), name="quiet")
    waits = (reader.o.valid | ~adds) & writer.i.ready & ~(reserve | pop | push | came | sent)
    inside = (pushed != proof.count(sent, _COUNT, "sent")) | (promised == pushed)
    m.d.sync += quiet.eq(Mux(waits & inside & ~unit.permit, quiet + (quiet <= _PATIENCE), 0))
    proof.claim("goes_on", quiet <= _PATIENCE)
    return proof


PROOFS = [
    Proof("window-load", "hw.window",
          "RowLoader writes the same lines, keeps rows in use, shows whole rows", _window_load,
          depth=18, broken=(
              Break("with m.If(join.o.valid):", "with m.If(1):"),
              Break("< ins.source_rows):", "<= ins.source_rows):"),
              Break("self.row_here.eq(loaded != taken)", "self.row_here.eq(1)"))),
    Proof("window-store", "hw.window",
          "RowStorer sends the same lines of complete rows, and waits for acknowledgement",
          _window_store, depth=16, broken=(
              Break("asking = (left != 0) & self.may_read", "asking = (left != 0)"),
              Break("m.d.sync += arriving.eq(asking)", "m.d.sync += arriving.eq(self.may_read)"),
              Break("m.If(done != written):", "m.If(begun != written):"),
              Break("[:ROW_COUNT_BITS] != ins.target_rows)",
                    "[:ROW_COUNT_BITS] <= ins.target_rows)"))),
    Proof("window-both", "hw.window",
          "MapWindow: RowLoader and RowStorer have its ports, each its own", _map_window, depth=2,
          induction=1, quick=True, broken=(
              Break("store.row_done.eq(self.row_done)", "store.row_done.eq(self.begin_row)"),
              Break("self.row_here.eq(load.row_here)", "self.row_here.eq(store.row_free)"),
              Break("load.watch.as_value() | store.watch.as_value()", "load.watch.as_value()"))),
    Proof("residual-spill", "hw.spill",
          "ResidualSpill: each word read is given, each result written, once, in order, unchanged; "
          "a group that is permitted finds its words", _spill, depth=10, broken=(
              Break("(here >= size)", "(here + 1 >= size)"),
              Break("olds.r_en.eq(self.words.pop & reads)", "olds.r_en.eq(1)"),
              Break("news.r_en.eq(split.i.ready)", "news.r_en.eq(1)"))),
]
