# SPDX-License-Identifier: Apache-2.0
"""Where every map, weight row and parameter row of a network lies in the memories.

`plan_memory(network, geometry, ...)` is pure arithmetic on shapes: it knows no weights.  The
hardware configuration takes the memory depths from it, the compiler the addresses.

Spike memory is read in lines of LINE_WORDS words of `spike_word` channels; each word of a line is a
bank with an address of its own.  Two kinds of map (`Arrangement`) use that differently, so that one
access always brings what the next layer needs:

* GRID, for 3x3 convolutions: column x is in bank x % 4, so that x - 1, x and x + 1 come at once.
* TOKEN, for 1x1 convolutions and attention: word w of a position is in bank w % 4, so that four
  words of the same position come at once.
* PAIR, for 1x1 convolutions that take neighbouring positions together: two words of each of two
  positions come at once.

Two halves of the spike memory take turns: a layer reads one half and writes the other, so that
neither ever waits for the other.  A GRID map that does not fit its half is windowed: it lies in
external memory, and the half holds a ring of its rows, see `hw.window`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from math import ceil

from hw.network import Kind, Layer, NetworkConfig, Output

# What the commands build unless told otherwise: the shipped network on the smallest Arty A7.
DEFAULT_LANES, DEFAULT_BANKS = 32, 2

LINE_WORDS = 4          # words of a line: the banks of a half
# Rows of a windowed map that are on chip: a 3x3 convolution reads three while the next one comes, a
# max-pool writes two while the one before leaves.
WINDOW_ROWS = 4


@dataclass(frozen=True)
class Geometry:
    """The parallel slots of the engine.

    lanes:       output channels that accumulate at once (a tile)
    banks:       memories of weights; those of channel c of a word are in bank c % banks
    spike_word:  channels of one word of spike memory; a line has LINE_WORDS of them
    neurons:     lanes that the finish pipeline takes per cycle
    ports:       rows that a bank reads per cycle, 1 or 2: as many events (input spikes) of its
                 channels are added

    Raises ValueError, one sentence, where they do not nest.
    """

    lanes: int
    banks: int
    spike_word: int
    neurons: int
    ports: int = 2

    def __post_init__(self) -> None:
        for name in ("lanes", "banks", "spike_word", "neurons"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be a positive integer, not {value!r}")
        if self.ports not in (1, 2):
            raise ValueError(f"ports must be 1 or 2, not {self.ports!r}")
        if self.spike_word & (self.spike_word - 1):
            raise ValueError(f"spike_word must be a power of two, not {self.spike_word!r}")
        if self.lanes % self.spike_word:
            raise ValueError(f"lanes must be a multiple of spike_word {self.spike_word}, "
                             f"not {self.lanes!r}")
        if self.spike_word % self.neurons:
            raise ValueError(f"neurons must divide spike_word {self.spike_word}, "
                             f"not {self.neurons!r}")
        if self.banks > self.spike_word:
            raise ValueError(f"banks must be at most spike_word {self.spike_word}, "
                             f"not {self.banks!r}")

    @classmethod
    def for_lanes(cls, lanes: int, banks: int = DEFAULT_BANKS, spike_word: int | None = None,
                  neurons: int | None = None, least_word: int = 1,
                  ports: int = 2) -> "Geometry":
        """Choose words of half the lanes, 64 channels at most, and a finish pipeline of at least 8
        lanes that drains all lanes in 8 beats.

        least_word: bits that a word must hold (an input pixel), if the lanes allow it
        """
        for name, value in (("lanes", lanes), ("banks", banks)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be a positive integer, not {value!r}")
        if spike_word is None:
            largest = lanes & -lanes
            wanted = max(min(largest, 64, lanes // 2), banks, least_word)
            spike_word = min(largest, 1 << (wanted - 1).bit_length())
        if neurons is None:
            neurons = min(spike_word, max(8, 1 << (lanes | 8).bit_length() - 4))
        return cls(lanes, banks, spike_word, neurons, ports)

    @property
    def slots(self) -> int:
        """Events that a lane adds per cycle."""
        return self.banks * self.ports

    @property
    def beats(self) -> int:
        """Beats in which the finish pipeline drains all lanes."""
        return self.lanes // self.neurons

    @property
    def slice_bits(self) -> int:
        """Bits of a spike word that belong to one bank of weights, at most."""
        return ceil(self.spike_word / self.banks)

    @property
    def line_bits(self) -> int:
        return LINE_WORDS * self.spike_word

    @property
    def tile_words(self) -> int:
        """Words that the spikes of one tile fill."""
        return self.lanes // self.spike_word

    def words(self, channels: int) -> int:
        return ceil(channels / self.spike_word)

    def rows(self, channels: int) -> int:
        """Weight rows of so many input channels in each bank."""
        whole, rest = divmod(channels, self.spike_word)
        return whole * self.slice_bits + ceil(rest / self.banks)


def padded_head_dim(head_dim: int) -> int:
    """Channels that a head takes in memory: the next power of two, so that heads never straddle."""
    return 1 << (head_dim - 1).bit_length()


def head_channels(network: NetworkConfig) -> tuple[int, ...]:
    """Logical channel (or -1 for padding) of each stored channel of q, k, v and attention maps."""
    d, padded = network.head_dim, padded_head_dim(network.head_dim)
    return tuple(head * d + j if j < d else -1
                 for head in range(network.num_heads) for j in range(padded))


class Arrangement(Enum):
    """Which words of a map share a line."""

    GRID = "grid"     # neighbouring columns
    TOKEN = "token"   # words of one position
    PAIR = "pair"     # words of two neighbouring positions


class Walk(Enum):
    """How a layer takes its positions (`hw.reuse` says why)."""

    ALONE = "alone"     # one after the other
    PAIRS = "pairs"     # x and x + 1 share the additions that both need
    BESIDE = "beside"   # x and x + 1 at once, each in lanes of its own


@dataclass(frozen=True)
class SpikeMap:
    """A spike map [height, width, steps, channels] in memory; addresses are lines.

    channels:  logical channel of each stored one, -1 padding
    steps:     what one position has one after the other: timesteps, or bit planes of token sums
    words:     of one position and step
    block_words, blocks:  GRID: the words of one tile of the layer that writes it lie together
    rows:      map rows on chip, fewer than `height` if it is windowed

    GRID:  line = base + (y % rows) * row_lines + block * block_lines
                  + ((x // 4) * steps + step) * block_words + word in block,   bank x % 4
    TOKEN: line = base + ((y * width + x) * steps + step) * step_lines + word // 4,  bank word % 4
    PAIR:  line = base + ((y * width + x) // 2 * steps + step) * step_lines + word // 2,
           bank x % 2 * 2 + word % 2
    """

    arrangement: Arrangement
    half: int
    base: int
    height: int
    width: int
    steps: int
    channels: tuple[int, ...]
    words: int
    block_words: int
    rows: int

    @property
    def blocks(self) -> int:
        return ceil(self.words / self.block_words)

    @property
    def step_lines(self) -> int:
        """Lines from a step to the next."""
        if self.arrangement is Arrangement.GRID:
            return self.block_words
        return ceil(self.words * self.line_positions / LINE_WORDS)

    @property
    def line_positions(self) -> int:
        """Neighbouring positions that share a line."""
        return {Arrangement.GRID: LINE_WORDS, Arrangement.TOKEN: 1, Arrangement.PAIR: 2}[
            self.arrangement]

    @property
    def column_lines(self) -> int:
        """Lines from a position to the next that does not share its lines."""
        return self.steps * self.step_lines

    @property
    def block_lines(self) -> int:
        """Lines of one row and block."""
        return ceil(self.width / self.line_positions) * self.column_lines

    @property
    def row_lines(self) -> int:
        """Lines of one row."""
        return self.block_lines * (self.blocks if self.arrangement is Arrangement.GRID else 1)

    @property
    def windowed(self) -> bool:
        return self.rows < self.height

    @property
    def size(self) -> int:
        """Lines on chip, while it is read."""
        return self.rows * self.row_lines

    @property
    def positions(self) -> int:
        return self.height * self.width


@dataclass(frozen=True)
class LayerPlan:
    """Places of one layer.  `sources` are three maps (q, k, v) for attention and one otherwise.

    destination:   where the spikes go, None where no LIF follows
    out_channels:  logical channel of each stored output channel
    tiles, last_beats:  the output channels in tiles of `lanes`; the last tile drains fewer beats
    rows_per_tap:  weight rows of one kernel tap in each bank
    walk:          how its positions are taken
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
    walk: Walk = Walk.ALONE

    @property
    def pairs(self) -> bool:
        return self.walk is Walk.PAIRS

    @property
    def beside(self) -> bool:
        return self.walk is Walk.BESIDE

    @property
    def columns(self) -> int:
        """Columns of the taps of a group."""
        return self.layer.kernel + self.beside

    @property
    def tile_rows(self) -> int:
        """Weight rows of one tile in each bank."""
        return self.layer.kernel * self.columns * self.rows_per_tap

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
    spike_lines: tuple[int, int]
    residual_words: int
    weight_rows: int
    param_rows: int
    residual_beats: int

    @property
    def windowed(self) -> bool:
        """Some map lies in external memory."""
        return any(m.windowed for m in (self.input, *(layer.destination for layer in self.layers
                                                      if layer.destination)))

    @property
    def largest(self) -> int:
        """Height or width of a map."""
        maps = [self.input, self.planes, *(layer.destination for layer in self.layers)]
        return max(max(each.height, each.width) for each in maps if each is not None)


def token_sum_width(network: NetworkConfig, residual_width: int) -> int:
    """Smallest width that provably holds a residual value summed over tokens and timesteps."""
    return residual_width + (network.tokens * network.timesteps - 1).bit_length()


def plan_memory(network: NetworkConfig, geometry: Geometry, input_bits: int,
                residual_width: int, spike_lines: tuple[int, int] | None = None,
                walks: Mapping[str, Walk] | None = None) -> MemoryPlan:
    """Lay out `network` for `geometry`.

    spike_lines: depths of the halves; larger GRID maps are windowed.  None: everything fits.
    walks:       of the layers that do not take their positions one by one, by name

    Raises ValueError if a pixel has more bits than a spike word.
    """
    if network.in_channels * input_bits > geometry.spike_word:
        raise ValueError(f"spike_word must hold the {network.in_channels} input channels of "
                         f"{input_bits} bits, not {geometry.spike_word!r}")
    return _Planner(network, geometry, input_bits, residual_width, spike_lines, walks or {}).plan()


class _Planner:
    def __init__(self, network: NetworkConfig, geometry: Geometry, input_bits: int,
                 residual_width: int, limits: tuple[int, int] | None,
                 walks: Mapping[str, Walk]) -> None:
        self.network, self.geometry, self.limits = network, geometry, limits
        self.walks = walks
        self.sum_width = token_sum_width(network, residual_width)
        self.depth = [0, 0]
        self.weight_row = 1   # row 0 is all zero: a bank without an event reads it
        self.param_row = 0
        # One word holds a pixel, whatever its channels.
        self.input = self.place(
            Arrangement.GRID, 0, 0, (network.image_height, network.image_width),
            1 if network.static_input else network.timesteps, tuple(range(network.in_channels)))

    def place(self, arrangement: Arrangement, half: int, base: int, size: tuple[int, int],
              steps: int, channels: tuple[int, ...]) -> SpikeMap:
        g = self.geometry
        words = g.words(len(channels))
        block = min(words, g.tile_words) if arrangement is Arrangement.GRID else words
        placed = SpikeMap(arrangement, half, base, *size, steps, channels, words, block, size[0])
        if (arrangement is Arrangement.GRID and self.limits is not None
                and placed.size > self.limits[half]):
            rows = min(size[0], max(WINDOW_ROWS, self.limits[half] // placed.row_lines))
            placed = replace(placed, rows=rows)
        self.depth[half] = max(self.depth[half], base + placed.size)
        return placed

    def plan(self) -> MemoryPlan:
        network, g = self.network, self.geometry
        current, plans, qkv, planes = self.input, [], [], None
        layers = network.layers()
        for index, layer in enumerate(layers):
            channels: tuple[int, ...] = tuple(range(layer.out_channels))
            branch = layer.name.rpartition(".")[2]
            if branch in ("q", "k", "v") or layer.kind is Kind.ATTENTION:
                channels = head_channels(network)
            sources: tuple[SpikeMap, ...] = (current,)
            if layer.kind is Kind.ATTENTION:
                sources, qkv = tuple(qkv), []
            if layer.kind is Kind.CLASSIFIER and not network.classifier.spiking:
                planes = self.place(Arrangement.TOKEN, 1 - current.half, 0, (1, 1), self.sum_width,
                                    tuple(range(network.embed_dim)))
                sources = (planes,)
            destination = None
            if layer.lif:
                following = next(each for each in layers[index + 1:] if each.has_weights)
                # Attention reads q, k and v, a layer of its own kind comes next.
                paired = (self.walks.get(following.name) is Walk.PAIRS
                          and branch not in ("q", "k", "v"))
                destination = self.place(
                    Arrangement.GRID if following.kernel == 3 else
                    Arrangement.PAIR if paired else Arrangement.TOKEN,
                    1 - sources[0].half, qkv[-1].base + qkv[-1].size if qkv else 0,
                    (layer.out_height, layer.out_width), network.timesteps, channels)
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
        rows = g.rows(len(sources[0].channels))
        plan = LayerPlan(index, layer, sources, destination, channels, tiles, last_beats, rows,
                         self.weight_row, self.param_row, self.walks.get(layer.name, Walk.ALONE))
        self.weight_row += tiles * plan.tile_rows
        self.param_row += (tiles - 1) * g.beats + last_beats
        return plan
