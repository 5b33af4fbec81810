# SPDX-License-Identifier: Apache-2.0
"""Who an accelerator is: what a host reads before it sends anything, in 64 bytes.

The same bytes are the answer to `identify` on a serial line (`boards.frames`) and the first
registers of a peripheral (`hw.soc`).
"""

import hashlib
import json
import struct
from dataclasses import asdict, dataclass, field

import numpy as np

from hw.compiler import Program
from hw.model import FixedPointModel
from hw.network import NetworkConfig
from hw.readout import word_bits

MAGIC = b"SPKL"
VERSION = 1
SIZE = 64
COUNTERS = 3  # ac, cycles, saturations
WRITABLE, EXTERNAL = 1, 2  # of the flags
# magic, version, input bits, layers, samples, classes, flags, clock, 4 of nothing, hardware, model
_FIELDS = struct.Struct("<4sBBHIHHI4x8s32s")
_SHORT = 8
ANY_MODEL = bytes(32)


@dataclass(frozen=True)
class Identity:
    """What a host must know of the other end.

    input_bits: of a sample, which travels in `sample_bytes`
    samples:    of an inference
    classes, layers: an answer is classes + 3 * layers words of 64 bits
    clock_hz:   what the cycles of the counters are worth; 0 if not known
    writable:   the host writes the weights
    external:   they lie in a chip already, and the accelerator takes nothing before their image was
                checked
    hardware:   first 8 bytes of a SHA-256 (`HardwareConfig.digest`)
    model:      `model_digest`, or zeros: whatever model is loaded
    word_bits:  that a word of an answer needs (`hw.readout.word_bits`); a host is not told
    """

    input_bits: int
    samples: int
    classes: int
    layers: int
    clock_hz: int = 0
    writable: bool = False
    hardware: bytes = bytes(_SHORT)
    model: bytes = ANY_MODEL
    external: bool = False
    word_bits: int = field(default=64, compare=False)

    def __post_init__(self) -> None:
        for name, low, high in (("input_bits", 1, 16), ("samples", 1, 1 << 24),
                                ("classes", 1, 65535), ("layers", 0, 1000),
                                ("clock_hz", 0, (1 << 32) - 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"{name} must be {low} to {high}, not {value!r}")
        for name, size in (("hardware", _SHORT), ("model", len(ANY_MODEL))):
            if len(getattr(self, name)) != size:
                raise ValueError(f"{name} must have {size} bytes, not {getattr(self, name)!r}")

    @classmethod
    def of(cls, program: Program, clock_hz: int = 0, writable: bool = False) -> "Identity":
        """Of a program on its hardware, which runs only that one unless its weights are written."""
        network = program.model.network
        return cls(input_bits=program.model.input.bits, samples=sample_count(network),
                   classes=network.num_classes, layers=len(network.layers()), clock_hz=clock_hz,
                   writable=writable, hardware=program.hardware.digest(),
                   model=ANY_MODEL if writable else model_digest(program.model),
                   external=program.hardware.streamed and not writable,
                   word_bits=word_bits(program.hardware))

    @property
    def sample_bytes(self) -> int:
        return -(-self.input_bits // 8)

    @property
    def words(self) -> int:
        """Of an answer."""
        return self.classes + COUNTERS * self.layers

    def pack(self) -> bytes:
        """The `SIZE` bytes."""
        return _FIELDS.pack(MAGIC, VERSION, self.input_bits, self.layers, self.samples,
                            self.classes, WRITABLE * self.writable | EXTERNAL * self.external,
                            self.clock_hz, self.hardware, self.model)

    @classmethod
    def unpack(cls, data: bytes) -> "Identity":
        """Inverse of `pack`; ValueError, one sentence, if it is no accelerator of this version."""
        if len(data) != SIZE or data[:len(MAGIC)] != MAGIC:
            raise ValueError(f"the identity must be {SIZE} bytes that begin with {MAGIC!r}, "
                             f"not {bytes(data[:8])!r}")
        if data[len(MAGIC)] != VERSION:
            raise ValueError(f"the board must speak version {VERSION} of the protocol, "
                             f"not {data[len(MAGIC)]}")
        bits, layers, samples, classes, flags, *rest = _FIELDS.unpack(data)[2:]
        clock_hz, hardware, model = rest
        return cls(bits, samples, classes, layers, clock_hz, bool(flags & WRITABLE), hardware,
                   model, bool(flags & EXTERNAL))

    def check(self, model: FixedPointModel) -> None:
        """ValueError, one sentence, unless this accelerator runs `model`."""
        network = model.network
        for name, here, there in (
                ("input bits", self.input_bits, model.input.bits),
                ("samples an inference", self.samples, sample_count(network)),
                ("classes", self.classes, network.num_classes),
                ("layers", self.layers, len(network.layers()))):
            if here != there:
                raise ValueError(f"the board must be built for the network: it has {here} {name}, "
                                 f"not {there}")
        if self.model not in (ANY_MODEL, model_digest(model)):
            raise ValueError("the board must be built from these weights, but it holds others: "
                             f"{self.model.hex()[:16]}, not {model_digest(model).hex()[:16]}")


def sample_count(network: NetworkConfig) -> int:
    """Samples of an inference."""
    frames = 1 if network.static_input else network.timesteps
    return frames * network.in_channels * network.image_height * network.image_width


def model_digest(model: FixedPointModel) -> bytes:
    """SHA-256 of everything that shapes the model's integers; of no names, accuracies or paths."""
    network = {key: value for key, value in model.network.to_dict().items() if key != "name"}
    digest = hashlib.sha256(json.dumps(
        [network, model.weight_bits, asdict(model.input), asdict(model.residual)],
        sort_keys=True).encode())
    for name, tensors in sorted(model.tensors.items()):
        digest.update(f"{name} {tensors.bias_shift}".encode())
        for values in (tensors.weight, tensors.bias, tensors.shift, tensors.threshold):
            array = None if values is None else np.ascontiguousarray(values, "<i8")
            digest.update(b"none" if array is None else str(array.shape).encode()
                          + array.tobytes())
    return digest.digest()
