# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""The peripheral between buses of others; what they find wrong is seen."""

import pytest

from boards.driver import encode
from hw.identity import Identity
from hw.network import NetworkConfig
from quantize.golden import GoldenModel
from sim.benches import peripheral
from sim.benches.models import SMALL, random_inputs, random_model
from sim.units import UnitError, run_bench

TINY = NetworkConfig(8, 1, 1, 1, 1, 8, 8, 3, pool_stages=(True, True, True, False))
ON_CHIP = {"lanes": 8, "banks": 2}
STREAMED = ON_CHIP | {"port_bits": 128}
SPILLED = ON_CHIP | {"port_bits": 64, "spill_residual": True}
# Its tokenizer's maps do not fit this spike memory.
TALL = NetworkConfig(16, 1, 2, 2, 1, 22, 11, 5, pool_stages=(True,) * 4)
OUTSIDE = SPILLED | {"spike_lines": (24, 30)}


def run(network, hardware, names, pause, count=2, change=lambda words: None):
    """Inferences whose expected words `change` may change; names: of the memories outside."""
    model = random_model(network)
    inputs = random_inputs(model, count)
    words = [[*layers[-1].logits.tolist(), *(layer.acs for layer in layers),
              *(layer.saturations for layer in layers)]
             for layers in GoldenModel(model).run(inputs)]
    change(words)
    given = {"network": network.to_dict(), "hardware": hardware}
    built = peripheral.program(given)
    assert peripheral.memories(built) == names
    told = Identity.of(built, 50_000_000, writable=built.hardware.streamed)
    run_bench("peripheral", **given, pause=pause, words=words, layers=len(network.layers()),
              identity=told.pack().hex(),
              samples=[encode(each, model.input.bits).hex() for each in inputs])


def test_weights_and_residual_stream_outside():
    run(TINY, SPILLED, {"weights": False, "residual": True}, 0.4)


def test_a_wrong_answer_is_seen():
    def change(words):
        words[0][-1] += 1
    with pytest.raises(UnitError, match=r"inference 1: .* must be "):
        run(TINY, SPILLED, {"weights": False, "residual": True}, 0.0, 1, change)


@pytest.mark.slow
@pytest.mark.parametrize("network, hardware, names", [
    (SMALL, ON_CHIP, {}), (SMALL, STREAMED, {"weights": False}),
    (TALL, OUTSIDE, {"weights": False, "residual": True, "maps": True})],
    ids=["on-chip", "streamed", "everything"])
@pytest.mark.parametrize("pause", [0.0, 0.4])
def test_other_hardware(network, hardware, names, pause):
    run(network, hardware, names, pause, 3)
