# SPDX-License-Identifier: Apache-2.0
from docs.extensions.prose import convert, inline


def rst(text):
    return "\n".join(convert(text.splitlines())).strip()


def test_names_of_the_project_are_links_and_others_code():
    assert inline("see `hw.lif.LIF`, `x` and ``y``") == "see :py:obj:`hw.lif.LIF`, ``x`` and ``y``"


def test_text_is_not_markup():
    assert inline("2**16 of name_ or |x|") == r"2\*\*16 of name\_ or \|x\|"


def test_a_letter_may_touch_a_name():
    assert inline("the `Layer`s") == "the ``Layer``\\ s"


def test_lists_of_names():
    assert rst("""Shape of a layer.

name:       of the
            module
lif, pool:  what `follows`""") == """Shape of a layer.

``name``
    of the module
``lif``, ``pool``
    what ``follows``"""


def test_a_sentence_with_a_colon_is_text():
    assert rst("It has\nports: two, `i` and `o`") == "It has ports: two, ``i`` and ``o``"
    assert rst("Ports: `i`, `o`.") == "Ports: ``i``, ``o``."


def test_equations_stay_as_they_are():
    assert rst("With V = 0::\n\n    H = V_ + *x*\n") == "With V = 0:\n\n::\n\n        H = V_ + *x*"
    assert rst("hold:\n\n    a_ = b") == "hold:\n\n::\n\n        a_ = b"


def test_bullets():
    assert rst("Some:\n\n* one\n  more\n* `two`") == "Some:\n\n* one more\n* ``two``"


def test_indented_text_below_a_line():
    assert rst("Source:\n  base, rows (`CONV`).\nWeights: more,\n  and more.\nGroups: last.") == (
        "Source:\n\n    base, rows (``CONV``).\n\nWeights: more, and more.\n\nGroups: last.")
