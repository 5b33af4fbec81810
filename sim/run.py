# SPDX-License-Identifier: Apache-2.0
"""Whole inferences on the generated Verilog: build the simulator, run it, read the trace."""

import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from sim.build import CACHE, Design, build
from sim.toolchain import ToolError, cocotb_environment
from sim.trace import Inference, Outputs, assemble, read_outputs, read_words

TESTBENCH = Path(__file__).with_name("testbench.sv")
MEMORY = Path(__file__).with_name("axi_ram.sv")
DEFAULT_LATENCY = 40   # cycles: a DRAM controller's, at the clock of the accelerator
# A transfer or trace word comes every few hundred cycles, except during the attention's K^T V.
WATCHDOG_CYCLES = 1_000_000


class SimulationError(RuntimeError):
    """The RTL stopped, or the simulator died; one sentence."""


def accelerator_design(program: Any, *, verilog: str | None = None, cocotb: bool = True,
                       waves: bool = False) -> Design:
    """Accelerator and testbench as a design to build.

    verilog: text of the module `accelerator` with trace ports, generated from `program` if None.
    """
    hardware = program.hardware
    if verilog is None:
        from hw.generate import accelerator_verilog
        verilog = accelerator_verilog(program, trace=True)
    sources = {"accelerator.v": verilog, "testbench.sv": TESTBENCH.read_text()}
    if hardware.streamed:
        defines = ["WEIGHT_PORT"] + ["RESIDUAL_PORT"] * hardware.spills_residual \
            + ["MAPS_PORT"] * hardware.spills_maps
        sources["testbench.sv"] = "".join(f"`define {name}\n" for name in defines) \
            + sources["testbench.sv"]
        sources["axi_ram.sv"] = MEMORY.read_text()
    return Design(
        sources=sources, toplevel="testbench", cocotb=cocotb, waves=waves,
        parameters={"INPUT_BITS": hardware.input_width, "PORT_BITS": hardware.port_bits or 64,
                    "SPIKE_BITS": hardware.geometry.spike_word,
                    "RESIDUAL_BITS": hardware.geometry.neurons * hardware.residual_width})


def check_inputs(program: Any, inputs: np.ndarray) -> np.ndarray:
    """Inputs as int64, after a look at shape and range.

    Raises ValueError unless they are [n, C, H, W], or [n, T, C, H, W] for events, within the
    model's input format.
    """
    network, fmt = program.model.network, program.model.input
    shape = (network.in_channels, network.image_height, network.image_width)
    if not network.static_input:
        shape = (network.timesteps, *shape)
    inputs = np.asarray(inputs)
    if inputs.ndim != len(shape) + 1 or inputs.shape[1:] != shape or not len(inputs):
        raise ValueError(f"inputs must have shape [n, {', '.join(map(str, shape))}], "
                         f"not {list(inputs.shape)!r}")
    if not np.issubdtype(inputs.dtype, np.integer):
        raise ValueError(f"inputs must be integers, not {inputs.dtype.name!r}")
    inputs = inputs.astype(np.int64)
    if inputs.min() < fmt.minimum or inputs.max() > fmt.maximum:
        raise ValueError(f"inputs must be {fmt.minimum} to {fmt.maximum}, "
                         f"not {int(inputs.min())} to {int(inputs.max())}")
    return inputs


def check_gaps(gaps: int | None) -> None:
    """ValueError unless `gaps` can seed the testbench's generator."""
    if gaps is not None and not 0 < gaps < 1 << 31:
        raise ValueError(f"gaps must be a seed from 1 to 2147483647, not {gaps!r}")


@dataclass(frozen=True)
class Simulator:
    """The compiled simulator of one program.

    cocotb: the testbench runs under cocotb, else under Verilator's own main
    waves:  it can write a VCD file
    """

    program: Any
    executable: Path
    cocotb: bool
    waves: bool

    @classmethod
    def build(cls, program: Any, *, cocotb: bool = True, waves: bool = False,
              verilog: str | None = None, cache: Path = CACHE) -> "Simulator":
        """Generate, translate and compile, unless the cache holds it.

        cocotb:  False, or a Python without shared library, takes Verilator's own main
        verilog: text to simulate instead of what `program` generates

        Raises ToolError if a tool is missing or fails.
        """
        cocotb = cocotb and cocotb_environment("", "", Path()) is not None
        design = accelerator_design(program, verilog=verilog, cocotb=cocotb, waves=waves)
        return cls(program, build(design, cache), cocotb, waves)

    def run(self, inputs: np.ndarray, *, gaps: int | None = None, waves: Path | str | None = None,
            progress: bool = False, watchdog: int = WATCHDOG_CYCLES,
            latency: int = DEFAULT_LATENCY, stalls: int | None = None) -> list[Inference]:
        """Run each input through the RTL, all in one run without a reset between them.

        inputs:   integer raw values [n, C, H, W] (static) or [n, T, C, H, W] (events)
        gaps:     seed of pseudo-random pauses at input and output; None: no pauses
        waves:    VCD file to write, complete or not at all
        watchdog: cycles without any transfer or trace word after which the run is given up
        latency:  cycles from a read request to the memory's first beat
        stalls:   seed of pseudo-random pauses of the memory; None: no pauses

        Raises ValueError for unsuitable inputs, SimulationError if the RTL hangs or the simulator
        dies.
        """
        inputs = check_inputs(self.program, inputs)
        check_gaps(gaps)
        if waves is not None and not self.waves:
            raise ValueError("waves must be asked for when the simulator is built")
        with tempfile.TemporaryDirectory(prefix="spikeloom-sim-") as temporary:
            directory = Path(temporary)
            arguments = _prepare(self.program, inputs, directory)
            arguments += [f"+gaps={gaps or 0}", f"+watchdog={watchdog}", f"+latency={latency}",
                          f"+stalls={stalls or 0}"]
            if waves is not None:
                arguments.append(f"+waves={directory / 'waves.vcd'}")
            environment = None
            if self.cocotb:
                environment = cocotb_environment("testbench", "sim.benches.accelerator",
                                                 directory / "results.xml")
            else:
                arguments.append("+finish")
            start = time.perf_counter()
            _execute([str(self.executable), *arguments], directory, environment, len(inputs),
                     progress)
            seconds = time.perf_counter() - start
            if waves is not None:
                _place(directory / "waves.vcd", Path(waves))
            return _collect(self.program, directory, len(inputs), seconds / len(inputs))


def simulate(program: Any, inputs: np.ndarray, *, gaps: int | None = None,
             waves: Path | str | None = None, cocotb: bool = True, progress: bool = False,
             verilog: str | None = None, watchdog: int = WATCHDOG_CYCLES,
             cache: Path = CACHE) -> list[Inference]:
    """Build and run at once: the arguments of `Simulator.build` and `Simulator.run`."""
    check_inputs(program, inputs)
    check_gaps(gaps)
    simulator = Simulator.build(program, cocotb=cocotb, waves=waves is not None, verilog=verilog,
                                cache=cache)
    return simulator.run(inputs, gaps=gaps, waves=waves, progress=progress, watchdog=watchdog)


def _prepare(program: Any, inputs: np.ndarray, directory: Path) -> list[str]:
    """Write the samples and name all files as plusargs."""
    network = program.model.network
    # The order of the port: y, x, timestep, channel innermost.
    samples = np.moveaxis(inputs, (-2, -1), (1, 2)).reshape(-1)
    samples &= (1 << program.hardware.input_width) - 1
    (directory / "inputs").write_text("\n".join(f"{value:x}" for value in samples.tolist()) + "\n")
    if program.hardware.streamed:
        (directory / "weights").write_bytes(program.stream)
    words = len(inputs) * (network.num_classes + 3 * len(network.layers()))
    names = [f"+{name}={directory / name}" for name in ("inputs", "spikes", "residual", "outputs")]
    return [*names, f"+weights={directory / 'weights'}", f"+traffic={directory / 'traffic'}",
            f"+weights_bytes={len(program.stream)}", f"+residual_bytes={program.residual_bytes}",
            f"+maps_bytes={program.map_bytes}",
            f"+samples={len(samples)}", f"+words={words}"]


def _execute(command: list[str], directory: Path, environment: dict[str, str] | None, count: int,
             progress: bool) -> None:
    """Run the simulator to its end; the progress bar follows the file of output words."""
    outputs = directory / "outputs"
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=directory, env=environment, stdout=log,
                                   stderr=subprocess.STDOUT)
        try:
            with tqdm(total=count, unit="image", desc="simulate",
                      disable=None if progress else True) as bar:
                while process.poll() is None:
                    time.sleep(0.02)
                    if progress and outputs.exists():
                        bar.update(outputs.read_text().count(" 1 ") - bar.n)
                bar.update(count - bar.n)
        finally:
            if process.poll() is None:  # an interrupt leaves no simulator behind
                process.kill()
                process.wait()


def _collect(program: Any, directory: Path, count: int, seconds: float) -> list[Inference]:
    hardware = program.hardware
    try:
        outputs = read_outputs(directory / "outputs")
    except (FileNotFoundError, ValueError):
        tail = (directory / "log").read_text().strip().splitlines()[-1:] or ["no message"]
        raise SimulationError(f"the simulator must end by itself, but died with: {tail[0]}"
                              ) from None
    spikes = read_words(directory / "spikes", hardware.geometry.spike_word)
    residual = read_words(directory / "residual",
                          hardware.geometry.neurons * hardware.residual_width)
    if outputs.stalled:
        layers = [words.layer[-1] for words in (spikes, residual) if len(words.layer)]
        raise SimulationError(_stall(program, outputs, max(layers, default=None)))
    return [assemble(program, spikes, residual, outputs, number, seconds)
            for number in range(count)]


def _stall(program: Any, outputs: Outputs, layer: int | None) -> str:
    names = [each.name for each in program.model.network.layers()]
    after = "before any layer gave a result"
    if layer is not None:
        after = f"after words of layer {names[layer] if layer < len(names) else layer}"
    number = int(outputs.last.sum())
    words = int((outputs.inference == number).sum())
    return (f"the accelerator hangs: it made no progress until cycle {outputs.cycles} in inference "
            f"{number}, {after}, with {outputs.samples} samples in and {words} words out")


def _place(built: Path, target: Path) -> None:
    """Copy beside the target, then rename: the target is complete or untouched."""
    if not built.is_file():
        raise ToolError("the simulator must have written a waveform, which it did not")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    partial.write_bytes(built.read_bytes())
    os.replace(partial, target)
