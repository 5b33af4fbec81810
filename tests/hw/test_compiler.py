# SPDX-License-Identifier: Apache-2.0
"""Compiler: images and instructions hold the model (what does not fit: test_compiler_limits)."""

from dataclasses import replace

import numpy as np
import pytest

from hw.axi import block_bytes
from hw.compiler import compile_model
from hw.config import MIN_INTERVAL, POOL_ROWS, HardwareConfig
from hw.current import Param, ParamRow
from hw.drain import repeat_interval
from hw.isa import WORD_BITS, Emit, Instruction, Op
from hw.layout import Arrangement, Walk
from hw.model import Activity, InputFormat
from hw.network import Classifier, Kind, NetworkConfig, Output
from sim.benches.maps import LINE, StoredMap
from tests.hw.harness import signed
from tests.hw.reference import random_model

NETWORKS = {
    "static": NetworkConfig(16, 1, 2, 2, 1, 6, 6, 10, pool_stages=(False, False, False, True)),
    "padded-heads": NetworkConfig(24, 2, 4, 2, 3, 5, 4, 5, mlp_ratio=2.0),
    "events": NetworkConfig(16, 1, 2, 3, 2, 5, 5, 3, tau=1.5, static_input=False),
    "spiking-head": NetworkConfig(16, 1, 1, 2, 1, 4, 4, 20,
                                  classifier=Classifier.SN_AVGPOOL_FC),
    "pairs": NetworkConfig(24, 1, 4, 3, 1, 5, 8, 5, pool_stages=(False, True, False, False),
                           mlp_ratio=2.0),
    "beside": NetworkConfig(16, 1, 2, 2, 1, 5, 6, 5, pool_stages=(False,) * 4, mlp_ratio=1.0)}
# Everything in common, or nothing.
ACTIVITY = {"pairs": Activity(1.0, 1.0), "beside": Activity(1.0, 0.0)}


# Streamed, with windowed maps in both halves, one of several blocks.
TALL = NetworkConfig(64, 1, 4, 2, 1, 17, 5, 5, mlp_ratio=1.0,
                     pool_stages=(False, False, True, True))
SPIKE_LINES = (124, 60)


def model_of(name, **kwargs):
    """A model whose pixels fit words of 8 bits, where these are asked for by `bits` of 4."""
    channels = NETWORKS[name].in_channels
    if kwargs.get("bits") == 4:
        kwargs["input_format"] = InputFormat(2, False, 1.0, (0.0,) * channels, (1.0,) * channels)
    model = random_model(NETWORKS[name], **kwargs)[0]
    activity = {layer.name: ACTIVITY[name] for layer in NETWORKS[name].layers()
                if layer.kind is Kind.CONV} if name in ACTIVITY else {}
    return replace(model, activity=activity)


def compiled(name, lanes=16, banks=4, **kwargs):
    model = model_of(name, **kwargs)
    # A position beside another must take more than a beat.
    neurons = 2 if name == "beside" else None
    return compile_model(model, HardwareConfig.for_model(model, lanes, banks, neurons=neurons))


def compiled_windowed(port_bits=64):
    model, _ = random_model(TALL)
    return compile_model(model, HardwareConfig.for_model(
        model, 16, 4, port_bits=port_bits, spike_lines=SPIKE_LINES))


every_network = pytest.mark.parametrize("name", NETWORKS)


def decode(program):
    """The program memory as dictionaries again."""
    layout = Instruction(program.hardware)
    words = program.memory.program
    assert len(words) % layout.words == 0
    instructions = []
    for first in range(0, len(words), layout.words):
        packed = sum(word << WORD_BITS * i
                     for i, word in enumerate(words[first:first + layout.words]))
        instructions.append({name: packed >> f.offset & (1 << f.width) - 1 for name, f in layout})
    return instructions


@every_network
@pytest.mark.parametrize(("lanes", "banks", "bits"), [
    (16, 4, 8), (8, 1, 4), (32, 16, 6), (16, 3, 8), (8, 3, 4)])
def test_every_weight_is_in_its_place(name, lanes, banks, bits):
    """Read the banks as Gather and Dispatch address them, and find the model's tensors."""
    program = compiled(name, lanes, banks, bits=bits)
    geometry, banks_rows = program.hardware.geometry, program.memory.weights
    assert len(banks_rows) == banks
    assert all(rows[0] == 0 for rows in banks_rows), "row 0 is what idle banks add"
    assert {len(rows) for rows in banks_rows} == {program.hardware.weight_rows}
    for plan in program.plan.layers:
        if not plan.layer.has_weights:
            continue
        weight = program.model.tensors[plan.layer.name].weight
        kernel, inputs = plan.layer.kernel, plan.sources[0].channels
        positions = 2 if plan.walk is Walk.BESIDE else 1
        # Lanes of one position, of those that are beside each other.
        share = geometry.words(len(plan.out_channels)) * geometry.spike_word
        got = np.full((positions, *weight.shape), 999)
        others = 0   # weights of padding
        for tile, ky, column in np.ndindex(plan.tiles, kernel, plan.columns):
            tap = (tile * kernel + ky) * plan.columns + column
            base = plan.weight_base + tap * plan.rows_per_tap
            for slot in range(plan.rows_per_tap * banks):
                word, rest = divmod(slot, geometry.slice_bits * banks)
                row, bank = divmod(rest, banks)
                # Banks move on by one from tap to tap of a 3x3 convolution.
                turned = (bank + ky + column) % banks if kernel == 3 else bank
                stored = word * geometry.spike_word + rest
                source = (inputs[stored] if rest < geometry.spike_word and stored < len(inputs)
                          else -1)
                place = base + word * geometry.slice_bits + row
                for lane in range(lanes):
                    value = signed(banks_rows[turned][place] >> lane * bits, bits)
                    odd, out = divmod(lane, share) if positions > 1 else (0, tile * lanes + lane)
                    out = plan.out_channels[out] if out < len(plan.out_channels) else -1
                    if source < 0 or out < 0 or odd >= positions or not 0 <= column - odd < kernel:
                        others += value != 0
                    else:
                        got[odd, out, source, ky, column - odd] = value
        assert (got == weight).all(), plan.layer.name
        assert others == 0, plan.layer.name


@pytest.mark.parametrize(("name", "lanes", "banks", "pairs", "beside"), [
    ("static", 16, 4, 0, 0), ("pairs", 16, 4, 8, 0), ("pairs", 8, 3, 9, 0),
    ("beside", 16, 4, 0, 3), ("beside", 8, 4, 0, 0)])
def test_what_is_taken_two_by_two(name, lanes, banks, pairs, beside):
    """The layers that the tests here mean to see."""
    program = compiled(name, lanes, banks)
    walks = [plan.walk for plan in program.plan.layers]
    assert (walks.count(Walk.PAIRS), walks.count(Walk.BESIDE)) == (pairs, beside)
    assert (program.hardware.pairs, program.hardware.beside) == (pairs > 0, beside > 0)


@every_network
def test_every_parameter_is_in_its_place(name):
    program = compiled(name)
    hardware, width = program.hardware, program.hardware.param_width
    layout, row_layout = Param(hardware), ParamRow(hardware)
    neurons = hardware.geometry.neurons
    assert len(program.memory.params) == hardware.param_rows
    for plan in program.plan.layers:
        if not plan.layer.has_weights:
            continue
        tensors = program.model.tensors[plan.layer.name]
        scale = hardware.fraction - tensors.bias_shift
        beats = (plan.tiles - 1) * hardware.geometry.beats + plan.last_beats
        seen = set()
        for beat in range(beats):
            row = program.memory.params[plan.param_base + beat]
            channels = [plan.out_channels[c] if c < len(plan.out_channels) else -1
                        for c in range(beat * neurons, (beat + 1) * neurons)]
            real = row >> row_layout["real"].offset
            assert real == sum(c >= 0 for c in channels)
            for i, channel in enumerate(channels):
                field = row >> row_layout["params"].offset + i * layout.size
                bias = signed(field >> layout["bias"].offset, width)
                threshold = signed(field >> layout["threshold"].offset, width)
                shift = field >> layout["shift"].offset & (1 << hardware.shift_width) - 1
                if channel < 0:
                    # It must stay silent for a sum of zero: the largest threshold there is.
                    assert (bias, threshold) == (0, (1 << width - 1) - 1)
                    continue
                seen.add(channel)
                expected = int(tensors.bias[channel]) << scale
                if plan.layer.output is Output.LOGITS:
                    assert threshold << width | bias & (1 << width) - 1 == expected
                    continue
                assert bias == expected
                if tensors.threshold is not None:
                    on_grid = int(tensors.threshold[channel])
                    on_grid <<= scale if plan.layer.output is Output.SPIKES else 0
                    assert threshold == on_grid
                if tensors.shift is not None:
                    assert shift == int(tensors.shift[channel]) + scale + hardware.shift_left
        assert seen == set(range(plan.layer.out_channels))


@every_network
def test_program(name):
    program = compiled(name)
    network, geometry = program.model.network, program.hardware.geometry
    instructions = decode(program)
    ops = [Op(values["op"]) for values in instructions]
    layers = [(layer, values) for layer, values in zip(
        network.layers(), [v for v in instructions if v["report"]], strict=True)]
    middle = [Op.ATTENTION if layer.kind is Kind.ATTENTION else Op.CONV for layer, _ in layers]
    planes = [] if network.classifier.spiking else [Op.PLANES]
    assert ops == [Op.LOAD, *middle[:-1], *planes, middle[-1], Op.END]
    assert (instructions[-1]["outputs"], instructions[-1]["counters"]) == (
        network.num_classes, len(layers))
    emits = {Output.SPIKES: Emit.SPIKES, Output.RESIDUAL: Emit.RESIDUAL,
             Output.LOGITS: Emit.LOGITS}
    for i, (layer, values) in enumerate(layers):
        assert values["layer"] == i
        if layer.kind is Kind.ATTENTION:
            continue
        assert values["emit"] == emits[layer.output].value
        assert values["fire"] == bool(layer.lif) and values["pool"] == layer.pool
        assert values["add_residual"] == layer.adds
        assert values["token_sum"] == (layer.output is Output.RESIDUAL and not layer.lif)
        # What the units behind the lanes need between groups.
        beats = geometry.beats if values["tiles"] > 1 else values["last_beats"]
        least = max(beats, MIN_INTERVAL)
        if layer.pool:
            least = max(least, POOL_ROWS * beats * geometry.neurons // geometry.spike_word)
        assert values["interval"] >= least
        repeats = layer.kind is Kind.ENCODER and network.static_input
        assert values["repeat"] == repeats
        if repeats:
            assert values["last_interval"] >= network.timesteps * repeat_interval(
                beats, values["interval"])
        else:
            assert values["last_interval"] == values["interval"]


def stored(m):
    """A planned map as the units' tests have it."""
    return StoredMap(m.half, m.base, m.height, m.width, m.steps, m.words,
                     m.arrangement is Arrangement.GRID, m.block_words,
                     m.rows if m.windowed else 0, m.arrangement is Arrangement.PAIR)


def maps_of(program, values):
    """Sources and target of an instruction, as planned."""
    plan, layer = program.plan, program.plan.layers[values["layer"]]
    if values["op"] == Op.LOAD.value:
        return [], plan.input
    if values["op"] == Op.PLANES.value:
        return [], plan.planes
    if values["op"] == Op.END.value:
        return [], None
    return layer.sources, layer.destination


PROGRAMS = {**{name: lambda name=name: compiled(name) for name in NETWORKS},
            "24-lanes": lambda: compiled("padded-heads", 24, 2, bits=4),
            "windowed": compiled_windowed}


@pytest.mark.parametrize("name", PROGRAMS)
def test_instructions_address_the_planned_maps(name):
    program = PROGRAMS[name]()
    slice_bits = program.hardware.geometry.slice_bits
    for values in decode(program):
        sources, target = maps_of(program, values)
        plan = program.plan.layers[values["layer"]] if values["op"] == Op.CONV.value else None
        if target is not None:
            fields = stored(target).target()
            if plan and plan.pairs and target.arrangement is Arrangement.TOKEN:
                fields["target_column"] *= 2   # two positions that share no line
            assert fields.items() <= values.items()
            assert values.get("target_window", 0) == target.windowed
        if not sources:
            continue
        source = stored(sources[0])
        fields = source.source()
        if values["op"] == Op.ATTENTION.value:
            fields = {name: fields[name] for name in ("source_half", "source_base", "step_lines",
                                                      "last_mask")}
            assert (values["key_base"], values["value_base"]) == (sources[1].base, sources[2].base)
            assert len({(m.half, m.height, m.width, m.words, m.steps) for m in sources}) == 1
        assert fields.items() <= values.items()
        assert values.get("source_window", 0) == sources[0].windowed
        assert (values["height"], values["width"]) == (source.height, source.width)
        if values["op"] == Op.CONV.value:
            # Rows of weights from tap to tap and from word to word.
            taps, line = plan.rows_per_tap, 2 if source.pair else LINE
            assert values["kernel3"] == source.grid
            for word in range(source.words):
                row = word * slice_bits
                if source.grid:
                    assert values["line_stride"] * word == row
                    assert (values["row_tap_stride"], values["word_stride"]) == (
                        (4 if plan.beside else 3) * taps, taps)
                else:
                    assert (values["line_stride"] * (word // line)
                            + values["word_stride"] * (word % line)) == row


@pytest.mark.parametrize(("name", "lanes"), [("pairs", 16), ("pairs", 8), ("beside", 16),
                                             ("static", 16)])
def test_fields_of_two_positions(name, lanes):
    """`pairs` goes from the even position to the odd one and back, modulo the addresses."""
    program, arrangements = compiled(name, lanes), set()
    layout = Instruction(program.hardware)
    beats, steps = program.plan.residual_beats, NETWORKS[name].timesteps
    for values in decode(program):
        plan = program.plan.layers[values["layer"]]
        conv = values["op"] == Op.CONV.value
        assert values.get("pairs", 0) == (conv and plan.pairs)
        assert values.get("beside", 0) == (conv and plan.beside)
        if not values.get("pairs"):
            continue
        addresses = {"residual": (steps * beats, beats)} if values["residual_stride"] else {}
        if plan.destination is not None:
            target = stored(plan.destination)
            even, odd = (target.write(0, 0 if plan.layer.pool else x)[2] for x in (0, 1))
            addresses["target"] = (odd - even, target.step_lines)
            arrangements.add(plan.destination.arrangement)
        for address, (odd, step) in addresses.items():
            assert values[f"{address}_odd"] == odd
            assert (odd + values[f"{address}_even"]) % (
                1 << layout[f"{address}_even"].width) == step
    assert arrangements == (set(Arrangement) if name == "pairs" else set())


@pytest.mark.parametrize("port_bits", [64, 128])
def test_windowed_maps_have_places_in_external_memory(port_bits):
    """Written where they are read, apart from each other, in chunks of whole bursts."""
    program = compiled_windowed(port_bits)
    line_beats = -(-program.hardware.geometry.line_bits // port_bits)
    written, seen = {}, 0
    for values in program.instructions:
        sources, target = maps_of(program, {"layer": 0} | values | {"op": values["op"].value})
        busy = {}
        for end, m in (("source", sources[0] if sources else None), ("target", target)):
            if m is None or not m.windowed:
                assert f"{end}_window" not in values
                continue
            place, beats, chunk = (values[f"{end}_{part}"] for part in ("place", "beats", "chunk"))
            assert beats == m.block_lines * line_beats
            assert chunk % block_bytes(port_bits) == place % block_bytes(port_bits) == 0
            assert beats * port_bits // 8 <= chunk
            size = m.blocks * m.height * chunk
            assert place + size <= program.map_bytes
            busy[end] = set(range(place, place + size, 64))
            seen += 1
            if end == "target":
                written[id(m)] = (place, beats, chunk)
            else:
                assert written[id(m)] == (place, beats, chunk)
                assert values["source_block"] == m.height * chunk
        assert not busy.get("source", set()) & busy.get("target", set())
    assert seen == 6
    blocks = {m.blocks for layer in program.plan.layers for m in layer.sources if m.windowed}
    assert blocks == {1, 2}
    assert compiled("static").map_bytes == 0


def test_signed_planes():
    """The sign plane subtracts for signed inputs, and always in the classifier's sums."""
    for is_signed in (False, True):
        fmt = InputFormat(4, is_signed, 1.0, (0.0,), (1.0,))
        instructions = decode(compiled("static", input_format=fmt))
        encoder, = (v for v in instructions if v["op"] == Op.CONV.value and v["layer"] == 0)
        assert (encoder["signed_input"], encoder["planes"]) == (is_signed, 4)
        assert instructions[-2]["signed_input"] == 1
        assert [v["signed_input"] for v in instructions].count(1) == 1 + is_signed


def test_images_are_readmemh_text():
    program = compiled("static", lanes=16, banks=4)
    images = program.images()
    assert set(images) == {"program.hex", "params.hex", *(f"weights{n}.hex" for n in range(4))}
    for name, rows in (("program", program.memory.program), ("params", program.memory.params),
                       ("weights2", program.memory.weights[2])):
        lines = images[f"{name}.hex"].splitlines()
        assert [int(line, 16) for line in lines] == list(rows)
        assert len({len(line) for line in lines}) == 1
    assert len(images["weights0.hex"].splitlines()[0]) == 16 * 8 // 4


@every_network
def test_traces_name_every_channel(name):
    program = compiled(name)
    word = program.hardware.geometry.spike_word
    for i, trace in enumerate(program.traces):
        assert (trace.index, trace.layer) == (i, program.model.network.layers()[i])
        assert len(trace.channels) % word == 0
        assert sorted(trace.channels[trace.channels >= 0]) == list(
            range(trace.layer.out_channels))


@every_network
@pytest.mark.parametrize(("lanes", "banks", "bits"), [(16, 4, 8), (8, 1, 4)])
def test_the_stream_holds_what_the_memories_would(name, lanes, banks, bits):
    """Same rows and parameters in the same order, wherever a tile comes to lie."""
    model = model_of(name, bits=bits)
    on_chip = compile_model(model, HardwareConfig.for_model(model, lanes, banks))
    hardware = HardwareConfig.for_model(model, lanes, banks, port_bits=64)
    program = compile_model(model, hardware)
    assert program.images() == {"weights.bin": program.stream}
    row_bytes = -(-lanes * bits // 64) * 8
    param_bytes = -(-ParamRow(hardware).size // 64) * 8
    words = len(program.instructions) * Instruction(hardware).words
    place = 64 * 8 + 8 + -(-words // 2) * 8
    params, weights = [], [[0] for _ in range(banks)]

    def take(size):
        nonlocal place
        place += size
        return int.from_bytes(program.stream[place - size:place], "little")
    for tile in program.tiles:
        header = take(8)
        count = header >> 2 & (1 << 14) - 1
        params += [take(param_bytes) for _ in range(count)]
        for _ in range(tile.rows):
            for bank in weights:
                bank.append(take(row_bytes))
    assert place == len(program.stream)
    assert params == list(on_chip.memory.params)
    assert weights == [list(bank) for bank in on_chip.memory.weights]
