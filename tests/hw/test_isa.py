# SPDX-License-Identifier: Apache-2.0
"""Instructions: encoding and decoding, and the sentences about what does not fit."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.isa import WORD_BITS, Emit, Instruction, Op, bits_for
from tests.hw.harness import small_hardware

LAYOUT = Instruction(small_hardware())


def decode(words):
    packed = sum(word << WORD_BITS * i for i, word in enumerate(words))
    return {name: packed >> field.offset & (1 << field.width) - 1 for name, field in LAYOUT}


@pytest.mark.parametrize(("count", "bits"), [(0, 1), (1, 1), (2, 2), (3, 2), (4, 3), (255, 8),
                                             (256, 9)])
def test_bits_for_holds_the_count_itself(count, bits):
    assert bits_for(count) == bits


def test_fields_that_are_absent_are_zero():
    assert set(decode(LAYOUT.encode({})).values()) == {0}


def test_every_field_at_its_maximum():
    """One field at a time, so that overlaps would show."""
    for name, field in LAYOUT:
        largest = (1 << field.width) - 1
        if name == "op":
            largest = Op.END.value
        decoded = decode(LAYOUT.encode({name: largest}))
        assert decoded == {other: largest if other == name else 0 for other, _ in LAYOUT}


@settings(max_examples=50, deadline=None)
@given(st.fixed_dictionaries({name: st.integers(0, (1 << field.width) - 1)
                              for name, field in LAYOUT}))
def test_decoding_gives_back_what_was_encoded(values):
    words = LAYOUT.encode(values)
    assert decode(words) == values
    assert len(words) == LAYOUT.words == -(-LAYOUT.size // WORD_BITS)
    assert all(0 <= word < 1 << WORD_BITS for word in words)


def test_enumerations_are_encoded_by_value():
    decoded = decode(LAYOUT.encode({"op": Op.PLANES, "emit": Emit.LOGITS}))
    assert (decoded["op"], decoded["emit"]) == (3, 2)


@pytest.mark.parametrize(("values", "sentence"), [
    ({"height": 1024}, "instruction field height must fit 10 bits, not 1024"),
    ({"timesteps": -1}, "instruction field timesteps must fit 5 bits, not -1"),
    ({"kernel3": 2}, "instruction field kernel3 must fit 1 bits, not 2"),
    ({"speed": 1}, "instruction has no field 'speed'")])
def test_bad_fields(values, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        LAYOUT.encode(values)


def test_addresses_follow_the_memories():
    """Fields hold the depth itself: a stride may be as large as the memory."""
    large = Instruction(small_hardware(spike_lines=(5, 4096), weight_rows=300, param_rows=64))
    assert large["source_base"].width == large["target_base"].width == 13
    assert large["weight_base"].width == 9
    assert large["param_base"].width == 7
