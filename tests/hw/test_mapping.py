# SPDX-License-Identifier: Apache-2.0
import pytest
from amaranth import Module, Signal, unsigned
from amaranth.back import rtlil
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.asic import mapping
from hw.asic.design import AsicDesign
from hw.asic.macros import SramPlatform
from hw.asic.mapping import Area, Library, area_table, areas, map_design
from hw.report import SynthesisError

_EDGES = ("cell_rise", "rise_transition", "cell_fall", "fall_transition")


def _cell(name, area, function, pins, group=""):
    """A cell in Liberty; `abc` wants delays."""
    inputs = "".join(f"pin({pin}) {{ direction : input; capacitance : 1; }}\n" for pin in pins)
    edges = " ".join(f'{edge}(scalar) {{ values("0.1"); }}' for edge in _EDGES)
    timing = "" if group else "".join(
        f'timing() {{ related_pin : "{pin}"; timing_sense : negative_unate; {edges} }}\n'
        for pin in pins)
    return (f"cell ({name}) {{ area : {area}; {group}\n{inputs}"
            f'pin(Y) {{ direction : output; function : "{function}"; {timing} }} }}\n')


LIBERTY = "library(mini) {\n" + "".join((
    _cell("INV", 2, "!A", "A"), _cell("BUF", 3, "A", "A"), _cell("NAND2X1", 3, "!(A B)", "AB"),
    _cell("NAND2X4", 9, "!(A B)", "AB"),
    _cell("DFF", 10.5, "IQ", "CD", 'ff (IQ, IQN) { clocked_on : "C"; next_state : "D"; }'))) + "}\n"


class Unit(wiring.Component):
    """Two equal parts, each with a register, and a memory."""

    def __init__(self, reset_less=False):
        self.reset_less = reset_less
        super().__init__({"a": In(4), "o": Out(8), "address": In(8)})

    def elaborate(self, platform):
        m = Module()
        for n in range(2):
            m.submodules[f"part{n}"] = part = Module()
            register = Signal(4, init=9, reset_less=self.reset_less, name=f"register{n}")
            part.d.sync += register.eq(register ^ self.a)
            m.submodules[f"memory{n}"] = memory = Memory(shape=unsigned(4), depth=256, init=[])
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += [write.addr.eq(self.address), read.addr.eq(self.address),
                         write.en.eq(1), write.data.eq(register),
                         self.o.word_select(n, 4).eq(read.data)]
        return m


@pytest.fixture
def design():
    def make(**options):
        platform = SramPlatform()
        text = rtlil.convert(Unit(**options), name="accelerator", platform=platform,
                             emit_src=False)
        return AsicDesign(text.replace("attribute \\init", "attribute \\was"), platform.macros)
    return make


@pytest.fixture
def liberty(tmp_path):
    (tmp_path / "mini.lib").write_text(LIBERTY)
    return tmp_path / "mini.lib"


def test_library():
    library = Library.parse(LIBERTY)
    assert library.areas == {"INV": 2, "BUF": 3, "NAND2X1": 3, "NAND2X4": 9, "DFF": 10.5}
    assert library.flip_flops == {"DFF"}
    assert library.nand2 == 3


@pytest.mark.parametrize(("text", "cells"), [
    ("", "no cell"), ("library(a) { cell (INV) { area : 2; } }", "INV")])
def test_a_library_without_nand_is_refused(text, cells):
    with pytest.raises(ValueError, match=f"must have a cell named NAND2.*not '{cells}'"):
        Library.parse(text)


@pytest.mark.parametrize(("name", "counts"), [
    ("NAND2X1", True), ("sky130_fd_sc_hd__nand2_1", True), ("NAND2_X1", True),
    ("gf180mcu_fd_sc_mcu7t5v0__nand2_1", True), ("NAND2BX1", False), ("NAND3X1", False)])
def test_names_of_nand_gates(name, counts):
    assert bool(mapping._NAND2.fullmatch(name)) is counts


def test_maps_to_the_cells_of_a_library(design, liberty, tmp_path, monkeypatch):
    mapped = map_design(made := design(), liberty, tmp_path / "cache")
    macros = {macro.name: macro.total for macro in made.macros}
    modules = areas(mapped.cells, Library.parse(LIBERTY), macros)
    assert modules["accelerator.part*"].flip_flops == 8
    assert modules["accelerator.memory*"] == Area(sram_bits=2048)
    assert modules["accelerator"].sram_bits == 2048
    assert modules["accelerator"].area >= 8 * 10.5 + modules["accelerator"].cells - 8
    assert "DFF" in mapped.netlist and "module NAND2X1" in mapped.models
    table = area_table(modules, 3).splitlines()
    assert table[1].split() == ["accelerator", f"{modules['accelerator'].cells}", "8",
                                f"{modules['accelerator'].area:,.0f}",
                                f"{modules['accelerator'].area / 3:,.0f}", "2,048"]
    monkeypatch.setattr(mapping, "run_yosys", None)   # a second run must not call it
    assert map_design(made, liberty, tmp_path / "cache") == mapped


def test_a_register_without_reset_is_refused(design, liberty, tmp_path):
    with pytest.raises(SynthesisError, match="yosys failed"):
        map_design(design(reset_less=True), liberty, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cell_that_is_not_in_the_library_is_refused():
    statistics = {"modules": {"\\accelerator": {"num_cells_by_type": {"$_AND_": 2}}}}
    with pytest.raises(SynthesisError, match="must be made of the library's cells, not of"):
        areas(statistics, Library.parse(LIBERTY), {})
