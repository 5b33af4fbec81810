# SPDX-License-Identifier: Apache-2.0
"""Spiking self-attention: LIF(Q (K^T V) / 8) by additions of spikes (paper Eq. 9 to 11)."""

from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.config import HardwareConfig
from hw.dispatch import find_first
from hw.isa import TALLY_BITS, Instruction
from hw.spike_memory import SpikeRead, SpikeWrite

# Any sum of 8 or more fires and resets whatever the state (tau 2; 6 would do for tau 1.5), so
# counters that stop at 8 give exactly the spikes of unbounded ones.
LIMIT = 8
COUNTER_BITS = 4
FIRE, FIRE_SLOW = 8, 12


def saturate(value):
    """A counter that stops at LIMIT."""
    return Mux(value >= LIMIT, LIMIT, value)[:COUNTER_BITS]


class Entry(data.StructLayout):
    """The spikes of one token and timestep in a group of channels: K with V, or Q alone."""

    def __init__(self, hardware: HardwareConfig) -> None:
        lanes = hardware.attention_lanes
        super().__init__({"events": lanes, "values": lanes, "timestep": 4, "last": 1,
                          "position": 16})   # of the token, read by traces only


class AttentionFetch(wiring.Component):
    """Read the entries of one group: for every token and timestep, K and V words or Q words.

    Throughput: one word per cycle and two cycles of turnaround per entry, overlapping the work on
    the entry before.
    Ports: `instruction`, `start` (pulse), `keys` (K and V, else Q), `group` (word offset of the
    group), `memory`, `o`.
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        super().__init__({
            "instruction": In(Instruction(hardware)), "start": In(1), "keys": In(1),
            "group": In(Instruction(hardware)["source_base"].shape),
            "memory": Out(SpikeRead(hardware)), "o": Out(stream.Signature(Entry(hardware))),
        })

    def elaborate(self, platform):
        m = Module()
        ins, word_bits = self.instruction, self._hardware.geometry.spike_word
        words = self._hardware.attention_lanes // word_bits
        # Position of the entry relative to a map's base, which is the same for q, k and v.
        offset = Signal.like(ins.source_base)
        word, values = Signal(range(words + 1)), Signal()
        timestep = Signal(4)
        buffer = Signal(2 * words * word_bits)
        base = Mux(self.keys, Mux(values, ins.value_base, ins.key_base), ins.source_base)
        m.d.comb += [self.memory.half.eq(ins.source_half),
                     self.memory.address.eq(base + offset + word)]
        arrived = Signal()
        m.d.sync += arrived.eq(self.memory.en)
        with m.If(arrived):
            m.d.sync += buffer.eq(Cat(buffer, self.memory.data)[word_bits:])

        timestep_last = timestep == (ins.timesteps - 1)[:4]
        x, y, position = Signal(ins.width.shape()), Signal(ins.height.shape()), Signal(16)
        x_last, y_last = x == (ins.width - 1)[:len(x)], y == (ins.height - 1)[:len(y)]
        m.d.comb += [
            self.o.payload.events.eq(Mux(self.keys, buffer, buffer[words * word_bits:])),
            self.o.payload.values.eq(buffer[words * word_bits:]),
            self.o.payload.timestep.eq(timestep), self.o.payload.position.eq(position),
            self.o.payload.last.eq(timestep_last & x_last & y_last),
        ]
        with m.FSM():
            with m.State("Idle"):
                m.d.sync += [offset.eq(self.group), x.eq(0), y.eq(0), timestep.eq(0),
                             position.eq(0)]
                with m.If(self.start):
                    m.next = "Read"
            with m.State("Read"):
                m.d.comb += self.memory.en.eq(1)
                m.d.sync += word.eq(word + 1)
                with m.If(word == words - 1):
                    m.d.sync += [word.eq(0), values.eq(self.keys & ~values)]
                    with m.If(~self.keys | values):
                        m.next = "Arrive"
            with m.State("Arrive"):
                m.next = "Offer"
            with m.State("Offer"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.sync += [offset.eq(offset + ins.source_words),
                                 timestep.eq(Mux(timestep_last, 0, timestep + 1))]
                    with m.If(timestep_last):
                        m.d.sync += [x.eq(Mux(x_last, 0, x + 1)), position.eq(position + 1)]
                        with m.If(x_last):
                            m.d.sync += y.eq(y + 1)
                    m.next = "Read"
                    with m.If(self.o.payload.last):
                        m.next = "Idle"
        return m


class AttentionLIF(wiring.Component):
    """Sums A of one entry in counters that stop at 8, then one LIF step per channel.

    In units of 1/8: h = v + A, fire = h >= 8, v = h >> 1; for tau 1.5 h = v + 2A, fire = h >= 12,
    v = floor(h / 3).  v fits 2 bits.

    Ports: `instruction`, `add` with `row` (counters to add), `step` (fire, clear the sums; v starts
    from 0 if `first`), `spikes` (valid after `step`).  Latency 1 cycle.
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        lanes = hardware.attention_lanes
        super().__init__({
            "instruction": In(Instruction(hardware)), "add": In(1),
            "row": In(data.ArrayLayout(unsigned(COUNTER_BITS), lanes)),
            "step": In(1), "first": In(1), "spikes": Out(lanes),
        })

    def elaborate(self, platform):
        m = Module()
        slow = self.instruction.slow_tau
        for c in range(self._hardware.attention_lanes):
            total, v = Signal(COUNTER_BITS, name=f"sum{c}"), Signal(2, name=f"v{c}")
            state = Mux(self.first, 0, v)
            h, fire, decayed = state + total, Signal(name=f"fire{c}"), Signal(2, name=f"next{c}")
            m.d.comb += [fire.eq(h >= FIRE), decayed.eq(h >> 1)]
            if self._hardware.slow_tau:
                slow_h = state + (total << 1)
                with m.If(slow):
                    # A quotient of h < FIRE_SLOW is 0 to 3: three comparisons.
                    m.d.comb += [fire.eq(slow_h >= FIRE_SLOW),
                                 decayed.eq(sum(slow_h >= 3 * k for k in (1, 2, 3)))]
            with m.If(self.add):
                m.d.sync += total.eq(saturate(total + self.row[c]))
            with m.If(self.step):
                m.d.sync += [total.eq(0), v.eq(Mux(fire, 0, decayed)), self.spikes[c].eq(fire)]
        return m


class KeyValue(wiring.Component):
    """KV: one row of counters per timestep and channel l of the group, one counter per lane.

    An `event` reads `row`; with `keys` the row gains `values` (spikes, masked to the head of the
    row's channel) and is written back one cycle later, else it appears at `o` with `o_valid`.  A
    read sees the write of its own cycle, so events on one row may follow each other at once.
    `clear` zeroes `row` instead.

    Throughput one event per cycle, latency 1 cycle.
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        lanes = hardware.attention_lanes
        self._counters = data.ArrayLayout(unsigned(COUNTER_BITS), lanes)
        self.rows = hardware.max_timesteps * lanes
        super().__init__({
            "instruction": In(Instruction(hardware)), "event": In(1), "keys": In(1),
            "clear": In(1), "row": In(range(self.rows)), "values": In(lanes),
            "o": Out(self._counters), "o_valid": Out(1), "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        lanes = self._hardware.attention_lanes
        m.submodules.memory = memory = Memory(shape=unsigned(self._counters.size),
                                              depth=self.rows, init=[])
        write = memory.write_port()
        read = memory.read_port(transparent_for=[write])
        s1_event, s1_keys = Signal(), Signal()
        s1_row, s1_values = Signal.like(self.row), Signal.like(self.values)
        m.d.sync += [s1_event.eq(self.event), s1_keys.eq(self.keys), s1_row.eq(self.row),
                     s1_values.eq(self.values)]
        channel = s1_row[:(lanes - 1).bit_length()]
        counters = data.View(self._counters, read.data)
        added = Cat(
            saturate(counters[c]
                     + (s1_values[c] & ((channel ^ c) & self.instruction.head_mask == 0)))
            for c in range(lanes))
        m.d.comb += [
            read.addr.eq(self.row), self.o.eq(counters),
            self.o_valid.eq(s1_event & ~s1_keys), self.busy.eq(s1_event),
            write.en.eq(self.clear | (s1_event & s1_keys)),
            write.addr.eq(Mux(self.clear, self.row, s1_row)),
            write.data.eq(Mux(self.clear, 0, added)),
        ]
        return m


class Attention(wiring.Component):
    """A[t, n, c] = sum over channels l of c's head of Q[t, n, l] * KV[t, l, c],
    KV[t, l, c] = sum over tokens n of K[t, n, l] * V[t, n, c]; spikes = LIF(A / 8, threshold 1/2).

    Everything is an event: a K spike adds the V row of its token to row l of KV, a Q spike adds row
    l of KV to A.  Counters stop at 8, which is exact (see LIMIT).

    A group is `attention_lanes` channels; heads of fewer channels (a power of two) share a group,
    `head_mask` keeps a row's additions inside its head.  Groups run one after another: clear KV,
    all keys, all queries.

    Throughput: keys one event per cycle, queries too with 3 to 4 cycles more per entry.  `acs`
    grows by head_dim for each event.
    Ports: `instruction`, `start` (pulse), `clear` (zero the counter), `read`, `write`, `done`
    (pulse), `acs`; `position`, `timestep`, `word` of what is being written, for traces.
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        super().__init__({
            "instruction": In(Instruction(hardware)), "start": In(1), "clear": In(1),
            "read": Out(SpikeRead(hardware)), "write": Out(SpikeWrite(hardware)),
            "done": Out(1), "acs": Out(TALLY_BITS),
            "position": Out(16), "timestep": Out(4),
            "word": Out(Instruction(hardware)["source_base"].shape),
        })

    def elaborate(self, platform):
        m = Module()
        hardware, ins = self._hardware, self.instruction
        lanes, word_bits = hardware.attention_lanes, hardware.geometry.spike_word
        words = lanes // word_bits
        m.submodules.fetch = fetch = AttentionFetch(hardware)
        m.submodules.kv = kv = KeyValue(hardware)
        m.submodules.lif = lif = AttentionLIF(hardware)
        wiring.connect(m, wiring.flipped(self.read), fetch.memory)
        m.d.comb += [unit.instruction.eq(ins) for unit in (fetch, kv, lif)]

        # The entry at work gives one event a cycle.
        entry, group = Signal(Entry(hardware)), Signal.like(ins.source_base)
        event, clear_row, keys = Signal(), Signal(range(kv.rows)), Signal()
        rest = entry.events & (entry.events - 1)[:lanes]
        m.d.comb += [
            event.eq(entry.events != 0), fetch.group.eq(group), fetch.keys.eq(keys),
            kv.event.eq(event), kv.keys.eq(keys), kv.values.eq(entry.values),
            kv.row.eq(Mux(kv.clear, clear_row, Cat(find_first(entry.events), entry.timestep))),
            lif.add.eq(kv.o_valid), lif.row.eq(kv.o), lif.first.eq(entry.timestep == 0),
        ]
        with m.If(event):
            m.d.sync += [entry.events.eq(rest), self.acs.eq(self.acs + ins.head_dim)]
        with m.If(self.clear):
            m.d.sync += self.acs.eq(0)
        with m.If(fetch.o.valid & fetch.o.ready):
            m.d.sync += entry.eq(fetch.o.payload)

        word, address = Signal(range(words)), Signal.like(ins.target_base)
        m.d.comb += [
            self.write.half.eq(ins.target_half), self.write.address.eq(address + word),
            self.write.data.eq(lif.spikes.bit_select(word << word_bits.bit_length() - 1,
                                                     word_bits)),
            self.position.eq(entry.position), self.timestep.eq(entry.timestep),
            self.word.eq(group + word),
        ]
        with m.FSM():
            with m.State("Idle"):
                m.d.sync += [group.eq(0), entry.eq(0)]
                with m.If(self.start):
                    m.next = "Clear"
            with m.State("Clear"):
                m.d.comb += kv.clear.eq(1)
                m.d.sync += [clear_row.eq(clear_row + 1), keys.eq(1), entry.last.eq(0),
                             address.eq(ins.target_base + group)]
                with m.If(clear_row == kv.rows - 1):
                    m.d.sync += clear_row.eq(0)
                    m.next = "Start-Keys"
            with m.State("Start-Keys"):
                m.d.comb += fetch.start.eq(1)
                m.next = "Keys"
            with m.State("Keys"):
                m.d.comb += fetch.o.ready.eq((rest == 0) & ~entry.last)
                with m.If(entry.last & ~event & ~kv.busy):
                    m.d.sync += [keys.eq(0), entry.last.eq(0)]
                    m.next = "Start-Queries"
            with m.State("Start-Queries"):
                m.d.comb += fetch.start.eq(1)
                m.next = "Take"
            with m.State("Take"):
                m.d.comb += fetch.o.ready.eq(1)
                with m.If(fetch.o.valid):
                    m.next = "Query"
            with m.State("Query"), m.If(~event & ~kv.busy):
                m.d.comb += lif.step.eq(1)
                m.next = "Write"
            with m.State("Write"):
                m.d.comb += self.write.en.eq(1)
                m.d.sync += word.eq(word + 1)
                with m.If(word == words - 1):
                    m.d.sync += [word.eq(0), address.eq(address + ins.source_words)]
                    m.next = "Take"
                    with m.If(entry.last):
                        m.d.sync += group.eq(group + words)
                        m.next = "Clear"
                        with m.If(group == (ins.source_words - words)[:len(group)]):
                            m.d.comb += self.done.eq(1)
                            m.next = "Idle"
        return m
