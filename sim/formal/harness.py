# SPDX-License-Identifier: Apache-2.0
"""What a proof is, and what it is written with: free inputs, assumptions, claims, probes."""

import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from amaranth import ClockDomain, Const, Instance, Module, ResetInserter, Signal, Value
from amaranth.back import rtlil
from amaranth.hdl import Assert, Assume, Elaboratable, Fragment, MemoryInstance

from hw.config import HardwareConfig
from hw.layout import Geometry

# Claims are signals of this prefix: the counterexample names those that are 0.
CLAIM = "claim_"


def small(lanes: int = 2, banks: int = 1, spike_word: int = 2, neurons: int = 1, ports: int = 2,
          **changes: Any) -> HardwareConfig:
    """Hardware that a solver can look through; any field of `HardwareConfig` can be changed."""
    return HardwareConfig(**{
        "geometry": Geometry(lanes, banks, spike_word, neurons, ports), "weight_bits": 2,
        "fraction": 1, "acc_width": 6, "plane_width": 8, "current_width": 8, "state_width": 9,
        "param_width": 8, "shift_left": 1, "shift_width": 2, "residual_width": 6,
        "token_sum_width": 8, "input_width": 1, "in_channels": 1, "spike_lines": (7, 7),
        "residual_words": 4, "token_sum_words": 2, "logit_words": 2, "weight_rows": 15,
        "param_rows": 3, "channel_beats": 3, "program_layers": 2, "max_timesteps": 2,
        "attention_lanes": spike_word, "slow_tau": False} | changes)


@dataclass(frozen=True)
class Break:
    """A broken copy of a unit: `old`, which its module has exactly once, is replaced by `new`."""

    old: str
    new: str

    def apply(self, module: ModuleType) -> ModuleType:
        """A module of its own with the changed source; ValueError if `old` is not there once."""
        path = Path(str(module.__file__))
        source = path.read_text()
        if source.count(self.old) != 1:
            raise ValueError(f"a broken copy of {module.__name__} replaces what is there exactly "
                             f"once, not {self.old!r}")
        # Under the same name, as dataclasses look their module up.
        copy = ModuleType(module.__name__)
        copy.__dict__.update(__file__=str(path), __package__=module.__package__)
        exec(compile(source.replace(self.old, self.new), str(path), "exec"), copy.__dict__)
        return copy


@dataclass(frozen=True)
class Proof:
    """One claim about one unit.

    name:      as the command takes it
    unit:      module of the unit
    claim:     what is proved, for people
    build:     from that module, or a broken copy of it, to the unit in its environment
    depth:     cycles from reset in which no claim may fail
    induction: over how many cycles the claims prove themselves, so that they always hold; 0: they
               are shown for `depth` cycles only
    broken:    changes of the unit, each of which must make the proof fail within `depth`
    quick:     is part of the default test suite
    """

    name: str
    unit: str
    claim: str
    build: Callable[[ModuleType], "Harness"]
    depth: int
    induction: int = 0
    broken: tuple[Break, ...] = ()
    quick: bool = False

    def rtlil(self, change: Break | None = None) -> str:
        """The unit, or its broken copy, in its environment; the top module is `top`."""
        module = importlib.import_module(self.unit)
        return self.build(change.apply(module) if change else module).rtlil()


class Probes:
    """Variables of a unit's `elaborate`, or attributes, by name: `submodule.variable`; memories."""

    def __init__(self, unit: Elaboratable) -> None:
        self._unit, self._locals = unit, {}

        def note(frame: FrameType, event: str, _: Any) -> None:
            if event == "return" and frame.f_code.co_name == "elaborate":
                # Those of a class that another one extends come first.
                self._locals.setdefault(id(frame.f_locals["self"]), {}).update(frame.f_locals)

        # Signals of `a, b = Signal(), Signal()` have no name but that of the variable.
        before = sys.getprofile()
        sys.setprofile(note)
        try:
            self.fragment = Fragment.get(unit, None)
        finally:
            sys.setprofile(before)

    def __getitem__(self, name: str) -> Any:
        *path, last = name.split(".")
        unit = self._unit
        for part in path:
            unit = self._locals[id(unit)]["m"]._named_submodules[part][0]
        found = self._locals[id(unit)]
        return found[last] if last in found else getattr(unit, last)

    def named(self, name: str) -> Any:
        """A signal of the unit itself by the name that it was given, such as one made in a loop."""
        found = {id(signal): signal for statements in self.fragment.statements.values()
                 for statement in statements for signal in statement._lhs_signals()
                 if signal.name == name}
        signal, = found.values()
        return signal

    def state(self, name: str) -> int:
        """Number of a state of the unit's own FSM, whose signal is `named("fsm_state")`."""
        signal = self.named("fsm_state")
        return next(n for n in range(1 << len(signal)) if signal.decoder(n) == f"{name}/{n}")

    def begin(self, state: str, *registers: tuple[Signal, int]) -> None:
        """Begin a proof in a state of the unit's own FSM, with `registers` of other values too."""
        for signal, value in ((self.named("fsm_state"), self.state(state)), *registers):
            signal._init = value

    def word(self, m: Module, memory: str, address: Any, width: int) -> Signal:
        """What a memory holds at an address in this cycle, through a port of its own."""
        instance, = _memories(self._at(memory.split(".")))
        at = Signal(len(instance._read_ports[0]._addr), name=f"{memory.split('.')[-1]}_at")
        data = Signal(width, name=f"{memory.split('.')[-1]}_word")
        instance.read_port(domain="comb", addr=at, data=data, en=Const(1), transparent_for=())
        m.d.comb += at.eq(address)
        return data

    def flip(self, m: Module, memory: str, address: Any, mask: Any) -> None:
        """Flip bits of a memory word at the end of this cycle, through ports of their own."""
        instance, = _memories(self._at(memory.split(".")))
        width = len(instance._read_ports[0]._data)
        word = self.word(m, memory, address, width)
        name = memory.split(".")[-1]
        at = Signal(len(instance._read_ports[0]._addr), name=f"{name}_flip_at")
        flipped, enable = Signal(width, name=f"{name}_flipped"), Signal(name=f"{name}_flips")
        m.d.comb += [at.eq(address), flipped.eq(word ^ mask), enable.eq(Value.cast(mask).any())]
        instance.write_port(domain="sync", addr=at, data=flipped, en=enable)

    def _at(self, path: list[str]) -> Fragment:
        fragment = self.fragment
        for part in path:
            fragment = next(child for child, name, *_ in fragment.subfragments if name == part)
        return fragment


def _memories(fragment: Fragment) -> Iterator[MemoryInstance]:
    if isinstance(fragment, MemoryInstance):
        yield fragment
    for child, *_ in fragment.subfragments:
        yield from _memories(child)


class Harness:
    """A unit in its environment: `m` is the top module, with a clock and no reset."""

    def __init__(self) -> None:
        self.m = Module()
        self.m.domains.sync = domain = ClockDomain("sync", reset_less=True)
        self._inputs: list[Value] = [domain.clk]
        # Apart, so that `later` means the same within `m.If`.
        self.m.submodules.history = self._history = Module()
        self.started = self.later(Const(1), "started")

    def add(self, unit: Elaboratable, name: str = "unit", reset: Any = None) -> Probes:
        """Put a unit in; its inputs are to be driven, by `free` or otherwise.

        reset: of the unit, which has none but that of its first cycle by default
        """
        probes = Probes(unit)
        self.m.submodules[name] = (probes.fragment if reset is None
                                   else ResetInserter(reset)(probes.fragment))
        return probes

    def free(self, shape: Any, name: str) -> Any:
        """Any value in each cycle."""
        signal = Signal(shape, name=name)
        self._inputs.append(Value.cast(signal))
        return signal

    def constant(self, shape: Any, name: str) -> Any:
        """Any value, the same in all cycles."""
        signal = Signal(shape, name=name)
        value = Value.cast(signal)
        # Amaranth would take a signed output for a width of its own.
        raw = Signal(len(value), name=f"{name}_raw")
        self.m.submodules[f"any_{name}"] = Instance("$anyconst", p_WIDTH=len(value), o_Y=raw)
        self.m.d.comb += value.eq(raw)
        return signal

    def drive(self, signal: Any, name: str) -> Any:
        """Give an input of a unit any value in each cycle."""
        value = self.free(signal.shape(), name)
        self.m.d.comb += Value.cast(signal).eq(Value.cast(value))
        return value

    def later(self, value: Any, name: str, cycles: int = 1) -> Any:
        """A value some cycles before; 0 in the first ones."""
        for n in range(cycles):
            before = Value.cast(value)
            value = Signal(before.shape(), name=f"{name}_{n}" if n else name)
            self._history.d.sync += value.eq(before)
        return value

    def assume(self, condition: Any) -> None:
        """What the environment promises in each cycle."""
        self.m.d.comb += Assume(Value.cast(condition).any())

    def claim(self, name: str, condition: Any) -> None:
        """What must hold in each cycle."""
        holds = Signal(name=f"{CLAIM}{name}")
        self.m.d.comb += [holds.eq(Value.cast(condition).any()), Assert(holds)]

    def implies(self, name: str, when: Any, condition: Any) -> None:
        """A claim about the cycles in which `when` holds."""
        self.claim(name, ~Value.cast(when).any() | Value.cast(condition).any())

    def count(self, increment: Any, width: int, name: str) -> Signal:
        """A counter of the cycles in which `increment` was 1, those before this one."""
        total = Signal(width, name=name)
        self.m.d.sync += total.eq(total + increment)
        return total

    def stable(self, port: Any, name: str) -> Value:
        """Whether a stream kept what it offered in the cycle before and was not taken."""
        valid, ready, payload = _lines(port)
        waited = self.later(valid & ~ready, f"{name}_waited")
        offered = self.later(payload, f"{name}_offered")
        return ~waited | (valid & (payload == offered))

    def source(self, port: Any, name: str) -> Value:
        """Drive an input stream with anything that keeps the rules; returns that it is taken."""
        _drive = [self.drive(port.payload, f"{name}_payload"),
                  self.drive(port.valid, f"{name}_valid")]
        if not isinstance(port.ready, Const):
            self.assume(self.stable(port, name))
        valid, ready, _ = _lines(port)
        return valid & ready

    def sink(self, port: Any, name: str) -> Value:
        """Take an output stream whenever it pleases, claiming that it is stable meanwhile.

        Returns that an item is taken.
        """
        if not isinstance(port.ready, Const):
            self.drive(port.ready, f"{name}_ready")
            self.claim(f"{name}_stable", self.stable(port, name))
        valid, ready, _ = _lines(port)
        return valid & ready

    def rtlil(self) -> str:
        text = rtlil.convert(Fragment.get(self.m, None), name="top", ports=self._inputs)
        # Amaranth takes the cell for a module of the user.
        return text.replace("cell \\$anyconst", "cell $anyconst")


def _lines(port: Any) -> tuple[Value, Value, Value]:
    return Value.cast(port.valid), Value.cast(port.ready), Value.cast(port.payload)
