# SPDX-License-Identifier: Apache-2.0
"""Settings and spikes of foreign neurons, and SpikingJelly's LIF spike by spike."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from quantize.golden import lif as golden_lif
from quantize.lif import LIF
from quantize.neurons import Neuron, check, probe

PLAIN = Neuron("LIFNode", 2.0, 1.0, 0.0)


@pytest.mark.parametrize(("change", "v_threshold", "why"), [
    ({}, 1.0, ""),
    ({"tau": 1.5}, 1.0, ""),
    ({"v_threshold": 0.5}, 0.5, ""),
    ({"tau": 1.75}, 1.0, "tau must be 2 or 1.5"),
    ({"v_reset": None}, 1.0, "resets by subtraction"),
    ({"v_reset": -0.5}, 1.0, "resets to 0"),
    ({"decay_input": False}, 1.0, "not divided by tau"),
    ({}, 0.5, "threshold at this place is 0.5"),
])
def test_settings(change: dict, v_threshold: float, why: str) -> None:
    found = check("x_lif", replace(PLAIN, **change), v_threshold)
    assert len(found) == bool(why)
    assert not found or (why in found[0].why and found[0].layer == "x_lif")


def strict(x: Tensor, tau: float) -> Tensor:
    v, spikes = torch.zeros_like(x[0]), []
    for current in x:
        h = v + (current - v) / tau
        spikes.append((h > 1).float())
        v = torch.where(h > 1, 0, h)
    return torch.stack(spikes)


def soft(x: Tensor, tau: float) -> Tensor:
    v, spikes = torch.zeros_like(x[0]), []
    for current in x:
        h = v + (current - v) / tau
        spikes.append((h >= 1).float())
        v = h - spikes[-1]
    return torch.stack(spikes)


@pytest.mark.parametrize("tau", [2.0, 1.5])
def test_spikes_are_compared(tau: float) -> None:
    neuron = replace(PLAIN, tau=tau)
    assert probe("x", neuron, LIF(tau)) is None
    assert "(>=)" in probe("x", neuron, lambda x: strict(x, tau)).why
    assert "reset to 0" in probe("x", neuron, lambda x: soft(x, tau)).why
    assert probe("x", neuron, LIF(2.5)) and probe("x", neuron, LIF(tau, 0.5))
    assert probe("x", neuron, lambda x: LIF(tau)(x)[0])


@pytest.mark.parametrize("package", ["activation_based", "clock_driven"])
@pytest.mark.parametrize("v_threshold", [1.0, 0.5])
@pytest.mark.parametrize("tau", [2.0, 1.5])
def test_spikingjelly_spike_by_spike(package: str, tau: float, v_threshold: float) -> None:
    """SpikingJelly's LIF, ours and the integer one, on currents for which float64 is exact.

    Tau 2: whole currents, so that a state after T steps is a multiple of 2**-T.  Tau 1.5: multiples
    of 3**T, so that every division by 3 leaves no rest.
    """
    pytest.importorskip("spikingjelly")
    steps = 16 if tau == 2 else 12
    unit = 1 if tau == 2 else 3 ** steps
    level = int(8 * v_threshold) * unit
    if package == "activation_based":
        from spikingjelly.activation_based.neuron import LIFNode
        node = LIFNode(tau=tau, v_threshold=float(level), v_reset=0.0, step_mode="m")
    else:
        from spikingjelly.clock_driven.neuron import MultiStepLIFNode
        node = MultiStepLIFNode(tau=tau, v_threshold=float(level), v_reset=0.0, backend="torch")
    generator = torch.Generator().manual_seed(3)
    currents = torch.randint(-24, 33, (steps, 4000), generator=generator) * unit
    currents[:, 0] = level * 2 if tau == 2 else level * 3 // 2   # h meets the threshold
    currents[:, 1] = currents[0, 0]
    currents[0, 1] -= unit                                       # and misses it by one unit
    theirs = node.double()(currents.double())
    ours = LIF(tau, float(level))(currents.double())
    integers = golden_lif(currents, torch.tensor(level * (2 if tau == 2 else 3)), tau)
    assert torch.equal(theirs, ours)
    assert torch.equal(theirs.bool(), integers)
    assert theirs[:, 0].all() and not theirs[0, 1]
    assert 0.05 < theirs.mean() < 0.6
