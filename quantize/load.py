# SPDX-License-Identifier: Apache-2.0
"""Reading a checkpoint with the facts that its tensors cannot tell."""

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from hw.model import InputFormat
from hw.network import Classifier
from quantize import models
from quantize.checkpoint import Checkpoint, inspect, load_checkpoint


def load(path: Path | str, *, network: str | None = None, heads: int | None = None,
         tau: float | None = None, timesteps: int | None = None,
         image_size: tuple[int, int] | None = None,
         pool_stages: tuple[bool, bool, bool, bool] | None = None,
         classifier: Classifier | str | None = None, inputs: str | None = None,
         mean: Sequence[float] | None = None, std: Sequence[float] | None = None,
         input_bits: int | None = None, input_scale: float | None = None,
         ema: bool = False) -> Checkpoint:
    """Read a checkpoint: .safetensors, or .pth, which is read without executing anything.

    All facts are optional for checkpoints of `quantize.train`, whose metadata has them, and
    refused where they contradict it; `input_bits` and `input_scale` are a choice.

    network:     all of this as `python -m quantize.models` lists it under that name; the other
                 arguments change single facts
    heads, tau, timesteps, image_size (height, width): of the network
    pool_stages: whether tokenizer stages 1 to 4 pool
    classifier:  "avgpool_fc" in all published networks
    inputs:      "image" or "events"; needed where there are neither 1 nor 3 input channels
    mean, std:   of the pixels in [0, 1], one number per channel
    input_bits, input_scale: of the integers that the encoder reads, and the value of one step
    ema:         the averaged weights of a container that has both

    ValueError, one sentence, if the file cannot be read, or does not fit, or facts are missing.
    """
    height, width = image_size or (None, None)
    given: dict[str, Any] = {
        "num_heads": heads, "tau": tau, "timesteps": timesteps,
        "image_height": height, "image_width": width, "pool_stages": pool_stages,
        "classifier": Classifier(classifier) if classifier else None,
        "static_input": inputs == "image" if inputs else None}
    named = models.find(network) if network else None
    if named:
        # The number of classes is left to the tensors: a size may be trained on other data.
        facts = {f.name: getattr(named.network, f.name) for f in fields(named.network)
                 if f.name != "num_classes"}
        given = facts | {name: value for name, value in given.items() if value is not None}
    weights = "state_dict_ema" if ema else "state_dict"
    fmt = _input_format(Path(path), named, weights, inputs, mean, std, input_bits, input_scale)
    checkpoint = load_checkpoint(path, given=given, weights=weights, input_format=fmt)
    if fmt is None and (input_bits is not None or input_scale is not None):
        own = checkpoint.input_format
        bits = own.bits if input_bits is None else input_bits
        checkpoint = replace(checkpoint, input_format=image_format(
            own.mean, own.std, bits, input_scale) if checkpoint.config.static_input
            else event_format(checkpoint.config.in_channels, bits, input_scale))
    return checkpoint


def _input_format(path: Path, named: models.PaperModel | None, weights: str, inputs: str | None,
                  mean: Sequence[float] | None, std: Sequence[float] | None,
                  input_bits: int | None, scale: float | None) -> InputFormat | None:
    bits = 8 if input_bits is None else input_bits
    events = named is not None and not named.network.static_input
    if inputs == "events" or (events and inputs is None):
        if mean or std:
            raise ValueError("--mean and --std belong to images, not to events, which are counts")
        return event_format(inspect(path, weights).shapes["in_channels"], bits, scale)
    if (mean is None) != (std is None):
        raise ValueError("--mean and --std must be given together")
    if mean is not None:
        return image_format(tuple(mean), tuple(std), bits, scale)
    if named and named.dataset in models.NORMALIZATION:
        return image_format(*models.NORMALIZATION[named.dataset], bits, scale)
    return None


def image_format(mean: tuple[float, ...], std: tuple[float, ...], bits: int = 8,
                 scale: float | None = None) -> InputFormat:
    """Encoder integers for pictures in [0, 1] that the network reads as (x - mean) / std.

    Signed as soon as a mean is above 0.  The scale, unless given, is the finest that no pixel value
    saturates.  ValueError if a std is not positive or the counts of mean and std differ.
    """
    if len(mean) != len(std):
        raise ValueError(f"std must have as many entries as mean, {len(mean)}, not {len(std)!r}")
    if not all(s > 0 for s in std):
        raise ValueError(f"std must be positive, not {min(std)!r}")
    signed = any(m > 0 for m in mean)
    fmt = InputFormat(bits=bits, signed=signed, scale=1.0, mean=mean, std=std)
    if scale is None:
        largest = max(max(abs(m), abs(1 - m)) / s for m, s in zip(mean, std, strict=True))
        scale = largest / max(fmt.maximum, 1)
    return InputFormat(bits=bits, signed=signed, scale=scale, mean=mean, std=std)


def event_format(channels: int, bits: int = 8, scale: float | None = None) -> InputFormat:
    """Encoder integers for event counts: the counts themselves, up to 2**bits - 1."""
    return InputFormat(bits=bits, signed=False, scale=1.0 if scale is None else scale,
                       mean=(0.0,) * channels, std=(1.0,) * channels)
