# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from torch import Tensor

from quantize import search
from quantize.lif import LIF


def normal(shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal(shape, np.float32))


@pytest.mark.parametrize("tau", [2.0, 1.5])
def test_firing_rate_is_that_of_the_lif(tau):
    x = 2 * normal((6, 5000))
    for shift in (-0.5, 0.0, 0.75):
        expected = float(LIF(tau, 0.5)(x + shift).mean())
        assert search.firing_rate(x, shift, tau, 0.5) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("target", [0.005, 0.1, 0.5, 0.9])
def test_the_shift_reaches_the_rate(target):
    x = normal((4, 20000))
    shift = search.find_shift(x, target, 2.0)
    assert float(LIF(2.0)(x + shift).mean()) == pytest.approx(target, rel=0.003)
    assert (shift / search.SHIFT_UNIT).is_integer()


def test_rates_that_jump_are_met_as_closely_as_they_can_be():
    x = torch.arange(4.0).repeat(25)[None].repeat(4, 1)   # four values: few rates are possible
    possible = [search.firing_rate(x, shift, 2.0, 1.0) for shift in np.linspace(-4, 4, 2001)]
    for target in (0.1, 0.3, 0.66):
        reached = search.firing_rate(x, search.find_shift(x, target, 2.0), 2.0, 1.0)
        below = max(rate for rate in possible if rate <= target)
        above = min(rate for rate in possible if rate >= target)
        assert reached in (below, above)


@pytest.mark.parametrize(("target", "wanted"), [
    (0.36, (0.6, 0.36)), (-1.0, (0.0, 0.0)), (7.0, (1.0, 1.0))])
@pytest.mark.parametrize("sign", [1, -1])
def test_search(target, wanted, sign):
    value, reached = search.search(lambda x: sign * x * x, sign * target, 0.0, 1.0)
    assert value == pytest.approx(wanted[0], rel=0.01)
    assert reached == pytest.approx(sign * wanted[1], rel=0.01)


@pytest.mark.parametrize("rate", [0.01, 0.3, 0.5, 0.99])
def test_odds(rate):
    assert search.with_odds(rate, 0.0) == pytest.approx(rate)
    moved = search.with_odds(rate, np.log(3))
    assert moved / (1 - moved) == pytest.approx(3 * rate / (1 - rate))
    assert search.logit(moved) == pytest.approx(search.logit(rate) + np.log(3))


def test_odds_of_never_and_always_are_finite():
    assert -30 < search.logit(0.0) < 0 < search.logit(1.0) < 30
