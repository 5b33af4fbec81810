# SPDX-License-Identifier: Apache-2.0
"""The view of a waveform: every signal in it is in the waveform, enums and values are decoded."""

import re

import pytest
from vcd import VCDWriter

from hw.accelerator import Accelerator
from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.hierarchy import hierarchy, leaves
from sim.benches.models import SMALL, random_inputs, random_model
from sim.run import simulate
from sim.waves import (
    AT_WORK,
    SIGNALS_WIDTH,
    WINDOW,
    ZOOM_UNIT,
    layer_starts,
    read_header,
    write_view,
)

MODEL = random_model(SMALL)
PROGRAM = compile_model(MODEL, HardwareConfig.for_model(MODEL, 8, 2))
LAYERS = [layer.name for layer in SMALL.layers()]


def check(view, waves):
    """What holds for the view of any waveform of the accelerator."""
    text = view.read_text()
    names = {name for name, _ in read_header(waves).values()}
    traced = re.findall(r"^\+\{.*?\} (\S+)$", text, re.MULTILINE)
    assert len(traced) > 200 and set(traced) <= names
    groups = re.findall(r"^-(\S.*)$", text, re.MULTILINE)
    times = [name for name in groups if ": --start " in name]
    groups = [name for name in groups if name not in times]
    assert groups[0] == "layers" and {"finish.lif", "dispatch.scan0", "attention"} <= {*groups}
    assert all(groups.count(name) == 2 for name in groups)   # begin and end
    assert [name.partition(":")[0] for name in times] == LAYERS
    first = re.findall(r"^\+\{(.*)\} ", text[:text.index("-times of the layers")], re.MULTILINE)
    assert first[:4] == ["layer", "layer begins", "instruction", "cycle spent on"]
    assert {*AT_WORK.values()} <= {*first}
    # GTKWave shows what is behind the last dot only.
    assert not [alias for alias in re.findall(r"^\+\{(.*)\} ", text, re.MULTILINE) if "." in alias]
    for file in re.findall(r"^\^\d+ (\S+)$", text, re.MULTILINE):
        assert (waves.parent / file).is_file()
    assert [*re.findall(r"^\[markername\] [A-Z](.*)$", text, re.MULTILINE)] == [
        name.rpartition(".")[2] for name in LAYERS]
    fraction = MODEL.residual.fraction
    # In this order: flags take the point away.
    assert re.search(rf"^@400004[0-9a-f]+\n\[fpshift_count\] {fraction}\n"
                     r"\+\{o__payload values\[0\]\} testbench\.dut\.finish\.residual\.", text,
                     re.MULTILINE)
    assert (waves.parent / "run.layers.txt").read_text().splitlines()[5] == "5 block.0.attn.q"
    assert "2 ATTENTION" in (waves.parent / "run.Op.txt").read_text()
    assert re.search(r"^\^\d+ \S+\.Emit\.txt\n\+\{instruction emit\}", text, re.MULTILINE)
    return text


@pytest.fixture
def waves(tmp_path):
    """A waveform with the ports of all units, in which the layers take 10 cycles each."""
    path = tmp_path / "run.vcd"
    design = hierarchy(Accelerator(PROGRAM.hardware, PROGRAM.memory, True), "dut")
    with path.open("w") as file, VCDWriter(file, timescale="1 ns") as writer:
        for place, unit in design.walk(("testbench", "dut")):
            for port in unit.ports:
                for name, _ in leaves(port.name, port.value.shape()):
                    writer.register_var(".".join(place), name, "wire", 3)
        writer.register_var("testbench", "activity", "wire", 2)
        for name in ("spikes_valid", "residual_valid"):
            writer.register_var("testbench", name, "wire", 1)
        clear = writer.register_var("testbench", "activity_clear", "wire", 1, init=0)
        for number in range(2 * len(LAYERS)):
            writer.change(clear, 20 * number + 5, 1)
            writer.change(clear, 20 * number + 7, 0)
    return path


def test_the_view_fits_the_waveform(waves):
    text = check(write_view(PROGRAM, waves), waves)
    begins = [20 * number + 5 for number in range(len(LAYERS))]
    assert f" 5 {' '.join(map(str, begins))} -1" in text
    assert "-block.0.attn.k: --start 125 --end 145\n" in text
    # All layers are in the window: the time of its pixels is that of the whole.
    exponent = float(re.search(r"^\*-(\S+) ", text, re.MULTILINE)[1])
    assert 2 ** exponent * (WINDOW[0] - SIGNALS_WIDTH) / ZOOM_UNIT == pytest.approx(
        1.05 * begins[-1])
    assert not [*waves.parent.glob(".*")]


def test_starts_are_those_of_the_first_inference(waves):
    code = read_header(waves)["testbench.activity_clear"][1]
    assert layer_starts(waves, code, 3) == [5, 25, 45]


@pytest.mark.slow
def test_a_simulation(tmp_path):
    path = tmp_path / "run.vcd"
    simulate(PROGRAM, random_inputs(MODEL, 1), waves=path)
    text = check(write_view(PROGRAM, path), path)
    assert "finish.lif.write__data[0].v" in text
    code = read_header(path)["testbench.activity_clear"][1]
    starts = layer_starts(path, code, len(LAYERS))
    assert len(starts) == len(LAYERS) and starts == sorted(set(starts))
