# SPDX-License-Identifier: Apache-2.0
"""LUTs, flip-flops and block RAM of a hardware configuration, without synthesis.

    python -m hw.area fit      synthesize the samples, fit, write hw/area.json (20 CPU minutes)
    python -m hw.area check    fitted beside synthesized, for every sample and unit

LUTs and flip-flops are a sum over units of the terms of `hw.area_terms`, with coefficients that are
not negative, fitted to what yosys makes of the sample configurations (`hw.area_samples`).  Samples
that are held out of the fit tell its error.  Block RAM follows from the shapes of the memories
(`hw.block_ram`).
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hw.area_terms import unit_terms
from hw.block_ram import block_ram
from hw.command import Outcome, Parser, execute, first_line
from hw.config import HardwareConfig

MODEL = Path(__file__).parent / "area.json"
RESOURCES = ("lut", "ff")


@dataclass(frozen=True)
class Area:
    """What an accelerator takes of a 7 series device; a RAMB18 is half of a RAMB36."""

    lut: float
    ff: float
    ramb36: float


@dataclass(frozen=True)
class Sample:
    """A configuration with what yosys made of it: by unit {"lut": ..., "ff": ...}, without the
    units below that have terms of their own; block RAM of the whole.
    """

    name: str
    held_out: bool
    hardware: HardwareConfig
    units: Mapping[str, Mapping[str, float]]
    ramb36: float

    def total(self, resource: str) -> float:
        return sum(used[resource] for used in self.units.values())

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "held_out": self.held_out, "hardware": self.hardware.to_dict(),
                "units": self.units, "ramb36": self.ramb36}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Sample":
        return cls(**dict(values) | {"hardware": HardwareConfig.from_dict(values["hardware"])})


Coefficients = Mapping[str, Mapping[str, Mapping[str, float]]]   # by unit, resource, term


@dataclass(frozen=True)
class AreaModel:
    """Coefficients, and the samples that they were fitted to."""

    coefficients: Coefficients
    samples: tuple[Sample, ...]

    def units(self, hardware: HardwareConfig) -> dict[str, dict[str, float]]:
        """{"lut": ..., "ff": ...} by unit."""
        terms = unit_terms(hardware)
        return {unit: {resource: sum(factor * terms[unit][term]
                                     for term, factor in by_resource[resource].items())
                       for resource in RESOURCES}
                for unit, by_resource in self.coefficients.items()}

    def predict(self, hardware: HardwareConfig) -> Area:
        """The accelerator alone, without a board around it."""
        units = self.units(hardware).values()
        return Area(*(sum(used[resource] for used in units) for resource in RESOURCES),
                    block_ram(hardware))

    def errors(self, resource: str, held_out: bool = True) -> list[float]:
        """(fitted - synthesized) / synthesized of the samples in or out of the fit."""
        return [getattr(self.predict(each.hardware), resource) / each.total(resource) - 1
                for each in self.samples if each.held_out == held_out]

    def save(self, path: Path) -> None:
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps({
            "coefficients": self.coefficients,
            "samples": [each.to_dict() for each in self.samples]}, indent=1) + "\n")
        os.replace(temporary, path)

    @classmethod
    def load(cls, path: Path = MODEL) -> "AreaModel":
        """ValueError, one sentence, if the file is not one of `save`, or of another engine."""
        try:
            values = json.loads(path.read_text())
            model = cls(values["coefficients"], tuple(map(Sample.from_dict, values["samples"])))
            terms = unit_terms(model.samples[0].hardware)
            for unit, by_resource in model.coefficients.items():
                for term in {*by_resource["lut"], *by_resource["ff"]} - {*terms.get(unit, ())}:
                    raise ValueError(f"{unit or 'the top'} has no term {term!r} any more")
            return model
        except (OSError, KeyError, IndexError, TypeError, ValueError) as error:
            raise ValueError(f"area model must be a file of `python -m hw.area fit`, not "
                             f"{str(path)!r}: {first_line(error)}") from None


@cache
def shipped() -> AreaModel:
    """The model in hw/area.json."""
    return AreaModel.load()


def fit(samples: Sequence[Sample]) -> AreaModel:
    """Least squares of the relative error, by unit, over the samples that are not held out."""
    from scipy.optimize import nnls  # needed by this command only

    used = [each for each in samples if not each.held_out]
    terms = [unit_terms(each.hardware) for each in used]
    coefficients: dict[str, dict[str, dict[str, float]]] = {}
    for unit, names in terms[0].items():
        coefficients[unit] = {}
        for resource in RESOURCES:
            # An error counts as a share of the accelerator, whatever the unit.
            weights = np.array([1 / each.total(resource) for each in used])
            matrix = np.array([[values[unit][name] for name in names] for values in terms], float)
            scale = np.maximum(matrix.max(0), 1)   # large and small terms alike
            wanted = np.array([each.units.get(unit, {}).get(resource, 0) for each in used])
            factors, _ = nnls(matrix / scale * weights[:, None] * 1e4, wanted * weights * 1e4)
            coefficients[unit][resource] = {
                name: round(float(factor), 6) for name, factor in zip(names, factors / scale)
                if factor}
    return AreaModel(coefficients, tuple(samples))


def table(model: AreaModel) -> list[str]:
    """Fitted and synthesized, by sample."""
    headings = "".join(f"{name:>8}" for name in ("LUT", "fitted", "", "FF", "fitted", "", "RAMB36",
                                                 "counted"))
    lines = [f"{'sample':<60}{headings}"]
    for each in sorted(model.samples, key=lambda sample: sample.held_out):
        area, name = model.predict(each.hardware), each.name + " *" * each.held_out
        parts = [f"{each.total(kind):>8,.0f}{getattr(area, kind):>8,.0f}"
                 f"{100 * (getattr(area, kind) / each.total(kind) - 1):>+7.1f}%"
                 for kind in RESOURCES]
        lines.append(f"{name:<60}{''.join(parts)}{each.ramb36:>8g}{area.ramb36:>8g}")
    for held_out, name in ((False, "in the fit"), (True, "* held out")):
        for kind in RESOURCES:
            errors = np.abs(model.errors(kind, held_out)) * 100
            if len(errors):
                lines.append(f"{kind.upper():<4}{name}: {errors.mean():.1f} % mean error, "
                             f"{errors.max():.1f} % at most, {len(errors)} configurations")
    return lines


def unit_table(model: AreaModel) -> list[str]:
    """LUTs by unit, fitted / synthesized, a column for each sample."""
    lines = []
    for unit in model.coefficients:
        cells = [f"{model.units(each.hardware)[unit]['lut']:>7,.0f}/"
                 f"{each.units.get(unit, {}).get('lut', 0):<7,.0f}" for each in model.samples]
        lines.append(f"{unit or '(top)':<18}{''.join(cells)}")
    return lines


def build_parser() -> Parser:
    parser = Parser(prog="python -m hw.area",
                    description="The area model, see docs/performance.md.")
    parser.add_argument("command", choices=("fit", "check"),
                        help="fit: synthesize samples and write the model; check: compare")
    parser.add_argument("--model", type=Path, default=MODEL, metavar="FILE",
                        help="the area model (%(default)s)")
    parser.add_argument("--units", action="store_true", help="LUTs of each unit, too")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 1 if yosys fails; 2 for bad input."""
    return execute(build_parser(), run, argv)


def run(arguments: argparse.Namespace) -> Outcome:
    if arguments.command == "fit":
        from hw.area_samples import synthesize_samples

        model = fit(synthesize_samples())
        model.save(arguments.model)
    else:
        model = AreaModel.load(arguments.model)
    print("\n".join(table(model) + (unit_table(model) if arguments.units else [])))
    return Outcome({"coefficients": model.coefficients, "errors": {
        kind: {name: model.errors(kind, held_out) for held_out, name in (
            (False, "fit"), (True, "held_out"))} for kind in RESOURCES}})


if __name__ == "__main__":
    sys.exit(main())
