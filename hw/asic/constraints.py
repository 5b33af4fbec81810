# SPDX-License-Identifier: Apache-2.0
"""Constraints (SDC) and the configuration of LibreLane for the ASIC target."""

import json
from collections.abc import Mapping

from hw.asic.design import TOP

# Shares of the period that the world outside takes of a path through a port.
INPUT_SHARE, OUTPUT_SHARE = 0.2, 0.2
# Jitter, and skew before there is a clock tree.
UNCERTAINTY_SHARE = 0.02
CLOCK, RESET = "clk", "rst"


def sdc(clock_mhz: float) -> str:
    """Clock, reset and I/O delays; ValueError for no frequency.

    The reset is synchronous: a data input like others.  The design has no other clock, no latch, no
    false path and no path of several cycles.
    """
    if not clock_mhz > 0:
        raise ValueError(f"clock_mhz must be positive, not {clock_mhz!r}")
    period = 1e3 / clock_mhz
    return f"""\
# {TOP} at {clock_mhz:g} MHz
create_clock -name {CLOCK} -period {period:.4f} [get_ports {CLOCK}]
set_clock_uncertainty {period * UNCERTAINTY_SHARE:.4f} [get_clocks {CLOCK}]
# {RESET} is synchronous and active high; hold it for at least one cycle
set_input_delay {period * INPUT_SHARE:.4f} -clock {CLOCK} [all_inputs -no_clocks]
set_output_delay {period * OUTPUT_SHARE:.4f} -clock {CLOCK} [all_outputs]
"""


def librelane(clock_mhz: float, instances: Mapping[str, str], sdc_file: str, sources: list[str],
              stubs: str) -> str:
    """config.json of LibreLane's flow Classic, paths relative to it.

    instances: macros of the design, path to name; layouts are expected in macros/NAME.gds, .lef and
               .lib, from the memory compiler of the process
    """
    macros: dict[str, dict] = {}
    for path, name in sorted(instances.items()):
        views = {view: [f"dir::macros/{name}.{view}"] for view in ("gds", "lef")}
        macro = macros.setdefault(name, {**views, "lib": {"*": [f"dir::macros/{name}.lib"]},
                                         "instances": {}})
        macro["instances"][path] = {"location": None, "orientation": "N"}
    return json.dumps({
        "meta": {"version": 2, "flow": "Classic"},
        "DESIGN_NAME": TOP,
        "VERILOG_FILES": [f"dir::{name}" for name in sources],
        "EXTRA_VERILOG_MODELS": [f"dir::{stubs}"] if macros else [],
        "CLOCK_PORT": CLOCK, "CLOCK_PERIOD": round(1e3 / clock_mhz, 4),
        "PNR_SDC_FILE": f"dir::{sdc_file}", "SIGNOFF_SDC_FILE": f"dir::{sdc_file}",
        "FALLBACK_SDC": f"dir::{sdc_file}",
        "FP_CORE_UTIL": 40, "MACROS": macros,
    }, indent=1) + "\n"
