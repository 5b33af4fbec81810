# SPDX-License-Identifier: Apache-2.0
"""An accelerator whose weights are in a memory chip of the board."""

from typing import Any

from amaranth import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from boards.arbiter import ReadArbiter, WordWriter, WriteMerge
from boards.base import Board, ExternalMemory
from boards.ddr3 import Ddr3
from boards.ddr3_pads import Xilinx7Ddr3Pads
from boards.flash import Flash
from boards.image_check import ImageCheck
from boards.pads import Ecp5SdramPads, FlashPads
from boards.sdram import WRITE, Sdram
from hw.accelerator import Accelerator
from hw.axi import ADDRESS_BITS, BEAT_COUNT_BITS, block_bytes
from hw.compiler import Program
from hw.config import HardwareConfig
from hw.faults import FAULTS
from hw.readout import OUTPUT
from hw.tiles import MAGIC

Controller = Flash | Sdram | Ddr3
# By the kind of memory.
CONTROLLERS: dict[str, Any] = {"flash": Flash, "sdram": Sdram, "ddr3": Ddr3}
PADS: dict[str, Any] = {"flash": FlashPads, "sdram": Ecp5SdramPads, "ddr3": Xilinx7Ddr3Pads}


def check_room(memory: ExternalMemory, program: Program) -> None:
    """ValueError, one sentence, for a program that needs more of the chip than it has."""
    hardware = program.hardware
    spills = hardware.spills_residual or hardware.spills_maps
    quarter = memory.size // 4
    for name, size, room in (
            ("weights", len(program.stream), memory.residual_offset if spills else memory.room),
            ("a residual stream", program.residual_bytes, quarter),
            ("spike maps", program.map_bytes, quarter)):
        if size > room:
            raise ValueError(f"{name} in {memory.kind} must have at most {room:,} bytes, "
                             f"not {size:,}")


class ImageWatch(wiring.Component):
    """`loaded`: the image of `hw.tiles` has been written, from its first word to its last one.

    The first word says how long it is; writing it again begins a new image.  A reset changes
    nothing, as the memory keeps its contents.
    Ports: `en`, `address` (bytes from the image's begin) and `data` of each write of 64 bits;
    `loaded`.
    """

    def __init__(self, port_bits: int) -> None:
        self._bits = port_bits
        super().__init__({"en": In(1), "address": In(ADDRESS_BITS), "data": In(64),
                          "loaded": Out(1)})

    def elaborate(self, platform):
        m = Module()
        final = Signal(ADDRESS_BITS, reset_less=True)   # address of the last word
        begun, loaded = Signal(reset_less=True), Signal(reset_less=True)
        beats = Signal(BEAT_COUNT_BITS)
        m.d.comb += [self.loaded.eq(loaded), beats.eq(self.data[32:])]
        shift = (self._bits // 8).bit_length() - 1
        with m.If(self.en & (self.address == 0)):
            m.d.sync += [loaded.eq(0), begun.eq(self.data[:32] == MAGIC),
                         final.eq(block_bytes(self._bits) - 8 + (beats << shift))]
        with m.Elif(self.en & begun & (self.address == final)):
            m.d.sync += loaded.eq(1)
        return m


class StreamedCore(wiring.Component):
    """An accelerator with streamed weights, and the controller of the chip that holds them.

    In SDRAM and DDR3 the residual stream and spike maps can be as well, each at its place.

    core:       accelerator with the port `weights`
    controller: `boards.flash.Flash`, `boards.sdram.Sdram` or `boards.ddr3.Ddr3`
    memory:     where in the chip everything is

    Before the accelerator starts, the image is read once for its CRC (`boards.image_check`).

    Ports: `i`, `o` of the accelerator, `pins` of the controller, `loaded` (the weights are there
    and whole), `bad_image` (they are damaged, or none), `faults` of the accelerator, `dead_memory`
    (the controller does not read its chip right).  With SDRAM and DDR3 `writes`: addresses count
    from the image's begin, and after all of it was written, it is checked and the accelerator
    starts.  Reset it after writing another one.
    Raises ValueError if the accelerator would write to a flash.
    """

    def __init__(self, core: Accelerator, hardware: HardwareConfig, controller: Controller,
                 memory: ExternalMemory) -> None:
        self._writable = "writes" in controller.signature.members
        if not self._writable and (hardware.spills_residual or hardware.spills_maps):
            raise ValueError("a residual stream and spike maps must be on chip or in memory that "
                             "is written, not in flash")
        self._core, self._hardware, self._controller = core, hardware, controller
        self._memory = memory
        super().__init__({
            "i": In(stream.Signature(hardware.input_width)), "o": Out(stream.Signature(OUTPUT)),
            "pins": controller.signature.members["pins"],
            "loaded": Out(1), "bad_image": Out(1), "faults": Out(FAULTS), "dead_memory": Out(1),
        } | ({"writes": In(stream.Signature(WRITE))} if self._writable else {}))

    def elaborate(self, platform):
        m = Module()
        m.submodules.core = core = self._core
        m.submodules.controller = controller = self._controller
        m.submodules.check = self._check = check = ImageCheck(self._hardware.port_bits)
        wiring.connect(m, wiring.flipped(self.i), core.i)
        wiring.connect(m, core.o, wiring.flipped(self.o))
        wiring.connect(m, controller.pins, wiring.flipped(self.pins))
        m.d.comb += [core.weights_address.eq(self._memory.offset), core.enable.eq(self.loaded),
                     self.bad_image.eq(core.bad_image | check.bad),
                     self.faults.eq(core.faults), self.loaded.eq(check.good),
                     check.address.eq(self._memory.offset), check.present.eq(controller.ready)]
        if "failed" in controller.signature.members:
            m.d.comb += self.dead_memory.eq(controller.failed)
        spilled = []
        for spills, name, address in (
                (self._hardware.spills_residual, "residual", self._memory.residual_offset),
                (self._hardware.spills_maps, "maps", self._memory.maps_offset)):
            if spills:
                m.d.comb += getattr(core, f"{name}_address").eq(address)
                spilled.append(getattr(core, name))
        self._connect_reads(m, [core.weights, *(port.read for port in spilled)])
        if self._writable:
            self._connect_writes(m, [port.write for port in spilled])
        return m

    def _connect_reads(self, m, masters):
        last = masters[0]
        if len(masters) > 1:
            arbiter = ReadArbiter(self._hardware.port_bits, len(masters))
            m.submodules.arbiter = arbiter
            for master, port in zip(masters, arbiter.masters):
                wiring.connect(m, master, port)
            last = arbiter.memory
        # No master asks for anything before the check is over, so it needs no arbiter.
        memory = self._controller.axi
        m.d.comb += [port.r.payload.eq(memory.r.payload) for port in (last, self._check.port)]
        with m.If(self._check.busy):
            _connect_read(m, self._check.port, memory)
        with m.Else():
            _connect_read(m, last, memory)

    def _connect_writes(self, m, masters):
        """Of the host, whose image is watched, and of the accelerator."""
        m.submodules.watch = watch = ImageWatch(self._hardware.port_bits)
        m.submodules.merge = merge = WriteMerge(1 + len(masters))
        writes, through = self.writes, merge.i[0]
        m.d.comb += [
            through.valid.eq(writes.valid), writes.ready.eq(through.ready),
            through.payload.data.eq(writes.payload.data),
            through.payload.address.eq(writes.payload.address + self._memory.offset),
            watch.en.eq(writes.valid & writes.ready),
            watch.address.eq(writes.payload.address), watch.data.eq(writes.payload.data),
            self._check.clear.eq(~watch.loaded),
        ]
        for number, master in enumerate(masters):
            writer = WordWriter(self._hardware.port_bits)
            m.submodules[f"writer{number}"] = writer
            wiring.connect(m, master, writer.axi)
            wiring.connect(m, writer.o, merge.i[1 + number])
        wiring.connect(m, merge.o, self._controller.writes)


def _connect_read(m, master, memory):
    """All but the data, which go to every master."""
    m.d.comb += [memory.ar.payload.eq(master.ar.payload), memory.ar.valid.eq(master.ar.valid),
                 master.ar.ready.eq(memory.ar.ready), master.r.valid.eq(memory.r.valid),
                 memory.r.ready.eq(master.r.ready)]


class BoardCore(wiring.Component):
    """`StreamedCore` with the pins of its chip: what `boards.top` takes for an accelerator.

    Ports: those of `StreamedCore` but `pins`.
    """

    def __init__(self, streamed: StreamedCore, memory: ExternalMemory) -> None:
        self._streamed, self._memory = streamed, memory
        members = streamed.signature.members
        super().__init__({name: members[name] for name in members if name != "pins"})

    def elaborate(self, platform):
        m = Module()
        m.submodules.streamed = streamed = self._streamed
        m.submodules.pads = PADS[self._memory.kind](streamed.pins, self._memory.resource)
        for name in self.signature.members:
            inner, outer = getattr(streamed, name), getattr(self, name)
            if self.signature.members[name].is_port:
                m.d.comb += outer.eq(inner)
            else:
                wiring.connect(m, inner, wiring.flipped(outer))
        return m


def external_core(board: Board, memory: ExternalMemory, hardware: HardwareConfig, images: Any,
                  trace: bool = False) -> StreamedCore:
    """The accelerator with the controller of one of the board's memories, as yet without pins."""
    controller = CONTROLLERS[memory.kind](hardware.port_bits, board.clock_hz)
    return StreamedCore(Accelerator(hardware, images, trace), hardware, controller, memory)
