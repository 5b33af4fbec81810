# SPDX-License-Identifier: Apache-2.0
"""A board's whole top in Verilator, with a model of its memory chip at the pins.

What is simulated is the file that yosys reads for the board: the pins' cells and the clock's (PLL
or divider) are those of the vendor, which get a behaviour in `sim/board_cells.sv`.
"""

from pathlib import Path

from amaranth.build import DiffPairs

from boards.base import Board, ExternalMemory
from boards.memory import BoardCore, external_core
from boards.top import build_plan
from hw.compiler import Program
from hw.generate import share_modules, verilog_of
from hw.identity import Identity
from sim.build import CACHE, Design, build

HERE = Path(__file__).parent
# The least that a UART works with: simulated time is expensive.
DIVISOR = 4
# Cycles in which a frame must go on, or a stream must take; the simulator makes some hundred
# thousand in a second.
SILENCE = 40_000
PICOSECONDS = 1_000_000_000_000
# Subsignals of a chip's resource, their ports in `sim/board_top.cpp`, and bits.
_CHIPS = {
    "flash": {"cs": ("cs_n", 1), "clk": ("sck", 1), "dq": ("dq", 4)},
    "sdram": {"clk": ("clk", 1), "clk_en": ("cke", 1), "cs": ("cs_n", 1), "ras": ("ras_n", 1),
              "cas": ("cas_n", 1), "we": ("we_n", 1), "ba": ("ba", 2), "a": ("a", 13),
              "dqm": ("dqm", 2), "dq": ("dq", 16)},
    "ddr3": {"rst": ("reset_n", 1), "clk": ("ck", 1), "clk_en": ("cke", 1), "cs": ("cs_n", 1),
             "ras": ("ras_n", 1), "cas": ("cas_n", 1), "we": ("we_n", 1), "ba": ("ba", 3),
             "a": ("a", 14), "odt": ("odt", 1), "dm": ("dm", 2), "dqs": ("dqs", 2),
             "dq": ("dq", 16)},
}


def wrapper(board: Board, kind: str) -> str:
    """SystemVerilog module `board` around the board's `top`, with the same ports for each board.

    Raises ValueError if the chip has pins that the design has not.
    """
    platform, memory = board.platform(), board.memory(kind)
    there = {each.name: each.ios[0] for each in platform.lookup(*memory.resource).ios
             if hasattr(each, "name")}
    if missing := set(_CHIPS[kind]) - set(there):
        raise ValueError(f"--weights {kind} cannot be simulated for {board.name}: the chip's "
                         f"{', '.join(sorted(missing))} is no pin of the design")
    uart, busy = "_".join(map(str, board.uart)), "_".join(map(str, board.leds[1]))
    chip = "_".join(map(str, memory.resource))
    ports = ["input wire osc", "input wire rx", "output wire tx", "output wire busy"]
    pins = {f"{platform.default_clk}_0__io": "osc", f"{uart}__rx__io": "rx",
            f"{uart}__tx__io": "tx", f"{busy}__io": "busy"}
    if platform.default_rst is not None:
        released = platform.lookup(platform.default_rst).ios[0].invert
        pins[f"{platform.default_rst}_0__io"] = f"1'b{int(released)}"
    for name, (port, bits) in _CHIPS[kind].items():
        direction = "inout" if port in ("dq", "dqs") else "output"
        ports.append(f"{direction} wire [{bits - 1}:0] {kind}_{port}")
        # Of a pair the simulation has the positive pin.
        end = "p" if isinstance(there[name], DiffPairs) else "io"
        pins[f"{chip}__{name}__{end}"] = f"{kind}_{port}"
    connections = ", ".join(f".{pin}({port})" for pin, port in pins.items())
    return f"module board({', '.join(ports)});\n  top top({connections});\nendmodule\n"


def top_verilog(program: Program, board: Board, memory: ExternalMemory) -> str:
    """What the board's platform writes for the tools, as Verilog."""
    core = BoardCore(external_core(board, memory, program.hardware, program.memory), memory)
    identity = Identity.of(program, board.clock_hz, writable=memory.writable)
    files = build_plan(board.with_memory(memory), core, identity, board.clock_hz // DIVISOR,
                       silence=SILENCE / board.clock_hz).files
    source = files["top.il" if "top.il" in files else "top.v"]
    source = source.decode() if isinstance(source, bytes) else source
    return verilog_of(share_modules(source)) if "top.il" in files else source


def build_top_simulator(program: Program, board: Board, memory: ExternalMemory,
                        cache: Path = CACHE) -> Path:
    """The program `sim/board_top.cpp` around the board's top; ToolError as of `sim.build`."""
    main = f"#define WITH_{memory.kind.upper()}\n" + inlined("board_top.cpp")
    sources = {"top.v": top_verilog(program, board, memory),
               "board.sv": wrapper(board, memory.kind),
               "board_cells.sv": (HERE / "board_cells.sv").read_text()}
    return build(Design(sources, toplevel="board", parameters={}, cocotb=False, main=main,
                        pins=True), cache)


def inlined(name: str) -> str:
    """A source of this folder with its own headers in their places."""
    text = (HERE / name).read_text()
    for header in HERE.glob("*.h"):
        text = text.replace(f'#include "{header.name}"\n', header.read_text())
    return text


def simulator_arguments(board: Board, memory: ExternalMemory, image: Path,
                        access: float = 5.5, flight: float = 3.0) -> list[str]:
    """Of the simulator.

    image:  what the flash holds, from where the weights are
    access: ns by which data of the DDR3 comes after its clock, 1 to 10 as no DLL keeps it;
            flight: of the board and the pins, there and back
    """
    words = [str(PICOSECONDS // board.oscillator_hz // 2),
             str(PICOSECONDS * DIVISOR // board.clock_hz)]
    return words + {"flash": [hex(memory.offset), str(image)],
                    "ddr3": [str(access), str(flight)]}.get(memory.kind, [])
