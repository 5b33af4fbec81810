# SPDX-License-Identifier: Apache-2.0
"""LIF against a scalar loop written from the equations, and its gradient against autograd."""

import pytest
import torch
from torch import Tensor

from quantize.lif import ALPHA, LIF


def scalar_lif(currents: list[float], tau: float, v_threshold: float) -> list[float]:
    """Eq. 21 to 23 for one neuron."""
    v, spikes = 0.0, []
    for x in currents:
        h = v + (x - v) / tau
        spikes.append(1.0 if h >= v_threshold else 0.0)
        v = 0.0 if h >= v_threshold else h
    return spikes


@pytest.mark.parametrize(("currents", "tau", "v_threshold", "spikes"), [
    pytest.param([2.0], 2.0, 1.0, [1], id="h-equal-to-threshold-fires"),
    pytest.param([2.0 - 2**-40], 2.0, 1.0, [0], id="h-just-below"),
    pytest.param([1.5, 0.0], 1.5, 1.0, [1, 0], id="tau-1.5-equal"),
    pytest.param([1.0], 2.0, 0.5, [1], id="attention-threshold-equal"),
    pytest.param([1.5, 1.25], 2.0, 1.0, [0, 1], id="state-adds-up-to-exactly-1"),
    pytest.param([8.0, 1.9], 2.0, 1.0, [1, 0], id="hard-reset-keeps-no-surplus"),
    pytest.param([-8.0, 5.9], 2.0, 1.0, [0, 0], id="negative-state-stays"),
    pytest.param([-8.0, 6.0], 2.0, 1.0, [0, 1], id="negative-state-overcome"),
    pytest.param([1.0] * 16, 2.0, 1.0, [0] * 16, id="approaches-1-from-below"),
])
def test_edges(currents: list[float], tau: float, v_threshold: float, spikes: list[int]) -> None:
    x = torch.tensor(currents, dtype=torch.float64)[:, None]
    assert LIF(tau, v_threshold)(x)[:, 0].tolist() == spikes
    assert scalar_lif(currents, tau, v_threshold) == spikes


@pytest.mark.parametrize("v_threshold", [1.0, 0.5])
@pytest.mark.parametrize("tau", [2.0, 1.5])
def test_matches_scalar_loop(tau: float, v_threshold: float) -> None:
    generator = torch.Generator().manual_seed(1)
    # On a grid of 1/8, so that H meets the threshold exactly every now and then.
    x = torch.randint(-24, 33, (16, 40, 5), generator=generator).double() / 8
    spikes = LIF(tau, v_threshold)(x)
    assert 0 < spikes.mean() < 1
    for i in range(40):
        for j in range(5):
            assert spikes[:, i, j].tolist() == scalar_lif(x[:, i, j].tolist(), tau, v_threshold)


def test_no_state_between_calls() -> None:
    layer = LIF()
    x = torch.full((3, 2), 1.5)
    assert torch.equal(layer(x), layer(x))


def surrogate_loop(x: Tensor, tau: float, v_threshold: float) -> Tensor:
    """The recurrence for autograd: the step's value with the sigmoid's gradient."""
    v, spikes = torch.zeros_like(x[0]), []
    for current in x:
        h = v + (current - v) / tau
        soft = torch.sigmoid(ALPHA * (h - v_threshold))
        hard = (h >= v_threshold).to(h.dtype)
        spikes.append(soft + (hard - soft).detach())
        v = (1 - hard) * h  # `hard` carries no gradient: the reset is detached
    return torch.stack(spikes)


@pytest.mark.parametrize(("tau", "v_threshold"), [(2.0, 1.0), (1.5, 0.5)])
def test_gradient_is_that_of_the_surrogate(tau: float, v_threshold: float) -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(6, 50, generator=generator, dtype=torch.float64) * 2
    weight = torch.randn(6, 50, generator=generator, dtype=torch.float64)
    gradients = []
    for function in (LIF(tau, v_threshold), lambda x: surrogate_loop(x, tau, v_threshold)):
        leaf = x.clone().requires_grad_()
        (function(leaf) * weight).sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(("tau", "v_threshold", "message"), [
    (0.5, 1.0, r"^tau must be at least 1, not 0\.5$"),
    (float("nan"), 1.0, r"^tau must be at least 1, not nan$"),
    (2.0, 0.0, r"^v_threshold must be positive, not 0\.0$"),
])
def test_bad_values(tau: float, v_threshold: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LIF(tau, v_threshold)
