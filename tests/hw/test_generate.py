# SPDX-License-Identifier: Apache-2.0
"""Verilog and RTLIL: the promised ports, nothing that only a simulator understands."""

import re

import pytest
from amaranth import Module
from amaranth.back import rtlil
from amaranth.lib.memory import Memory

from hw.accelerator import Accelerator
from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.generate import accelerator_rtlil, accelerator_verilog, share_modules, verilog_of
from hw.network import NetworkConfig
from tests.hw.reference import random_model

NETWORK = NetworkConfig(8, 1, 1, 2, 1, 3, 3, 2, pool_stages=(False,) * 4, mlp_ratio=1.0)


@pytest.fixture(scope="module")
def program():
    model, _ = random_model(NETWORK)
    return compile_model(model, HardwareConfig.for_model(model, 8, 2, neurons=4))


@pytest.fixture(scope="module")
def verilog(program):
    return {trace: accelerator_verilog(program, trace, "core") for trace in (False, True)}


def ports(text, name):
    """{port: (direction, width)} of a module."""
    module = re.search(rf"module {name}\((.*?)\bendmodule", text, re.DOTALL).group(1)
    listed = re.search(r"^(.*?)\);", module, re.DOTALL).group(1).split(",")
    found = {}
    for direction, high, port in re.findall(
            r"^\s*(input|output)\s+(?:wire\s+|reg\s+)?(?:\[(\d+):0\]\s*)?(\w+)", module,
            re.MULTILINE):
        found[port] = (direction, int(high or 0) + 1)
    assert set(found) == {port.strip() for port in listed}
    return found


STREAMS = {
    "clk": ("input", 1), "rst": ("input", 1),
    "i__payload": ("input", 5), "i__valid": ("input", 1), "i__ready": ("output", 1),
    "o__payload": ("output", 65), "o__valid": ("output", 1), "o__ready": ("input", 1)}


def test_ports(verilog):
    assert ports(verilog[False], "core") == STREAMS


def test_trace_ports(program, verilog):
    line = program.hardware.geometry.line_bits
    residual = program.hardware.geometry.neurons * program.hardware.residual_width
    traces = {}
    # A line of spikes has a valid bit for each word.
    for name, valid, width in (("spikes", 4, line), ("residual", 1, residual)):
        for field, bits in (("valid", valid), ("layer", 8), ("position", 16), ("timestep", 5),
                            ("word", 8), ("data", width)):
            traces[f"trace_{name}__{field}"] = ("output", bits)
    traces |= {"trace_activity__kind": ("output", 2), "trace_activity__clear": ("output", 1),
               "trace_activity__events": ("output", 3)}
    assert ports(verilog[True], "core") == STREAMS | traces


def test_no_multiplier_and_no_divider(program):
    cells = set(re.findall(r"^\s*cell (\$\w+)", accelerator_rtlil(program), re.MULTILINE))
    assert "$add" in cells
    assert not cells & {"$mul", "$div", "$mod", "$divfloor", "$modfloor", "$macc"}


def test_memory_contents_are_inside(program, verilog):
    """Weights stand in the text as memory contents; of the program only what changes does."""
    numbers = {int(digits, 16 if base == "h" else 10)
               for base, digits in re.findall(r"'([hd])([0-9a-f]+)", verilog[False])}
    for rows in program.memory.weights:
        assert {row for row in rows if row > 0xffff} <= numbers


def test_contents_of_large_memories_are_in_short_blocks():
    """All of them, in their order; Verilator and yosys read the same from either form."""
    words = [n * 40503 % 65536 for n in range(200)]
    memory = Memory(shape=16, depth=200, init=words)
    port = memory.read_port()
    m = Module()
    m.submodules.memory = memory
    text = rtlil.convert(m, ports=[port.addr, port.data, port.en])
    blocks = re.findall(r"  initial begin\n(.*?)  end\n", verilog_of(text), re.DOTALL)
    found = [re.findall(r"\[(\d+)\] = 16'h(\w+);", block) for block in blocks]
    found = [block for block in found if block]
    assert [len(block) for block in found] == [64, 64, 64, 8]
    assert [(int(n), int(word, 16)) for block in found for n, word in block] == [*enumerate(words)]


def test_generation_is_reproducible(program, verilog):
    assert accelerator_verilog(program, False, "core") == verilog[False]


def test_no_paths_and_no_initial_file_reads(verilog):
    assert "$readmemh" not in verilog[False]
    assert "src =" not in verilog[False] and ".py:" not in verilog[False]


def test_rtlil_has_the_name(program):
    assert r"module \core" in accelerator_rtlil(program, name="core")


def test_contents_of_memories_are_those_that_amaranth_writes(program):
    """Value for value, in the same places: they are written apart because that is faster."""
    design = Accelerator(program.hardware, program.memory)
    text = rtlil.convert(design, name="core", emit_src=False)
    assert text.count("$meminit_v2") > 10 and accelerator_rtlil(program, name="core") == text


def test_equal_units_are_one_module(program, verilog):
    lanes = re.findall(r"^module \\core\.lanes\.(lane\d+) ?\(", verilog[False], re.MULTILINE)
    instances = re.findall(r"^  \\core\.lanes\.(lane\d+) +(\w+) \(", verilog[False], re.MULTILINE)
    assert lanes == ["lane0"]
    assert instances == [("lane0", f"lane{n}") for n in range(program.hardware.geometry.lanes)]


def test_modules_are_shared_from_the_inside_out():
    def module(name, *lines):
        return "\n".join((f"attribute \\a 1\nmodule \\{name}", *lines, "end", "", ""))

    inner = "  cell \\{} \\part\n  end"
    text = (module("top", "  cell \\one \\x\n  end", "  cell \\two \\y\n  end",
                   "  cell \\other \\z\n  end")
            + module("one", inner.format("one.part")) + module("one.part", "  wire \\w")
            + module("two", inner.format("two.part")) + module("two.part", "  wire \\w")
            + module("other", inner.format("other.part")) + module("other.part", "  wire \\v"))
    assert share_modules(text) == (
        module("top", "  cell \\one \\x\n  end", "  cell \\one \\y\n  end",
               "  cell \\other \\z\n  end")
        + module("one", inner.format("one.part")) + module("one.part", "  wire \\w")
        + module("other", inner.format("other.part")) + module("other.part", "  wire \\v"))
