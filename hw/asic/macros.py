# SPDX-License-Identifier: Apache-2.0
"""Memories as SRAM macros: one wrapper a size, a model of it for simulation, the list of all."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from amaranth import ClockSignal, Instance, Module, Mux, Shape, Signal
from amaranth.lib.memory import Memory

# A memory of fewer bits is smaller in flip-flops than with a macro's decoder and sense amplifiers.
MACRO_BITS = 1024


@dataclass(frozen=True, order=True)
class Macro:
    """A size of SRAM, one clock, addresses sampled at its rising edge, data in the cycle after.

    depth: words
    bits:  of a word, written as a whole
    two:   False: one port writes, one reads ("1r1w"); True: port `a` reads, port `b` reads or
           writes ("1r1rw")

    What a port reads is unspecified if the other one writes that word in this cycle, and so is what
    port `b` shows after it wrote.  With its enable low a port keeps what it shows.
    """

    depth: int
    bits: int
    two: bool

    @property
    def ports(self) -> str:
        return "1r1rw" if self.two else "1r1w"

    @property
    def name(self) -> str:
        return f"sram_{self.ports}_{self.depth}x{self.bits}"

    @property
    def total(self) -> int:
        """Bits."""
        return self.depth * self.bits

    @property
    def address_bits(self) -> int:
        return max(1, (self.depth - 1).bit_length())

    def heading(self) -> str:
        """Verilog from `module` to the end of the port list."""
        address, data = f"[{self.address_bits - 1}:0]", f"[{self.bits - 1}:0]"
        ports = ["input clk"]
        if self.two:
            ports += ["input a_en", f"input {address} a_addr", f"output reg {data} a_data",
                      "input b_en", "input b_write", f"input {address} b_addr",
                      f"input {data} b_in", f"output reg {data} b_data"]
        else:
            ports += ["input r_en", f"input {address} r_addr", f"output reg {data} r_data",
                      "input w_en", f"input {address} w_addr", f"input {data} w_data"]
        return f"module {self.name} (\n  " + ",\n  ".join(ports) + "\n);\n"

    def stub(self) -> str:
        """Its ports alone: a black box."""
        return f"(* blackbox *)\n{self.heading().replace('output reg', 'output')}endmodule\n"

    def model(self) -> str:
        """Behavioural Verilog: random contents at the start, and where what is read is unspecified,
        the complement of what a memory without a macro's limits would show.
        """
        outputs = ("a_data", "b_data") if self.two else ("r_data",)
        # An address beyond the depth has a word too: one that holds noise until it is written.
        words, parts = 1 << self.address_bits, -(-self.bits // 32)
        fill = [f"      for (n = 0; n < {parts}; n = n + 1) noise[32*n +: 32] = $urandom;"]
        lines = [f"  reg [{self.bits - 1}:0] memory [0:{words - 1}];",
                 f"  reg [{32 * parts - 1}:0] noise;", "  integer i, n;", "  initial begin",
                 f"    for (i = 0; i < {words}; i = i + 1) begin", *fill,
                 f"      memory[i] = noise[{self.bits - 1}:0];", "    end",
                 *(f"    {output} = noise[{self.bits - 1}:0];" for output in outputs),
                 "  end", "  always @(posedge clk) begin"]
        if self.two:
            lines += ["    if (b_en && b_write) memory[b_addr] <= b_in;",
                      "    if (a_en) a_data <= b_en && b_write && a_addr == b_addr",
                      "                        ? ~memory[a_addr] : memory[a_addr];",
                      "    if (b_en) b_data <= b_write ? ~memory[b_addr] : memory[b_addr];"]
        else:
            lines += ["    if (w_en) memory[w_addr] <= w_data;",
                      "    if (r_en) r_data <= w_en && r_addr == w_addr",
                      "                        ? ~memory[r_addr] : memory[r_addr];"]
        return self.heading() + "\n".join((*lines, "  end", "endmodule", ""))


def macro_of(memory: Any, least_bits: int = MACRO_BITS) -> Macro | None:
    """The macro for an `amaranth.lib.memory.Memory`; None if it becomes flip-flops: it is small, or
    read without a clock.

    Raises ValueError for ports that no macro has.
    """
    reads, writes = memory.read_ports, memory.write_ports
    depth, bits = memory.depth, Shape.cast(memory.shape).width
    if depth * bits < least_bits or any(port.domain == "comb" for port in reads):
        return None
    plain = all(not port.transparent_for for port in reads) and all(
        len(port.en) == 1 for port in writes)
    if not plain or len(writes) != 1 or len(reads) not in (1, 2):
        raise ValueError(f"a memory of {depth} words of {bits} bits must have one write port and "
                         f"one or two plain read ports to be a macro, not {len(writes)} and "
                         f"{len(reads)}")
    return Macro(depth, bits, len(reads) == 2)


class SramPlatform:
    """Makes macros of the memories of a design that is elaborated with it.

    macros: those that it made, and how many of each
    Raises ValueError for a memory with initial contents: SRAM has none.
    """

    def __init__(self, least_bits: int = MACRO_BITS) -> None:
        self._least_bits = least_bits
        self.macros: dict[Macro, int] = {}

    def get_memory(self, memory: Memory) -> Any:
        """What takes the place of `memory` (called by Amaranth)."""
        if any(map(_is_set, memory.init)):
            raise ValueError("memories on silicon must have no initial contents, not "
                             f"{memory.depth} words of them: weights must be streamed")
        macro = macro_of(memory, self._least_bits)
        if macro is None:
            return memory.elaborate(None)
        self.macros[macro] = self.macros.get(macro, 0) + 1
        return _instance(macro, memory)


def _is_set(row: Any) -> bool:
    """A row of initial contents was given: Amaranth keeps None or 0 where none was."""
    return row is not None and (not isinstance(row, int) or row != 0)


def _instance(macro: Macro, memory: Memory) -> Module:
    m = Module()
    (write,), first = memory.write_ports, memory.read_ports[0]
    ports = {"i_clk": ClockSignal()}
    if macro.two:
        # Whoever reads through this port does without in a cycle of a write.
        second = memory.read_ports[1]
        address = Signal.like(write.addr)
        m.d.comb += address.eq(Mux(write.en, write.addr, second.addr))
        ports |= {"i_a_en": first.en, "i_a_addr": first.addr, "o_a_data": _value(first.data),
                  "i_b_en": second.en | write.en, "i_b_write": write.en, "i_b_addr": address,
                  "i_b_in": _value(write.data), "o_b_data": _value(second.data)}
    else:
        ports |= {"i_r_en": first.en, "i_r_addr": first.addr, "o_r_data": _value(first.data),
                  "i_w_en": write.en, "i_w_addr": write.addr, "i_w_data": _value(write.data)}
    m.submodules.macro = Instance(macro.name, **ports)
    return m


def _value(data: Any) -> Any:
    return data.as_value() if hasattr(data, "as_value") else data


def model_text(macros: Iterable[Macro]) -> str:
    """Behavioural models of all, for simulation."""
    return "\n".join(macro.model() for macro in sorted(macros))


def stub_text(macros: Iterable[Macro]) -> str:
    """Black boxes of all, for synthesis."""
    return "\n".join(macro.stub() for macro in sorted(macros))
