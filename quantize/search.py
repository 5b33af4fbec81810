# SPDX-License-Identifier: Apache-2.0
"""Firing rates as functions of one number, and where they meet a target."""

from collections.abc import Callable
from itertools import count
from math import exp, inf, log

import torch
from torch import Tensor

TOLERANCE = 0.002           # of a rate, relative
SEARCH_TOLERANCE = 0.005    # of a rate that takes a search of searches
SEARCH_STEPS = 12
LARGEST_SHIFT = 16.0        # in units of a normalized current
SHIFT_UNIT = 2.0 ** -12


def firing_rate(x: Tensor, shift: float, tau: float, v_threshold: float) -> float:
    """Mean firing rate of `LIF(tau, v_threshold)` on currents x [T, ...] + shift."""
    # The state less the shift obeys the same equation without it, in half the memory traffic.
    state, fired = torch.full_like(x[0], -shift), 0
    for current in x:
        state.lerp_(current, 1 / tau)
        fire = state >= v_threshold - shift
        fired += int(fire.count_nonzero())
        state.masked_fill_(fire, -shift)
    return fired / x.numel()


def find_shift(x: Tensor, target: float, tau: float, v_threshold: float = 1.0) -> float:
    """The shift of currents x [T, ...] at which their LIF fires with the target rate.

    A multiple of 2**-12: finer ones change nothing but the digits.
    """
    def error(shift: float) -> float:
        rate = firing_rate(x, shift, tau, v_threshold)
        if abs(rate - target) <= TOLERANCE * target:
            return 0.0
        return logit(rate) - logit(target)

    # Log odds grow almost linearly with the shift, so a straight line between two bounds, or a
    # slope of 2 before there are two, hits early.  Every third step bisects: event counts make
    # rates that jump.
    low, high, below, above = -LARGEST_SHIFT, LARGEST_SHIFT, None, None
    shift, best = 0.0, (inf, 0.0)
    for step in count(1):
        found = error(shift)
        best = min(best, (abs(found), shift))
        if found == 0:
            break
        if found < 0:
            low, below = shift, found
        else:
            high, above = shift, found
        if high - low < 2 * SHIFT_UNIT:
            break
        if not step % 3:
            shift = (low + high) / 2
        elif below is None or above is None:
            shift -= found / 2
        else:
            shift = low - below * (high - low) / (above - below)
        shift = round(shift / SHIFT_UNIT) * SHIFT_UNIT
        shift = min(max(shift, low + SHIFT_UNIT), high - SHIFT_UNIT)
    return best[1]


def logit(rate: float) -> float:
    rate = min(max(rate, 1e-9), 1 - 1e-9)
    return log(rate / (1 - rate))


def with_odds(rate: float, log_odds: float) -> float:
    """The rate whose odds are exp(log_odds) times those of `rate`."""
    return 1 / (1 + exp(-logit(rate) - log_odds))


def search(function: Callable[[float], float], target: float, low: float, high: float,
            ) -> tuple[float, float]:
    """Where a monotonic function comes closest to a target rate, and its value there."""
    tried = {low: function(low), high: function(high)}
    if min(tried.values()) < target < max(tried.values()):
        growing = tried[low] < tried[high]
        for step in range(SEARCH_STEPS):
            share = (target - tried[low]) / (tried[high] - tried[low])
            middle = low + (high - low) * (share if step % 3 else 0.5)
            tried[middle] = function(middle)
            if abs(tried[middle] - target) <= SEARCH_TOLERANCE * target:
                break
            low, high = (middle, high) if (tried[middle] < target) == growing else (low, middle)
    best = min(tried, key=lambda value: abs(tried[value] - target))
    return best, tried[best]
