# SPDX-License-Identifier: Apache-2.0
"""Compiler: hardware that a model does not fit is refused by name, what is larger is as good."""

import re
from dataclasses import replace

import pytest

from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.layout import WINDOW_ROWS
from hw.model import InputFormat
from hw.network import NetworkConfig
from tests.hw.reference import random_model
from tests.hw.test_compiler import NETWORKS

SMALLER = ("weight_bits", "attention_lanes", "token_sum_words", "logit_words", "weight_rows",
           "param_rows", "program_layers", "channel_beats", "max_timesteps", "acc_width",
           "plane_width", "current_width", "state_width", "param_width", "shift_width",
           "token_sum_width")
# Larger is another format of the weight rows, and attention engines must share a line.
LARGER = {"weight_bits": 8, "attention_lanes": 16}


def refused(sentence, model, hardware):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        compile_model(model, hardware)


@pytest.mark.parametrize("name", SMALLER)
def test_too_small_is_refused_by_name(name):
    model, _ = random_model(NETWORKS["static"])
    hardware = HardwareConfig.for_model(model, 16, 4)
    needed = getattr(hardware, name)
    # Attention engines must share a line, which is checked before.
    changes = {"attention_lanes": 4, "attention_engines": 2} if name == "attention_lanes" else {
        name: needed - 1}
    refused(f"hardware {name} must be at least {needed} for this model, not {changes[name]}", model,
            replace(hardware, **changes))
    # Larger than needed is as good.
    compile_model(model, replace(hardware, **{
        name: LARGER.get(name, needed + 1)}))


def test_a_ring_of_too_few_rows_is_refused():
    """Wide rows of the input, and few tokens."""
    model, _ = random_model(NetworkConfig(24, 1, 3, 2, 1, 20, 30, 5, pool_stages=(True,) * 4))
    least = WINDOW_ROWS * 8   # 30 columns in lines of 4
    for lines in (least, least - 1):
        hardware = HardwareConfig.for_model(model, 16, 4, port_bits=64, spike_lines=(lines, 400))
        if lines == least:
            assert compile_model(model, hardware).plan.input.rows == WINDOW_ROWS
            continue
        refused(f"spike memory half 0 must hold {least} lines, not {lines}: it is short by 32 bits",
                model, hardware)


@pytest.mark.parametrize("name", ["fraction", "shift_left"])
def test_the_common_grid_may_be_finer_and_not_coarser(name):
    model, _ = random_model(NETWORKS["static"])
    hardware = HardwareConfig.for_model(model, 16, 4)
    needed = getattr(hardware, name)
    assert needed > 0
    refused(f"hardware {name} must be at least {needed} for this model, not {needed - 1}", model,
            replace(hardware, **{name: needed - 1}))
    # A finer grid alone does not fit the widths any more.
    finer = {name: needed + (4 if name == "fraction" else 16)}
    with pytest.raises(ValueError, match=r"^hardware [a-z_]+_width must be at least"):
        compile_model(model, replace(hardware, **finer))
    wide = {width: getattr(hardware, width) + 4
            for width in ("current_width", "state_width", "param_width", "shift_width")}
    compile_model(model, replace(hardware, **finer | wide))


def test_slow_tau_is_needed_for_tau_1_5_only():
    for name in ("static", "events"):
        model, _ = random_model(NETWORKS[name])
        hardware = HardwareConfig.for_model(model, 16, 4)
        assert hardware.slow_tau == (name == "events")
        compile_model(model, replace(hardware, slow_tau=True))
    refused("hardware slow_tau must be at least True for this model, not False", model,
            replace(hardware, slow_tau=False))


@pytest.mark.parametrize("half", [0, 1])
def test_too_small_a_spike_memory_is_refused_by_name(half):
    model, _ = random_model(NETWORKS["static"])
    hardware = HardwareConfig.for_model(model, 16, 4)
    lines = list(hardware.spike_lines)
    lines[half] -= 3
    refused(f"spike memory half {half} must hold {lines[half] + 3} lines, not {lines[half]}: "
            f"it is short by 96 bits", model, replace(hardware, spike_lines=tuple(lines)))


def test_too_small_a_residual_memory_is_refused_by_name():
    model, _ = random_model(NETWORKS["static"])
    hardware = HardwareConfig.for_model(model, 16, 4)
    words, width = hardware.residual_words, hardware.residual_width
    refused(f"residual memory must hold {words} words, not {words - 20}: it is short by "
            f"{20 * 8 * width:,} bits", model, replace(hardware, residual_words=words - 20))


@pytest.mark.parametrize(("changes", "field"), [
    ({"input_width": 9}, "input_width"), ({"in_channels": 2}, "in_channels"),
    ({"residual_width": 20}, "residual_width")])
def test_what_must_match_exactly(changes, field):
    model, _ = random_model(NETWORKS["static"])
    hardware = HardwareConfig.for_model(model, 16, 4)
    refused(f"hardware {field} must be {getattr(hardware, field)} for this model, "
            f"not {changes[field]}", model, replace(hardware, **changes))


def test_a_larger_network_on_hardware_for_a_smaller_one():
    small, _ = random_model(NETWORKS["static"])
    large, _ = random_model(replace(NETWORKS["static"], image_height=12, image_width=12))
    hardware = HardwareConfig.for_model(small, 16, 4)
    with pytest.raises(ValueError, match=r"^spike memory half 0 must hold \d+ lines, not \d+: "
                                         r"it is short by [\d,]+ bits$"):
        compile_model(large, hardware)


@pytest.mark.parametrize("port_bits", [0, 64, 128])
def test_models_share_one_hardware(port_bits):
    """Which is as large as each of them needs, and the same in whatever order they come."""
    models = [random_model(NETWORKS["static"])[0],
              random_model(replace(NETWORKS["padded-heads"], in_channels=1, tau=1.5), bits=4)[0]]
    hardware = HardwareConfig.for_models(models, 16, 4, port_bits=port_bits)
    assert hardware == HardwareConfig.for_models(models[::-1], 16, 4, port_bits=port_bits)
    for model in models:
        alone = HardwareConfig.for_model(model, 16, 4, port_bits=port_bits)
        for name in (*SMALLER, "residual_words", "slow_tau", "program_words"):
            assert getattr(hardware, name) >= getattr(alone, name), name
        program = compile_model(model, hardware)
        assert program.hardware == hardware
        assert bool(program.stream) == bool(program.tiles) == hardware.streamed
        assert hardware.streamed or all(program.memory.weights)
    if not port_bits:
        assert hardware.weight_bits == 8 and hardware.slow_tau


@pytest.mark.parametrize(("options", "name", "values"), [
    ({"input_format": InputFormat(5, True, 1.0, (0.0,), (1.0,))}, "input bits", "[5, 8]")])
def test_models_of_different_formats_are_refused(options, name, values):
    models = [random_model(NETWORKS["static"], **each)[0]
              for each in ({"input_format": InputFormat(8, True, 1.0, (0.0,), (1.0,))}, options)]
    with pytest.raises(ValueError, match=f"^models on one hardware must have the same {name}, "
                                         f"not {re.escape(values)}$"):
        HardwareConfig.for_models(models, 16, 4)
