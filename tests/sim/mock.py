# SPDX-License-Identifier: Apache-2.0
"""A stand-in for the accelerator: same ports, replays recorded words."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.back import verilog
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.layout import LINE_WORDS
from hw.network import NetworkConfig, Output

SPIKE, RESIDUAL, OUTPUT, REPORT, STOP = range(5)
DATA_BITS = 120  # three counters are the widest


@dataclass
class Event:
    """A trace or output word, or a layer's end: its AC, cycle and saturation counters."""

    kind: int
    layer: int = 0
    position: int = 0
    timestep: int = 0
    word: int = 0
    data: int = 0

    def encode(self) -> int:
        packed = self.data & (1 << DATA_BITS) - 1
        for value, shift in ((self.word, 0), (self.timestep, 8), (self.position, 13),
                             (self.layer, 29), (self.kind, 37)):
            packed |= value << DATA_BITS + shift
        return packed


class Readout(wiring.Component):
    """Where the testbench looks for the end of a layer."""

    def __init__(self):
        super().__init__({"report": In(1), "acs": In(40), "cycles": In(40), "saturations": In(40)})

    def elaborate(self, platform):
        m = Module()
        kept = Signal(120)   # an empty module would not be there
        with m.If(self.report):
            m.d.sync += kept.eq(Cat(self.acs, self.cycles, self.saturations))
        return m


class Mock(wiring.Component):
    """Takes `samples` samples, then plays `events` to their first STOP; again and again."""

    def __init__(self, events: list[Event], samples: int, input_bits: int, spike_bits: int,
                 residual_bits: int):
        self.events, self.samples = events, samples

        def trace(bits, words):
            return Out(wiring.Signature({
                "valid": Out(words), "layer": Out(8), "position": Out(16), "timestep": Out(5),
                "word": Out(8), "data": Out(unsigned(bits * words))}))

        super().__init__({
            "i": In(stream.Signature(unsigned(input_bits))),
            "o": Out(stream.Signature(data.StructLayout({"data": 64, "last": 1}))),
            "trace_spikes": trace(spike_bits, LINE_WORDS),
            "trace_residual": trace(residual_bits, 1),
            "trace_activity": Out(wiring.Signature({
                "kind": Out(2), "clear": Out(1), "events": Out(4)}))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.events = memory = Memory(shape=unsigned(DATA_BITS + 40),
                                              depth=len(self.events),
                                              init=[event.encode() for event in self.events])
        read = memory.read_port(domain="comb")
        taken, address = Signal(range(self.samples + 1)), Signal(range(len(self.events) + 1))
        event = Signal(data.StructLayout({"data": DATA_BITS, "word": 8, "timestep": 5,
                                          "position": 16, "layer": 8, "kind": 3}))
        m.submodules.readout = readout = Readout()
        m.d.comb += Cat(readout.acs, readout.cycles, readout.saturations).eq(event.data)
        m.d.comb += [read.addr.eq(address), event.eq(read.data)]
        for port in (self.trace_spikes, self.trace_residual):
            m.d.comb += Cat(port.timestep, port.position, port.layer).eq(
                Cat(event.timestep, event.position, event.layer))
        # A line of spikes with one word in it.
        spikes, bank = self.trace_spikes, event.word[:2]
        m.d.comb += [spikes.data.eq(event.data[:len(spikes.data) // LINE_WORDS]
                                    .replicate(LINE_WORDS)),
                     spikes.word.eq(event.word - bank), self.trace_residual.word.eq(event.word),
                     self.trace_residual.data.eq(event.data)]
        m.d.comb += Cat(self.o.payload).eq(event.data)
        # A layer computes while its spikes come.
        activity = self.trace_activity
        m.d.comb += [activity.kind.eq(event.kind == SPIKE), activity.clear.eq(readout.report),
                     activity.events.eq(Mux(event.kind == SPIKE, 3, 0))]
        with m.If(taken != self.samples):
            m.d.comb += self.i.ready.eq(1)
            m.d.sync += taken.eq(taken + self.i.valid)
        with m.Elif(event.kind == STOP):
            m.d.sync += taken.eq(0)
            m.d.sync += address.eq(0)
        with m.Else():
            m.d.comb += [spikes.valid.eq((event.kind == SPIKE) << bank),
                         self.trace_residual.valid.eq(event.kind == RESIDUAL),
                         self.o.valid.eq(event.kind == OUTPUT),
                         readout.report.eq(event.kind == REPORT)]
            with m.If((event.kind != OUTPUT) | self.o.ready):
                m.d.sync += address.eq(address + 1)
        return m


NETWORK = NetworkConfig(embed_dim=16, depth=1, num_heads=2, timesteps=2, in_channels=1,
                        image_height=5, image_width=4, num_classes=3, mlp_ratio=2.0)
WIDTH, NEURONS, WORD = 10, 4, 8
CYCLES = 100   # of each layer


def program():
    """What `simulate` needs of a program; the channels of each layer are stored in an odd order."""
    hardware = SimpleNamespace(
        input_width=6, residual_width=WIDTH, streamed=False, spills_residual=False,
        spills_maps=False, port_bits=0,
        geometry=SimpleNamespace(spike_word=WORD, neurons=NEURONS, lanes=8, banks=2))
    model = SimpleNamespace(network=NETWORK,
                            input=SimpleNamespace(bits=6, signed=True, minimum=-32, maximum=31))
    traces = []
    for index, layer in enumerate(NETWORK.layers()):
        channels = np.full(-(-layer.out_channels // WORD) * WORD, -1)
        channels[:layer.out_channels] = np.arange(layer.out_channels)[::-1]
        traces.append(SimpleNamespace(index=index, layer=layer, channels=channels))
    return SimpleNamespace(model=model, hardware=hardware, traces=tuple(traces), stream=b"",
                           residual_bytes=0, map_bytes=0)


def random_results(seed=0):
    """A list of golden results, as random as they are unfounded."""
    rng = np.random.default_rng(seed)
    results = []
    for layer in NETWORK.layers():
        shape = (NETWORK.timesteps, layer.out_channels, layer.height, layer.width)
        residual = layer.output is Output.RESIDUAL
        results.append(SimpleNamespace(
            name=layer.name, layer=layer,
            spikes=rng.random(shape) < 0.3 if layer.lif else None,
            residual=rng.integers(-1 << WIDTH - 1, 1 << WIDTH - 1, shape) if residual else None,
            logits=rng.integers(-1 << 40, 1 << 40, layer.out_channels)
            if layer.output is Output.LOGITS else None,
            acs=int(rng.integers(1 << 40)), dense=1 << 41, input_density=0.25,
            saturations=int(rng.integers(5))))
    return results


def events(results, program):
    """The words of an accelerator that computes `results`, by position, timestep, word."""
    played = []
    for trace, result in zip(program.traces, results):
        for kind, values, size, width in ((RESIDUAL, result.residual, NEURONS, WIDTH),
                                          (SPIKE, result.spikes, WORD, 1)):
            if values is None:
                continue
            flat = values.astype(int).reshape(NETWORK.timesteps, result.layer.out_channels, -1)
            for position in range(flat.shape[2]):
                for timestep in range(NETWORK.timesteps):
                    for word in range(len(trace.channels) // size):
                        packed = 0
                        for i, c in enumerate(trace.channels[word * size:(word + 1) * size]):
                            if c >= 0:
                                value = int(flat[timestep, c, position])
                                packed |= (value & (1 << width) - 1) << i * width
                        played.append(Event(kind, trace.index, position, timestep, word, packed))
        played.append(Event(REPORT, trace.index,
                            data=result.acs | CYCLES << 40 | result.saturations << 80))
    words = [*map(int, results[-1].logits)]
    for result in results:
        words += [result.acs, CYCLES, result.saturations]
    for i, word in enumerate(words):
        last = i == len(words) - 1
        played.append(Event(OUTPUT, data=(word & (1 << 64) - 1) | last << 64))
    return [*played, Event(STOP)]


def mock_verilog(played, program):
    hardware = program.hardware
    mock = Mock(played, NETWORK.in_channels * NETWORK.image_height * NETWORK.image_width,
                hardware.input_width, WORD, NEURONS * WIDTH)
    return verilog.convert(mock, name="accelerator", emit_src=False, strip_internal_attrs=True)
