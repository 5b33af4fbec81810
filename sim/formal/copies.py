# SPDX-License-Identifier: Apache-2.0
"""Streams that wait: a unit that is stalled at will does what one does that never is."""

from collections.abc import Callable
from typing import Any

from amaranth import Array, Cat, Const, Mux, Signal, Value

from sim.formal.harness import Harness


class Copies:
    """Two copies of a unit with the same items on every input: one never waits, one is stalled.

    The copy that never waits (`a`) is the one that the tests compare with the golden model.  Of the
    other (`b`) is claimed: the n-th item on each output is the same, for each n, so none is lost,
    duplicated, moved or changed; an item that waits stays as it is; and when the first copy is
    ahead on some output and nobody stalls, it moves something at least every `patience` cycles.

    items: on each input, at most; of outputs so many are compared
    """

    def __init__(self, make: Callable[[], Any], items: int, patience: int) -> None:
        self.proof = Harness()
        self.a, self.b = make(), make()
        self.probes = [self.proof.add(unit, name) for unit, name in ((self.a, "a"), (self.b, "b"))]
        self._items, self._patience = items, patience
        self._chosen = self.proof.constant(range(items), "chosen")
        self._moved: list[Value] = []    # of b, in this cycle
        self._willing: list[Value] = []  # its environment does not stall it
        self._behind: list[Value] = []   # a has put out more

    def both(self, name: str, constant: bool = False) -> Any:
        """Drive an input of both copies with the same, any, value; or with a constant one."""
        shape = getattr(self.a, name).shape()
        value = (self.proof.constant if constant else self.proof.free)(shape, name)
        self.set(name, Value.cast(value))
        return value

    def set(self, name: str, value: Any) -> None:
        """Drive an input of both copies."""
        for unit in (self.a, self.b):
            self.proof.m.d.comb += Value.cast(getattr(unit, name)).eq(value)

    def pulse(self, name: str, cycle: int = 1) -> Value:
        """Start both copies once; returns that they have been."""
        started = Const(1)
        for n in range(cycle):
            started = self.proof.later(started, f"{name}_since{n}")
        done = self.proof.later(started, f"{name}_done")
        self.set(name, started & ~done)
        return done

    def source(self, name: str, port: Callable[[Any], Any],
               allowed: Callable[[Any], Any] | None = None,
               when: Callable[[Any], Any] | None = None) -> list[Any]:
        """Give both the same items on an input, and return these.

        allowed: what is assumed of each of them
        when:    of a unit: it has asked for an item that it has not got; without it there is none
        """
        proof, limit = self.proof, self._items
        shape = port(self.a).payload.shape()
        items = [proof.constant(shape, f"{name}{n}") for n in range(limit)]
        for item in items if allowed else ():
            proof.assume(allowed(item))
        for unit, label in ((self.a, "a"), (self.b, "b")):
            each = port(unit)
            taken, count = each.valid & each.ready, Signal(range(limit + 1),
                                                           name=f"{label}_{name}_in")
            proof.m.d.sync += count.eq(count + taken)
            proof.m.d.comb += Value.cast(each.payload).eq(
                Array(Value.cast(item) for item in items)[count])
            here = (count != limit) & (when(unit) if when else 1)
            if unit is self.a:
                proof.m.d.comb += each.valid.eq(here)
                continue
            offers = proof.free(1, f"{name}_offers")
            waited = proof.later(each.valid & ~each.ready, f"{name}_waited")
            proof.m.d.comb += each.valid.eq(here & (offers | waited))
            self._moved.append(taken)
            # It does not stall a unit that has not asked.
            self._willing.append(each.valid | ~here if when else each.valid)
        return items

    def sink(self, name: str, port: Callable[[Any], Any]) -> None:
        """Take the items of an output, of `b` when it pleases, and compare them."""
        proof, seen = self.proof, []
        for unit, label in ((self.a, "a"), (self.b, "b")):
            each = port(unit)
            if unit is self.a:
                proof.m.d.comb += each.ready.eq(1)
            else:
                proof.drive(each.ready, f"{name}_ready")
                proof.claim(f"{name}_stable", proof.stable(each, name))
                self._willing.append(each.ready)
            seen.append(self._record(f"{label}_{name}", each.valid & each.ready, each.payload))
        self._compare(name, *seen)

    def watch(self, name: str, event: Callable[[Any], Any], what: Callable[[Any], Any],
              expected: list[Any] | None = None) -> None:
        """Compare what happens inside or at ports without streams, such as writes to memory.

        expected: what happens, in order; each of the items, and then anything
        """
        seen = [self._record(f"{label}_{name}", event(unit), what(unit))
                for unit, label in ((self.a, "a"), (self.b, "b"))]
        self._compare(name, *seen)
        if expected is not None:
            item = Array(Value.cast(each) for each in expected)[self._chosen]
            self.proof.implies(f"{name}_expected", seen[0][2], seen[0][3] == item)

    def willing(self, *lines: Any) -> None:
        """Of the environment of `b`: while all of these are 1 it does not stall it."""
        self._willing += map(Value.cast, lines)

    def _record(self, name: str, event: Any, what: Any) -> tuple[Value, Signal, Signal, Signal]:
        """An event, and of the chosen one that it came and what it was; how many there were."""
        m, what = self.proof.m, Value.cast(what)
        count = Signal(range(8 * self._items), name=f"{name}_count")
        came, kept = Signal(name=f"{name}_came"), Signal(len(what), name=f"{name}_kept")
        with m.If(event & ~count.all()):
            m.d.sync += count.eq(count + 1)
        with m.If(event & (count == self._chosen)):
            m.d.sync += [came.eq(1), kept.eq(what)]
        return event, count, came, kept

    def _compare(self, name: str, a: tuple[Any, ...], b: tuple[Any, ...]) -> None:
        self.proof.implies(f"{name}_same", a[2] & b[2], a[3] == b[3])
        self._moved.append(b[0])
        self._behind.append(b[1] < a[1])

    def finish(self) -> Harness:
        """Add the claim of progress; the proof is complete then."""
        proof, quiet = self.proof, Signal(range(self._patience + 2), name="quiet")
        waits = Cat(self._willing).all() & Cat(self._behind).any() & ~Cat(self._moved).any()
        proof.m.d.sync += quiet.eq(Mux(waits, quiet + (quiet <= self._patience), 0))
        proof.claim("progress", quiet <= self._patience)
        return proof
