# SPDX-License-Identifier: Apache-2.0
"""Spiking self-attention: LIF(Q (K^T V) / 8) by additions of spikes (paper Eq. 9 to 11)."""

from amaranth import Array, Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.config import HardwareConfig
from hw.isa import Instruction, count_up, last_of
from hw.layout import LINE_WORDS
from hw.scan import find_first
from hw.spike_memory import SpikeRead, SpikeWrite, group_words, line_address

# Any sum of 8 or more fires and resets whatever the state (tau 2; 6 would do for tau 1.5), so
# counters that stop at 8 give exactly the spikes of unbounded ones.  They need not tell 8 from 9:
# once the highest bit is set it stays, and the three below it mean nothing any more.
LIMIT = 8
COUNTER_BITS = 4
FIRE, FIRE_SLOW = 8, 12


def table(function, *inputs):
    """One bit, `function` of the inputs' bits: a table, since yosys finds smaller logic for one."""
    words = (function(*(i >> n & 1 for n in range(len(inputs)))) for i in range(1 << len(inputs)))
    return Const(sum(word << i for i, word in enumerate(words)), 1 << len(inputs)).bit_select(
        Cat(*inputs), 1)


def incremented(counter, more):
    """A counter and one bit, without the carry chain that an addition would become."""
    low, top = counter[:-1], counter[-1]
    bits = [bit ^ (more & low[:n].all()) for n, bit in enumerate(low)]
    return Cat(*bits, top | (more & low.all()))


def added(counter, more, anew):
    """The sum of two counters, of which the first counts as 0 if `anew`."""
    def total(bit):
        return lambda a0, a1, b0, b1, new: ((1 - new) * (a0 + 2 * a1) + b0 + 2 * b1) >> bit & 1

    lower = (*counter[:2], *more[:2], anew)
    carry = table(total(2), *lower)
    return Cat(
        *(table(total(bit), *lower) for bit in (0, 1)),
        table(lambda a, b, c, new: a & 1 - new ^ b ^ c, counter[2], more[2], carry, anew),
        table(lambda a, b, c, top, other, new: (a + top * 2) * (1 - new) + b + c + 2 * other > 1,
              counter[2], more[2], carry, counter[3], more[3], anew))


def lif_step(state, counter, slow):
    """(fire, next state) of one neuron; `slow` is None where there is no tau 1.5."""
    def bit(number, fire, taken, divide):
        def function(c0, c1, c2, top, v0, v1):
            h = v0 + 2 * v1 + taken * (LIMIT if top else c0 + 2 * c1 + 4 * c2)
            return h >= fire if not number else (0 if h >= fire else h // divide) >> number - 1 & 1
        return table(function, *counter, *state)

    fire, *following = (bit(n, FIRE, 1, 2) if slow is None
                        else Mux(slow, bit(n, FIRE_SLOW, 2, 3), bit(n, FIRE, 1, 2))
                        for n in range(3))
    return fire, Cat(*following)


class Entry(data.StructLayout):
    """The spikes of one token and timestep in a group of channels: K with V, or Q alone."""

    def __init__(self, hardware: HardwareConfig) -> None:
        group = hardware.attention_engines * hardware.attention_lanes
        super().__init__({"events": group, "values": group, "timestep": 4, "last": 1,
                          "position": 16})   # of the token, read by traces only


class AttentionFetch(wiring.Component):
    """Read the entries of one group: for every token and timestep, the words of K and V, or of Q.

    A group is a part of a line: `words` words from `bank` on, in line `line` of each step.

    Throughput: an entry of queries each cycle, of keys and values every second one.
    Ports: `instruction`, `start` (pulse), `keys` (K and V, else Q), `line`, `bank`, `memory`, `o`.
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        super().__init__({
            "instruction": In(Instruction(hardware)), "start": In(1), "keys": In(1),
            "line": In(line_address(hardware)), "bank": In(2),
            "memory": Out(SpikeRead(hardware, 1)), "o": Out(stream.Signature(Entry(hardware))),
        })

    def elaborate(self, platform):
        m = Module()
        ins = self.instruction
        words = group_words(self._hardware)
        group = Array(Cat(self.memory.data[first:first + words])
                      for first in range(0, LINE_WORDS, words))[self.bank >> words.bit_length() - 1]
        key, values = Signal.like(self.o.payload.events), Signal()
        # Line of the next entry to read, relative to a map's base, which q, k and v share.
        offset = Signal.like(ins.source_base)
        base = Mux(self.keys, Mux(values, ins.value_base, ins.key_base), ins.source_base)
        m.d.comb += [self.memory.half.eq(ins.source_half),
                     self.memory.addresses[0].eq(base + offset)]

        timestep, position = Signal(4), Signal(16)
        x, y = Signal(self._hardware.size_bits), Signal(self._hardware.size_bits)
        timestep_last = timestep == last_of(m, ins.timesteps)[:4]
        x_last, y_last = x == last_of(m, ins.width)[:len(x)], y == last_of(m, ins.height)[:len(y)]
        m.d.comb += [
            self.o.payload.events.eq(Mux(self.keys, key, group)), self.o.payload.values.eq(group),
            self.o.payload.timestep.eq(timestep), self.o.payload.position.eq(position),
            self.o.payload.last.eq(timestep_last & x_last & y_last),
        ]

        def read_events():
            """Read K, of which V is read next, or Q."""
            m.d.comb += self.memory.en.eq(1)
            m.d.sync += offset.eq(offset + Mux(self.keys, 0, ins.step_lines))
            with m.If(self.keys):
                m.next = "Values"
            with m.Else():
                m.next = "Offer"

        with m.FSM():
            with m.State("Idle"):
                m.d.sync += [offset.eq(self.line), x.eq(0), y.eq(0), timestep.eq(0),
                             position.eq(0)]
                with m.If(self.start):
                    m.next = "Events"
            with m.State("Events"):
                read_events()
            with m.State("Values"):
                m.d.comb += [self.memory.en.eq(1), values.eq(1)]
                m.d.sync += [key.eq(group), offset.eq(offset + ins.step_lines)]
                m.next = "Offer"
            with m.State("Offer"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.sync += timestep.eq(Mux(timestep_last, 0, timestep + 1))
                    with m.If(timestep_last):
                        m.d.sync += [x.eq(Mux(x_last, 0, x + 1)), position.eq(position + 1)]
                        with m.If(x_last):
                            m.d.sync += y.eq(y + 1)
                    with m.If(self.o.payload.last):
                        m.next = "Idle"
                    with m.Else():
                        read_events()
        return m


def take_first(events):
    """(number of the lowest event, the events without it), by chunks of four."""
    chunks = [events[n:n + 4] for n in range(0, len(events), 4)]
    first, before = [], Const(0, 1)     # by chunk: it holds the lowest event
    for chunk in chunks:
        first.append(chunk.any() & ~before)
        before = before | chunk.any()
    rest, low = [], Const(0, 2)
    for chunk, here in zip(chunks, first, strict=True):
        rest += [bit & ~(here & ~chunk[:n].any()) for n, bit in enumerate(chunk)]
        low = low | (find_first(chunk) & here.replicate(2))
    high = Cat(Cat(here for n, here in enumerate(first) if n >> bit & 1).any()
               for bit in range((len(chunks) - 1).bit_length()))
    return Cat(low, high)[:(len(events) - 1).bit_length()], Cat(*rest)


class AttentionLIF(wiring.Component):
    """Sums A of one entry in counters that stop at 8, then one LIF step per channel.

    In units of 1/8: h = v + A, fire = h >= 8, v = h >> 1; for tau 1.5 h = v + 2A, fire = h >= 12,
    v = floor(h / 3).  v fits 2 bits.

    Ports: `instruction`, `add` with `row` (counters to add), `step` (fire; sums begin anew, with
    the row of the same cycle if it adds; v begins anew if this was the `last` timestep), `spikes`
    (valid after `step`).  Latency 1 cycle.
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        lanes = hardware.attention_lanes
        super().__init__({
            "instruction": In(Instruction(hardware)), "add": In(1),
            "row": In(data.ArrayLayout(unsigned(COUNTER_BITS), lanes)),
            "step": In(1), "last": In(1), "spikes": Out(lanes),
        })

    def elaborate(self, platform):
        m = Module()
        slow = self.instruction.slow_tau if self._hardware.slow_tau else None
        for c in range(self._hardware.attention_lanes):
            total, v = Signal(COUNTER_BITS, name=f"sum{c}"), Signal(2, name=f"v{c}")
            fire, following = lif_step(v, total, slow)
            with m.If(self.step & ~self.add):
                m.d.sync += total.eq(0)
            with m.Elif(self.add):
                m.d.sync += total.eq(added(total, self.row[c], self.step))
            with m.If(self.step & self.last):
                m.d.sync += v.eq(0)
            with m.Elif(self.step):
                m.d.sync += v.eq(following)
            with m.If(self.step):
                m.d.sync += self.spikes[c].eq(fire)
        return m


class KeyValue(wiring.Component):
    """KV: one row of counters per timestep and channel l of the group, one counter per lane.

    An `event` reads `row`; with `keys` the row gains `values` (spikes, masked to the head of the
    row's channel) and is written back one cycle later, else it appears at `o` with `o_valid`.  A
    read does not see the write of its own cycle: events on one row need a cycle between them.
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
        write, read = memory.write_port(), memory.read_port()
        s1_event, s1_keys = Signal(), Signal()
        s1_row, s1_values = Signal.like(self.row), Signal.like(self.values)
        m.d.sync += [s1_event.eq(self.event), s1_keys.eq(self.keys), s1_row.eq(self.row),
                     s1_values.eq(self.values)]
        channel = s1_row[:(lanes - 1).bit_length()]
        counters = data.View(self._counters, read.data)
        written = Cat(
            incremented(counters[c],
                        s1_values[c] & ((channel ^ c) & self.instruction.head_mask == 0))
            for c in range(lanes))
        m.d.comb += [
            read.addr.eq(self.row), self.o.eq(counters),
            self.o_valid.eq(s1_event & ~s1_keys), self.busy.eq(s1_event),
            write.en.eq(self.clear | (s1_event & s1_keys)),
            write.addr.eq(Mux(self.clear, self.row, s1_row)),
            write.data.eq(Mux(self.clear, 0, written)),
        ]
        return m


class Attention(wiring.Component):
    """A[t, n, c] = sum over channels l of c's head of Q[t, n, l] * KV[t, l, c],
    KV[t, l, c] = sum over tokens n of K[t, n, l] * V[t, n, c]; spikes = LIF(A / 8, threshold 1/2).

    Everything is an event: a K spike adds the V row of its token to row l of KV, a Q spike adds row
    l of KV to A.  Counters stop at 8, which is exact (see LIMIT).

    A group is `attention_engines` times `attention_lanes` channels, one event a cycle in each
    engine; the engines go from entry to entry together.  Heads of fewer channels than an engine has
    (a power of two) share it, `head_mask` keeps a row's additions inside its head.  Groups run one
    after another: clear KV, all keys, all queries.

    Throughput: an entry takes as many cycles as its engine with the most events, at least 2.
    `acs` grows by head_dim for each event.
    Ports: `instruction`, `start` (pulse), `clear` (zero the counter), `read`, `write`, `done`
    (pulse), `acs`; `position`, `timestep`, `word` (first of the line) of what is being written, for
    traces.
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        super().__init__({
            "instruction": In(Instruction(hardware)), "start": In(1), "clear": In(1),
            "read": Out(SpikeRead(hardware, 1)),
            "write": Out(SpikeWrite(hardware, words=group_words(hardware))),
            "done": Out(1), "acs": Out(hardware.tally_bits),
            "position": Out(16), "timestep": Out(4), "word": Out(8),
        })

    def elaborate(self, platform):
        m = Module()
        hardware, ins = self._hardware, self.instruction
        lanes, engines = hardware.attention_lanes, hardware.attention_engines
        words = group_words(hardware)
        m.submodules.fetch = fetch = AttentionFetch(hardware)
        kvs = [KeyValue(hardware) for _ in range(engines)]
        lifs = [AttentionLIF(hardware) for _ in range(engines)]
        wiring.connect(m, wiring.flipped(self.read), fetch.memory)
        line, bank, keys = Signal.like(fetch.line), Signal(2), Signal()
        m.d.comb += [fetch.instruction.eq(ins), fetch.line.eq(line), fetch.bank.eq(bank),
                     fetch.keys.eq(keys)]
        line_last = line == last_of(m, ins.step_lines)[:len(line)]
        # Words of the group that exist: a position's last line may not be full.
        exist = Mux(line_last, ins.last_mask, (1 << LINE_WORDS) - 1)
        mine = Signal(LINE_WORDS)
        m.d.comb += mine.eq(exist & ((1 << words) - 1 << bank))
        masks = Cat(each.replicate(hardware.geometry.spike_word)
                    for each in (mine >> bank)[:words])

        # One entry waits, so that the memory need not know when the one at work is done.
        waiting, waits, take = Signal(Entry(hardware)), Signal(), Signal()
        m.d.comb += fetch.o.ready.eq(~waits)
        with m.If(fetch.o.valid & ~waits):
            m.d.sync += [waiting.eq(fetch.o.payload), waits.eq(1)]
        with m.If(waits & take):
            m.d.sync += waits.eq(0)

        # The entry at work gives one event a cycle to each engine.
        entry, present = Signal(Entry(hardware)), Signal()
        clear_kv, clear_row = Signal(), Signal(range(kvs[0].rows))
        rests, counted = [], []
        for n, (kv, lif) in enumerate(zip(kvs, lifs, strict=True)):
            m.submodules[f"kv{n}"], m.submodules[f"lif{n}"] = kv, lif
            part = slice(n * lanes, (n + 1) * lanes)
            events = entry.events[part]
            rest, event = Signal(lanes, name=f"rest{n}"), Signal(name=f"event{n}")
            number, others = take_first(events)
            m.d.comb += [
                rest.eq(others), event.eq(present & (events != 0)),
                kv.instruction.eq(ins), lif.instruction.eq(ins),
                kv.event.eq(event), kv.keys.eq(keys), kv.values.eq(entry.values[part]),
                kv.clear.eq(clear_kv),
                kv.row.eq(Mux(clear_kv, clear_row, Cat(number, entry.timestep))),
                lif.add.eq(kv.o_valid), lif.row.eq(kv.o),
            ]
            m.d.sync += entry.events[part].eq(rest)
            rests.append(rest)
            counted.append(Mux(event, ins.head_dim, 0))
        count_up(m, self.acs, sum(counted))
        with m.If(self.clear):
            m.d.sync += self.acs.eq(0)
        finishing = Signal()
        m.d.comb += finishing.eq(present & ~Cat(rests).any())
        with m.If(finishing):
            m.d.sync += present.eq(0)
        with m.If(waits & take):
            m.d.sync += [entry.eq(waiting), present.eq(1),
                         entry.events.eq(waiting.events & masks)]

        # Rows of KV are read (stage 1), their sums are complete (2), the spikes are written (3).
        stages = data.StructLayout({"valid": 1, "last": 1, "timestep": 4, "position": 16})
        s1, s2, s3 = (Signal(stages, name=f"s{n}") for n in (1, 2, 3))
        address = Signal.like(ins.target_base)   # of the entry in stage 3
        m.d.sync += [s1.valid.eq(finishing & ~keys), s1.last.eq(entry.last),
                     s1.timestep.eq(entry.timestep), s1.position.eq(entry.position),
                     s2.eq(s1), s3.eq(s2)]
        for lif in lifs:
            m.d.comb += [lif.step.eq(s2.valid),
                         lif.last.eq(s2.timestep == last_of(m, ins.timesteps)[:4])]
        m.d.comb += [
            self.write.half.eq(ins.target_half),
            self.write.addresses[0].eq(address),
            self.write.en.eq(Mux(s3.valid, mine, 0)),
            Value.cast(self.write.data).eq(Cat(lif.spikes for lif in lifs)),
            self.position.eq(s3.position), self.timestep.eq(s3.timestep),
            self.word.eq(line << 2),
        ]
        with m.If(s3.valid):
            m.d.sync += address.eq(address + ins.target_step)

        with m.FSM():
            with m.State("Idle"):
                m.d.sync += [line.eq(0), bank.eq(0)]
                with m.If(self.start):
                    m.next = "Clear"
            with m.State("Clear"):
                m.d.comb += clear_kv.eq(1)
                m.d.sync += [clear_row.eq(clear_row + 1), keys.eq(1),
                             address.eq(ins.target_base + line)]
                with m.If(clear_row == kvs[0].rows - 1):
                    m.d.sync += clear_row.eq(0)
                    m.next = "Start-Keys"
            with m.State("Start-Keys"):
                m.d.comb += fetch.start.eq(1)
                m.next = "Keys"
            with m.State("Keys"):
                # Only entries of the same timestep share rows.
                m.d.comb += take.eq(~present | (finishing & (ins.timesteps != 1)))
                with m.If(finishing & entry.last):
                    m.next = "Settle"
            with m.State("Settle"), m.If(~Cat(kv.busy for kv in kvs).any()):
                m.d.sync += keys.eq(0)
                m.next = "Start-Queries"
            with m.State("Start-Queries"):
                m.d.comb += fetch.start.eq(1)
                m.next = "Queries"
            with m.State("Queries"):
                m.d.comb += take.eq(~present | finishing)
                with m.If(s3.valid & s3.last):
                    m.d.sync += bank.eq(bank + words)
                    m.next = "Clear"
                    with m.If(bank + words == LINE_WORDS):
                        m.d.sync += line.eq(line + 1)
                    # The words that follow may not exist: then this was the last group.
                    with m.If(line_last & ((bank + words == LINE_WORDS)
                                           | ~(exist >> (bank + words))[0])):
                        m.d.comb += self.done.eq(1)
                        m.next = "Idle"
        return m
