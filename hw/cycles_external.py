# SPDX-License-Identifier: Apache-2.0
"""When the residual stream and rows of spike maps come from external memory, and when they left.

Timing of `hw.spill`, `hw.window` and the writer in `hw.axi`; cycles are absolute.
"""

from hw.axi import BURST, READ_AHEAD
from hw.config import HardwareConfig
from hw.current import Current
from hw.cycles_stream import QUEUE_LATENCY, BeatStream
from hw.drain import Drain
from hw.window import HELD_ROWS

# From a beat in Drain to its word's turn in Residual: it takes the old one in one cycle, and gives
# the new one in the next.
DRAIN_TO_POP = Drain.LATENCY + Current.LATENCY + 1
# From a burst's address to its first beat, from its last beat to the next one's first, and to the
# end of the writer's work.
ADDRESS_TO_WRITE, BETWEEN_BURSTS, ANSWER = 2, 2, 3


class BeatWriter:
    """A `Writer` of `beats` beats: a burst is announced when all of it waits."""

    def __init__(self, beats: int) -> None:
        self._beats = beats
        self._came: list[int] = []      # cycle of each beat
        self._begun: list[int] = []     # first beat of each burst, at the memory
        self._asked = self._ended = -BETWEEN_BURSTS

    def put(self, cycle: int, count: int) -> int:
        """`count` beats that are offered from `cycle` on, one a cycle; cycle of the last one."""
        for _ in range(count):
            number = len(self._came)
            if number >= READ_AHEAD:
                burst, place = divmod(number - READ_AHEAD, BURST)
                cycle = max(cycle, self._begun[burst] + place + 1)
            self._came.append(cycle)
            if (number + 1) % BURST == 0 or number + 1 == self._beats:
                self._asked = max(cycle, self._asked) + 1
                begin = max(self._asked + ADDRESS_TO_WRITE, self._ended + BETWEEN_BURSTS)
                self._begun.append(begin)
                self._ended = begin + number % BURST
            cycle += 1
        return cycle - 1

    @property
    def idle(self) -> int:
        """Cycle from which the memory has acknowledged all of it."""
        return self._ended + ANSWER


class ResidualPort:
    """The residual stream during a layer: a `cycles_dispatch.Admission`.

    start:  cycle in which the layer starts
    stream: port beats of the layer
    reads:  it adds to what is there
    """

    def __init__(self, hardware: HardwareConfig, start: int, latency: int, stream: int,
                 reads: bool) -> None:
        self._word = -(-hardware.geometry.neurons * hardware.residual_width // hardware.port_bits)
        self._depth = 8 * hardware.geometry.beats
        self._reader = BeatStream(start, latency) if reads else None
        self._writer = BeatWriter(stream)
        # By word: when it came, was popped, left for the writer.
        self._came: list[int] = []
        self._popped: list[int] = []
        self._left: list[int] = []
        self._sent = start   # last beat that went to the writer
        self._promised = 0

    def admit(self, cycle: int, beats: int) -> int:
        """Cycle of the close of a group of so many beats that could close in `cycle`."""
        wanted = self._promised + beats
        if self._reader is not None:
            while len(self._came) < wanted:
                self._read()
            cycle = max(cycle, self._came[wanted - 1] + 1)
        if wanted > self._depth:
            cycle = max(cycle, self._left[wanted - self._depth - 1] + 1)
        self._promised = wanted
        return cycle

    def drain(self, cycle: int, beats: int) -> None:
        """The first beat of the group that was admitted last is in Drain in `cycle`."""
        for beat in range(cycle, cycle + beats):
            self._popped.append(beat + DRAIN_TO_POP)
            self._write(beat + DRAIN_TO_POP + 1)

    def _read(self) -> None:
        """The next word, through Join to the queue of old words."""
        word = len(self._came)
        free = self._came[-1] if word else 0
        *_, (begin, beats) = self._reader.take(self._word, free)
        here = begin + beats   # one cycle after its last beat
        if word >= self._depth:
            here = max(here, self._popped[word - self._depth] + 1)
        self._came.append(here)

    def _write(self, pushed: int) -> None:
        """A word that enters the queue of new ones, through Split to the writer."""
        left = max(pushed + QUEUE_LATENCY, self._sent)
        self._left.append(left)
        self._sent = self._writer.put(left + 1, self._word)

    @property
    def idle(self) -> int:
        """Cycle from which all of it is in memory."""
        return self._writer.idle


class RowSource:
    """Rows of a windowed source map, as `RowLoader` brings them from cycle `start` on."""

    def __init__(self, values: dict[str, int], start: int, latency: int) -> None:
        self._latency = latency
        self._rows, self._blocks = values["source_rows"], values["blocks"]
        self._beats = values["source_beats"]
        self._taken: list[int] = []
        self._free = start + 1      # cycle of state Room
        self._here: int | None = None

    def take(self, cycle: int) -> int:
        """Take the next row, in `cycle` at the earliest."""
        cycle = max(cycle, self.here())
        self._taken.append(cycle)
        self._here = None
        return cycle

    def here(self) -> int:
        """Cycle from which the next row is on chip."""
        if self._here is None:
            room, row = self._free, len(self._taken)
            if row >= self._rows:
                room = max(room, self._taken[row - self._rows + HELD_ROWS] + 1)
            read = room + 1
            for _ in range(self._blocks):
                first, beats = BeatStream(read, self._latency).take(self._beats, 0)[-1]
                read = first + beats + 1
            # State Row counts it, and Room follows.
            self._here = self._free = read + 1
        return self._here


class RowTarget:
    """Rows of a windowed target map, as `RowStorer` takes them to memory."""

    def __init__(self, hardware: HardwareConfig, values: dict[str, int]) -> None:
        self._line_beats = -(-hardware.geometry.line_bits // hardware.port_bits)
        self._lines, self._rows = values["target_row"], values["target_rows"]
        self._written: list[int] = []   # cycle from which each row is counted
        self._begun = 0

    def begin(self, cycle: int) -> int:
        """Begin the next row, in `cycle` at the earliest."""
        if self._begun >= self._rows:
            cycle = max(cycle, self._written[self._begun - self._rows])
        self._begun += 1
        return cycle

    def done(self, cycle: int) -> None:
        """A row is complete: `cycle` is that of the pulse."""
        start = max(cycle + 1, self._written[-1] if self._written else 0)
        writer = BeatWriter(self._lines * self._line_beats)
        # Asked for, arrived, through the queue, split.
        line = start + 2 + QUEUE_LATENCY
        for _ in range(self._lines):
            line = writer.put(line + 1, self._line_beats)
        self._written.append(writer.idle + 1)

    @property
    def idle(self) -> int:
        """Cycle from which all of it is in memory."""
        return self._written[-1]
