# SPDX-License-Identifier: Apache-2.0
"""Scripts that make an IP core of `hw.soc`'s Verilog, and a Zynq-7000 system around it, in Vivado.

Vivado has not run them.
"""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hw.soc import NAME, PeripheralTop

_TEMPLATES = Path(__file__).parent / "templates"
SCRIPTS = ("package_ip.tcl", "system.tcl")
VENDOR, VERSION = "spikeloom", "1.0"


def buses(top: PeripheralTop) -> list[str]:
    """Names of its buses: what stands before the valid signals of their channels."""
    found: list[str] = []
    for name in top.signature.members:
        head, _, signal = name.rpartition("_")
        if signal in ("tvalid", "awvalid", "arvalid") and head not in found:
            found.append(head)
    return found


def scripts(top: PeripheralTop, part: str, clock_mhz: float) -> dict[str, str]:
    """Text of each of SCRIPTS, for the peripheral in NAME.v.

    part:      of the device, as Vivado writes it
    clock_mhz: of the processors' first clock for the logic
    """
    names = buses(top)
    masters = ["dma/M_AXI_MM2S", "dma/M_AXI_S2MM",
               *(f"core/{name}" for name in names if name.startswith("m_axi_"))]
    environment = Environment(loader=FileSystemLoader(_TEMPLATES), undefined=StrictUndefined,
                              keep_trailing_newline=True)
    values = {"name": NAME, "vendor": VENDOR, "version": VERSION, "part": part, "buses": names,
              "masters": masters, "mhz": f"{clock_mhz:g}",
              "sample_bits": top.signature.members["s_axis_tdata"].shape}
    return {name: environment.get_template(name).render(values) for name in SCRIPTS}
