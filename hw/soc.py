# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""The accelerator as a peripheral: AXI4-Lite registers, AXI4-Stream in and out.

`python -m hw.soc MODEL --out FILE` writes its Verilog.  Registers, 32 bits each:

    0x0000  the 64 bytes of `hw.identity.Identity`
    0x0040  control: bit 0 reset (reads 0), 1 answers leave by m_axis, 2 interrupt enable,
            3 the weights are in memory, 4 beside bit 0: the memory is held in reset (reads 0)
    0x0044  status: bit 0 inferring, 1 answer complete, 2 tlast misplaced, 3 a reset is under way,
            8 bad weight image, 9 memory answered with an error, 10 memory did not answer,
            11 parity error on chip; after one of the last four no answer comes before a reset
    0x0048  samples taken of the inference
    0x004c  inferences completed
    0x0050, 0x0054, 0x0058  addresses of weights, residual stream and maps in memory
    0x8000  the answer: 64-bit words, low half first (logits, then ac, cycles, saturations by layer)

Bits 1 to 3 of control and the addresses keep through a reset of bit 0, which may come at any time:
it lets no further burst begin at the memory ports and waits for those under way.  Where the memory
will not end them, hold it in reset while bit 4 tells not to wait.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from amaranth import (
    Array,
    Cat,
    ClockDomain,
    ClockSignal,
    Const,
    Module,
    Mux,
    ResetInserter,
    ResetSignal,
    Signal,
)
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.accelerator import Accelerator
from hw.answer import Answer
from hw.axi import ADDRESS_BITS
from hw.axi_channels import connect_read, connect_write, read_members, write_members
from hw.axi_gate import PortGate
from hw.command import Outcome, Parser, doing, execute
from hw.compiler import Program, compile_model
from hw.generate import component_verilog
from hw.identity import SIZE, Identity
from hw.model import FixedPointModel
from hw.options import add_hardware_options, add_model_argument, hardware

NAME = "spikeloom"   # of the module
ADDRESS_WIDTH = 16
CONTROL, STATUS, SAMPLES, INFERENCES, ADDRESSES, ANSWER = 0x40, 0x44, 0x48, 0x4C, 0x50, 0x8000
RESET_CYCLES = 16
MEMORIES = ("weights", "residual", "maps")
SLVERR = 2


def _memory_members(prefix: str, port: wiring.Signature) -> dict[str, wiring.Member]:
    """Signals of one of the core's memory ports: `ReadPort`, or `DataPort` of both directions."""
    if "read" in port.members:
        write = port.members["write"].signature
        bits = write.members["w"].signature.members["payload"].shape["data"].width
        return read_members(prefix, bits) | write_members(prefix, bits)
    return read_members(prefix, port.members["r"].signature.members["payload"].shape["data"].width)


class Peripheral(wiring.Component):
    """Core and registers.

    core: with the ports of `hw.accelerator.Accelerator`; `identity` is of it

    Ports: `s_axi_*` (AXI4-Lite, one transfer at a time), `s_axis_*` (samples, `tlast` with the last
    one of an inference), `m_axis_*` (the answer, if control says so), `interrupt` (level: an answer
    is complete), and AXI4 masters for the memory ports that the core has, `m_axi_weights_*`,
    `m_axi_residual_*`, `m_axi_maps_*` (`hw.axi_channels`).  `interrupt` also tells of a fault.
    Latency: a register is read in 3 cycles, written in 2.  Throughput: a sample, a word per cycle.
    A write to a register that cannot be written, and a read where there is none, answer SLVERR.
    """

    def __init__(self, core: Any, identity: Identity) -> None:
        self._core, self._identity = core, identity
        members = core.signature.members
        self._memories = {name: members[name].signature for name in MEMORIES if name in members}
        self._streamed, self._watched = "enable" in members, "faults" in members
        super().__init__({
            "s_axi_awaddr": In(ADDRESS_WIDTH), "s_axi_awprot": In(3), "s_axi_awvalid": In(1),
            "s_axi_awready": Out(1), "s_axi_wdata": In(32), "s_axi_wstrb": In(4),
            "s_axi_wvalid": In(1), "s_axi_wready": Out(1), "s_axi_bresp": Out(2),
            "s_axi_bvalid": Out(1), "s_axi_bready": In(1),
            "s_axi_araddr": In(ADDRESS_WIDTH), "s_axi_arprot": In(3), "s_axi_arvalid": In(1),
            "s_axi_arready": Out(1), "s_axi_rdata": Out(32), "s_axi_rresp": Out(2),
            "s_axi_rvalid": Out(1), "s_axi_rready": In(1),
            "s_axis_tdata": In(8 * identity.sample_bytes), "s_axis_tvalid": In(1),
            "s_axis_tready": Out(1), "s_axis_tlast": In(1),
            "m_axis_tdata": Out(64), "m_axis_tvalid": Out(1), "m_axis_tready": In(1),
            "m_axis_tlast": Out(1), "interrupt": Out(1),
        } | {name: member for memory, port in self._memories.items()
             for name, member in _memory_members(f"m_axi_{memory}", port).items()})

    def elaborate(self, platform):
        m = Module()
        self._resetting = Signal()
        m.submodules.core = ResetInserter(self._resetting)(self._core)
        identity = self._identity
        m.submodules.answer = self._answer = Answer(identity.words, identity.word_bits)
        # Registers that are written.
        self._stream, self._enable, self._interrupt = Signal(), Signal(), Signal()
        self._addresses = [Signal(ADDRESS_BITS, name=f"{name}_address") for name in MEMORIES]
        # Those that are only read.
        self._taken, self._inferences = Signal(32), Signal(32)
        self._misplaced, self._active = Signal(), Signal()
        self._start_reset, self._forced, self._stopped = Signal(), Signal(), Signal()
        self._faults = Signal(4)   # bad image, then `hw.faults.FAULTS`
        if self._watched:
            image = self._core.bad_image if self._streamed else Const(0, 1)
            m.d.comb += self._faults.eq(Cat(image, self._core.faults))
        m.d.comb += self.interrupt.eq((self._answer.complete | self._faults.any())
                                      & self._interrupt)
        self._reset(m, self._connect_memories(m))
        self._connect_streams(m)
        self._write(m)
        self._read(m)
        return m

    def _reset(self, m, gates):
        """Of the core, once no burst is under way at its gates, which are reset with it."""
        count = Signal(range(RESET_CYCLES + 1))
        begin = self._start_reset
        draining = Const(0)
        if gates:
            draining, begin = Signal(), Signal()
            idle = Cat(gate.idle for gate in gates).all()
            m.d.comb += [begin.eq((draining & idle) | (self._start_reset & self._forced)),
                         *(gate.stop.eq(self._stopped) for gate in gates)]
            m.d.sync += draining.eq((draining | self._start_reset) & ~begin)
        m.d.comb += [self._resetting.eq(count != 0),
                     self._stopped.eq(draining | self._resetting)]
        with m.If(begin):
            m.d.sync += count.eq(RESET_CYCLES)
        with m.Elif(self._resetting):
            m.d.sync += count.eq(count - 1)

    def _connect_memories(self, m):
        """Returns the gates of all of them."""
        gates = []

        def gated(port):
            gate = PortGate(port.signature)
            m.submodules += ResetInserter(self._resetting)(gate)
            gates.append(gate)
            wiring.connect(m, port, gate.i)
            return gate.o
        for name, address in zip(MEMORIES, self._addresses):
            if name in self._memories:
                port, prefix = getattr(self._core, name), f"m_axi_{name}"
                writes = "write" in self._memories[name].members
                m.d.comb += connect_read(self, prefix, gated(port.read if writes else port))
                if writes:
                    m.d.comb += connect_write(self, prefix, gated(port.write))
                m.d.comb += getattr(self._core, f"{name}_address").eq(address)
        if self._streamed:
            m.d.comb += self._core.enable.eq(self._enable)
        return gates

    def _connect_streams(self, m):
        """Samples in and counted, words out and kept."""
        i, o, answer = self._core.i, self._core.o, self._answer
        running = ~self._stopped
        m.d.comb += [
            i.payload.eq(self.s_axis_tdata), i.valid.eq(self.s_axis_tvalid & running),
            self.s_axis_tready.eq(i.ready & running),
            self.m_axis_tdata.eq(o.payload.data), self.m_axis_tlast.eq(o.payload.last),
            # Both take a word in the same cycle.
            self.m_axis_tvalid.eq(o.valid & answer.i.ready & self._stream & running),
            answer.i.payload.eq(o.payload),
            answer.i.valid.eq(o.valid & running & (self.m_axis_tready | ~self._stream)),
            o.ready.eq(answer.i.ready & running & (self.m_axis_tready | ~self._stream)),
        ]
        taken, last = Signal(), Signal()
        m.d.comb += [taken.eq(self.s_axis_tvalid & self.s_axis_tready),
                     last.eq(self._taken == self._identity.samples - 1)]
        with m.If(taken):
            with m.If(~self._active):
                m.d.comb += answer.clear.eq(1)
            m.d.sync += [self._active.eq(1), self._taken.eq(Mux(last, 0, self._taken + 1)),
                         self._misplaced.eq(self._misplaced | (last != self.s_axis_tlast))]
        with m.If(o.valid & o.ready & o.payload.last):
            m.d.sync += [self._active.eq(0), self._inferences.eq(self._inferences + 1)]
        with m.If(self._resetting):
            m.d.comb += answer.clear.eq(1)
            m.d.sync += [self._active.eq(0), self._taken.eq(0), self._misplaced.eq(0)]

    def _write(self, m):
        """AW and W are taken together, B follows."""
        address = Signal(ADDRESS_WIDTH)
        mask = Cat(bit.replicate(8) for bit in self.s_axi_wstrb)
        both = Signal()
        m.d.comb += [both.eq(self.s_axi_awvalid & self.s_axi_wvalid & ~self.s_axi_bvalid),
                     address.eq(self.s_axi_awaddr & ~3),
                     self.s_axi_awready.eq(both), self.s_axi_wready.eq(both)]
        with m.If(self.s_axi_bready):
            m.d.sync += self.s_axi_bvalid.eq(0)
        with m.If(both):
            m.d.sync += [self.s_axi_bvalid.eq(1), self.s_axi_bresp.eq(0)]
            with m.Switch(address):
                with m.Case(CONTROL), m.If(self.s_axi_wstrb[0]):
                    m.d.comb += [self._start_reset.eq(self.s_axi_wdata[0]),
                                 self._forced.eq(self.s_axi_wdata[4])]
                    m.d.sync += Cat(self._stream, self._interrupt, self._enable).eq(
                        self.s_axi_wdata[1:4])
                for number, register in enumerate(self._addresses):
                    with m.Case(ADDRESSES + 4 * number):
                        m.d.sync += register.eq(register & ~mask | self.s_axi_wdata & mask)
                with m.Default():
                    m.d.sync += self.s_axi_bresp.eq(SLVERR)

    def _read(self, m):
        """AR, a cycle in which the memories answer, R."""
        address, here = Signal(ADDRESS_WIDTH), Signal()
        told = self._identity.pack()
        told = Array(int.from_bytes(told[n:n + 4], "little") for n in range(0, SIZE, 4))
        status = Cat(self._active, self._answer.complete, self._misplaced, self._stopped,
                     Const(0, 4), self._faults)
        registers = {
            CONTROL: Cat(0, self._stream, self._interrupt, self._enable), STATUS: status,
            SAMPLES: self._taken, INFERENCES: self._inferences,
            **{ADDRESSES + 4 * n: register for n, register in enumerate(self._addresses)}}
        waited = Signal()
        m.d.comb += [self.s_axi_arready.eq(~(here | waited | self.s_axi_rvalid)),
                     self._answer.address.eq(address[3:15])]
        with m.If(self.s_axi_rready):
            m.d.sync += self.s_axi_rvalid.eq(0)
        m.d.sync += [here.eq(0), waited.eq(here)]
        with m.If(self.s_axi_arvalid & self.s_axi_arready):
            m.d.sync += [here.eq(1), address.eq(self.s_axi_araddr & ~3)]
        with m.If(waited):
            m.d.sync += [self.s_axi_rvalid.eq(1), self.s_axi_rresp.eq(0)]
            with m.If(address < SIZE):
                m.d.sync += self.s_axi_rdata.eq(told[address[2:6]])
            with m.Elif(address >= ANSWER):
                m.d.sync += self.s_axi_rdata.eq(Mux(address[2], self._answer.data[32:],
                                                    self._answer.data[:32]))
                with m.If(address[3:15] >= self._identity.words):
                    m.d.sync += [self.s_axi_rdata.eq(0), self.s_axi_rresp.eq(SLVERR)]
            with m.Else(), m.Switch(address):
                for place, value in registers.items():
                    with m.Case(place):
                        m.d.sync += self.s_axi_rdata.eq(value)
                with m.Default():
                    m.d.sync += [self.s_axi_rdata.eq(0), self.s_axi_rresp.eq(SLVERR)]


def connect_through(outer: Any, inner: Any) -> list[Any]:
    """Statements by which each port of `inner` is that of `outer` with the same name."""
    statements = []
    for name, member in inner.signature.members.items():
        ports = getattr(outer, name), getattr(inner, name)
        source, target = ports if member.flow is In else reversed(ports)
        statements.append(target.eq(source))
    return statements


class PeripheralTop(wiring.Component):
    """`Peripheral` with the clock and reset of AXI: `aclk`, `aresetn` (low active, synchronous)."""

    def __init__(self, core: Any, identity: Identity) -> None:
        self._peripheral = Peripheral(core, identity)
        super().__init__({"aclk": In(1), "aresetn": In(1)} | dict(
            self._peripheral.signature.members.items()))

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = ClockDomain(local=True)
        m.submodules.peripheral = inner = self._peripheral
        m.d.comb += [ClockSignal("sync").eq(self.aclk), ResetSignal("sync").eq(~self.aresetn)]
        m.d.comb += connect_through(self, inner)
        return m


def peripheral(program: Program, clock_hz: int = 0) -> PeripheralTop:
    """That of a program, for a system with that clock (0: whichever)."""
    return PeripheralTop(Accelerator(program.hardware, program.memory),
                         Identity.of(program, clock_hz, writable=program.hardware.streamed))


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m hw.soc",
        description="Write the Verilog of an accelerator with AXI4-Lite registers and AXI4-Stream "
                    "in and out, for a system on chip.")
    add_model_argument(parser)
    parser.add_argument("--out", type=Path, default=Path("build/peripheral.v"), metavar="FILE",
                        help="default: %(default)s")
    add_hardware_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 2 for bad input."""
    return execute(build_parser(), run, argv)


def run(arguments: argparse.Namespace) -> Outcome:
    model = FixedPointModel.load(arguments.model)
    program = compile_model(model, hardware([model], arguments))
    with doing("generating Verilog"):
        text = component_verilog(peripheral(program), NAME)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    partial = arguments.out.with_name(f".{arguments.out.name}.{os.getpid()}")
    partial.write_text(text)
    os.replace(partial, arguments.out)
    print(f"wrote {arguments.out}")
    return Outcome({"file": arguments.out, "hardware": program.hardware.to_dict()})


if __name__ == "__main__":
    sys.exit(main())
