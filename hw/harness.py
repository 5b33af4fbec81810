# SPDX-License-Identifier: Apache-2.0
"""A module between registers, so that it can be placed and timed without its surroundings."""

import re

# Pins that the harness needs, whatever the module: a design with more than the device has cannot be
# placed, and one whose outputs go nowhere is optimised away.
NAME = "harness"
_PORT = re.compile(r"^\s*(input|output) (?:wire |reg )?(?:signed )?(?:\[(\d+):0\] )?([\w\\.$]+) ?;",
                   re.MULTILINE)
# Inputs of one gate of the reduction: any LUT takes four.
_FAN_IN = 4


def _identifier(module: str) -> str:
    # An escaped identifier of Verilog ends with a space.
    return module if re.fullmatch(r"\w+", module) else f"\\{module} "


def module_ports(verilog: str, module: str) -> list[tuple[str, str, int]]:
    """Direction, name and width of each port; ValueError if there is no such module."""
    escaped = re.escape(_identifier(module))
    match = re.search(rf"^module {escaped} *\(.*?^endmodule", verilog, re.MULTILINE | re.DOTALL)
    if match is None:
        raise ValueError(f"unit must be a module of the design, not {module!r}")
    return [(direction, name, int(high or 0) + 1)
            for direction, high, name in _PORT.findall(match[0])]


def harness(verilog: str, module: str) -> str:
    """Verilog of a module `harness` with the ports clk, rst, i and o around `module`.

    A shift register that `i` feeds drives every input.  Every output goes to a register of its own,
    and a tree of exclusive ORs with a register in each level makes `o` of them.  So all paths of
    the harness are short, and all paths of `module` lie between registers.
    """
    ports = module_ports(verilog, module)
    inputs = [(name, width) for direction, name, width in ports
              if direction == "input" and name not in ("clk", "rst")]
    outputs = [(name, width) for direction, name, width in ports if direction == "output"]
    if not outputs or not any(name == "clk" for _, name, _ in ports):
        raise ValueError(f"unit must have a clock and an output, which {module!r} has not")
    ins, outs = (max(1, sum(width for _, width in group)) for group in (inputs, outputs))
    connections = [f".{name}({name})" for _, name, _ in ports if name == "clk"]
    connections += [".rst(reset)" for _, name, _ in ports if name == "rst"]
    for bus, group in (("source", inputs), ("result", outputs)):
        low = 0
        for name, width in group:
            connections.append(f".{name} ({bus}[{low + width - 1}:{low}])")
            low += width
    levels, size = [outs], outs
    while size > 1:
        size = -(-size // _FAN_IN)
        levels.append(size)
    registers = "".join(f"  reg [{size - 1}:0] level{n};\n" for n, size in enumerate(levels))
    reduction = "".join(
        f"    level{n + 1}[{i}] <= ^level{n}[{min(size, _FAN_IN * (i + 1)) - 1}:{_FAN_IN * i}];\n"
        for n, size in enumerate(levels[:-1]) for i in range(levels[n + 1]))
    instance = _identifier(module)
    return (f"module {NAME}(input clk, input rst, input i, output o);\n"
            f"  reg reset;\n  reg [{ins - 1}:0] source;\n  wire [{outs - 1}:0] result;\n"
            f"{registers}  assign o = level{len(levels) - 1};\n"
            "  always @(posedge clk) begin\n    reset <= rst;\n    source <= {source, i};\n"
            f"    level0 <= result;\n{reduction}  end\n"
            f"  {instance} unit ({', '.join(connections)});\nendmodule\n")
