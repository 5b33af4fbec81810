# SPDX-License-Identifier: Apache-2.0
"""The hardware as data: one frozen object sizes every unit, memory and bus of the accelerator."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from hw.bounds import layer_bounds, signed_width
from hw.layout import (
    DEFAULT_BANKS,
    DEFAULT_LANES,
    Geometry,
    MemoryPlan,
    padded_head_dim,
    plan_memory,
    token_sum_width,
)
from hw.model import FixedPointModel
from hw.network import Output

# A group of spikes cannot leave the finish pipeline faster than its read-modify-write loops turn.
MIN_INTERVAL = 4
# A pooled position lies in up to four windows, and each takes one cycle of the pool unit.
POOL_WINDOWS = 4


@dataclass(frozen=True)
class HardwareConfig:
    """Sizes of the accelerator; every width is in bits, every depth in words of its memory.

    geometry:      parallel slots, see `hw.layout.Geometry`
    weight_bits:   of a weight, two's complement
    fraction:      bits of the common current grid below the weights' grid; a layer whose own
                   bias_shift is smaller has bias and thresholds scaled up, which is exact
    acc_width:     the sum of weights of one group (a position at a timestep or bit plane)
    plane_width:   the sum over bit planes, or over all spikes of a spiking head
    current_width: y = (sum << fraction) + bias of layers that feed a LIF or the residual stream
    state_width:   h of the LIF, and its threshold
    param_width:   bias and threshold as stored; the classifier's bias takes both fields
    shift_left:    residual layers: constant left shift before the variable right shift
    shift_width:   of the right shift
    residual_width, token_sum_width:  residual stream, and its sum over tokens and timesteps
    input_width:   an input sample; in_channels of them make a pixel
    spike_words:   depth of the two halves of the spike memory
    slow_tau:      support tau 1.5 beside tau 2
    attention_lanes:  channels of one attention group: a spike word, or a head if that is larger
    max_timesteps: T
    """

    geometry: Geometry
    weight_bits: int
    fraction: int
    acc_width: int
    plane_width: int
    current_width: int
    state_width: int
    param_width: int
    shift_left: int
    shift_width: int
    residual_width: int
    token_sum_width: int
    input_width: int
    in_channels: int
    spike_words: tuple[int, int]
    residual_words: int
    token_sum_words: int
    logit_words: int
    weight_rows: int
    param_rows: int
    program_layers: int
    max_timesteps: int
    attention_lanes: int
    slow_tau: bool
    queue_depth: int = 16

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.type == "int" or item.type is int:
                if not isinstance(value, int) or value < 0:
                    raise ValueError(f"{item.name} must be a non-negative integer, not {value!r}")
        if self.queue_depth < 2:
            raise ValueError(f"queue_depth must be at least 2, not {self.queue_depth!r}")
        if not 1 <= self.max_timesteps <= 16:
            raise ValueError(f"max_timesteps must be 1 to 16, not {self.max_timesteps!r}")

    @classmethod
    def for_model(cls, model: FixedPointModel, lanes: int = DEFAULT_LANES,
                  banks: int = DEFAULT_BANKS, spike_word: int | None = None,
                  neurons: int | None = None) -> "HardwareConfig":
        """The smallest hardware that holds `model` with its weights on chip.

        Raises ValueError for a geometry that cannot be built.
        """
        geometry = Geometry.for_lanes(lanes, banks, spike_word, neurons)
        plan = plan_memory(model.network, geometry, model.input.bits, model.residual.width)
        return cls(geometry=geometry, weight_bits=model.weight_bits, **_widths(model),
                   **_depths(model, plan), residual_width=model.residual.width,
                   input_width=model.input.bits,
                   in_channels=model.network.in_channels, max_timesteps=model.network.timesteps,
                   attention_lanes=max(geometry.spike_word,
                                       padded_head_dim(model.network.head_dim)),
                   slow_tau=model.network.tau == 1.5)

    @property
    def current_full_width(self) -> int:
        """y of the classifier, which is wider than that of the other layers."""
        return max(self.plane_width + self.fraction + 1, self.current_width, 2 * self.param_width)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"spike_words": list(self.spike_words)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "HardwareConfig":
        """Inverse of `to_dict`; ValueError names what is unknown or missing."""
        try:
            return cls(**dict(values) | {"geometry": Geometry(**values["geometry"]),
                                         "spike_words": tuple(values["spike_words"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"hardware configuration is incomplete: {error}") from None


def _depths(model: FixedPointModel, plan: MemoryPlan) -> dict[str, Any]:
    classes = -(-model.network.num_classes // plan.geometry.neurons)
    return {"spike_words": plan.spike_words, "residual_words": plan.residual_words,
            "token_sum_words": plan.residual_beats, "logit_words": classes,
            "weight_rows": plan.weight_rows, "param_rows": plan.param_rows,
            "program_layers": len(plan.layers)}


def _widths(model: FixedPointModel) -> dict[str, int]:
    """Widths that no input can overflow, on the common grid of all layers."""
    bounds = layer_bounds(model)
    fraction = max(tensors.bias_shift for tensors in model.tensors.values())
    current = state = threshold = 0
    shifts = []
    for layer in model.network.layers():
        if layer.name not in bounds or layer.output is Output.LOGITS:
            continue
        tensors, bound = model.tensors[layer.name], bounds[layer.name]
        scale = fraction - tensors.bias_shift
        current = max(current, bound.current << scale)
        if tensors.shift is not None:   # residual thresholds are on the stream's grid already
            shifts += [int(tensors.shift.min()) + scale, int(tensors.shift.max()) + scale]
            scale = 0
        state = max(state, bound.state << scale)
        if tensors.threshold is not None:
            threshold = max(threshold, int(abs(tensors.threshold).max()) << scale)
    head = model.tensors["head"]
    logit_bias = int(abs(head.bias).max()) << fraction - head.bias_shift
    left = max(0, -min(shifts))
    return {
        "fraction": fraction,
        "acc_width": signed_width(max(bound.sum for bound in bounds.values())),
        "plane_width": signed_width(max(bound.total for bound in bounds.values())),
        "current_width": signed_width(current), "state_width": signed_width(state),
        "param_width": max(signed_width(max(current, threshold)),
                           -(-signed_width(logit_bias) // 2)),
        "shift_left": left, "shift_width": max(1, (max(shifts) + left).bit_length()),
        "token_sum_width": token_sum_width(model.network, model.residual.width),
    }
