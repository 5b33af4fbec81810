# SPDX-License-Identifier: Apache-2.0
"""The program from a layer on; tests/sim/test_preload.py runs it."""

import pytest

from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.memory_map import traffic
from sim.benches.models import SMALL, random_model
from sim.resume import from_layer


def test_later_program():
    model = random_model(SMALL)
    program = compile_model(model, HardwareConfig.for_model(model, lanes=8, banks=2, port_bits=64))
    later = from_layer(program, 6)
    assert [trace.index for trace in later.traces] == list(range(6, 13))
    assert [step.get("layer") for step in later.instructions[:-1]] == [6, 7, 8, 9, 10, 11, 12, 12]
    assert len(later.stream) < len(program.stream)
    assert traffic(later)[0].read < traffic(program)[0].read
    assert len(later.tiles) == sum(layer.tiles for layer in program.plan.layers[6:])


@pytest.mark.parametrize("first", [0, 13, -1])
def test_no_such_layer(first):
    model = random_model(SMALL)
    program = compile_model(model, HardwareConfig.for_model(model, lanes=8, banks=2))
    with pytest.raises(ValueError,
                       match=rf"^the first layer must be number 1 to 12, not {first}$"):
        from_layer(program, first)
