# SPDX-License-Identifier: Apache-2.0
"""Random accelerators against the golden model: `python -m sim.verify`.

Each number of a seed is a network, hardware and surroundings (`sim.draw`): generated, simulated
with pauses on every port, every value of every layer compared, until enough values are.  Then one
inference without pauses, whose cycles must be those that `hw.cycles` predicts, layer by layer.

The work goes through the interface of `concurrent.futures`: local processes, or those of a Dask
cluster (`--scheduler`), whose machines need the same version of the project.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from hw.command import Outcome, Parser, execute, note, progress_bar
from hw.cycles import predict_inference
from hw.model import FixedPointModel
from hw.options import positive
from quantize.golden import GoldenModel
from quantize.sources import source_maps
from sim.build import CACHE, write_whole
from sim.compare import compare
from sim.coverage.functional import layer_facts
from sim.draw import DIMENSIONS, Combination, draw
from sim.run import DEFAULT_LATENCY, SimulationError, Simulator
from sim.toolchain import ToolError

COUNT = 50
# Values of each combination: 50 of them make more than ten million.
VALUES = 220_000
MOST_INFERENCES = 500


@dataclass(frozen=True)
class Verdict:
    """What became of a combination.

    values:      compared in all inferences
    wrong:       of these
    layers, exact: of the inference without pauses; those whose cycles were predicted
    shown:       the first differences, or why there was no result
    facts:       of its layers, for `sim.coverage.functional`
    """

    seed: int
    number: int
    name: str
    chosen: dict[str, str]
    inferences: int = 0
    values: int = 0
    wrong: int = 0
    layers: int = 0
    exact: int = 0
    cycles: int = 0
    seconds: float = 0.0
    shown: list[str] = field(default_factory=list)
    facts: list[dict[str, str]] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return bool(self.values) and not self.wrong and not self.shown

    @property
    def command(self) -> str:
        return f"python -m sim.verify --seed {self.seed} --only {self.number}"


def hostile_inputs(model: FixedPointModel, count: int, seed: int) -> np.ndarray:
    """Raw inputs: nothing, all largest, all smallest, a chessboard, one sample; the rest random."""
    network, fmt = model.network, model.input
    shape = (network.in_channels, network.image_height, network.image_width)
    if not network.static_input:
        shape = (network.timesteps, *shape)
    chance = np.random.default_rng(seed)
    inputs = chance.integers(fmt.minimum, fmt.maximum + 1, (count, *shape))
    chessboard = np.indices(shape).sum(0) % 2
    single = np.zeros(shape, np.int64)
    single.flat[chance.integers(single.size)] = fmt.maximum
    named = [np.zeros(shape, np.int64), np.full(shape, fmt.maximum), np.full(shape, fmt.minimum),
             np.where(chessboard, fmt.maximum, fmt.minimum), single]
    for number, values in enumerate(named[:max(0, count - 1)]):   # at least one is random
        inputs[number + 1] = values
    return inputs


def inference_values(model: FixedPointModel) -> int:
    """Spikes and residual words of one inference, before any pooling: an estimate."""
    network = model.network
    return sum(layer.out_channels * layer.positions for layer in network.layers()
               ) * network.timesteps


def verify(seed: int, number: int, values: int = VALUES, cache: Path = CACHE,
           change: Callable[[str], str] | None = None) -> Verdict:
    """Build and simulate a combination; whatever goes wrong is in the verdict.

    values: to compare, at least, unless that takes more than `MOST_INFERENCES`
    cache:  folder of the simulator
    change: what to do to the Verilog before it is simulated, for tests
    """
    start = time.perf_counter()
    drawn = draw(seed, number)
    chosen = {name: str(getattr(value, "value", value)) for name, value in drawn.chosen.items()}
    verdict = partial(Verdict, seed, number, str(drawn), chosen)
    try:
        found = check(drawn, _build(drawn, cache, change), values)
    except (SimulationError, ToolError, ValueError) as error:
        return verdict(shown=[str(error)], seconds=time.perf_counter() - start)
    return verdict(**found, seconds=time.perf_counter() - start)


def check(drawn: Combination, simulator: Simulator, values: int,
          reached: Path | None = None) -> dict[str, Any]:
    """Simulate a combination and compare: what `Verdict` has beyond its names.

    reached: folder for the coverage data of a simulator that counts: `paused.dat`, `plain.dat`
    """
    program, model = drawn.program, drawn.program.model
    count = min(MOST_INFERENCES, max(2, -(-values // inference_values(model))))
    inputs = hostile_inputs(model, count, drawn.stalls)
    golden = GoldenModel(model)
    files = {name: reached and reached / f"{name}.dat" for name in ("paused", "plain")}
    paused = simulator.run(inputs, latency=drawn.latency, stalls=drawn.stalls, gaps=drawn.gaps,
                           coverage=files["paused"])
    plain, = simulator.run(inputs[:1], coverage=files["plain"])
    predicted = predict_inference(program, source_maps(golden, inputs[0]), DEFAULT_LATENCY)
    shown, compared, wrong = [], 0, 0
    results = golden.run(inputs)
    for index, (inference, result) in enumerate(zip([*paused, plain], [*results, results[0]],
                                                    strict=True)):
        comparison = compare(inference, result)
        compared += comparison.values
        wrong += comparison.total
        if not comparison.equal:
            shown += [f"inference {index}:", *comparison.lines()]
    pairs = [(layer.layer.name, layer.cycles, guess.cycles)
             for layer, guess in zip(plain.layers, predicted.layers, strict=True)]
    shown += [f"{name}: cycles must be {guess} as predicted, not {cycles}"
              for name, cycles, guess in pairs if cycles != guess]
    return {"inferences": count + 1, "values": compared, "wrong": wrong, "layers": len(pairs),
            "exact": sum(cycles == guess for _, cycles, guess in pairs),
            "cycles": sum(cycles for _, cycles, _ in pairs), "shown": shown[:20],
            "facts": layer_facts(program, [*paused, plain], str(drawn.chosen["memory"]))}


def _build(drawn: Combination, cache: Path, change: Callable[[str], str] | None) -> Simulator:
    verilog = None
    if change is not None:
        from hw.generate import accelerator_verilog

        before = accelerator_verilog(drawn.program, trace=True)
        verilog = change(before)
        if verilog == before:
            raise ValueError("change must change the Verilog, which it did not")
    return Simulator.build(drawn.program, cocotb=False, verilog=verilog, cache=cache)


@contextmanager
def executor(workers: int, scheduler: str | None) -> Iterator[Executor]:
    """Local processes, or a Dask cluster's; ValueError if Dask is not installed."""
    if scheduler is None:
        with ProcessPoolExecutor(workers) as pool:
            yield pool
        return
    try:
        from distributed import Client
    except ImportError:
        raise ValueError("--scheduler needs Dask: pip install 'spikeloom[cluster]'") from None
    with Client(scheduler) as client:
        yield client.get_executor()


def crosses(chosen: Sequence[dict[str, str]]) -> tuple[int, int]:
    """How many pairs of values of two dimensions came together, and how many there are."""
    met = {(one, each[one], other, each[other]) for each in chosen
           for one, other in combinations(DIMENSIONS, 2)}
    sizes = {name: len(set(values)) for name, values in DIMENSIONS.items()}
    return len(met), sum(sizes[one] * sizes[other] for one, other in combinations(sizes, 2))


def summary(verdicts: Sequence[Verdict]) -> list[str]:
    """The sums, and each combination that did not pass with the command that repeats it."""
    values, wrong, layers, exact, inferences = (
        sum(getattr(each, name) for each in verdicts)
        for name in ("values", "wrong", "layers", "exact", "inferences"))
    met, possible = crosses([each.chosen for each in verdicts])
    passed = sum(each.passed for each in verdicts)
    lines = [f"{passed} of {len(verdicts)} combinations passed",
             f"{wrong:,} mismatches in {values:,} values of {inferences:,} inferences",
             f"cycles of {exact:,} of {layers:,} layers as predicted",
             f"{met:,} of {possible:,} pairs of values of two dimensions came together"]
    for each in verdicts:
        if not each.passed:
            lines += [f"{each.name}; again: {each.command}", *(f"  {line}" for line in each.shown)]
    return lines


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m sim.verify",
        description="Draw networks, hardware and surroundings, simulate each, and compare every "
                    "value with the golden model.")
    parser.add_argument("--count", type=positive, default=COUNT, metavar="N",
                        help="combinations (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all of them (default: 0)")
    parser.add_argument("--only", type=int, nargs="+", metavar="NUMBER",
                        help="these combinations alone")
    parser.add_argument("--values", type=positive, default=VALUES, metavar="N",
                        help="to compare in each of them, about (default: %(default)s)")
    parser.add_argument("--workers", type=positive, default=2, metavar="N",
                        help="local processes (default: %(default)s)")
    parser.add_argument("--scheduler", metavar="ADDRESS",
                        help="of a Dask cluster that does the work instead")
    parser.add_argument("--out", type=Path, metavar="FILE",
                        help="write all verdicts here, as JSON")
    return parser


def verdicts_of(arguments: argparse.Namespace) -> list[Verdict]:
    """The verdicts, each told as it comes; raises ValueError for bad input."""
    numbers = arguments.only or range(arguments.count)
    if arguments.seed < 0 or min(numbers) < 0:
        raise ValueError("--seed and --only must not be negative, not "
                         f"{min(arguments.seed, *numbers)!r}")
    with executor(arguments.workers, arguments.scheduler) as pool:
        waiting = [pool.submit(verify, arguments.seed, number, arguments.values)
                   for number in numbers]
        verdicts = []
        for future in progress_bar(as_completed(waiting), total=len(waiting), unit="combination",
                                   desc="verify"):
            verdicts.append(verdict := future.result())
            note(f"{verdict.number:4} {'ok' if verdict.passed else 'FAILED':6} "
                 f"{verdict.values:>9,} values {verdict.seconds:4.0f} s  {verdict.name}")
    return sorted(verdicts, key=lambda verdict: verdict.number)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 1 if a combination did not pass; 2 for bad input."""
    return execute(build_parser(), run, argv)


def run(arguments: argparse.Namespace) -> Outcome:
    verdicts = verdicts_of(arguments)
    if arguments.out:
        write_whole(arguments.out, json.dumps([asdict(each) for each in verdicts],
                                              indent=1) + "\n")
    print("\n".join(summary(verdicts)))
    return Outcome({"verdicts": verdicts}, int(not all(each.passed for each in verdicts)))


if __name__ == "__main__":
    sys.exit(main())
