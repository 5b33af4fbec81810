# SPDX-License-Identifier: Apache-2.0
import re

import pytest

from hw.asic.design import AsicDesign, asic_design, instances
from hw.asic.macros import Macro
from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.network import NetworkConfig
from quantize.random_model import random_model

TINY = NetworkConfig(embed_dim=8, depth=1, num_heads=2, timesteps=2, in_channels=1, image_height=4,
                     image_width=4, num_classes=3, pool_stages=(False, False, False, True))


def program(port_bits):
    model = random_model(TINY)
    return compile_model(model, HardwareConfig.for_model(model, 8, 2, port_bits=port_bits))


@pytest.fixture(scope="module")
def design():
    return asic_design(program(64))


def test_weights_on_chip_are_refused():
    with pytest.raises(ValueError, match="must be streamed: --port-bits must be 64 or 128, not 0"):
        asic_design(program(0))


def test_nothing_has_initial_contents(design):
    assert r"attribute \init" not in design.rtlil
    assert "$meminit" not in design.rtlil
    verilog = design.verilog()
    assert "initial" not in verilog
    # Of yosys' own registers, which wake up simulators, nothing is made.
    assert not re.search(r"^ *reg (?!\\\$auto\$verilog_backend)[^;]*=", verilog, re.M)


def test_macros_and_where_they_are(design):
    placed = instances(design)
    assert sum(design.macros.values()) == len(placed)
    assert placed["lanes.banks.bank1.macro"] == next(
        macro.name for macro in design.macros if macro.two)
    for macro, count in design.macros.items():
        assert list(placed.values()).count(macro.name) == count
        assert f"module {macro.name} (" in design.models()
        assert f"module {macro.name} (" in design.stubs()


def test_without_macros_everything_is_flip_flops():
    design = asic_design(program(64), least_bits=1 << 30)
    assert design.macros == {} and instances(design) == {}


def test_instances_follow_shared_modules():
    macro = Macro(64, 16, False)
    text = ("module \\accelerator\n  cell \\accelerator.a \\a\n  end\n  cell \\accelerator.a \\b\n"
            f"  end\nend\nmodule \\accelerator.a\n  cell \\{macro.name} \\macro\n  end\n"
            "  cell $and $1\n  end\nend\n")
    assert instances(AsicDesign(text, {macro: 2})) == {"a.macro": macro.name,
                                                       "b.macro": macro.name}
