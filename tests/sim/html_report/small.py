# SPDX-License-Identifier: Apache-2.0
"""The facts of a small network, simulated once in each process."""

from functools import cache

from hw.compiler import compile_model
from hw.config import HardwareConfig
from quantize.golden import GoldenModel
from sim.benches.models import SMALL, random_inputs, random_model
from sim.compare import Comparison, compare
from sim.counts import count
from sim.html_report.facts import Facts, gather
from sim.run import Simulator

USAGE = {"lut": 90, "ff": 40, "ram": 1.5, "carry": 8, "dsp": 0}
BUILD = {"board": "arty_a7", "part": "xc7a35ticsg324-1L",
         "available": {"lut": 100, "ff": 400, "ram": 50, "carry": 25, "dsp": 90}, "used": USAGE,
         "modules": {"top": USAGE, "top.core": USAGE | {"lut": 60},
                     "top.core.lane*": USAGE | {"lut": 20}},
         "floorplan": {"core.finish.lif.a": [[1, 2, 3], [4, 4, 1]], "": [[1, 2, 2], [0, 0, 1]]},
         "timing": {"fmax_mhz": 62.5, "target_mhz": 50, "met": True, "note": "a note",
                    "path": [{"module": "core", "cell": "core.a", "what": "logic", "delay_ns": 6.0},
                             {"module": "", "cell": "b", "what": "routing", "delay_ns": 10.0}]}}
POINT = {"lut": 5000, "ff": 1, "ramb36": 1, "cycles": 900, "flags": "--lanes 8 --banks 1",
         "front": True, "chosen": False}
# As the search comes to them, which is in no order.
EXPLORED = {"points": [POINT | {"lut": 7000, "cycles": 500, "chosen": True}, POINT,
                       POINT | {"lut": 8000, "front": False}]}


@cache
def facts() -> Facts:
    model = random_model(SMALL)
    program = compile_model(model, HardwareConfig.for_model(model, 8, 2))
    inputs = random_inputs(model, 1)
    inferences = Simulator.build(program).run(inputs)
    golden = GoldenModel(model).run(inputs)
    comparison = Comparison()
    comparison.add(compare(inferences[0], golden[0]))
    return gather(program, inputs[0], 3, inferences[0], golden[0], comparison,
                  count(inferences, golden, program), spikformer=None, accuracy={},
                  build=None, explored=None)
