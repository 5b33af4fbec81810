# SPDX-License-Identifier: Apache-2.0
"""Random networks on random hardware in random surroundings, each from a seed and a number.

The values of each dimension (`DIMENSIONS`) are dealt: in every `BLOCK` of numbers each of them
comes as often as the others, whatever the seed.  What no dimension says is drawn freely, and drawn
again where the hardware refuses the combination.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from hw.compiler import Program, compile_model
from hw.config import HardwareConfig
from hw.model import Activity, FixedPointModel, InputFormat, ResidualFormat
from hw.network import Classifier, Kind, NetworkConfig
from quantize.random_model import random_model

BLOCK = 50
ATTEMPTS = 200
DIMENSIONS: Mapping[str, tuple] = MappingProxyType({
    "depth": (1, 2, 3),
    "timesteps": (1, 2, 3, 4, 5, 6, 7, 8),
    "tau": (2.0, 1.5),
    "static_input": (True, False),
    "embed_dim": (8, 16, 24, 32, 40, 48, 56, 64),
    "classifier": tuple(Classifier),
    "pools": tuple(range(16)),     # one bit for each stage of the tokenizer
    "weight_bits": (4, 6, 8),
    "lanes": (4, 8, 12, 16, 24, 32, 40, 64),
    "banks": (1, 2, 3, 4, 5, 8),
    "ports": (2, 2, 1),
    "port_bits": (0, 64, 128),
    "queue_depth": (2, 3, 5, 16),
    "walk": ("alone", "pairs", "beside", "chosen"),
    "memory": ("room", "tight ring", "residual outside", "maps outside"),
})


@dataclass(frozen=True)
class Combination:
    """What is built and simulated.

    chosen:  the value of each dimension, as it was built
    program: the network on its hardware
    latency, stalls, gaps: of `sim.run.Simulator.start`
    refused: draws that the hardware could not be built for
    """

    seed: int
    number: int
    chosen: Mapping[str, Any]
    program: Program
    latency: int
    stalls: int
    gaps: int
    refused: int

    def __str__(self) -> str:
        network, hardware = self.program.model.network, self.program.hardware
        return (f"{network.depth}-{network.embed_dim}, {network.num_heads} heads, "
                f"T {network.timesteps}, tau {network.tau:g}, {network.in_channels} x "
                f"{network.image_height} x {network.image_width}, "
                f"{self.program.model.weight_bits} bits, {hardware.geometry.lanes} lanes x "
                f"{hardware.geometry.banks} banks x {hardware.geometry.ports}, port "
                f"{hardware.port_bits}")


def dealt(seed: int, number: int) -> dict[str, Any]:
    """A value for each dimension."""
    block, place = divmod(number, BLOCK)
    values = {}
    for index, (name, choices) in enumerate(DIMENSIONS.items()):
        order = np.random.default_rng((seed, block, index)).permutation(BLOCK)
        values[name] = choices[order[place] % len(choices)]
    return values


def draw(seed: int, number: int) -> Combination:
    """The combination of a number.

    Raises ValueError if no draw can be built, which is a defect of this module.
    """
    chosen = dealt(seed, number)
    chance = np.random.default_rng((seed, number, len(DIMENSIONS)))
    reasons = []
    for attempt in range(ATTEMPTS):
        # Maps of a small network may have no part that could be outside.
        outside = chosen["port_bits"] and attempt < ATTEMPTS // 2
        memory = chosen["memory"] if outside else "room"
        try:
            model = _model(chosen, chance, memory)
            program = compile_model(model, _hardware(chosen, model, chance, memory))
        except ValueError as error:
            reasons.append(str(error))
            continue
        latency, stalls, gaps = (int(chance.integers(1, limit)) for limit in (200, 1000, 1000))
        built = chosen | {"memory": memory, "banks": program.hardware.geometry.banks}
        return Combination(seed, number, built, program, latency, stalls, gaps, attempt)
    raise ValueError(f"combination {number} of seed {seed} must be possible to build, but the "
                     f"last of {ATTEMPTS} draws was refused: {reasons[-1]}")


def _model(chosen: Mapping[str, Any], chance: np.random.Generator,
           memory: str) -> FixedPointModel:
    dim, static = chosen["embed_dim"], chosen["static_input"]
    heads = [heads for heads in range(1, 9) if dim % heads == 0 and dim // heads >= 4]
    channels = int(chance.integers(1, 4))
    # Each timestep of events has samples of its own, and wide maps take long to simulate.
    height, width = (int(chance.integers(1, 13 if static else 10)) for _ in range(2))
    pools, ratios = chosen["pools"], [1, 2, 4]
    if memory == "maps outside":   # those of the tokenizer must be larger than all others
        height, pools, ratios = height + 14, pools | 6, [1]
    network = NetworkConfig(
        embed_dim=dim, depth=chosen["depth"], num_heads=int(chance.choice(heads)),
        timesteps=chosen["timesteps"], in_channels=channels, image_height=height,
        image_width=width, num_classes=int(chance.integers(1, 13)), tau=chosen["tau"],
        mlp_ratio=float(chance.choice(ratios)), classifier=chosen["classifier"],
        pool_stages=tuple(bool(pools >> stage & 1) for stage in range(4)),
        static_input=static, name=f"combination-{chosen['depth']}-{dim}")
    bits = int(chance.integers(1, 9))
    signed = bool(bits > 1 and chance.integers(2))
    residual = int(chance.integers(8, 20))
    model = random_model(
        network, int(chance.integers(1 << 30)), chosen["weight_bits"],
        InputFormat(bits, signed, 1 / 16, (0.0,) * channels, (1.0,) * channels),
        ResidualFormat(residual, int(chance.integers(0, 5))), float(chance.uniform(0.05, 0.6)))
    # What decides whether neighbours go together: the spikes are as they are, whatever it says.
    # Pairs save additions where nearly all is common.
    share = 1.0 if chosen["walk"] == "pairs" else float(chance.uniform(0.3, 0.9))
    return replace(model, activity={
        layer.name: Activity(float(density := chance.uniform(0.1, 0.6)), density * share)
        for layer in network.layers() if layer.kind is Kind.CONV})


def _hardware(chosen: Mapping[str, Any], model: FixedPointModel,
              chance: np.random.Generator, memory: str) -> HardwareConfig:
    lanes, walk = chosen["lanes"], chosen["walk"]
    banks = min(chosen["banks"], lanes & -lanes)   # the largest word, and each bank has a channel
    options: dict[str, Any] = {
        "lanes": lanes, "banks": banks, "port_bits": chosen["port_bits"],
        "pairs": {"alone": False, "beside": False, "pairs": True}.get(walk),
        "beside": {"alone": False, "beside": True, "pairs": False}.get(walk)}
    if chance.integers(3) == 0:
        options["neurons"] = 1 << int(chance.integers(0, 4))
    if chance.integers(3) == 0:
        options["spike_word"] = 1 << int(chance.integers(2, 6))
    if chance.integers(3) == 0:
        options["attention_engines"] = 1 << int(chance.integers(0, 4))
    config = HardwareConfig.for_model(model, **options)
    if not config.streamed or memory == "room":
        pass
    elif memory == "tight ring":
        least = float(chance.uniform(0.5, 0.9))
        options["weight_rows"] = int(config.weight_rows * least)
    elif memory == "residual outside":
        options["spill_residual"] = True
    elif memory == "maps outside":
        options["spike_lines"] = tuple(
            max(1, int(lines * chance.uniform(0.3, 1))) for lines in config.spike_lines)
    config = HardwareConfig.for_model(model, **options)
    geometry = replace(config.geometry, ports=chosen["ports"])
    return replace(config, geometry=geometry, queue_depth=chosen["queue_depth"])
