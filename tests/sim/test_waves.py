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
from sim.waves import layer_starts, read_header, write_view

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
    assert groups[0] == "what runs" and {"finish.lif", "dispatch.scan0", "attention"} <= {*groups}
    assert all(groups.count(name) == 2 for name in groups)   # begin and end
    for file in re.findall(r"^\^\d+ (\S+)$", text, re.MULTILINE):
        assert (waves.parent / file).is_file()
    assert [*re.findall(r"^\[markername\] [A-Z](.*)$", text, re.MULTILINE)] == LAYERS
    fraction = MODEL.residual.fraction
    assert re.search(rf"^\[fpshift_count\] {fraction}\n@400004[0-9a-f]+\n"
                     r"\+\{finish\.residual\.o__payload\.values\[0\]\}", text, re.MULTILINE)
    assert (waves.parent / "run.layers.txt").read_text().splitlines()[5] == "5 block.0.attn.q"
    assert "2 ATTENTION" in (waves.parent / "run.Op.txt").read_text()
    assert re.search(r"^\^\d+ \S+\.Emit\.txt\n\+\{sequencer\.instruction\.emit\}", text,
                     re.MULTILINE)
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
        clear = writer.register_var("testbench", "activity_clear", "wire", 1, init=0)
        for number in range(2 * len(LAYERS)):
            writer.change(clear, 20 * number + 5, 1)
            writer.change(clear, 20 * number + 7, 0)
    return path


def test_the_view_fits_the_waveform(waves):
    text = check(write_view(PROGRAM, waves), waves)
    begins = [20 * number + 5 for number in range(len(LAYERS))]
    assert f"*-10.000000 5 {' '.join(map(str, begins))} -1" in text
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
