# SPDX-License-Identifier: Apache-2.0
"""FPGA families: how yosys maps to them, and what their cells take of a device."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

# LUTs that a distributed RAM or shift register of 7 series takes.
_XC7_LUT = {"RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8, "RAM32X1D": 2, "RAM64X1D": 2,
            "RAM128X1D": 4, "RAM32X1S": 1, "RAM64X1S": 1, "RAM128X1S": 2, "RAM256X1S": 4,
            "SRL16E": 1, "SRLC16E": 1, "SRLC32E": 1, "INV": 1}


@dataclass(frozen=True)
class Usage:
    """Resources of a device; LUTs include those used as RAM or shift register.

    ram:   block RAMs in the unit of `Family.labels`; a RAMB18 is half a RAMB36
    carry: carry chain cells in the unit of `Family.labels`
    dsp:   multipliers, counted to show that none is used
    """

    lut: int = 0
    ff: int = 0
    ram: float = 0
    carry: int = 0
    dsp: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True)
class Family:
    """A family of devices as yosys knows it.

    name:     what progress bars and reports call it
    synth:    the synth_... command, hierarchy kept, with {top}
    labels:   what the vendor calls each field of `Usage`
    cells:    patterns of cell types, and what one cell takes; of several, the first that matches
    ram_bits: of one `Usage.ram`, parity bits included
    """

    name: str
    synth: str
    labels: Mapping[str, str]
    cells: Mapping[str, Usage]
    ram_bits: int

    def script(self, top: str) -> str:
        return self.synth.format(top=top)

    def label(self, field: str) -> str:
        return self.labels.get(field, field.upper())

    def usage(self, kind: str, count: int = 1) -> Usage:
        """What `count` cells of a yosys cell type take; nothing for those that are no resource."""
        for pattern, one in self.cells.items():
            if re.fullmatch(pattern, kind):
                return Usage(*(getattr(one, f.name) * count for f in fields(one)))
        return Usage()


XC7 = Family(
    "xc7", "synth_xilinx -family xc7 -top {top}", {"ram": "RAMB36", "carry": "CARRY4"},
    {r"LUT\d": Usage(lut=1), r"[FL]D[A-Z]+(_1)?": Usage(ff=1), "RAMB36E1": Usage(ram=1),
     "RAMB18E1": Usage(ram=0.5), "CARRY4": Usage(carry=1), "DSP48E1": Usage(dsp=1),
     **{kind: Usage(lut=luts) for kind, luts in _XC7_LUT.items()}},
    ram_bits=36 * 1024)

# A carry cell takes two LUTs, a distributed RAM of 16 x 4 four and two more for its write port.
ECP5 = Family(
    "ecp5", "synth_ecp5 -noflatten -top {top}",
    {"lut": "LUT4", "ram": "DP16KD", "carry": "CCU2C", "dsp": "MULT18"},
    {"LUT4": Usage(lut=1), "CCU2C": Usage(lut=2, carry=1), "TRELLIS_FF": Usage(ff=1),
     "TRELLIS_DPR16X4": Usage(lut=6), "DP16KD": Usage(ram=1), "MULT18X18D": Usage(dsp=1)},
    ram_bits=18 * 1024)

# Amaranth makes the pads.  An ALU is a LUT with carry; distributed RAM of 16 x 4 takes all eight
# LUTs of its block.
GOWIN = Family(
    "gowin", "synth_gowin -family gw2a -nodsp -noiopads -noflatten -top {top}",
    {"lut": "LUT4", "ram": "BSRAM", "carry": "ALU", "dsp": "MULT18"},
    {r"LUT\d": Usage(lut=1), "ALU": Usage(lut=1, carry=1), r"DFF\w*": Usage(ff=1),
     r"RAM16SDP\d": Usage(lut=8), r"(SDP|DP|SP|pROM)(B|X9B|X9)?": Usage(ram=1),
     r"MULT\w+|PADD\w+": Usage(dsp=1)},
    ram_bits=18 * 1024)

# A carry lies in the logic cell of the LUT that adds.  Small devices: the design is flattened, and
# nothing is spent on words that are read while they are written, which matters nowhere here
# (`tests/hw/test_collisions.py`).
ICE40 = Family(
    "ice40", "synth_ice40 -device u -no-rw-check -top {top}",
    {"lut": "LUT4", "ram": "RAM40_4K", "carry": "CARRY", "dsp": "MAC16"},
    {"SB_LUT4": Usage(lut=1), r"SB_DFF\w*": Usage(ff=1), "SB_CARRY": Usage(carry=1),
     r"SB_RAM40_4K\w*": Usage(ram=1), "SB_MAC16": Usage(dsp=1)},
    ram_bits=4 * 1024)
