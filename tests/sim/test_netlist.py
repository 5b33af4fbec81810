# SPDX-License-Identifier: Apache-2.0
"""Netlists in simulation; what is slow here takes one to five minutes each."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

import boards
from hw.asic.design import asic_design
from hw.asic.mapping import map_design
from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.network import NetworkConfig
from hw.toolchains.cells import find_library
from quantize.golden import GoldenModel
from quantize.random_model import random_model, random_samples
from sim import netlist
from sim.build import CACHE
from sim.compare import compare
from sim.netlist import differences, expected, run
from sim.netlist_sources import Netlist, _ports, board_netlist, rtl_netlist
from sim.run import SimulationError, simulate

TINY = NetworkConfig(embed_dim=8, depth=1, num_heads=2, timesteps=2, in_channels=1, image_height=4,
                     image_width=4, num_classes=3, pool_stages=(False, False, False, True))
needs_cells = pytest.mark.skipif(find_library() is None, reason="needs make tools-asic")


@cache
def tiny(port_bits=64):
    model = random_model(TINY)
    program = compile_model(model, HardwareConfig.for_model(model, 8, 2, port_bits=port_bits))
    return program, random_samples(model, 2).inputs


def silicon(program):
    """RTL with SRAM macros, for the simulator."""
    design = asic_design(program)
    text = design.verilog()
    return Netlist(text + design.models(), _ports(text))


@pytest.mark.slow
def test_sram_and_registers_begin_with_noise():
    """The RTL for silicon: no answer depends on what was there at power-up."""
    program, inputs = tiny()
    golden = expected(program, inputs)
    for seed, gaps in ((1, 0), (2, 5)):
        words = run(silicon(program), program, inputs, gaps, seed)
        assert differences(words, words, golden) == (0, 0)
    words[1, 0] += 1
    assert differences(words, words, golden) == (0, 1)


def test_expected_words():
    program, inputs = tiny()
    golden = expected(program, inputs)
    assert golden.shape == (2, 3 + 3 * len(program.model.network.layers()))
    assert (golden[:, :3] == GoldenModel(program.model).logits(inputs)).all()
    assert (golden[:, 4::3] == -1).all()
    assert differences(golden, golden + 1, golden) == (golden.size, 0)


@pytest.mark.parametrize(("arguments", "complaint"), [
    (["--board", "none"], "board must be one of"), (["--model", "none"], "none"),
    (["--board", "ulx3s_85f"], "must be of 7 series"), (["--lanes", "0"], "lanes"),
    (["--target", "asic", "--liberty", "none.lib"], "none.lib"),
    (["--board", "arty_a7", "--target", "asic"], "not allowed with")])
def test_bad_input_is_one_sentence(capsys, arguments, complaint):
    try:
        status = netlist.main(arguments)
    except SystemExit as error:   # argparse
        status = error.code
    assert status == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.slow
def test_a_netlist_that_hangs_is_an_error():
    program, inputs = tiny()
    whole = silicon(program)
    stuck = Netlist(whole.text.replace("assign i__ready", "assign i__ready = 0; //"), whole.ports)
    assert stuck.text != whole.text
    with pytest.raises(SimulationError, match=r"the netlist hangs: \d+ samples went in"):
        run(stuck, program, inputs)


@pytest.mark.slow
@needs_cells
def test_gates_give_every_value_of_two_inferences(tmp_path):
    """Standard cells by their Liberty functions, SRAM with noise: the test of the RTL itself."""
    program, inputs = tiny()
    design = asic_design(program, trace=True)
    mapped = map_design(design, find_library(), tmp_path)
    text = "\n".join((mapped.netlist, mapped.models, design.models()))
    golden = GoldenModel(program.model)
    for inference, image in zip(simulate(program, inputs, verilog=text, cocotb=False), inputs):
        comparison = compare(inference, golden.results(image))
        assert comparison.equal, comparison.lines()


@pytest.mark.slow
@needs_cells
def test_gates_begin_with_noise():
    program, inputs = tiny()
    words = run(netlist.asic_netlist(program, find_library()), program, inputs)
    assert differences(words, run(silicon(program), program, inputs), expected(program, inputs)
                       ) == (0, 0)


@pytest.mark.slow
def test_the_arty_netlist_of_a_tiny_network():
    program, inputs = tiny(0)
    words = run(board_netlist(program, boards.get("arty_a7")), program, inputs)
    rtl = run(rtl_netlist(program), program, inputs)
    assert differences(words, rtl, expected(program, inputs)) == (0, 0)


@pytest.mark.slow
def test_the_arty_netlist_of_the_shipped_network(capsys):
    assert netlist.main(["--board", "arty_a7", "--samples", "1"]) == 0
    out = capsys.readouterr().out
    assert "words 0 differ from the RTL, 0 from the golden model" in out
    assert np.all([Path(CACHE).is_dir(), "true label" in out])
