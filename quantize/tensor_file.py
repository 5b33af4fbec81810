# SPDX-License-Identifier: Apache-2.0
"""Named tensors in files: reading them without executing anything, writing them atomically.

Read are `.safetensors` and the pickled `.pth`, `.pt`, `.bin`, `.ckpt`, `.tar` of PyTorch, the
latter through `torch.load(weights_only=True)`: a file can make tensors, containers of plain values
and an `argparse.Namespace` (timm's containers hold their arguments so), and nothing else.
"""

import argparse
import io
import json
import os
import pickle
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hw.command import first_line

METADATA = "spikeloom"  # key of our JSON in the metadata of a safetensors file
PICKLE_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".tar")
ZIP = b"PK\x03\x04"
CONTAINERS = ("state_dict", "state_dict_ema", "model")


@dataclass(frozen=True)
class TensorFile:
    """Content of a file.

    tensors:   by the names in the file
    container: key under which they were found, "" if they were the file itself
    metadata:  our JSON, None in files of others
    """

    tensors: dict[str, Tensor]
    container: str = ""
    metadata: dict[str, Any] | None = field(default=None)


def read(path: Path | str, weights: str = "state_dict") -> TensorFile:
    """Read named tensors.

    `weights` chooses between the averaged and the last weights where a container holds both:
    "state_dict" (also takes "model", the container of the DVS code) or "state_dict_ema".
    ValueError, one sentence, if the file is missing, damaged, of another kind, or holds more than
    tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"checkpoint must be a file, not {str(path)!r}")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in PICKLE_SUFFIXES:
        return _read_pickle(path, weights)
    raise ValueError(f"checkpoint must end in .safetensors, {', '.join(PICKLE_SUFFIXES)}, "
                     f"not {path.name!r}")


def write(path: Path | str, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write a safetensors file with our metadata; it appears complete or not at all."""
    with replacing(Path(path)) as temporary:
        save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()},
                  temporary, metadata={METADATA: json.dumps(metadata)})


class replacing:  # noqa: N801, used as a function: `with replacing(path) as temporary`
    """Context that yields a temporary path beside `path` and renames it to `path` on success."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Path:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}-")
        os.close(handle)
        self.temporary = Path(name)
        return self.temporary

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            umask = os.umask(0)
            os.umask(umask)
            self.temporary.chmod(0o666 & ~umask)  # mkstemp makes files that only the owner reads
            os.replace(self.temporary, self.path)
        else:
            self.temporary.unlink(missing_ok=True)


def _read_safetensors(path: Path) -> TensorFile:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = (file.metadata() or {}).get(METADATA)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a whole safetensors file: {first_line(error)}") from None
    try:
        parsed = None if metadata is None else json.loads(metadata)
    except json.JSONDecodeError as error:
        raise ValueError(f"metadata of {path} must be JSON: {first_line(error)}") from None
    if parsed is not None and not isinstance(parsed, dict):
        raise ValueError(f"metadata of {path} must be a JSON object, not {parsed!r}")
    return TensorFile(tensors, "", parsed)


def _read_pickle(path: Path, weights: str) -> TensorFile:
    # From memory: a file would set aside as much as a damaged length says before it reads.
    data = path.read_bytes()
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's message is a page of advice, a part of which is to switch the protection off.
        wanted = re.search(r"\bGLOBAL ([\w.]+)", str(error))
        if wanted:
            raise ValueError(f"{path} must hold nothing but tensors and plain values, "
                             f"not {wanted[1]!r}") from None
        raise ValueError(f"{path} is not a whole PyTorch checkpoint of tensors") from None
    except Exception as error:  # a damaged pickle can raise anything
        kind = "" if data.startswith(ZIP) else " (cut short, or of another kind)"
        raise ValueError(f"{path} is not a whole PyTorch checkpoint{kind}: "
                         f"{first_line(error)}") from None
    return _open_container(path, content, weights)


def _open_container(path: Path, content: object, weights: str) -> TensorFile:
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} must hold a dictionary of tensors, not {type(content).__name__}")
    found = [name for name in CONTAINERS if isinstance(content.get(name), Mapping)]
    container = ""
    if weights == "state_dict_ema" or found:
        wanted = [weights] if weights == "state_dict_ema" else ["state_dict", "model"]
        container = next((name for name in wanted if name in found), "")
        if not container:
            raise ValueError(f"{path} must hold {weights!r}, not "
                             f"{', '.join(found) or 'bare tensors'}")
        content = content[container]
    tensors = {}
    for name, value in content.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"entry {name!r} of {path} must be a tensor, "
                             f"not {type(value).__name__}")
        tensors[str(name)] = value
    return TensorFile(tensors, container, None)
