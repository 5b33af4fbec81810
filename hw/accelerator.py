# SPDX-License-Identifier: Apache-2.0
"""The accelerator: spike memory, engine, finish pipeline and attention under one sequencer."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.activity import ActivityProbe, ActivityTrace
from hw.attention import Attention
from hw.axi import ADDRESS_BITS, ReadPort
from hw.config import HardwareConfig
from hw.dispatch import Dispatch
from hw.faults import FAULTS, MemoryWatch
from hw.fetch import Fetch
from hw.finish import Finish
from hw.gather import Gather
from hw.isa import Op
from hw.lanes import LaneArray
from hw.layout import LINE_WORDS
from hw.loader import Loader
from hw.parity import CheckedLanes
from hw.readout import OUTPUT, Readout
from hw.sequencer import Sequencer
from hw.spike_memory import SpikeMemory, by_bank
from hw.spill import DataPort, ResidualSpill
from hw.window import MapWindow


@dataclass(frozen=True)
class Images:
    """Initial contents of the memories, made by `hw.compiler`; empty where they are streamed."""

    program: Sequence[int]
    params: Sequence[int]
    weights: Sequence[Sequence[int]]


class SpikeTrace(wiring.Signature):
    """Words of spikes as their layer made them, before pooling; no backpressure.

    valid: by word of `data`; `word` is the number of the first
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        super().__init__({
            "valid": Out(LINE_WORDS), "layer": Out(8), "position": Out(16), "timestep": Out(5),
            "word": Out(8), "data": Out(unsigned(hardware.geometry.line_bits))})


class ResidualTrace(wiring.Signature):
    """`neurons` channels of the residual stream after a layer's addition; `word` counts beats."""

    def __init__(self, hardware: HardwareConfig) -> None:
        super().__init__({
            "valid": Out(1), "layer": Out(8), "position": Out(16), "timestep": Out(5),
            "word": Out(8), "data": Out(unsigned(hardware.geometry.neurons
                                                 * hardware.residual_width))})


class Accelerator(wiring.Component):
    """One Spikingformer inference per program pass, in additions only.

    Ports:
      `i`  raw samples, in the order y, x, timestep (events only), channel
      `o`  `hw.readout.OUTPUT`: logits, then ac, cycles, saturations of every layer
      `trace_spikes`, `trace_residual`  every result of every layer, if `trace`, and
      `trace_activity`  what each cycle is spent on
      with streamed weights: `weights` (AXI4 read master), `weights_address` of the image in memory,
      `enable` (the image is there), `bad_image` (it is not one)
      with streamed weights or parity: `faults` (`hw.faults.FAULTS`: levels until reset; with one of
      them no answer follows, only a reset helps)
      with a spilled residual stream: `residual` (AXI4 master), `residual_address` of its place
      with windowed spike maps: `maps` (AXI4 master), `maps_address` likewise
    Latency and throughput: what the counters say; the next inference's samples are taken when the
    last output word has been.
    """

    def __init__(self, hardware: HardwareConfig, images: Images, trace: bool = False) -> None:
        self._hardware, self._images, self._trace = hardware, images, trace
        super().__init__({
            "i": In(stream.Signature(unsigned(hardware.input_width))),
            "o": Out(stream.Signature(OUTPUT)),
        } | ({"weights": Out(ReadPort(hardware.port_bits)), "weights_address": In(ADDRESS_BITS),
              "enable": In(1), "bad_image": Out(1)} if hardware.streamed else {})
          | ({"faults": Out(FAULTS)} if hardware.streamed or hardware.parity else {})
          | ({"residual": Out(DataPort(hardware.port_bits)), "residual_address": In(ADDRESS_BITS)}
             if hardware.spills_residual else {})
          | ({"maps": Out(DataPort(hardware.port_bits)), "maps_address": In(ADDRESS_BITS)}
             if hardware.spills_maps else {})
          | ({"trace_spikes": Out(SpikeTrace(hardware)),
              "trace_residual": Out(ResidualTrace(hardware)),
              "trace_activity": Out(ActivityTrace(hardware))} if trace else {}))

    def elaborate(self, platform):
        m = Module()
        hardware, images = self._hardware, self._images
        m.submodules.sequencer = sequencer = Sequencer(hardware, images.program)
        m.submodules.memory = memory = SpikeMemory(hardware)
        m.submodules.loader = loader = Loader(hardware)
        m.submodules.gather = gather = Gather(hardware)
        m.submodules.dispatch = dispatch = Dispatch(hardware)
        lanes = (CheckedLanes if hardware.parity else LaneArray)(hardware, images.weights)
        m.submodules.lanes = lanes
        m.submodules.finish = finish = Finish(hardware, images.params)
        m.submodules.attention = attention = Attention(hardware)
        m.submodules.readout = readout = Readout(hardware)

        # Input, events, sums, results, output.
        wiring.connect(m, wiring.flipped(self.i), loader.i)
        wiring.connect(m, gather.o, dispatch.i)
        wiring.connect(m, dispatch.o, lanes.i)
        wiring.connect(m, lanes.o, finish.i)
        wiring.connect(m, finish.logits, readout.logits)
        wiring.connect(m, readout.o, wiring.flipped(self.o))

        # Spike memory.
        wiring.connect(m, gather.memory, memory.gather)
        wiring.connect(m, finish.pool_read, memory.pool_read)
        wiring.connect(m, attention.read, memory.attention_read)
        wiring.connect(m, loader.write, memory.loader)
        wiring.connect(m, finish.pool_write, memory.pool_write)
        wiring.connect(m, finish.plane_write, memory.planes)
        wiring.connect(m, attention.write, memory.attention_write)

        # Control and counters.
        ins, start = sequencer.instruction, sequencer.start
        m.d.comb += [unit.instruction.eq(ins)
                     for unit in (loader, gather, dispatch, finish, attention, readout)]
        m.d.comb += [
            loader.start.eq(start[Op.LOAD.value]),
            gather.start.eq(start[Op.CONV.value]), finish.start.eq(start[Op.CONV.value]),
            attention.start.eq(start[Op.ATTENTION.value]),
            finish.start_planes.eq(start[Op.PLANES.value]),
            readout.start.eq(start[Op.END.value]),
            sequencer.done.eq(loader.done | finish.done | attention.done | readout.done),
            finish.clear.eq(sequencer.clear), attention.clear.eq(sequencer.clear),
            readout.report.eq(sequencer.report), readout.cycles.eq(sequencer.cycles),
            readout.acs.eq(Mux(ins.op == Op.ATTENTION, attention.acs, finish.acs)),
            readout.saturations.eq(finish.saturations),
            finish.restart.eq(sequencer.restart), lanes.interval.eq(ins.last_interval),
        ]
        if hardware.streamed:
            m.submodules.fetch = fetch = Fetch(hardware)
            wiring.connect(m, fetch.port, wiring.flipped(self.weights))
            wiring.connect(m, fetch.program, sequencer.load)
            wiring.connect(m, fetch.params, finish.params)
            wiring.connect(m, fetch.weights, lanes.load)
            m.d.comb += lanes.clearing.eq(fetch.clearing)
            m.d.comb += dispatch.loading.eq(lanes.loading if hardware.geometry.ports == 2 else 0)
            wiring.connect(m, fetch.tile, gather.tile)
            m.d.comb += [
                fetch.start.eq(sequencer.restart), fetch.address.eq(self.weights_address),
                fetch.released.eq(finish.released), sequencer.enable.eq(self.enable),
                sequencer.program_ready.eq(fetch.program_ready),
                self.bad_image.eq(fetch.bad_image),
            ]
        busy, watches = [], [fetch.watch] if hardware.streamed else []
        if hardware.spills_residual:
            m.submodules.spill = spill = ResidualSpill(hardware)
            busy.append(spill.busy)
            watches.append(spill.watch)
            wiring.connect(m, spill.port, wiring.flipped(self.residual))
            wiring.connect(m, finish.spill, spill.words)
            m.d.comb += [
                spill.instruction.eq(ins), spill.start.eq(start[Op.CONV.value]),
                spill.address.eq(self.residual_address), spill.last_tile.eq(dispatch.last_tile),
                spill.reserve.eq(dispatch.closed), dispatch.permit.eq(spill.permit),
            ]
        if hardware.spills_maps:
            m.submodules.window = window = MapWindow(hardware)
            busy.append(window.busy)
            watches.append(window.watch)
            wiring.connect(m, window.port, wiring.flipped(self.maps))
            wiring.connect(m, window.write, memory.load)
            wiring.connect(m, window.read, memory.store)
            m.d.comb += [
                window.instruction.eq(ins), window.address.eq(self.maps_address),
                window.start.eq(start[Op.LOAD.value] | start[Op.CONV.value]),
                window.may_read.eq(~finish.pool_read.en),
                window.take_row.eq(gather.take_row), gather.row_here.eq(window.row_here),
                window.begin_row.eq(gather.begin_row | loader.begin_row),
                window.row_done.eq(finish.row_done | loader.row_done),
                gather.row_free.eq(window.row_free), loader.row_free.eq(window.row_free),
            ]
        busy += self._connect_faults(m, watches, lanes, finish)
        m.d.comb += sequencer.hold.eq(Cat(busy).any())
        if self._trace:
            self._connect_traces(m, ins, finish, attention)
            m.submodules.activity = activity = ActivityProbe(hardware)
            wiring.connect(m, activity.o, wiring.flipped(self.trace_activity))
            m.d.comb += [
                activity.start.eq(Cat(start[op.value] for op in (Op.CONV, Op.ATTENTION,
                                                                 Op.PLANES)).any()),
                activity.ends.eq(sequencer.done & (ins.op == Op.PLANES)),
                activity.clear.eq(sequencer.clear), activity.acs.eq(attention.acs),
                # Every event has a row, whichever of two positions counts it.
                activity.events.eq(sum(row != 0 for row in dispatch.o.payload.rows)),
                activity.waits.eq(gather.tile.ready & ~gather.tile.valid
                                  if hardware.streamed else 0),
            ]
        return m

    def _connect_faults(self, m, watches, lanes, finish):
        """Returns what holds the program: what was computed from bad data is not sent."""
        if watches:
            m.submodules.watch = watch = MemoryWatch(self._hardware.timeout_bits)
            m.d.comb += [watch.i.eq(reduce(or_, (each.as_value() for each in watches))),
                         self.faults.response.eq(watch.response),
                         self.faults.silence.eq(watch.silence)]
        if self._hardware.parity:
            wrong = [lanes.error]
            if not self._hardware.spills_residual:
                wrong.append(finish.residual_error)
            parity = Signal()
            m.d.comb += self.faults.parity.eq(parity)
            with m.If(Cat(wrong).any()):
                m.d.sync += parity.eq(1)
        return [self.faults.as_value().any()] if watches or self._hardware.parity else []

    def _connect_traces(self, m, ins, finish, attention):
        spikes, residual = self.trace_spikes, self.trace_residual
        geometry = self._hardware.geometry
        word = finish.spikes.payload
        beats = geometry.spike_word // geometry.neurons
        for port in (spikes, residual):
            m.d.comb += port.layer.eq(ins.layer)
        with m.If(attention.write.en.any()):
            # The words of the line that are written; those that do not exist are none.
            line = Cat(by_bank(attention.write.data))
            m.d.comb += [spikes.valid.eq(attention.write.en), spikes.data.eq(line),
                         spikes.position.eq(attention.position), spikes.word.eq(attention.word),
                         spikes.timestep.eq(attention.timestep)]
        with m.Else():
            m.d.comb += [spikes.valid.eq(finish.spikes.valid), spikes.data.eq(word.spikes),
                         spikes.position.eq(word.tag.position),
                         spikes.timestep.eq(word.tag.timestep),
                         spikes.word.eq(word.tag.channel_beat >> beats.bit_length() - 1)]
        beat = finish.residuals.payload
        width = self._hardware.residual_width
        m.d.comb += [residual.valid.eq(finish.residuals.valid),
                     residual.position.eq(beat.tag.position),
                     residual.timestep.eq(beat.tag.timestep),
                     residual.word.eq(beat.tag.channel_beat)]
        for n in range(geometry.neurons):
            m.d.comb += residual.data[n * width:(n + 1) * width].eq(beat.values[n][:width])
