# SPDX-License-Identifier: Apache-2.0
"""What synthesizers make of the accelerator, as modules for the simulator."""

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hw.asic.design import asic_design
from hw.asic.mapping import map_design
from hw.build import CACHE, TOP, write_sources
from hw.compiler import Program
from hw.generate import accelerator_verilog
from hw.report import run_yosys, synthesize
from sim.xilinx_cells import cell_models

CORE = f"{TOP}.system.core"    # the accelerator's module in a board's design
_NUMBER = re.compile(r"\$\d+$")


@dataclass(frozen=True)
class Netlist:
    """A module `accelerator` for the simulator.

    text:  Verilog of it and of everything in it
    ports: names, which may end in a $ and a number
    """

    text: str
    ports: tuple[str, ...]

    def connections(self) -> str:
        """Named connections to the signals of netlist.sv; ValueError for an unknown port."""
        found = []
        for port in self.ports:
            signal = _NUMBER.sub("", port)
            # `reset` is that of a board's link.
            value = {"enable": "1'b1", "reset": "1'b0", "weights_address": "32'd0",
                     "bad_image": "", "faults": ""}.get(signal)
            if value is None:
                value = re.sub(r"__payload$", "", signal) if signal.startswith("weights__") \
                    else signal
                value = value.replace("__", "_")
                if signal not in ("clk", "rst") and not re.match(r"(i|o|weights)__", signal):
                    raise ValueError(f"a netlist must have the ports of the accelerator, "
                                     f"not {port!r}")
            found.append(f".\\{port} ({value})")
        return ", ".join(found)


def rtl_netlist(program: Program) -> Netlist:
    """The generated Verilog, of which nothing is mapped."""
    text = accelerator_verilog(program)
    return Netlist(text, _ports(text))


def asic_netlist(program: Program, liberty: Path, cache: Path = CACHE) -> Netlist:
    """Standard cells by their functions in the Liberty file, SRAM macros that begin with noise."""
    design = asic_design(program)
    mapped = map_design(design, liberty, cache)
    return Netlist("\n".join((mapped.netlist, mapped.models, design.models())),
                   _ports(mapped.netlist))


def board_netlist(program: Program, board: Any, cache: Path = CACHE) -> Netlist:
    """The accelerator in the design that `hw.build` synthesizes for a board of 7 series, all
    modules as mapped there; the serial link and the pins around it are left out.
    """
    with tempfile.TemporaryDirectory(prefix="spikeloom-") as temporary:
        folder = Path(temporary)
        source, _ = write_sources(folder, program, board)
        design = folder / "design.json"
        synthesize(source, TOP, cache, family=board.family, netlist=design)
        modules = json.loads(design.read_text())["modules"]
    used: set[str] = set()
    wanted = _below(modules, CORE, used)
    core = {"creator": "spikeloom", "modules": {name: modules[name] for name in wanted}}
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as temporary:
        folder = Path(temporary)
        (folder / "core.json").write_text(json.dumps(core))
        run_yosys(folder, f"read_json core.json; rename {CORE} accelerator; "
                          "write_verilog -noattr core.v", board.family.name)
        text = (folder / "core.v").read_text()
    return Netlist(f"{text}\n{cell_models(frozenset(used))}", tuple(modules[CORE]["ports"]))


def _below(modules: Mapping[str, Any], top: str, used: set[str]) -> set[str]:
    """Modules of a design (yosys JSON) at and below `top`; `used` takes the names of cells."""
    found = {top}
    for cell in modules[top]["cells"].values():
        kind = cell["type"]
        module = modules.get(kind)
        if module is not None and not _is_library(module):
            found |= _below(modules, kind, used)
        elif not kind.startswith("$"):
            used.add(kind)
    return found


def _is_library(module: Mapping[str, Any]) -> bool:
    return any(int(str(module["attributes"].get(name, "0")), 2) for name in
               ("blackbox", "whitebox", "lib_whitebox"))


def _ports(text: str) -> tuple[str, ...]:
    """Ports of the module `accelerator` in Verilog."""
    match = re.search(r"^module accelerator\s*\((.*?)\);", text, re.M | re.S)
    if match is None:
        raise ValueError("a netlist must hold the module accelerator, which it does not")
    return tuple(port.strip().removeprefix("\\").strip() for port in match[1].split(","))
