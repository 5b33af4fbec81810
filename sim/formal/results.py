# SPDX-License-Identifier: Apache-2.0
"""Ends of the finish pipeline: words of spikes, and logits."""

from types import ModuleType

from amaranth import Array, Cat, Mux, Signal, signed

from hw.isa import Instruction
from sim.formal.harness import Break, Harness, Proof, small

WIDE = 48


def _fits(value: Signal, width: int) -> Signal:
    """Whether a wide number is one of so many bits."""
    return value[width - 1:].all() | ~value[width - 1:].any()


def _pack(neurons: int, units: ModuleType) -> Harness:
    """Beats of words of four channels, with any pauses."""
    proof = Harness()
    m, unit = proof.m, units.Pack(small(lanes=8, spike_word=4, neurons=neurons))
    proof.add(unit)
    proof.source(unit.i, "i")
    valid, beat, per_word = unit.i.valid, unit.i.payload, 4 // neurons
    number = Signal(range(per_word + 1), name="number")   # of the beat in its word
    proof.assume(~valid | ((beat.tag.beat & per_word - 1) == number))
    last = valid & (number == per_word - 1)
    m.d.sync += number.eq(Mux(last, 0, number + valid))
    before, word = Signal(4, name="before"), Signal(4, name="word")
    m.d.comb += word.eq(before | (beat.spikes << (number * neurons)))
    m.d.sync += before.eq(Mux(last, 0, Mux(valid, word, before)))

    proof.claim("each_word", unit.o.valid == proof.later(last, "due"))
    proof.implies("spikes", unit.o.valid, unit.o.payload.spikes == proof.later(word, "due_word"))
    proof.implies("tag", unit.o.valid,
                  unit.o.payload.tag.as_value() == proof.later(beat.tag, "due_tag"))
    # So that induction begins with the first beats of a word in their place.
    proof.claim("number", number < per_word)
    for count in range(per_word):
        proof.implies(f"begun{count}", number == count, before == (
            unit.o.payload.spikes >> 4 - count * neurons))
    return proof


def _logits(neurons: int, units: ModuleType) -> Harness:
    """One class, which can be any, of any beats, of which some end before all of their classes."""
    proof = Harness()
    hardware = small(lanes=2 * neurons, spike_word=neurons, neurons=neurons, logit_words=2,
                     acc_width=4, param_width=4)
    m, unit = proof.m, units.Logits(hardware)
    probes = proof.add(unit)
    ins = proof.constant(Instruction(hardware), "instruction")
    m.d.comb += unit.instruction.eq(ins)
    proof.drive(unit.i.payload, "i_payload")
    valid, row = proof.drive(unit.i.valid, "i_valid"), proof.drive(unit.row, "row")
    beat, width = unit.i.payload, hardware.plane_width
    # A beat stays; its parameters come a cycle later and stay, too.
    began = proof.later(valid, "began")
    proof.assume(valid | (beat.as_value() == proof.later(beat, "beat_before")))
    proof.assume(began | (row.as_value() == proof.later(row, "row_before")))
    proof.assume(proof.started | valid)

    # The cycle of a class is that of its lane, if no beat has come since.
    lanes, lane = range(neurons), Signal(range(neurons + 1), name="at")
    left = Signal(range(neurons + 1), name="left")
    m.d.comb += lane.eq(Mux(valid, 0, neurons - left))
    m.d.sync += left.eq(Mux(valid, neurons - 1, left - (left != 0)))
    at_work = valid | (left != 0)
    proof.claim("left", left < neurons)

    # Sums, in wide integers.
    my_beat, my_lane = proof.constant(1, "my_beat"), proof.constant(lanes, "my_lane")
    total, new = Signal(signed(WIDE), name="total"), Signal(signed(WIDE), name="new")
    value = Array(beat.values)[my_lane]
    start = Mux(beat.tag.fresh, 0, Mux(ins.accumulate, total, total << 1))
    m.d.comb += new.eq(start + Mux(beat.tag.subtract, -value, value))
    mine = at_work & (beat.tag.beat == my_beat) & (lane == my_lane)
    with m.If(mine):
        m.d.sync += total.eq(new)
    proof.assume(~mine | _fits(new, width))   # hw.bounds
    held = probes.word(m, "sums", Cat(my_lane, my_beat), width).as_signed()
    proof.claim("sum", held == proof.later(total, "total_before"))

    # What comes out.
    due = proof.later(at_work & beat.tag.emit, "due", 3)
    channel = proof.later(Cat((lane[:len(my_lane)]), beat.tag.channel_beat), "due_channel", 3)
    proof.claim("each_class", unit.o.valid == due)
    proof.implies("channel", due, unit.o.payload.channel
                  == channel[:len(unit.o.payload.channel)])
    param, answer = Array(row.params)[my_lane], Signal(signed(WIDE), name="answer")
    bias = Cat(param.bias, param.threshold).as_signed()
    # The parameters are those of a cycle later, the sum is the new one.
    m.d.comb += answer.eq((proof.later(new, "new_before") << hardware.fraction) + bias)
    proof.implies("value", proof.later(mine & beat.tag.emit, "my_turn", 3),
                  unit.o.payload.value == proof.later(answer, "answer_before", 2))
    return proof


_COLLECT = Break("Cat(self.o.payload.spikes, spikes)[geometry.neurons:]",
                 "Cat(spikes, self.o.payload.spikes)[:geometry.spike_word]")

PROOFS = [
    *(Proof(f"pack-{neurons}", "hw.pool",
            f"Pack of {neurons} channels a beat: each word once, lowest channel first, with its "
            "last tag", lambda units, neurons=neurons: _pack(neurons, units),
            depth=10, induction=3, broken=(
                _COLLECT, Break("per_word - 1 == per_word - 1)", "per_word - 1 == 0)")))
      for neurons in (1, 2)),
    *(Proof(f"logits-{neurons}", "hw.logits",
            f"Logits of {neurons} classes a beat: (sum << fraction) + bias of each class once, in "
            "order", lambda units, neurons=neurons: _logits(neurons, units),
            depth=7, induction=6, quick=neurons == 2, broken=(
                Break("doubled + flipped + s1_subtract", "doubled + flipped"),
                Break("Mux(self.instruction.accumulate, old,", "Mux(0, old,"),
                Break("old = Mux(s1_fresh, 0, old_sum.data)", "old = old_sum.data"),
                Break("s2_bias.eq(biases[s1_lane])", "s2_bias.eq(biases[lane])"),
                Break("lane.eq(Mux(self.i.valid, 0, following))", "lane.eq(following)")))
      for neurons in (2, 4)),
]
