# SPDX-License-Identifier: Apache-2.0
"""Xilinx 7 series with open tools: yosys, nextpnr, prjxray's database, xc7frames2bit."""

import json
import re
import time
from collections.abc import Collection
from pathlib import Path

from hw.families import XC7
from hw.report import SynthesisError, synthesize
from hw.toolchains.frames import Database, FasmError, frames, frames_text
from hw.toolchains.nextpnr import PLACED, instances, keep_floorplan, read_report
from hw.toolchains.toolchain import Timing, Toolchain, ToolError, run_tool
from hw.toolchains.xilinx_tools import Tools, find_tools

# Temperature grade and low voltage change neither the fabric nor its configuration.
_PART = re.compile(r"(xc7[aksz]\d+t?)i?([a-z]{3}\d+)-(\d)L?")
_PIN = re.compile(r'(set_property (?:LOC|IOSTANDARD|SLEW|DRIVE|PULLUP|PULLDOWN|IN_TERM)) "?(\w+)"? '
                  r'\[get_ports "?([^"\\\[\]]+)(?:\\?(\[\d+\]))?"?\]')
# The 35T is a 50T sold smaller: one die, one database.
_FABRICS = {"xc7a35t": "xc7a50t"}
_FAMILIES = {"a": "artix7", "k": "kintex7", "s": "spartan7", "z": "zynq7"}
# The default, heap, legalizes these designs badly: wires three times as long, and no route.
PLACER = "static"
NOTE = ("(block RAM arcs are not in this timing: every block RAM output must be followed by a "
        "register before logic, else the Fmax is too good)")


def split_part(part: str) -> tuple[str, str, str]:
    """Family folder, fabric and part name of prjxray; ValueError for what is no 7 series part."""
    if (match := _PART.fullmatch(part)) is None:
        raise ValueError(f"part must be one of 7 series, such as xc7a35ticsg324-1L, not {part!r}")
    device, package, speed = match.groups()
    return _FAMILIES[device[3]], _FABRICS.get(device, device), f"{device}{package}-{speed}"


def pin_constraints(xdc: str, ports: Collection[str]) -> str:
    """The lines of a constraint file that nextpnr reads: pins and standards of ports that exist.

    A platform names every pin of a resource, used or not.
    """
    lines = []
    for line in xdc.splitlines():
        match = _PIN.match(line)
        if match and match[3] in ports:
            # It knows no value in quotes, and of a name with an index none with a backslash.
            lines.append(f"{match[1]} {match[2]} [get_ports {{{match[3]}{match[4] or ''}}}]\n")
    return "".join(lines)


class XilinxOpen(Toolchain):
    """yosys, nextpnr-himbaechel-xilinx, FASM to frames, xc7frames2bit; read back with bitread."""

    name, family = "xilinx", XC7

    def missing(self) -> str | None:
        if find_tools() is None:
            return "nextpnr and prjxray for Xilinx are not there: make tools-xilinx unpacks them"
        return None

    def build(self, folder: Path, top: str, part: str, target_mhz: float, cache: Path) -> Timing:
        tools = self._tools()
        design = folder / f"{top}.json"
        try:
            synthesize(folder / f"{top}.v", top, cache, family=XC7, netlist=design)
        except SynthesisError as error:
            raise ToolError(str(error)) from None
        pins = folder / "pins.xdc"
        ports = json.loads(design.read_text())["modules"][top]["ports"]
        pins.write_text(pin_constraints((folder / f"{top}.xdc").read_text(), ports))
        placed = folder / PLACED.format(top=top)
        timing = self.place(design, top, part, target_mhz, [
            "--write", placed.name, "-o", f"xdc={pins.name}", "-o", f"fasm={top}.fasm"])
        timing.seconds["frames, bits"] = self._pack(tools, folder, top, part)
        keep_floorplan(placed, instances(design, top))
        return timing

    def place(self, design: Path, top: str, part: str, target_mhz: float,
              options: list[str], seed: int = 1) -> Timing:
        """Place and route a netlist; options of nextpnr in addition.  Files beside the netlist."""
        tools = self._tools()
        _, fabric, name = split_part(part)
        folder = design.parent
        report = folder / f"{top}.timing.json"
        command = [*tools.command("nextpnr-himbaechel-xilinx"), "--device", name,
                   "--chipdb", str(tools.chips / f"chipdb-{fabric}.bin"), "--json", design.name,
                   "--freq", f"{target_mhz:g}", "--report", report.name, "--timing-allow-fail",
                   "--seed", str(seed), "--placer", PLACER, *options]
        seconds = run_tool(command, folder, "nextpnr.log", "nextpnr-xilinx")
        timing = read_report(report, target_mhz, instances(design, top), NOTE)
        timing.seconds["nextpnr-xilinx"] = seconds
        return timing

    def _tools(self) -> Tools:
        if (tools := find_tools()) is None:
            raise ToolError(str(self.missing()))
        return tools

    def _pack(self, tools: Tools, folder: Path, top: str, part: str) -> float:
        start = time.perf_counter()
        family, fabric, name = split_part(part)
        try:
            with (folder / f"{top}.fasm").open() as fasm:
                content = frames(fasm, Database(tools.database / family, fabric))
        except FasmError as error:
            raise ToolError(str(error)) from None
        (folder / f"{top}.frm").write_text(frames_text(content))
        description = str(tools.database / family / name / "part.yaml")
        run_tool([*tools.command("xc7frames2bit"), "--part_file", description,
                  "--part_name", name, "--frm_file", f"{top}.frm", "--output_file", f"{top}.bit"],
                 folder, "xc7frames2bit.log", "xc7frames2bit")
        run_tool([*tools.command("bitread"), "--part_file", description, "-o", f"{top}.bits",
                  "-z", "-y", f"{top}.bit"], folder, "bitread.log", "bitread")
        check_round_trip(content, (folder / f"{top}.bits").read_text())
        return time.perf_counter() - start


# Word 50 of a frame has the error-correcting code in its low 13 bits; xc7frames2bit computes it.
ECC_WORD, ECC_BITS = 50, 13


def check_round_trip(content: dict[int, list[int]], bits: str) -> None:
    """ToolError unless the bits that bitread found (bit_FRAME_WORD_BIT) are those of `content`."""
    def known(word: int, bit: int) -> bool:
        return word != ECC_WORD or bit >= ECC_BITS

    read = set()
    for line in bits.split():
        _, address, word, bit = line.split("_")
        place = int(address, 16), int(word), int(bit)
        if known(*place[1:]):
            read.add(place)
    meant = {(address, word, bit) for address, words in content.items()
             for word, value in enumerate(words) for bit in range(32)
             if value >> bit & 1 and known(word, bit)}
    if read != meant:
        raise ToolError(f"the bitstream must hold the frames it was made of, but "
                        f"{len(read ^ meant)} bits differ")
