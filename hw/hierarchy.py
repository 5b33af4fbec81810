# SPDX-License-Identifier: Apache-2.0
"""The units of a design as Amaranth elaborates them, and the streams between them.

Nothing here knows a unit by name: pictures and waveform views follow the hardware when it changes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import networkx
from amaranth.hdl import Fragment, Shape, Signal, ValueCastable
from amaranth.hdl._ast import Assign, Switch
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In


@dataclass(frozen=True)
class Port:
    """A port of a unit that is no record of others: `name` as in Verilog, and its value."""

    name: str
    incoming: bool
    value: Any

    @property
    def width(self) -> int:
        """Bits."""
        return Shape.cast(self.value.shape()).width


@dataclass(frozen=True)
class Unit:
    """A component of the design.

    name:     of its instance
    kind:     of its class
    children: the units inside, in the order of the source
    streams:  links between the children, and with this unit's own ports, whose end is ""
    """

    name: str
    kind: str
    ports: Sequence[Port]
    children: Sequence["Unit"]
    streams: Sequence["Link"]

    def walk(self, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], "Unit"]]:
        """This unit and all below it, each with the names from here to it."""
        yield path, self
        for child in self.children:
            yield from child.walk((*path, child.name))


@dataclass(frozen=True)
class Link:
    """Data that goes from one unit to another: from `begin`, an output, to `end`, an input.

    begin, end: name of the unit, and of its port
    width:      bits of the payload that arrives
    """

    begin: tuple[str, str]
    end: tuple[str, str]
    width: int


def hierarchy(component: wiring.Component, name: str = "top", platform: Any = None) -> Unit:
    """Elaborate a component, and all that is inside."""
    return _unit(Fragment.get(component, platform), name)


def _unit(fragment: Fragment, name: str) -> Unit:
    owner = fragment.origins[0]
    children = [(_unit(inner, inner_name), inner) for inner, inner_name, _ in fragment.subfragments
                if inner.origins and isinstance(inner.origins[0], wiring.Component)
                # Memories of Amaranth are parts, not units.
                and type(inner.origins[0]).__module__.partition(".")[0] != "amaranth"]
    units = [unit for unit, _ in children]
    ports = _ports(owner)
    return Unit(name, type(owner).__name__, ports, units, _links(fragment, ports, units))


def _ports(component: wiring.Component) -> list[Port]:
    return [Port("__".join(map(str, path)), member.flow is In, value)
            for path, member, value in component.signature.flatten(component)]


def _signals(value: Any) -> list[Signal]:
    if isinstance(value, ValueCastable):
        value = value.as_value()
    return [*value._rhs_signals()]


def _links(fragment: Fragment, own: Sequence[Port], units: Sequence[Unit]) -> list[Link]:
    """Payloads that reach a unit from another one, whatever lies between them in `fragment`.

    A payload is the port of a stream of that name, or of anything else that is wider than a bit.
    """
    flow = networkx.DiGraph()
    for statements in fragment.statements.values():
        for begin, end in _assignments(statements):
            flow.add_edge(id(begin), id(end))
    # Inside the design its own inputs are where data begins.
    begins = [("", port) for port in own if port.incoming]
    begins += [(unit.name, port) for unit in units for port in unit.ports if not port.incoming]
    ends = [("", port) for port in own if not port.incoming]
    ends += [(unit.name, port) for unit in units for port in unit.ports if port.incoming]
    at: dict[int, list[tuple[str, Port]]] = {}
    for name, port in ends:
        for signal in _signals(port.value):
            at.setdefault(id(signal), []).append((name, port))
    found: dict[tuple[tuple[str, str], tuple[str, str]], Link] = {}
    for name, port in begins:
        if port.width == 1:
            continue   # a handshake, or a flag
        for signal in _signals(port.value):
            if id(signal) not in flow:
                continue
            # An output of a unit is assigned inside of it, so none is passed on the way.
            for reached in (id(signal), *networkx.descendants(flow, id(signal))):
                for other, end in at.get(reached, ()):
                    if other != name and end.width > 1:
                        key = (name, port.name), (other, end.name)
                        found[key] = Link(*key, min(port.width, end.width))
    order = {name: number for number, name in enumerate(["", *(unit.name for unit in units)])}
    return sorted(found.values(), key=lambda link: (order[link.begin[0]], order[link.end[0]],
                                                    link.begin[1], link.end[1]))


def _assignments(statements: Any) -> Iterator[tuple[Signal, Signal]]:
    """Each signal on the right of an assignment with each on its left; conditions are no data."""
    for statement in statements:
        if isinstance(statement, Assign):
            for end in statement.lhs._lhs_signals():
                for begin in statement.rhs._rhs_signals():
                    yield begin, end
        elif isinstance(statement, Switch):
            for _, inner, _ in statement.cases:
                yield from _assignments(inner)


def leaves(name: str, shape: Any) -> Iterator[tuple[str, Any]]:
    """The parts of a structured value as Verilog names them, each with its shape."""
    if isinstance(shape, data.StructLayout):
        parts: Mapping[str, Any] = {f".{key}": field.shape for key, field in shape}
    elif isinstance(shape, data.ArrayLayout):
        parts = {f"[{index}]": shape.elem_shape for index in range(shape.length)}
    else:
        yield name, shape
        return
    for suffix, inner in parts.items():
        yield from leaves(name + suffix, inner)
