# SPDX-License-Identifier: Apache-2.0
"""cocotb tests of single units: one Amaranth component as Verilog, on Verilator or Icarus."""

import importlib
import json
import re
import subprocess
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amaranth.back import verilog
from amaranth.hdl import Signal, Value
from amaranth.lib import wiring

from sim.build import CACHE, Design, build
from sim.icarus import Icarus
from sim.toolchain import ToolError, cocotb_environment

_PORT = re.compile(r"^  (input|output) (?:signed )?(?:\[[\d:]+\] )?(\S+) ?;$", re.MULTILINE)


class UnitError(AssertionError):
    """A testbench failed; names its tests and their messages."""


def unit_design(component: wiring.Component, waves: bool = False) -> tuple[Design, list[str]]:
    """`component` as a design with the top module `unit`, and the names of its inputs.

    Only its ports are visible to cocotb.
    """
    ports = {}
    for path, _, value in component.signature.flatten(component):
        # A stream that is always ready (or valid) has a constant there, which is no port.
        if isinstance(signal := Value.cast(value), Signal):
            ports["__".join(map(str, path))] = (signal, None)  # Amaranth finds the direction
    text = verilog.convert(component, name="unit", ports=ports, emit_src=False,
                           strip_internal_attrs=True)
    top = text[text.index("module unit("):]
    found = _PORT.findall(top[:top.index("endmodule")])
    public = tuple(f'public_flat_rw -module "unit" -var "{name}"' for _, name in found)
    inputs = [name for direction, name in found
              if direction == "input" and name not in ("clk", "rst")]
    return Design({"unit.v": text}, "unit", {}, public, waves=waves), inputs


def run_unit(component: wiring.Component, module: str,
             parameters: Mapping[str, Any] | None = None, *, waves: Path | str | None = None,
             cache: Path = CACHE, icarus: Icarus | None = None) -> None:
    """Run the cocotb tests of `module` (a dotted name) against `component`.

    parameters: JSON values that the tests read by `sim.streams.parameters()`; the key "inputs" is
                added, the names of the unit's inputs
    waves:      VCD file to write, by Verilator
    icarus:     run them on it instead of Verilator

    Raises UnitError if a test fails, ToolError if a tool is missing or there was no test.
    """
    design, inputs = unit_design(component, waves is not None)
    with tempfile.TemporaryDirectory(prefix="spikeloom-unit-") as temporary:
        directory = Path(temporary)
        results = directory / "results.xml"
        environment = cocotb_environment("unit", module, results)
        if environment is None:
            raise ToolError("cocotb needs Python's shared library, which is not installed: on "
                            "Debian and Ubuntu it is in the package libpython3-dev")
        settings = directory / "parameters.json"
        settings.write_text(json.dumps(dict(parameters or {}) | {"inputs": inputs}))
        arguments = [f"+parameters={settings}"]
        if icarus is None:
            command = [str(build(design, cache)), *arguments]
        else:
            command, environment = icarus.command(icarus.compile(design, directory), environment,
                                                  arguments)
        if waves is not None:
            command += ["--trace", "--trace-file", str(Path(waves).absolute())]
        run = subprocess.run(command, cwd=directory, env=environment, text=True, check=False,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        _judge(module, results, run.stdout)


def run_bench(name: str, icarus: Icarus | None = None, **parameters: Any) -> None:
    """Run `sim.benches.<name>` against the component that its `unit(parameters)` makes."""
    module = importlib.import_module(f"sim.benches.{name}")
    run_unit(module.unit(parameters), module.__name__, parameters, icarus=icarus)


def _judge(module: str, results: Path, log: str) -> None:
    if not results.is_file():
        raise ToolError(f"the testbench {module} must leave results, but the simulator died: "
                        f"{log.strip().splitlines()[-1:]}")
    cases = list(ElementTree.parse(results).getroot().iter("testcase"))
    if not cases:
        raise ToolError(f"the module {module} must hold cocotb tests, which it does not: "
                        f"{log.strip().splitlines()[-1:]}")
    failed = []
    for case in cases:
        for failure in (*case.iter("failure"), *case.iter("error")):
            message = failure.get("message") or failure.get("error_msg") or failure.text or ""
            failed.append(f"{module}.{case.get('name')}: {message.strip()}")
    if failed:
        raise UnitError("\n".join([*failed, log]))
