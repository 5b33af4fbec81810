# SPDX-License-Identifier: Apache-2.0
"""Energy of an inference: by counted additions, and by the paper's convention.

Counted: 0.9 pJ for each AC that really happens.  The paper (Eq. 18, 19) multiplies firing rates
with dense operations instead, padding taps included, and charges the first convolution as
multiply-accumulates in every timestep although a static input never changes:

    E = 4.6 pJ * MAC + 0.9 pJ * AC

Attention counts T * heads * N * d^2 * (min(rate_k, rate_v) + rate_q), as the authors' code does.
Both leave out neurons, pooling, residual additions and all memory traffic.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hw.network import Kind, Layer

if TYPE_CHECKING:   # only the type: energy needs no PyTorch
    from quantize.golden import LayerResult

PJ_PER_AC = 0.9     # 45 nm, 32-bit float addition
PJ_PER_MAC = 4.6    # 45 nm, 32-bit float multiply-accumulate


def energy_nj(acs: float) -> float:
    """Energy of so many ACs in nJ."""
    return acs * PJ_PER_AC / 1000


def paper_operations(layer: Layer, rates: Sequence[float], timesteps: int,
                     head_dim: int) -> tuple[float, float]:
    """ACs and MACs of one layer in the paper's convention (Eq. 18).

    rates: mean input spike rate; for attention those of q, k and v; ignored for multi-bit inputs
    """
    dense = layer.positions * layer.kernel ** 2 * layer.in_channels * layer.out_channels
    if layer.kind is Kind.ENCODER:
        return 0.0, float(dense * timesteps)
    if layer.kind is Kind.ATTENTION:
        q, k, v = rates
        return timesteps * layer.positions * layer.out_channels * head_dim * (min(k, v) + q), 0.0
    if layer.kind is Kind.CLASSIFIER:
        # The released heads read a mean of multi-bit values, once; with a LIF they read spikes.
        per_image = layer.in_channels * layer.out_channels
        return (dense * timesteps * rates[0], 0.0) if len(rates) else (0.0, float(per_image))
    return dense * timesteps * rates[0], 0.0


def paper_energy(layer: Layer, results: Sequence["LayerResult"]) -> tuple[float, float]:
    """Operations (Eq. 18) and energy in nJ (Eq. 19) of a layer, as means over images."""
    rates = [sum(column) / len(results) for column in zip(*(r.rates for r in results), strict=True)]
    acs, macs = paper_operations(layer, rates, results[0].timesteps, results[0].head_dim)
    return acs + macs, (acs * PJ_PER_AC + macs * PJ_PER_MAC) / 1000
