# SPDX-License-Identifier: Apache-2.0
"""Where every map, weight row and parameter row of a network lies in the memories.

`plan_memory(network, geometry)` is pure arithmetic on shapes: it knows no weights.  The hardware
configuration takes the memory depths from it, the compiler the addresses.

A spike map [positions, steps, channels] is stored channels innermost, in words of `spike_word`
channels: address = base + (position * steps + step) * words + word.  Two halves of the spike memory
take turns: a layer reads one half and writes the other, so that neither ever waits for the other.
"""

from dataclasses import dataclass
from math import ceil

from hw.network import Kind, Layer, NetworkConfig, Output

# What the commands build unless told otherwise: the shipped network on the smallest Arty A7.
DEFAULT_LANES, DEFAULT_BANKS = 32, 4


@dataclass(frozen=True)
class Geometry:
    """The parallel slots of the engine.

    lanes:       output channels that accumulate at once (a tile)
    banks:       events (input spikes) that a lane adds per cycle; input channel c is in bank
                 c % banks
    spike_word:  channels of one word of spike memory
    neurons:     lanes that the finish pipeline takes per cycle

    Raises ValueError, one sentence, where they do not nest.
    """

    lanes: int
    banks: int
    spike_word: int
    neurons: int

    def __post_init__(self) -> None:
        for name in ("lanes", "banks", "spike_word", "neurons"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be a positive integer, not {value!r}")
        if self.spike_word & (self.spike_word - 1):
            raise ValueError(f"spike_word must be a power of two, not {self.spike_word!r}")
        if self.lanes % self.spike_word:
            raise ValueError(f"lanes must be a multiple of spike_word {self.spike_word}, "
                             f"not {self.lanes!r}")
        for name in ("banks", "neurons"):
            if self.spike_word % getattr(self, name):
                raise ValueError(f"{name} must divide spike_word {self.spike_word}, "
                                 f"not {getattr(self, name)!r}")

    @classmethod
    def for_lanes(cls, lanes: int, banks: int = DEFAULT_BANKS, spike_word: int | None = None,
                  neurons: int | None = None) -> "Geometry":
        """Choose words of at most 32 channels and a finish pipeline of at most 8 lanes."""
        for name, value in (("lanes", lanes), ("banks", banks)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be a positive integer, not {value!r}")
        if spike_word is None:
            spike_word = min(lanes & -lanes, 32)
        if neurons is None:
            neurons = min(spike_word, 8)
        return cls(lanes, banks, spike_word, neurons)

    @property
    def beats(self) -> int:
        """Beats in which the finish pipeline drains all lanes."""
        return self.lanes // self.neurons

    @property
    def slice_bits(self) -> int:
        """Bits of a spike word that belong to one bank."""
        return self.spike_word // self.banks

    def words(self, channels: int) -> int:
        return ceil(channels / self.spike_word)


def padded_head_dim(head_dim: int) -> int:
    """Channels that a head takes in memory: the next power of two, so that heads never straddle."""
    return 1 << (head_dim - 1).bit_length()


def head_channels(network: NetworkConfig) -> tuple[int, ...]:
    """Logical channel (or -1 for padding) of each stored channel of q, k, v and attention maps."""
    d, padded = network.head_dim, padded_head_dim(network.head_dim)
    return tuple(head * d + j if j < d else -1
                 for head in range(network.num_heads) for j in range(padded))


@dataclass(frozen=True)
class SpikeMap:
    """A spike map in memory; `channels` gives the logical channel of each stored one, -1 padding.

    `steps` is the number of bits that one channel has at one position: timesteps, or bit planes, or
    both (timestep outer, plane inner, most significant plane first).
    """

    half: int
    base: int
    positions: int
    steps: int
    channels: tuple[int, ...]
    words: int

    @property
    def size(self) -> int:
        return self.positions * self.steps * self.words


@dataclass(frozen=True)
class LayerPlan:
    """Places of one layer.  `sources` are three maps (q, k, v) for attention and one otherwise.

    destination:   where the spikes go, None where no LIF follows
    out_channels:  logical channel of each stored output channel
    tiles, last_beats:  the output channels in tiles of `lanes`; the last tile drains fewer beats
    rows_per_tap:  weight rows of one kernel tap in each bank
    """

    index: int
    layer: Layer
    sources: tuple[SpikeMap, ...]
    destination: SpikeMap | None
    out_channels: tuple[int, ...]
    tiles: int = 0
    last_beats: int = 0
    rows_per_tap: int = 0
    weight_base: int = 0
    param_base: int = 0

    @property
    def tile_rows(self) -> int:
        """Weight rows of one tile in each bank."""
        return self.layer.kernel ** 2 * self.rows_per_tap

    def beats(self, tile: int, geometry: Geometry) -> int:
        """Beats that a tile drains."""
        return self.last_beats if tile == self.tiles - 1 else geometry.beats


@dataclass(frozen=True)
class MemoryPlan:
    """The plan of a whole network, with the depth of each memory that it needs.

    planes: the map of bit planes that the classifier reads (None in spiking heads).
    """

    network: NetworkConfig
    geometry: Geometry
    input: SpikeMap
    layers: tuple[LayerPlan, ...]
    planes: SpikeMap | None
    spike_words: tuple[int, int]
    residual_words: int
    weight_rows: int
    param_rows: int
    residual_beats: int


def token_sum_width(network: NetworkConfig, residual_width: int) -> int:
    """Smallest width that provably holds a residual value summed over tokens and timesteps."""
    return residual_width + (network.tokens * network.timesteps - 1).bit_length()


def plan_memory(network: NetworkConfig, geometry: Geometry, input_bits: int,
                residual_width: int) -> MemoryPlan:
    """Lay out `network` for `geometry`.

    Raises ValueError if a pixel has more channels than a spike word.
    """
    if network.in_channels > geometry.spike_word:
        raise ValueError(f"spike_word must hold the {network.in_channels} input channels, "
                         f"not {geometry.spike_word!r}")
    return _Planner(network, geometry, input_bits, residual_width).plan()


class _Planner:
    def __init__(self, network: NetworkConfig, geometry: Geometry, input_bits: int,
                 residual_width: int) -> None:
        self.network, self.geometry = network, geometry
        self.sum_width = token_sum_width(network, residual_width)
        input_steps = input_bits * (1 if network.static_input else network.timesteps)
        self.depth = [0, 0]
        self.weight_row = 1   # row 0 is all zero: a bank without an event reads it
        self.param_row = 0
        self.input = self.place(0, 0, network.image_height * network.image_width, input_steps,
                                tuple(range(network.in_channels)))

    def place(self, half: int, base: int, positions: int, steps: int,
              channels: tuple[int, ...]) -> SpikeMap:
        placed = SpikeMap(half, base, positions, steps, channels,
                          self.geometry.words(len(channels)))
        self.depth[half] = max(self.depth[half], base + placed.size)
        return placed

    def plan(self) -> MemoryPlan:
        network, g = self.network, self.geometry
        current, plans, qkv, planes = self.input, [], [], None
        for index, layer in enumerate(network.layers()):
            channels: tuple[int, ...] = tuple(range(layer.out_channels))
            branch = layer.name.rpartition(".")[2]
            if branch in ("q", "k", "v") or layer.kind is Kind.ATTENTION:
                channels = head_channels(network)
            sources: tuple[SpikeMap, ...] = (current,)
            if layer.kind is Kind.ATTENTION:
                sources, qkv = tuple(qkv), []
            if layer.kind is Kind.CLASSIFIER and not network.classifier.spiking:
                planes = self.place(1 - current.half, 0, 1, self.sum_width,
                                    tuple(range(network.embed_dim)))
                sources = (planes,)
            base = qkv[-1].base + qkv[-1].size if qkv else 0
            destination = self.place(
                1 - sources[0].half, base, layer.out_height * layer.out_width, network.timesteps,
                channels) if layer.lif else None
            plans.append(self.layer_plan(index, layer, sources, destination, channels))
            if branch in ("q", "k", "v"):
                qkv.append(destination)
            elif destination is not None:
                current = destination
        beats = g.words(network.embed_dim) * g.spike_word // g.neurons
        return MemoryPlan(
            network, g, self.input, tuple(plans), planes, (self.depth[0], self.depth[1]),
            network.tokens * network.timesteps * beats, self.weight_row, self.param_row, beats)

    def layer_plan(self, index: int, layer: Layer, sources: tuple[SpikeMap, ...],
                   destination: SpikeMap | None, channels: tuple[int, ...]) -> LayerPlan:
        g = self.geometry
        if layer.kind is Kind.ATTENTION:
            return LayerPlan(index, layer, sources, destination, channels)
        tiles = ceil(len(channels) / g.lanes)
        rest = len(channels) - (tiles - 1) * g.lanes
        # Layers before another layer fill whole words; the classifier stops after its last class.
        last_beats = (ceil(rest / g.neurons) if layer.output is Output.LOGITS
                      else g.words(rest) * g.spike_word // g.neurons)
        rows = ceil(len(sources[0].channels) / g.banks)
        plan = LayerPlan(index, layer, sources, destination, channels, tiles, last_beats, rows,
                         self.weight_row, self.param_row)
        self.weight_row += tiles * layer.kernel ** 2 * rows
        self.param_row += (tiles - 1) * g.beats + last_beats
        return plan
