# SPDX-License-Identifier: Apache-2.0
"""Published accelerators that run Spikingformer-4-256 on 32x32 with T = 4, by their authors.

Their lane use and U are those of inputs of 14.9 % density: network and shapes are the same, weights
and images are not.
"""

from collections.abc import Mapping
from types import MappingProxyType

# By the keys of `sim.metrics.METRICS`; what is not published is not there.
PEERS: Mapping[str, Mapping[str, float]] = MappingProxyType({
    "FireFly-T, arXiv 2505.12771": MappingProxyType({
        "weight_bits": 4, "density": 0.149, "adders": 8192, "cycles": 330_800, "use": 0.09,
        "lut": 46_000, "ramb36": 100, "dsp": 304, "efficiency": 16.0}),
    "ExSpike, arXiv 2606.20414": MappingProxyType({
        "weight_bits": 8, "density": 0.149, "adders": 352, "cycles": 1_014_000, "use": 0.68,
        "gain": 4.69, "lut": 41_000, "ramb36": 312, "dsp": 0, "efficiency": 5.9}),
})
# What w1 must reach, and what it aims at.
GOALS: Mapping[str, Mapping[str, float]] = MappingProxyType({
    "must": MappingProxyType({
        "mismatches": 0, "cycles": 500_000, "use": 0.85, "worst_use": 0.6, "gain": 5.5,
        "lut": 41_000, "dsp": 0, "multipliers": 0, "efficiency": 12, "memory_besides": 256 * 8192,
        "deviation": 0.02, "generation_seconds": 30, "simulation_seconds": 600}),
    "aim": MappingProxyType({
        "mismatches": 0, "cycles": 330_000, "use": 0.95, "worst_use": 0.8, "gain": 8,
        "lut": 30_000, "dsp": 0, "multipliers": 0, "efficiency": 25, "memory_besides": 160 * 8192,
        "deviation": 0.0, "generation_seconds": 5, "simulation_seconds": 60}),
})
NOTES = (
    ("The peers' figures are their authors' for Spikingformer-4-256 at 32x32 with T = 4, the "
     "network of w1; their lane use, gain and U are derived, for a density of 14.9 %."),
    ("FireFly-T: XCZU5EV at 300 MHz, 4-bit weights; its U does not count its 304 DSPs, and no "
     "source is public."),
    ("ExSpike: XC7V2000T at 200 MHz, LUTs of its vendor's tool (53.9 k by yosys 0.23, which makes "
     "U 4.5); its attention is AND/OR instead of Q K^T V, and T = 4 is assumed."),
)
