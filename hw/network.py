# SPDX-License-Identifier: Apache-2.0
"""The network as data: one frozen object that configures reference, exporter, compiler and RTL.

Nothing here knows about PyTorch or about Amaranth.  `NetworkConfig` is what a user chooses,
`layers()` is the sequence of layer shapes that follows from it; the float model, the integer golden
model, the compiler and the simulator all walk that same sequence, so they cannot disagree about
order, names or sizes.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import Enum
from math import inf
from typing import Any


class Classifier(Enum):
    """The four classification heads of the paper (Eq. 14 to 17).

    X is the residual stream [T, D, N] after the last block, SN a LIF layer, AvgPool the mean over
    tokens and timesteps.  Pooling and FC are linear: both heads without SN return equal logits, and
    so do both heads with SN.
    """

    AVGPOOL_FC = "avgpool_fc"        # Y = FC(AvgPool(X)), the released models
    FC_AVGPOOL = "fc_avgpool"        # Y = AvgPool(FC(X))
    SN_AVGPOOL_FC = "sn_avgpool_fc"  # Y = FC(AvgPool(SN(X)))
    SN_FC_AVGPOOL = "sn_fc_avgpool"  # Y = AvgPool(FC(SN(X)))

    @property
    def spiking(self) -> bool:
        """True when a LIF stands before the FC, so that the FC accumulates a row per spike."""
        return self in (Classifier.SN_AVGPOOL_FC, Classifier.SN_FC_AVGPOOL)


class Output(Enum):
    """Where the results of a layer go."""

    SPIKES = "spikes"      # a LIF fires them into a spike map
    RESIDUAL = "residual"  # added to the residual stream, which the next LIF reads
    LOGITS = "logits"      # out of the accelerator


class Kind(Enum):
    """How a layer gathers its inputs."""

    ENCODER = "encoder"        # 3x3 convolution on multi-bit pixels or event counts, by bit planes
    CONV = "conv"              # 3x3 or 1x1 convolution on spikes
    ATTENTION = "attention"    # LIF(Q K^T V / 8), no weights
    CLASSIFIER = "classifier"  # FC on token sums (bit planes) or on spikes


@dataclass(frozen=True)
class Layer:
    """Shape of one layer; `height` x `width` is the grid of its output before pooling.

    name:         official module path without the suffix "_conv"/"_bn", for example
                  "patch_embed.block1", "block.0.attn.q", "block.0.attn.ssa", "block.0.mlp.mlp2",
                  "head".
    lif:          path of the LIF that its output feeds, or "" where none follows.
    pool:         the spikes pass a 3x3 stride 2 max-pool (an OR) on their way to the next layer.
    adds:         the result is added to the residual stream (False: it starts the stream).
    v_threshold:  of that LIF, in float units.
    """

    name: str
    kind: Kind
    kernel: int
    in_channels: int
    out_channels: int
    height: int
    width: int
    output: Output
    lif: str = ""
    pool: bool = False
    adds: bool = False
    v_threshold: float = 1.0

    @property
    def positions(self) -> int:
        """Number of output positions (tokens, once the tokenizer is left)."""
        return self.height * self.width

    @property
    def out_height(self) -> int:
        """Height of the map that the next layer reads."""
        return pooled(self.height) if self.pool else self.height

    @property
    def out_width(self) -> int:
        """Width of the map that the next layer reads."""
        return pooled(self.width) if self.pool else self.width

    @property
    def has_weights(self) -> bool:
        return self.kind is not Kind.ATTENTION


def pooled(size: int) -> int:
    """Size after a max-pool with kernel 3, stride 2, padding 1 (ceil_mode False)."""
    return (size - 1) // 2 + 1


@dataclass(frozen=True)
class NetworkConfig:
    """A Spikingformer (arXiv 2304.11954).

    pool_stages:   for each of the four spiking tokenizer stages 1 to 4, whether a max-pool stands
                   between its LIF and its ConvBN (CIFAR: F F T T; ImageNet and DVS: T T T T).
    timesteps:     T.  A static image is encoded once and repeated T times.
    tau:           2.0 or 1.5, the two time constants whose state integers carry exactly.
    static_input:  True: image [C, H, W].  False: event counts [T, C, H, W].
    embed_dim:     D, divisible by num_heads and by 8.

    Raises ValueError, one sentence, for a field out of its range.
    """

    embed_dim: int
    depth: int
    num_heads: int
    timesteps: int
    in_channels: int
    image_height: int
    image_width: int
    num_classes: int
    tau: float = 2.0
    mlp_ratio: float = 4.0
    pool_stages: tuple[bool, bool, bool, bool] = (False, False, True, True)
    classifier: Classifier = Classifier.AVGPOOL_FC
    static_input: bool = True
    name: str = ""

    def __post_init__(self) -> None:
        for name in ("embed_dim", "depth", "num_heads", "timesteps", "in_channels",
                     "image_height", "image_width", "num_classes"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be a positive integer, not {value!r}")
        if self.embed_dim % 8:
            raise ValueError(f"embed_dim must be divisible by 8, not {self.embed_dim!r}")
        if self.embed_dim % self.num_heads:
            raise ValueError(f"num_heads must divide embed_dim {self.embed_dim}, "
                             f"not {self.num_heads!r}")
        if self.tau not in (2.0, 1.5):
            raise ValueError("tau must be 2.0 or 1.5, the values whose integer state is exact, "
                             f"not {self.tau!r}")
        if not 0 < self.mlp_ratio < inf or self.embed_dim * self.mlp_ratio != self.hidden_dim:
            raise ValueError("mlp_ratio must be positive and give a whole number of hidden "
                             f"channels, not {self.mlp_ratio!r}")
        if len(self.pool_stages) != 4 or not all(isinstance(p, bool) for p in self.pool_stages):
            raise ValueError(f"pool_stages must be four booleans, not {self.pool_stages!r}")
        if not isinstance(self.static_input, bool):
            raise ValueError(f"static_input must be true or false, not {self.static_input!r}")
        if not isinstance(self.name, str):
            raise ValueError(f"name must be a text, not {self.name!r}")
        if not isinstance(self.classifier, Classifier):
            raise ValueError(f"classifier must be a Classifier, not {self.classifier!r}")

    @property
    def hidden_dim(self) -> int:
        """Channels between mlp1 and mlp2."""
        return int(self.embed_dim * self.mlp_ratio)

    @property
    def head_dim(self) -> int:
        return self.embed_dim // self.num_heads

    @property
    def tokenizer_channels(self) -> tuple[int, int, int, int, int]:
        """Output channels of the five tokenizer convolutions."""
        d = self.embed_dim
        return d // 8, d // 4, d // 2, d, d

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the token grid."""
        height, width = self.image_height, self.image_width
        for pool in self.pool_stages:
            if pool:
                height, width = pooled(height), pooled(width)
        return height, width

    @property
    def tokens(self) -> int:
        """N, the number of tokens."""
        return self.grid[0] * self.grid[1]

    def layers(self) -> tuple[Layer, ...]:
        """Every layer in the order of execution (paper Eq. 5 to 17)."""
        return (*self._tokenizer(), *self._blocks(), self._head())

    def _tokenizer(self) -> list[Layer]:
        height, width = self.image_height, self.image_width
        channels = (self.in_channels, *self.tokenizer_channels)
        layers = []
        for i in range(5):
            last = i == 4
            layers.append(Layer(
                name=f"patch_embed.block{i}", kind=Kind.CONV if i else Kind.ENCODER, kernel=3,
                in_channels=channels[i], out_channels=channels[i + 1], height=height, width=width,
                output=Output.RESIDUAL if last else Output.SPIKES,
                lif="block.0.attn.proj_lif" if last else f"patch_embed.block{i + 1}_lif",
                pool=not last and self.pool_stages[i]))
            height, width = layers[-1].out_height, layers[-1].out_width
        return layers

    def _blocks(self) -> list[Layer]:
        height, width = self.grid
        d, hidden = self.embed_dim, self.hidden_dim
        layers = []

        def add(name: str, kind: Kind, cin: int, cout: int, lif: str,
                residual: bool = False, v_threshold: float = 1.0) -> None:
            layers.append(Layer(
                name=name, kind=kind, kernel=1, in_channels=cin, out_channels=cout, height=height,
                width=width, output=Output.RESIDUAL if residual else Output.SPIKES, lif=lif,
                adds=residual, v_threshold=v_threshold))

        for i in range(self.depth):
            attn, mlp = f"block.{i}.attn", f"block.{i}.mlp"
            following = f"block.{i + 1}.attn.proj_lif"
            if i == self.depth - 1:
                following = "head_lif" if self.classifier.spiking else ""
            for branch in "qkv":
                add(f"{attn}.{branch}", Kind.CONV, d, d, f"{attn}.{branch}_lif")
            add(f"{attn}.ssa", Kind.ATTENTION, d, d, f"{attn}.attn_lif", v_threshold=0.5)
            add(f"{attn}.proj", Kind.CONV, d, d, f"{mlp}.mlp1_lif", residual=True)
            add(f"{mlp}.mlp1", Kind.CONV, d, hidden, f"{mlp}.mlp2_lif")
            add(f"{mlp}.mlp2", Kind.CONV, hidden, d, following, residual=True)
        return layers

    def _head(self) -> Layer:
        height, width = self.grid
        return Layer(name="head", kind=Kind.CLASSIFIER, kernel=1, in_channels=self.embed_dim,
                     out_channels=self.num_classes, height=height, width=width,
                     output=Output.LOGITS)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` is the inverse."""
        return asdict(self) | {"pool_stages": list(self.pool_stages),
                               "classifier": self.classifier.value}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "NetworkConfig":
        """Build from JSON values; ValueError names an unknown, missing or wrong field."""
        values = dict(values)
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"network configuration has no field {sorted(unknown)[0]!r}")
        try:
            if "pool_stages" in values:
                values["pool_stages"] = tuple(values["pool_stages"])
            if "classifier" in values:
                values["classifier"] = Classifier(values["classifier"])
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"network configuration is incomplete: {error}") from None
