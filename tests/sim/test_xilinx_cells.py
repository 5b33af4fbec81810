# SPDX-License-Identifier: Apache-2.0
"""Models of block RAM: what yosys maps to them behaves like the RTL it came from."""

import random
import subprocess

import pytest
from amaranth import Cat, Module, Signal, unsigned
from amaranth.back import verilog
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.report import run_yosys
from sim.build import Design, build
from sim.toolchain import ToolError
from sim.xilinx_cells import cell_models

# Depth, width, read ports: wide words with a port for each direction, words with parity, narrow and
# deep ones, a ROM of two ports.
SHAPES = {"sdp": (512, 72, 1, 1), "half": (512, 30, 1, 1), "tdp": (1024, 18, 2, 1),
          "narrow": (16384, 2, 1, 1), "rom": (1024, 36, 2, 0)}


class Memories(wiring.Component):
    """A memory of each shape, with contents, accessed at addresses that collide often."""

    def __init__(self):
        super().__init__({"a": In(14), "b": In(14), "write": In(1), "data": In(72),
                          "o": Out(sum(bits * reads for _, bits, reads, _ in SHAPES.values()))})

    def elaborate(self, platform):
        m, rng, outputs = Module(), random.Random(1), []
        for name, (depth, bits, reads, writes) in SHAPES.items():
            contents = [rng.getrandbits(bits) for _ in range(depth)]
            memory = Memory(shape=unsigned(bits), depth=depth, init=contents,
                            attrs={"ram_style": "block"})
            m.submodules[name] = memory
            address = [Signal(range(depth), name=f"{name}_{port}") for port in "ab"]
            m.d.comb += [signal.eq(value[:(depth - 1).bit_length()])
                         for signal, value in zip(address, (self.a, self.b))]
            if writes:
                port = memory.write_port()
                # As the accelerator has it: of two ports one writes where it would read.
                m.d.comb += [port.addr.eq(address[1]), port.en.eq(self.write),
                             port.data.eq(self.data)]
            for number in range(reads):
                read = memory.read_port()
                m.d.comb += read.addr.eq(address[number])
                shown = Signal(bits, name=f"{name}_shown{number}")
                wrote = Signal(name=f"{name}_wrote{number}")
                m.d.sync += wrote.eq(self.write & (number == 1 if reads == 2 and writes else 0))
                m.d.comb += shown.eq(read.data & ~wrote.replicate(bits))
                outputs.append(shown)
        m.d.comb += self.o.eq(Cat(outputs))
        return m


BENCH = """
module bench;
  logic clk = 0, rst = 1, write = 0; always #1 clk = !clk;
  logic [13:0] a = 0, b = 0; logic [71:0] data = 0;
  wire [{top}:0] wanted, got;
  memories rtl (.clk(clk), .rst(rst), .a(a), .b(b), .write(write), .data(data), .o(wanted));
  mapped dut (.clk(clk), .rst(rst), .a(a), .b(b), .write(write), .data(data), .o(got));
  int cycle = 0, wrong = 0, changes = 0;
  logic [{top}:0] previous = 0;
  always @(posedge clk) begin
    cycle <= cycle + 1;
    if (cycle == 3) rst <= 0;
    if (cycle > 5) begin
      if (wanted !== got) wrong <= wrong + 1;
      if (wanted !== previous) changes <= changes + 1;
    end
    previous <= wanted;
    a <= 14'($urandom) & (cycle < 2000 ? 14'h3fff : 14'h3fc7);
    b <= 14'($urandom) & (cycle < 2000 ? 14'h3fff : 14'h3fc7);
    write <= cycle > 500 && $urandom % 2 == 0;
    data <= {{$urandom, $urandom, 8'($urandom)}};
    if (cycle == 4000) begin $display("wrong %0d changes %0d", wrong, changes); $finish; end
  end
endmodule
"""


@pytest.mark.slow
def test_block_rams_behave_like_the_rtl(tmp_path):
    unit = Memories()
    rtl = verilog.convert(unit, name="memories", emit_src=False)
    (tmp_path / "top.v").write_text(rtl)
    run_yosys(tmp_path, "read_verilog top.v; rename memories mapped; "
                        "synth_xilinx -family xc7 -flatten -noiopad -noclkbuf -top mapped; "
                        "tee -q -o cells.txt select -list t:*; write_verilog -noattr mapped.v; "
                        "tee -q -o stat.txt stat")
    used = {line.split()[1] for line in (tmp_path / "stat.txt").read_text().splitlines()
            if len(line.split()) == 2 and line.split()[0].isdigit() and line.split()[1].isupper()}
    assert {"RAMB36E1", "RAMB18E1"} <= used
    text = (tmp_path / "mapped.v").read_text()
    assert '"SDP"' in text and '"TDP"' in text
    design = Design({"rtl.v": rtl, "mapped.v": text, "cells.sv": cell_models(frozenset(used)),
                     "bench.sv": BENCH.format(top=len(unit.o) - 1)}, "bench", {}, cocotb=False)
    out = subprocess.run([build(design, tmp_path / "cache")], capture_output=True, text=True,
                         check=True).stdout
    wrong, changes = out.split()[1], out.split()[3]
    assert int(changes) > 3900
    assert int(wrong) == 0


def test_models_of_the_cells_that_are_used():
    text = cell_models(frozenset({"FDRE", "RAMB36E1"}))
    assert text.count("\nmodule ") + text.startswith("module ") == 3   # and block_ram
    assert "specify" not in text
    assert "INIT_7F, INIT_7E" in text and "INITP_0F, INITP_0E" in text
    assert "block_ram" not in cell_models(frozenset({"LUT6"}))


def test_a_cell_without_model_is_refused():
    with pytest.raises(ToolError, match="cells that have a model, not of NO_SUCH_CELL"):
        cell_models(frozenset({"FDRE", "NO_SUCH_CELL"}))
