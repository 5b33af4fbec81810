# SPDX-License-Identifier: Apache-2.0
"""The fixed-point model: the integers that quantize writes and that compiler and simulator read.

A model directory holds `manifest.json` (format version, network, number formats, hashes, accuracy),
`weights.safetensors` (the integer tensors) and, where held-out data was at hand,
`samples.safetensors` (inputs as the accelerator receives them, with labels).  Nothing here knows
PyTorch.
"""

import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass, field
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from hw.command import first_line
from hw.network import Layer, NetworkConfig, Output

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
SAMPLES = "samples.safetensors"
WEIGHT_BITS = (8, 6, 4)
MODELS = Path(__file__).parent / "models"
SHIPPED_MODEL = MODELS / "digits"


@dataclass(frozen=True)
class InputFormat:
    """How the host turns a picture or event frame into the integers of the encoder's bit planes.

    raw = round((x - mean[c]) / std[c] / scale), saturated to `bits` (two's complement if `signed`).
    Zero padding of the first convolution is raw 0.  `mean` and `std` have one entry per channel.
    """

    bits: int
    signed: bool
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.bits, int) or not 1 <= self.bits <= 16:
            raise ValueError(f"input bits must be 1 to 16, not {self.bits!r}")
        if not isinstance(self.signed, bool):
            raise ValueError(f"input signed must be true or false, not {self.signed!r}")
        if not 0 < self.scale < inf:
            raise ValueError(f"input scale must be positive and finite, not {self.scale!r}")
        for name, least in (("mean", -inf), ("std", 0)):
            for value in getattr(self, name):
                if not least < value < inf:
                    raise ValueError(f"input {name} must be finite{' and positive' * (not least)}, "
                                     f"not {value!r}")

    @property
    def minimum(self) -> int:
        return -(1 << self.bits - 1) if self.signed else 0

    @property
    def maximum(self) -> int:
        return (1 << self.bits - 1) - 1 if self.signed else (1 << self.bits) - 1

    def quantize(self, x: np.ndarray) -> np.ndarray:
        """Float input [..., C, H, W] to int16 raw values of the same shape."""
        mean = np.asarray(self.mean, np.float64)[:, None, None]
        std = np.asarray(self.std, np.float64)[:, None, None]
        raw = np.rint((np.asarray(x, np.float64) - mean) / std / self.scale)
        return np.clip(raw, self.minimum, self.maximum).astype(np.int32)


def in_port_order(sample: np.ndarray) -> np.ndarray:
    """Raw integers of one inference, [C, H, W] or events [T, C, H, W], in the order of the
    accelerator's input: y, x, timestep, channel, the channel innermost; 1-dimensional.
    """
    return np.moveaxis(np.asarray(sample), (-2, -1), (0, 1)).reshape(-1)


@dataclass(frozen=True)
class ResidualFormat:
    """Residual stream: two's complement of `width` bits, unit 2**-fraction, saturating."""

    width: int
    fraction: int

    def __post_init__(self) -> None:
        if not isinstance(self.width, int) or not 4 <= self.width <= 24:
            raise ValueError(f"residual width must be 4 to 24, not {self.width!r}")
        if not isinstance(self.fraction, int) or not 0 <= self.fraction < self.width:
            raise ValueError(f"residual fraction must be 0 to {self.width - 1}, "
                             f"not {self.fraction!r}")

    @property
    def maximum(self) -> int:
        return (1 << self.width - 1) - 1


@dataclass(frozen=True)
class LayerTensors:
    """The integers of one layer with weights.

    With sum = sum of weight[o] over the inputs that spike, and y = (sum << bias_shift) + bias[o]:

    * a layer that feeds a LIF has the current x = y;
    * a layer that feeds the residual stream adds r = y << -shift[o] (shift <= 0) or
      r = (y + 2**(shift-1)) >> shift (shift > 0) and the stream saturates;
    * the classifier's logit is y (y summed over tokens and timesteps in spiking heads: bias is
      added once).

    weight:     int8 [O, I, k, k]
    bias:       int64 [O]
    bias_shift: g, bits below the weights' grid
    shift:      int64 [O] for a residual layer, else None
    threshold:  int64 [O] where a LIF follows, else None: the LIF fires when h >= threshold, with
                h = v + x for tau 2 (threshold is 2 theta) and h = v + 2x for tau 1.5 (3 theta)
    """

    weight: np.ndarray
    bias: np.ndarray
    bias_shift: int = 0
    shift: np.ndarray | None = None
    threshold: np.ndarray | None = None

    @property
    def max_sum(self) -> int:
        """Largest absolute value that a sum of weights can reach with 0/1 inputs."""
        w = self.weight.astype(np.int64).reshape(len(self.weight), -1)
        return int(max(np.maximum(w, 0).sum(1).max(), -np.minimum(w, 0).sum(1).min()))


@dataclass(frozen=True)
class Activity:
    """How active the inputs of a layer's windows are, on average over inputs like the real ones.

    density: share of the taps of a position that are set (taps outside of the map are not)
    shared:  share of the taps that are set at a position x (even) and at its neighbour x + 1, too
    """

    density: float
    shared: float

    def __post_init__(self) -> None:
        if not 0 <= self.shared <= self.density <= 1:
            raise ValueError("activity must have 0 <= shared <= density <= 1, "
                             f"not {(self.shared, self.density)!r}")


@dataclass(frozen=True)
class FixedPointModel:
    """A network in integers, see `LayerTensors` for the equations.

    tensors:      by layer name, every layer of `network.layers()` that has weights
    logit_scale:  float logit = raw logit * logit_scale
    accuracy:     what was measured, for example {"float": 0.983, "integer": 0.983, "images": 360}
    provenance:   where it came from: checkpoint name, its SHA-256, command
    activity:     by layer name, as far as measured (`quantize.activity`): what `hw.reuse` weighs
    """

    network: NetworkConfig
    weight_bits: int
    input: InputFormat
    residual: ResidualFormat
    tensors: dict[str, LayerTensors]
    logit_scale: float = 1.0
    accuracy: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    activity: dict[str, Activity] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.weight_bits not in WEIGHT_BITS:
            raise ValueError(f"weight_bits must be 8, 6 or 4, not {self.weight_bits!r}")
        for name in ("mean", "std"):
            entries = len(getattr(self.input, name))
            if entries != self.network.in_channels:
                raise ValueError(f"input {name} must have {self.network.in_channels} entries, "
                                 f"not {entries!r}")
        layers = [layer for layer in self.network.layers() if layer.has_weights]
        names = {layer.name for layer in layers}
        if names != set(self.tensors):
            odd = sorted(names ^ set(self.tensors))[0]
            raise ValueError(f"tensors must be those of the network's layers, not {odd!r}")
        for layer in layers:
            _check_layer(layer, self.tensors[layer.name], self.weight_bits)

    def save(self, directory: Path | str, samples: "Samples | None" = None) -> None:
        """Write the model directory; it appears complete or not at all."""
        directory = Path(directory)
        check_output(directory)
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".model-") as temporary:
            built = Path(temporary) / "model"
            built.mkdir()
            save_file({key: np.ascontiguousarray(value)
                       for key, value in self._flat_tensors().items()}, built / WEIGHTS)
            files = [WEIGHTS]
            if samples is not None:
                samples.save(built / SAMPLES)
                files.append(SAMPLES)
            manifest = {
                "format": FORMAT_VERSION, "network": self.network.to_dict(),
                "weight_bits": self.weight_bits, "input": asdict(self.input),
                "residual": asdict(self.residual),
                "bias_shift": {name: t.bias_shift for name, t in self.tensors.items()},
                "logit_scale": self.logit_scale, "accuracy": self.accuracy,
                "provenance": self.provenance,
                "activity": {name: asdict(each) for name, each in self.activity.items()},
                "sha256": {name: sha256(built / name) for name in files},
            }
            (built / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
            replace_directory(built, directory)

    def _flat_tensors(self) -> dict[str, np.ndarray]:
        flat = {}
        for name, tensors in self.tensors.items():
            flat[f"{name}.weight"] = tensors.weight.astype(np.int8)
            for part in ("bias", "shift", "threshold"):
                if (value := getattr(tensors, part)) is not None:
                    flat[f"{name}.{part}"] = value.astype(np.int64)
        return flat

    @classmethod
    def load(cls, directory: Path | str) -> "FixedPointModel":
        """Read a model directory; ValueError, one sentence, if anything in it is not as written."""
        directory = Path(directory)
        manifest = read_manifest(directory)
        flat = load_checked(directory, WEIGHTS, manifest)
        try:
            network = NetworkConfig.from_dict(manifest["network"])
            tensors = {}
            for layer in network.layers():
                if layer.has_weights:
                    tensors[layer.name] = LayerTensors(
                        weight=flat[f"{layer.name}.weight"], bias=flat[f"{layer.name}.bias"],
                        bias_shift=manifest["bias_shift"][layer.name],
                        shift=flat.get(f"{layer.name}.shift"),
                        threshold=flat.get(f"{layer.name}.threshold"))
            fmt = dict(manifest["input"])
            return cls(network=network, weight_bits=manifest["weight_bits"],
                       input=InputFormat(**fmt | {"mean": tuple(fmt["mean"]),
                                                  "std": tuple(fmt["std"])}),
                       residual=ResidualFormat(**manifest["residual"]), tensors=tensors,
                       logit_scale=manifest["logit_scale"], accuracy=manifest["accuracy"],
                       provenance=manifest["provenance"],
                       activity={name: Activity(**each)
                                 for name, each in dict(manifest.get("activity", {})).items()})
        except KeyError as error:
            raise ValueError(f"model directory {directory} has no entry {error}") from None
        except TypeError as error:
            raise ValueError(f"model directory {directory} has a wrong manifest: "
                             f"{first_line(error)}") from None


@dataclass(frozen=True)
class Samples:
    """Held-out inputs that travel with a model.

    inputs: int32 [n, C, H, W] (static) or [n, T, C, H, W] (events), raw values of `InputFormat`
    labels: int64 [n]
    """

    inputs: np.ndarray
    labels: np.ndarray

    def save(self, path: Path) -> None:
        save_file({"inputs": np.ascontiguousarray(self.inputs.astype(np.int32)),
                   "labels": np.ascontiguousarray(self.labels.astype(np.int64))}, path)

    @classmethod
    def load(cls, directory: Path | str) -> "Samples":
        """Read the samples of a model directory; ValueError if it has none, or other tensors."""
        directory = Path(directory)
        manifest = read_manifest(directory)
        if SAMPLES not in manifest["sha256"]:
            raise ValueError(f"model directory {directory} must hold {SAMPLES}, which it does not: "
                             "python -m quantize --data FILE.npz stores some")
        flat = load_checked(directory, SAMPLES, manifest)
        for name, dtype, least in (("inputs", np.int32, 4), ("labels", np.int64, 1)):
            if name not in flat or flat[name].dtype != dtype or flat[name].ndim < least:
                raise ValueError(f"{directory / SAMPLES} must hold {name} as "
                                 f"{np.dtype(dtype).name} of {least} dimensions or more, "
                                 f"not {_kind(flat.get(name))}")
        if len(flat["inputs"]) != flat["labels"].size:
            raise ValueError(f"{directory / SAMPLES} must hold a label for each input, not "
                             f"{flat['labels'].size} for {len(flat['inputs'])}")
        return cls(flat["inputs"], flat["labels"])


def _kind(tensor: np.ndarray | None) -> str:
    return "nothing" if tensor is None else f"{tensor.dtype} of shape {tensor.shape}"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_output(target: Path) -> None:
    """ValueError unless `target` may be (re)placed: absent, empty, or an earlier output of ours."""
    if target.exists() and (not target.is_dir() or (any(target.iterdir())
                                                    and not (target / MANIFEST).is_file())):
        raise ValueError("output directory must be new, empty or an earlier output, "
                         f"not {str(target)!r}")


def replace_directory(built: Path, target: Path) -> None:
    """Move a finished directory into place, so that a reader never sees half of it.

    ValueError where `check_output` refuses the target.
    """
    check_output(target)
    if target.exists():
        old = Path(tempfile.mkdtemp(dir=target.parent, prefix=".old-"))
        os.replace(target, old / "old")
        os.replace(built, target)
        for path in sorted(old.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        old.rmdir()
    else:
        os.replace(built, target)


def read_manifest(directory: Path) -> dict[str, Any]:
    path = directory / MANIFEST
    try:
        manifest = json.loads(path.read_text())
    except FileNotFoundError:
        raise ValueError(f"model directory must hold {MANIFEST}, not {str(directory)!r}: "
                         "python -m quantize makes one") from None
    except (json.JSONDecodeError, UnicodeDecodeError, NotADirectoryError) as error:
        raise ValueError(f"{path} must be a JSON manifest: {first_line(error)}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT_VERSION:
        raise ValueError(f"{path} must have format {FORMAT_VERSION}, "
                         f"not {manifest.get('format') if isinstance(manifest, dict) else None!r}")
    if not isinstance(manifest.get("sha256"), dict):
        raise ValueError(f"{path} must have the SHA-256 of each file, "
                         f"not {manifest.get('sha256')!r}")
    return manifest


def load_checked(directory: Path, name: str, manifest: dict[str, Any]) -> dict[str, np.ndarray]:
    """Load tensors after comparing the file's SHA-256 with the manifest."""
    path = directory / name
    if not path.is_file():
        raise ValueError(f"model directory {directory} must hold {name}, which is missing")
    if sha256(path) != manifest["sha256"].get(name):
        raise ValueError(f"{path} must have the SHA-256 of its manifest, which it does not")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} must be a safetensors file: {first_line(error)}") from None


def _check_layer(layer: Layer, tensors: LayerTensors, weight_bits: int) -> None:
    shape = (layer.out_channels, layer.in_channels, layer.kernel, layer.kernel)
    if tensors.weight.shape != shape:
        raise ValueError(f"weight of {layer.name} must have shape {shape}, "
                         f"not {tensors.weight.shape!r}")
    if tensors.weight.dtype.kind not in "iu":
        raise ValueError(f"weight of {layer.name} must be integers, not {tensors.weight.dtype}")
    if not isinstance(tensors.bias_shift, int) or tensors.bias_shift < 0:
        raise ValueError(f"bias_shift of {layer.name} must be an integer of at least 0, "
                         f"not {tensors.bias_shift!r}")
    limit = 1 << weight_bits - 1
    if tensors.weight.size and not -limit <= tensors.weight.min() <= tensors.weight.max() < limit:
        raise ValueError(f"weights of {layer.name} must fit {weight_bits} bits")
    for part, wanted in (("bias", True), ("shift", layer.output is Output.RESIDUAL),
                         ("threshold", bool(layer.lif))):
        value = getattr(tensors, part)
        if (value is not None) != wanted:
            raise ValueError(f"{part} of {layer.name} must be "
                             f"{'given' if wanted else 'absent'}, not {value!r}")
        if value is not None and value.dtype.kind not in "iu":
            raise ValueError(f"{part} of {layer.name} must be integers, not {value.dtype}")
        if value is not None and value.shape != (layer.out_channels,):
            raise ValueError(f"{part} of {layer.name} must have {layer.out_channels} entries, "
                             f"not {value.shape!r}")
