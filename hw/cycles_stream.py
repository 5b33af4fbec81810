# SPDX-License-Identifier: Apache-2.0
"""When the weight port brings what: the timing of `hw.fetch` and of the reader in `hw.axi`."""

from bisect import bisect_right

from hw.axi import BURST, READ_AHEAD
from hw.compiler import Program
from hw.current import ParamRow
from hw.isa import WORD_BITS, Instruction

# A buffered queue shows a word this many cycles after it was written.
QUEUE_LATENCY = 2


class BeatStream:
    """Beats of a `Reader` that starts in a cycle, from a memory of `latency` cycles without pauses.

    Beats arrive one a cycle and wait for at most READ_AHEAD others; `take` says when they leave.
    """

    def __init__(self, start: int, latency: int) -> None:
        self._latency = latency
        self._asked = start            # cycle of the last burst's address
        self._taken = 0                # beats that left
        self._next = 0                 # first cycle in which another one can leave
        self._bursts: list[int] = []   # cycle in which the first beat of each burst can leave
        # Cycle in which the last beat of each burst left.
        self._ends: list[int] = []

    def take(self, count: int, cycle: int) -> list[tuple[int, int]]:
        """Take `count` beats from `cycle` on, one a cycle as far as they are there.

        Returns the runs without a pause: first cycle, beats.
        """
        runs: list[tuple[int, int]] = []
        cycle = max(cycle, self._next)
        while count:
            burst, place = divmod(self._taken, BURST)
            if burst == len(self._bursts):
                self._ask()
            begin = max(cycle, self._bursts[burst] + place)
            beats = min(count, BURST - place)
            if runs and sum(runs[-1]) == begin:
                runs[-1] = (runs[-1][0], runs[-1][1] + beats)
            else:
                runs.append((begin, beats))
            self._taken += beats
            count, cycle = count - beats, begin + beats
            if place + beats == BURST:
                self._ends.append(cycle - 1)
        self._next = cycle
        return runs

    def _ask(self) -> None:
        """The address of the next burst goes out as soon as there is room for it."""
        burst, ahead = len(self._bursts), READ_AHEAD // BURST
        self._asked += 1
        if burst >= ahead:
            self._asked = max(self._asked, self._ends[burst - ahead] + 1)
        arrival = self._asked + self._latency + 1
        if self._bursts:
            arrival = max(arrival, self._bursts[-1] - QUEUE_LATENCY + BURST)
        self._bursts.append(arrival + QUEUE_LATENCY)


class WeightStream:
    """The pass of Fetch that starts in cycle 0; a `cycles_engine.Tiles`.

    program_ready: cycle from which the program is in place
    writes: by bank, the cycles in which its second port is taken
    """

    def __init__(self, program: Program, latency: int) -> None:
        hardware = program.hardware
        geometry, bits = hardware.geometry, hardware.port_bits
        self._row_beats = -(-geometry.lanes * hardware.weight_bits // bits)
        self._param_beats = -(-ParamRow(hardware).size // bits)
        self._banks = geometry.banks
        self.writes: list[list[int]] = [[] for _ in range(geometry.banks)]
        self._tiles = list(program.tiles)
        self._params = [plan.beats(tile, geometry) for plan in program.plan.layers
                        for tile in range(plan.tiles)]
        self._ready: list[int] = []       # by tile: cycle in which Gather sees it
        self._released = [0]              # by number of tiles done: from which cycle on
        self._used = 0
        # The head, then the records.
        head = BeatStream(1, latency).take(1, 2)[0][0]
        self._beats = BeatStream(head + 1, latency)
        self._cycle = self._beats.take(1, head + 2)[0][0] + 1
        self.program_ready = self._program(len(program.instructions)
                                           * Instruction(hardware).words, bits // WORD_BITS)
        self._load()

    def _program(self, words: int, per_beat: int) -> int:
        """Take the words of the program, one a cycle; the first cycle after the last of them."""
        for beat in range(-(-words // per_beat)):
            count = min(per_beat, words - beat * per_beat)
            # Its first word needs the beat, which leaves with the last.
            here = self._beats.take(1, self._cycle + count - 1)[0][0]
            self._cycle = here + 1
        return self._cycle

    def _load(self) -> None:
        """All tiles that may be loaded by what is known."""
        while len(self._ready) < len(self._tiles):
            index = len(self._ready)
            tile = self._tiles[index]
            if tile.wait >= len(self._released):
                return
            record = self._beats.take(1, self._cycle)[0][0]
            begin = max(record + 1, self._released[tile.wait]) + 1
            runs = self._beats.take(self._params[index] * self._param_beats, begin)
            begin = sum(runs[-1])
            rows = tile.rows * self._banks
            runs = self._beats.take(rows * self._row_beats, begin)
            self._write(rows, runs)
            offer = sum(runs[-1])
            self._cycle = offer + 1
            self._ready.append(offer + QUEUE_LATENCY)

    def _write(self, rows: int, runs: list[tuple[int, int]]) -> None:
        """A row is written one cycle after its last beat, bank by bank."""
        ends, total = [], 0
        for _, beats in runs:
            total += beats
            ends.append(total)
        for row in range(rows):
            beat = (row + 1) * self._row_beats - 1
            run = bisect_right(ends, beat)
            first, beats = runs[run]
            self.writes[row % self._banks].append(first + beat - (ends[run] - beats) + 1)

    def ready(self) -> int:
        """Cycle from which the next tile is there; each call takes one."""
        self._used += 1
        return self._ready[self._used - 1]

    def release(self, cycle: int) -> None:
        """One more tile is done from `cycle` on."""
        self._released.append(cycle)
        self._load()

