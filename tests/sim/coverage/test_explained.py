# SPDX-License-Identifier: Apache-2.0
"""Explanations stand for statements and units that are there."""

import importlib

from sim.coverage.explained import LINES, SIGNALS
from sim.coverage.probes import ROOT


def test_statements_are_there():
    for (name, text), reason in LINES.items():
        lines = [line.strip() for line in (ROOT / name).read_text().splitlines()]
        assert text in lines and reason, (name, text)


def test_units_are_there():
    units = {name for path in (ROOT / "hw").glob("*.py")
             for name in vars(importlib.import_module(f"hw.{path.stem}"))}
    for (unit, signal), reason in SIGNALS.items():
        assert unit in units and signal and reason, (unit, signal)
