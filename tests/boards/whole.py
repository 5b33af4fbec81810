# SPDX-License-Identifier: Apache-2.0
"""A whole accelerator whose weights come out of the model of a memory chip."""

from typing import Any

import numpy as np

from boards.base import Board, ExternalMemory
from boards.ddr3 import Ddr3
from boards.ddr3_chip import Ddr3Timings
from boards.flash import Flash
from boards.memory import StreamedCore
from boards.sdram import Sdram, SdramTimings
from hw.accelerator import Accelerator
from hw.compiler import Program
from tests.boards.chips import Ddr3Chip, FlashChip, SdramChip
from tests.hw.harness import Bench
from tests.hw.whole import samples_of


def infer(board: Board, memory: ExternalMemory, program: Program, images: list[np.ndarray],
          power_up: float = 200_000, max_cycles: int = 400_000
          ) -> tuple[list[list[int]], list[tuple[int, int]], Any]:
    """Output words of each image, (cycle, bytes) of the beats of weights, and the chip.

    The image is in the flash; into SDRAM and DDR3, ready after `power_up` ns, it is written as a
    host would.
    """
    hardware = program.hardware
    chip: Any
    controller: Any
    if memory.kind == "flash":
        chip = FlashChip(bytes(memory.offset) + program.stream, configuration=2)
        controller = Flash(hardware.port_bits, board.clock_hz)
    elif memory.kind == "ddr3":
        chip = Ddr3Chip(power_up=power_up, wake_up=power_up)
        controller = Ddr3(hardware.port_bits, board.clock_hz,
                          Ddr3Timings(power_up=power_up, wake_up=power_up))
    else:
        chip = SdramChip(power_up=power_up)
        controller = Sdram(hardware.port_bits, board.clock_hz, SdramTimings(power_up))
    accelerator = Accelerator(hardware, program.memory)
    core = StreamedCore(accelerator, hardware, controller, memory)
    bench = Bench(core, max_cycles=max_cycles)
    if memory.writable:
        bench.source(core.writes, [
            {"address": place, "data": int.from_bytes(program.stream[place:place + 8], "little")}
            for place in range(0, len(program.stream), 8)])
    chip.serve(bench, core.pins, 1e9 / board.clock_hz)
    bench.source(core.i, [value for image in images for value in samples_of(program, image)])
    network = program.model.network
    words = network.num_classes + 3 * len(network.layers())
    output = bench.sink(core.o, words * len(images))
    r = accelerator.weights.r
    beats = bench.record(r.valid & r.ready)
    bench.run(extra=2)
    values = [word["data"] for word in output]
    return ([values[n:n + words] for n in range(0, len(values), words)],
            [(cycle, program.hardware.port_bits // 8) for cycle, *_ in beats], chip)
