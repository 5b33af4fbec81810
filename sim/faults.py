# SPDX-License-Identifier: Apache-2.0
"""Flip random bits of an accelerator during inferences: `python -m sim.faults`.

One bit of a register or memory word flips in a random cycle of each inference, in RTL simulation;
what came of it is counted by kind of state, with and without parity (`hw.parity`).
"""

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from hw import command
from hw.command import CommandError, Parser, execute, note, progress_bar
from hw.compiler import Program, compile_model
from hw.model import FixedPointModel, Samples
from hw.options import add_hardware_options, add_model_argument, describe, hardware, positive
from quantize.golden import GoldenModel
from sim.build import write_whole
from sim.fault_bench import End, FaultBench, Outcome, Variable, build_fault_bench

# Cycles of an inference without a fault after which one with a flipped bit has hung.
PATIENCE = 2
# Kinds of state by the end of a variable's path; the first that fits counts.
_KINDS = (
    ("weights", (".lanes.banks.bank", ".lanes.parity.bank")),
    ("residual stream", (".residual.stream",)),
    ("parameters", (".current.params",)), ("program", (".sequencer.program",)),
    ("spike memory", (".memory.half",)),
)
ROMS = ("weights", "parameters", "program")   # with weights on chip
OTHER_MEMORY, REGISTERS = "other memories", "registers"
KINDS = (*(name for name, _ in _KINDS), OTHER_MEMORY, REGISTERS)


class Effect(Enum):
    """What came of a flipped bit.

    MASKED:   the right logits
    DETECTED: no answer, and the status tells of a fault
    SILENT:   other logits, and nothing tells
    HANG:     no answer, and nothing tells
    """

    MASKED = "masked"
    DETECTED = "detected"
    SILENT = "silent"
    HANG = "hang"


@dataclass(frozen=True)
class Trial:
    """One flipped bit; `label`: with SILENT, another class has the largest logit."""

    kind: str
    variable: str
    word: int
    bit: int
    cycle: int
    effect: Effect
    label: bool


def kind_of(variable: Variable) -> str:
    """One of `KINDS`."""
    if not variable.memory:
        return REGISTERS
    return next((name for name, ends in _KINDS if any(end in variable.name for end in ends)),
                OTHER_MEMORY)


def effect_of(outcome: Outcome, logits: Sequence[int]) -> Effect:
    """Against the right logits."""
    if outcome.end is End.FAULT:
        return Effect.DETECTED
    if outcome.end is End.NEVER or len(outcome.words) < len(logits):
        return Effect.HANG
    right = list(outcome.words[:len(logits)]) == list(logits)
    return Effect.MASKED if right else Effect.SILENT


def draw(variables: Sequence[Variable], flips: int, cycles: int, chance: random.Random
         ) -> list[tuple[Variable, int, int, int]]:
    """Variable, word, bit and cycle of so many flips, as many of each kind that is there.

    Within a kind every bit has the same chance.
    """
    by_kind = {kind: [each for each in variables if kind_of(each) == kind] for kind in KINDS}
    kinds = [kind for kind in KINDS if by_kind[kind]]
    weights = {kind: [each.bits * each.words for each in by_kind[kind]] for kind in kinds}
    drawn = []
    for number in range(flips):
        kind = kinds[number % len(kinds)]
        variable, = chance.choices(by_kind[kind], weights[kind])
        drawn.append((variable, chance.randrange(variable.words), chance.randrange(variable.bits),
                      chance.randrange(cycles)))
    return drawn


def campaign(program: Program, sample: object, logits: Sequence[int], flips: int, seed: int,
             short: bool = False) -> list[Trial]:
    """Flip bits one by one; each inference begins with a reset.

    Raises CommandError if an inference without a flip is wrong, at first or after one with.
    """
    simulator = build_fault_bench(program, state=True, short=short)
    chance, trials = random.Random(seed), []
    with FaultBench(simulator, program, sample) as bench:
        good = bench.infer(100_000_000)
        if effect_of(good, logits) is not Effect.MASKED:
            raise CommandError("an inference without a fault must have the golden model's logits")
        state = [each for each in bench.variables() if ".core." in each.name]
        largest = max(range(len(logits)), key=lambda n: logits[n])
        flipped = draw(state, flips, good.cycles, chance)
        for variable, word, bit, cycle in progress_bar(flipped, unit="flip", leave=False):
            bench.reset()
            bench.arm("flip", cycle, variable.number, word, bit)
            outcome = bench.infer(PATIENCE * good.cycles)
            effect = effect_of(outcome, logits)
            got = outcome.words[:len(logits)]
            trials.append(Trial(
                kind_of(variable), variable.name, word, bit, cycle, effect,
                effect is Effect.SILENT and max(range(len(got)), key=lambda n: got[n]) != largest))
            if kind_of(variable) in ROMS and not program.hardware.streamed:
                bench.flip(variable, word, bit)   # nobody writes them: only programming mends them
        bench.reset()
        if effect_of(bench.infer(PATIENCE * good.cycles), logits) is not Effect.MASKED:
            raise CommandError("an inference after a reset must have the golden model's logits")
    return trials


def table(trials: Sequence[Trial], title: str) -> str:
    """Shares of the effects by kind of state, in percent."""
    lines = [title, f"{'state':<16} {'flips':>6} " + " ".join(
        f"{effect.value:>9}" for effect in Effect) + f" {'other label':>12}"]
    for kind in (*KINDS, "all"):
        some = [each for each in trials if kind in (each.kind, "all")]
        if not some:
            continue
        counts = Counter(each.effect for each in some)
        label = sum(each.label for each in some)
        lines.append(f"{kind:<16} {len(some):>6} " + " ".join(
            f"{100 * counts[effect] / len(some):>8.1f}%" for effect in Effect)
            + f" {100 * label / len(some):>11.1f}%")
    return "\n".join(lines)


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m sim.faults",
        description="Flip random bits of the accelerator's registers and memories during "
                    "inferences, in RTL simulation, and count what comes of it.")
    add_model_argument(parser)
    parser.add_argument("--flips", type=positive, default=700, metavar="N",
                        help="bits, one in each inference, as many of each kind of state (default: "
                             "%(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of bits and cycles (0)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write every flip, as JSON")
    add_hardware_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 1 if an inference without a fault is wrong; 2 for bad input."""
    return execute(build_parser(), run, argv)


def run(arguments: argparse.Namespace) -> command.Outcome:
    model = FixedPointModel.load(arguments.model)
    sample = Samples.load(arguments.model).inputs[0]
    config = hardware([model], arguments)
    logits = GoldenModel(model).run(sample[None])[0][-1].logits.tolist()
    note(describe(model, config))
    results = {}
    for parity in (False, True):
        program = compile_model(model, replace(config, parity=parity))
        name = "with parity" if parity else "without parity"
        results[name] = campaign(program, sample, logits, arguments.flips, arguments.seed)
        print(table(results[name], name), flush=True)
    if arguments.out is not None:
        write(arguments.out, results)
        print(f"wrote {arguments.out}")
    return command.Outcome(results)


def write(path: Path, results: dict[str, list[Trial]]) -> None:
    """All flips as JSON, whole or not at all."""
    values = {name: [vars(each) | {"effect": each.effect.value} for each in trials]
              for name, trials in results.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
