# SPDX-License-Identifier: Apache-2.0
"""Configurations that the area model is fitted to, and their synthesis."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hw.area import Sample
from hw.area_terms import unit_terms
from hw.command import progress_bar
from hw.compiler import Program, compile_model
from hw.config import HardwareConfig
from hw.core import TOP, core_statistics
from hw.generate import accelerator_verilog
from hw.model import SHIPPED_MODEL, FixedPointModel
from hw.report import Usage, hierarchy


@dataclass(frozen=True)
class Case:
    """Hardware for a shipped network: `options` of `HardwareConfig.for_model`, then `changes`.

    weight_bits: of the network, whose weights are shifted to it
    """

    network: str
    options: Mapping[str, Any]
    weight_bits: int = 8
    changes: Mapping[str, Any] = field(default_factory=dict)
    held_out: bool = False

    @property
    def name(self) -> str:
        parts = [self.network, *(f"{name} {value}" for name, value in self.options.items())]
        parts += [f"{self.weight_bits} bits"] * (self.weight_bits != 8)
        return " ".join([*parts, *(f"{name} {value}" for name, value in self.changes.items())])

    def program(self) -> Program:
        """The program, with memory contents that are cheap to synthesize."""
        model = FixedPointModel.load(SHIPPED_MODEL.parent / self.network)
        if self.weight_bits != model.weight_bits:
            shift = model.weight_bits - self.weight_bits
            model = replace(model, weight_bits=self.weight_bits, tensors={
                name: replace(tensors, weight=tensors.weight >> shift)
                for name, tensors in model.tensors.items()})
        hardware = replace(HardwareConfig.for_model(model, **self.options), **self.changes)
        program = compile_model(model, hardware)
        if program.memory.weights:
            # Block RAMs of equal contents are one module to yosys; a constant would be no memory.
            ones = (1 << hardware.geometry.lanes * hardware.weight_bits) - 1
            stripes = ones // 3
            rows = [stripes ^ ones * (index & 1) for index in range(hardware.weight_rows)]
            weights = [rows] * hardware.geometry.banks
            program = replace(program, memory=replace(program.memory, weights=weights))
        return program


def case(network: str, weight_bits: int = 8, changes: Mapping[str, Any] | None = None,
         held_out: bool = False, **options: Any) -> Case:
    return Case(network, options, weight_bits, changes or {}, held_out)


# Small ones mostly, so that all take 20 CPU minutes; each field varies in several.
CASES = (
    case("digits", lanes=32, banks=2),
    case("digits", lanes=16, banks=1, pairs=False, beside=False),
    case("digits", lanes=16, banks=4, neurons=4, weight_bits=4, pairs=True),
    case("digits", lanes=32, banks=4, port_bits=64, neurons=16, pairs=True, beside=True),
    case("digits", lanes=64, banks=2, weight_bits=6, attention_engines=2, pairs=False),
    case("digits", lanes=32, banks=2, spike_word=32, neurons=16, pairs=False, beside=False,
         changes={"slow_tau": True}),
    case("fashion", lanes=32, banks=2, port_bits=64, pairs=True, beside=False),
    case("fashion", lanes=64, banks=4, port_bits=128),
    case("fashion", lanes=32, banks=8, port_bits=64, spill_residual=True, pairs=False,
         changes={"max_timesteps": 16}),
    case("fashion", lanes=16, banks=2, port_bits=64, pairs=False, beside=False,
         changes={"spills_maps": True, "program_words": 640}),
    case("fashion", lanes=128, banks=4, port_bits=128),
    case("digits", lanes=48, banks=2, held_out=True),
    case("digits", lanes=64, banks=4, neurons=16, weight_bits=4, held_out=True),
    case("fashion", lanes=64, banks=2, port_bits=64, neurons=32, held_out=True),
)


def synthesize_samples() -> list[Sample]:
    """Synthesize all cases, or take them from the cache.  Raises SynthesisError."""
    return [sample(each) for each in progress_bar(CASES, desc="samples")]


def sample(each: Case) -> Sample:
    """A case through yosys; its cells by unit."""
    program = each.program()
    modules = hierarchy(core_statistics(accelerator_verilog(program))["netlist"], TOP)
    hardware = program.hardware
    return Sample(each.name, each.held_out, hardware, own_usage(modules, unit_terms(hardware)),
                  modules[TOP].ram)


def own_usage(modules: Mapping[str, Usage], units: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """LUTs and flip-flops of each unit without those of the units below it."""
    used = {}
    for unit in units:
        path = f"{TOP}.{unit}".removesuffix(".")
        if path not in modules:
            continue
        below = [modules[f"{TOP}.{other}"] for other in _children(unit, units)
                 if f"{TOP}.{other}" in modules]
        used[unit] = {kind: getattr(modules[path], kind) - sum(getattr(each, kind)
                                                               for each in below)
                      for kind in ("lut", "ff")}
    return used


def _children(unit: str, units: Mapping[str, Any]) -> Iterator[str]:
    """Listed units whose nearest listed ancestor is `unit`."""
    for other in units:
        parents = [each for each in units if each != other
                   and (not each or other.startswith(f"{each}."))]
        if other and max(parents, key=len) == unit:
            yield other
