# SPDX-License-Identifier: Apache-2.0
"""Neurons of others against the one that the hardware has: by their settings, and by their spikes.

The hardware's neuron is `quantize.lif.LIF`: input divided by tau, firing at h >= v_threshold, hard
reset to 0, state 0 at the start, tau 2 or 1.5.  Surrogate, detached reset and the backend act on
the training or the speed and on no spike.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from quantize.findings import Finding
from quantize.lif import LIF

TAUS = (2.0, 1.5)


@dataclass(frozen=True)
class Neuron:
    """Settings of a leaky integrate-and-fire neuron.

    kind:        name of its class
    v_reset:     None: reset by subtraction of the threshold
    decay_input: the input is divided by tau too
    """

    kind: str
    tau: float
    v_threshold: float
    v_reset: float | None
    decay_input: bool = True

    def __str__(self) -> str:
        return (f"{self.kind}(tau={self.tau:g}, v_threshold={self.v_threshold:g}, "
                f"v_reset={self.v_reset}, decay_input={self.decay_input})")


def check(layer: str, neuron: Neuron, v_threshold: float) -> list[Finding]:
    """Every setting in which a neuron differs from the hardware's at this place."""
    found = []

    def add(why: str, hint: str) -> None:
        found.append(Finding(layer, str(neuron), why, hint))

    if neuron.tau not in TAUS:
        add("tau must be 2 or 1.5, the two whose state integers carry exactly",
            "train with tau=2.0 or tau=1.5")
    if neuron.v_reset is None:
        add("the neuron resets by subtraction (v_reset=None), the hardware to 0",
            "train with v_reset=0.0")
    elif neuron.v_reset != 0:
        add("the hardware resets to 0", "train with v_reset=0.0")
    if not neuron.decay_input:
        add("its input is not divided by tau, the hardware's is",
            "multiply weight and bias of the BatchNorm before it by tau and set decay_input=True, "
            "if that BatchNorm feeds nothing else; otherwise train with decay_input=True")
    if neuron.v_threshold != v_threshold:
        add(f"the threshold at this place is {v_threshold:g}",
            f"multiply weight and bias of the BatchNorm before it by {v_threshold:g} / "
            f"{neuron.v_threshold:g} and set v_threshold={v_threshold:g}, if that BatchNorm feeds "
            "nothing else; otherwise train with that threshold")
    return found


def probes(tau: float, v_threshold: float) -> Tensor:
    """Currents float32 [8, n] that tell neurons apart.

    The first four columns meet the threshold exactly, miss it by a little, pass it by far (reset)
    and go below 0; the others are seeded, on a grid of 1/8 on which h meets the threshold now and
    then.
    """
    level = tau * v_threshold
    edges = torch.zeros(8, 4)
    edges[:, 0] = level
    edges[:, 1] = level * (1 - 2.0 ** -20)
    edges[0, 2], edges[1:, 2] = 8 * level, level * 0.9
    edges[0, 3], edges[1:, 3] = -8 * level, 5.9 * level
    generator = torch.Generator().manual_seed(0)
    return torch.cat([edges, torch.randint(-16, 33, (8, 252), generator=generator) / 8], 1)


def probe(layer: str, neuron: Neuron, run: Callable[[Tensor], Tensor]) -> Finding | None:
    """Drive a neuron and compare its spikes with the hardware's neuron of the same settings.

    run: currents [T, n] to spikes [T, n], state 0 at the start
    """
    currents = probes(neuron.tau, neuron.v_threshold)
    expected, spikes = LIF(neuron.tau, neuron.v_threshold)(currents), run(currents)
    if spikes.shape == expected.shape and torch.equal(spikes.to(expected.dtype), expected):
        return None
    if spikes.shape == expected.shape and not spikes[0, 0]:
        why = "it does not fire where h equals the threshold (>), the hardware does (>=)"
    else:
        why = "its spikes are not those of h = v + (x - v) / tau, h >= v_threshold, reset to 0"
    return Finding(layer, str(neuron), why, "use SpikingJelly's LIFNode as it is")
