# SPDX-License-Identifier: Apache-2.0
"""Files that somebody damaged or made up: a documented error or a valid object, nothing else.

No crash, no hang, no memory far beyond the file's size.  `make fuzz` tries many more of them.
"""

import json
import os
import tracemalloc
from contextlib import contextmanager

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("SPIKELOOM_FUZZ", "40"))
# A load may copy and convert what it reads; the rest is what Python and its modules take.
FACTOR, ROOM = 20, 30 << 20
fuzz = settings(max_examples=EXAMPLES, deadline=5_000, derandomize=EXAMPLES == 40, database=None,
                suppress_health_check=[HealthCheck.function_scoped_fixture])

NUMBERS = st.one_of(st.integers(-3, 300), st.sampled_from(
    [2**31, 2**63, 2**64, 10**30, -2**63, 0.5, -1.0, 1e308, float("inf"), float("nan")]))
PLAIN = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=8),
                  st.sampled_from(["", "../../x", "/etc/passwd", "avgpool_fc", "\0"]))
VALUES = st.recursive(PLAIN, lambda inner: st.one_of(
    st.lists(inner, max_size=5), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8)


@contextmanager
def frugal(size, *others):
    """Only ValueError (or `others`) of one line, and little memory."""
    tracemalloc.start()
    try:
        yield
    except (ValueError, *others) as error:
        assert str(error) and "\n" not in str(error), str(error)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < FACTOR * size + ROOM, f"{peak:,} bytes for a file of {size:,}"


@st.composite
def damages(draw):
    """A function that damages bytes: cut short, flipped, overwritten, repeated."""
    kind = draw(st.sampled_from(["cut", "flip", "write", "repeat", "early"]))
    place, data = draw(st.floats(0, 1)), draw(st.binary(min_size=1, max_size=16))

    def damage(content):
        # Most of a file is numbers: what rules them is at the beginning or the end.
        reach = len(content) if kind == "write" else min(len(content), 4096)
        at = int(place * max(0, reach - 1))
        if kind == "cut":
            return content[:at]
        if kind == "flip":
            flipped = bytes(byte ^ 1 << data[0] % 8 for byte in content[at:at + 1])
            return content[:at] + flipped + content[at + 1:]
        if kind in ("write", "early"):
            return content[:at] + data + content[at + len(data):]
        return content[:at] + content[at:at + 64] + content[at:]
    return damage


@st.composite
def changes(draw, document):
    """A copy of a JSON document with one value anywhere in it replaced, removed or added."""
    copy = json.loads(json.dumps(document))
    node = copy
    while True:
        keys = list(node) if isinstance(node, dict) else range(len(node))
        key = draw(st.sampled_from(list(keys)))
        inner = node[key]
        if not isinstance(inner, (dict, list)) or not inner or draw(st.booleans()):
            break
        node = inner
    how = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
    if how == "remove":
        del node[key]
    elif how == "replace":
        node[key] = draw(VALUES)
    elif isinstance(node, dict):
        node[draw(st.text(max_size=6))] = draw(VALUES)
    else:
        node.append(draw(VALUES))
    return copy
