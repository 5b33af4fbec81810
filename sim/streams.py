# SPDX-License-Identifier: Apache-2.0
"""What a cocotb testbench of one unit needs: clock, reset, streams with pauses, payload coding.

A testbench collects what comes out and compares it after the run.  Inputs change at the falling
edge, then everything settles, then a transfer is what valid and ready say: it happens at the
following rising edge.  This holds whatever the simulator's order of events at an edge is.
"""

import json
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import cocotb
from amaranth.hdl import Shape
from amaranth.lib import data
from cocotb.clock import Clock
from cocotb.handle import SimHandleBase
from cocotb.task import Task
from cocotb.triggers import FallingEdge, ReadOnly

# The pauses that every stream unit is tested with: probability at inputs, at outputs.  Without
# backpressure a unit that ignores `ready` passes.
PAUSES = {"continuous": (0.0, 0.0), "idle": (0.6, 0.0), "backpressure": (0.0, 0.6),
          "both": (0.4, 0.4)}


def parameters() -> dict[str, Any]:
    """The parameters that `sim.units.run_unit` was called with."""
    return json.loads(Path(cocotb.plusargs["parameters"]).read_text())


def pack(shape: Any, value: Any) -> int:
    """Bits of a payload: `value` is an int, or for a layout what its `const` takes."""
    if isinstance(shape, data.Layout):
        return shape.const(value).as_bits()
    return int(value) & (1 << Shape.cast(shape).width) - 1


def unpack(shape: Any, bits: int) -> Any:
    """Inverse of `pack`: an int, or nested dictionaries and lists for a layout."""
    if isinstance(shape, data.ArrayLayout):
        width = Shape.cast(shape.elem_shape).width
        return [unpack(shape.elem_shape, bits >> i * width) for i in range(shape.length)]
    if isinstance(shape, data.Layout):
        return {name: unpack(field.shape, bits >> field.offset) for name, field in shape}
    width, is_signed = Shape.cast(shape).width, Shape.cast(shape).signed
    bits &= (1 << width) - 1
    return bits - (1 << width) if is_signed and bits >> width - 1 else bits


class Bench:
    """A unit under test in the simulator, its clock running.

    dut:  the unit, ports as Amaranth names them (`i__payload`, `i__valid`, `i__ready`)
    seed: of all pauses
    """

    def __init__(self, dut: SimHandleBase, seed: int = 0) -> None:
        self.dut = dut
        self._seed = seed
        self._streams = 0

    async def start(self, inputs: Mapping[str, int] | None = None) -> None:
        """Start the clock and reset the unit, with all inputs 0 except `inputs`.

        The unit may be without a clock.
        """
        inputs = dict(inputs or {})
        for name in parameters()["inputs"]:
            getattr(self.dut, name).value = inputs.pop(name, 0)
        if inputs:
            raise ValueError(f"inputs must be ports of the unit, not {sorted(inputs)[0]!r}")
        if not hasattr(self.dut, "clk"):
            return
        cocotb.start_soon(Clock(self.dut.clk, 2, unit="step").start(start_high=False))
        self.dut.rst.value = 1
        await self.cycles(2)
        self.dut.rst.value = 0

    async def cycles(self, count: int = 1) -> None:
        """Let time pass; ends after a falling edge, where inputs may be set."""
        for _ in range(count):
            await FallingEdge(self.dut.clk)

    def drive(self, name: str, payloads: Iterable[int | None], pause: float = 0.0) -> Task:
        """Send packed payloads into the stream `name`, None is a cycle without one.

        The task ends with the last transfer.
        """
        return cocotb.start_soon(self._drive(name, list(payloads), pause, self._random()))

    async def _drive(self, name: str, payloads: list[int | None], pause: float,
                     chance: random.Random) -> None:
        port, valid = self._port(name, "payload"), self._port(name, "valid")
        ready = self._port(name, "ready")
        for payload in payloads:
            while chance.random() < pause:
                await FallingEdge(self.dut.clk)
                valid.value = 0
                # A payload without `valid` must not matter.
                port.value = chance.getrandbits(len(port))
            await FallingEdge(self.dut.clk)
            if payload is None:
                valid.value = 0
                continue
            port.value, valid.value = payload, 1
            await ReadOnly()
            while ready is not None and not int(ready.value):
                await FallingEdge(self.dut.clk)
                await ReadOnly()
        await FallingEdge(self.dut.clk)
        valid.value = 0

    def watch(self, name: str, pause: float = 0.0) -> list[int]:
        """A list that grows by each packed payload that leaves the stream `name`."""
        received: list[int] = []
        cocotb.start_soon(self._watch(name, received, pause, self._random()))
        return received

    async def _watch(self, name: str, received: list[int], pause: float,
                     chance: random.Random) -> None:
        port, valid = self._port(name, "payload"), self._port(name, "valid")
        ready = self._port(name, "ready")
        while True:
            await FallingEdge(self.dut.clk)
            if int(self.dut.rst.value):
                continue
            if ready is not None:
                ready.value = int(chance.random() >= pause)
            await ReadOnly()
            if int(valid.value) and (ready is None or int(ready.value)):
                received.append(int(port.value))

    async def until(self, condition: Callable[[], bool], limit: int, what: str = "") -> int:
        """Let time pass until `condition` holds; the cycles that took.

        AssertionError, with `what`, after `limit` cycles.
        """
        for cycle in range(limit):
            if condition():
                return cycle
            await FallingEdge(self.dut.clk)
        raise AssertionError(f"{what or 'the awaited condition'} must hold within {limit} cycles, "
                             "which it does not")

    def _port(self, name: str, part: str) -> Any:
        return getattr(self.dut, f"{name}__{part}", None)

    def _random(self) -> random.Random:
        # Each stream has pauses of its own, and the same ones in each run.
        self._streams += 1
        return random.Random(f"{self._seed} {self._streams}")
