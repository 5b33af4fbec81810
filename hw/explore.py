# SPDX-License-Identifier: Apache-2.0
"""The hardware for a network and a board: `python -m hw.explore --model DIR --board NAME`.

Cycles come from the cycle model (`hw.cycles`) on sample inputs of the model directory, LUTs and
block RAM from the area model (`hw.area`), so nothing is synthesized or simulated.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hw.area import Area, AreaModel, shipped
from hw.axi import PORT_BITS
from hw.choice import FAMILY, SHIPPED, keep, key
from hw.command import Outcome, Parser, execute, note, progress_bar
from hw.compiler import compile_model
from hw.config import MIN_INTERVAL, HardwareConfig
from hw.cycles import predict_inference
from hw.design_space import Choice, Point, Search, front
from hw.layout import Walk
from hw.model import SHIPPED_MODEL, FixedPointModel, Samples
from hw.network import Kind
from hw.options import MANY_WEIGHTS, positive, weight_count

# Share of a device's LUTs that the accelerator may take: the board's own logic, the error of the
# area model, and room to route.
FILL = 0.8
# Cycles beside the fewest for which thousands of LUTs are not spent.
NEARLY = 1.01
OUT = Path("build") / "explore"
# Where a search begins; from there it finds the others.
SEEDS = ((8, 1), (16, 2), (32, 2), (64, 4), (128, 4), (256, 8))
Maps = Mapping[str, Any]


@dataclass(frozen=True)
class Budget:
    """What may be used: LUTs, flip-flops, RAMB36, each the most that fits."""

    name: str
    lut: float = float("inf")
    ff: float = float("inf")
    ramb36: float = float("inf")

    def holds(self, area: Area) -> bool:
        return not self.short(area)

    def short(self, area: Area) -> list[str]:
        """One phrase for each resource of which `area` needs more."""
        return [f"{getattr(area, name):,.0f} {name.upper()} of {getattr(self, name):,.0f}"
                for name in ("lut", "ff", "ramb36") if getattr(area, name) > getattr(self, name)]


@dataclass(frozen=True)
class Workload:
    """A network with the sources of its layers (`hw.cycles.predict`) for some inputs."""

    name: str
    model: FixedPointModel
    maps: tuple[Maps, ...]

    def point(self, choice: Choice, hardware: HardwareConfig, area: Area) -> Point:
        """Compile, and predict the cycles of every input."""
        program = compile_model(self.model, hardware)
        kinds = {layer.name: layer.kind for layer in self.model.network.layers()}
        spent = dict.fromkeys(("additions", "attention", "weights", "finish", "control"), 0)
        cycles = events = 0
        for maps in self.maps:
            prediction = predict_inference(program, maps)
            cycles += prediction.cycles
            spent["control"] += prediction.idle
            for layer in prediction.layers:
                if kinds[layer.name] is Kind.ATTENTION:
                    spent["attention"] += layer.cycles - layer.idle
                else:
                    events += layer.events
                    spent["additions"] += layer.compute
                    spent["weights"] += layer.weight_wait
                    spent["finish"] += layer.fill_drain
        largest = max(spent, key=lambda name: spent[name])
        return Point(choice, hardware, area, cycles / len(self.maps),
                     events / (hardware.geometry.slots * cycles),
                     f"{largest} {spent[largest] / cycles:.0%}")

    def bound(self, hardware: HardwareConfig) -> float:
        """Cycles that no schedule can undercut: the adders of each layer, the beats of its results,
        and the port over the whole.
        """
        plan = hardware.plan(self.model)
        total, bits = 0.0, 0
        for layer in plan.layers:
            if not layer.layer.has_weights:
                continue
            bits += layer.tiles * layer.tile_rows * (
                hardware.geometry.banks * hardware.geometry.lanes * hardware.weight_bits)
            if layer.layer.kind is not Kind.CONV:
                continue
            events = np.mean([window_events(np.asarray(maps[layer.layer.name]),
                                            layer.layer.kernel) for maps in self.maps])
            # Two positions may share all of their additions, or all of their beats' time.
            sharing = 1 if layer.walk is Walk.ALONE else 2
            groups = layer.layer.positions * self.model.network.timesteps / sharing
            total += layer.tiles * max(events / sharing / hardware.geometry.slots,
                                       groups * max(MIN_INTERVAL, layer.last_beats))
        return max(total, bits / hardware.port_bits if hardware.streamed else 0)


def window_events(spikes: np.ndarray, kernel: int) -> int:
    """Spikes of [T, C, H, W], each as often as it lies in the window of a position."""
    counts = spikes.sum((0, 1), dtype=np.int64)
    if kernel == 1:
        return int(counts.sum())
    taps = [np.convolve(np.ones(size, np.int64), [1, 1, 1], "same") for size in counts.shape]
    return int((counts * taps[0][:, None] * taps[1]).sum())


def load_workload(directory: Path, samples: int) -> Workload:
    """ValueError for a directory that is none, or has no samples."""
    # The spikes of the samples are golden ones; hw itself knows no way to make them.
    from quantize.golden import GoldenModel
    from quantize.sources import source_maps

    model = FixedPointModel.load(directory)
    inputs = Samples.load(directory).inputs[:samples]
    golden = GoldenModel(model)
    return Workload(model.network.name or directory.name, model,
                    tuple(source_maps(golden, each) for each in inputs))


def budget(board: Any, fill: float) -> Budget:
    """Of a board of `boards`: a share of its LUTs and flip-flops, and all of its block RAM.

    ValueError for a device that the area model knows nothing about.
    """
    if board.family.name != FAMILY:
        raise ValueError(f"board must have a device of {FAMILY}, which the area model is fitted "
                         f"to, not {board.name!r}")
    return Budget(board.name, int(board.resources.lut * fill), int(board.resources.ff * fill),
                  board.resources.ram)


def explore(workload: Workload, limit: Budget, ports: Sequence[int],
            area: AreaModel | None = None) -> Search:
    """Search all hardware of `workload` within `limit`, with memory ports of `ports` bits."""
    areas = area or shipped()
    search = Search(lambda choice: choice.hardware(workload.model), areas.predict, limit.holds,
                    workload.bound, workload.point)
    spills = [False, *([True] if any(ports) else [])]
    seeds = [Choice(lanes, banks, port_bits=port, spill_residual=spill)
             for lanes, banks in SEEDS for port in ports for spill in spills if port or not spill]
    with progress_bar(unit=" configurations", desc=f"explore {workload.name}") as bar:
        def progress(evaluated: int, waiting: int) -> None:
            bar.total, bar.n = evaluated + waiting, evaluated
            bar.refresh()
        search.run(seeds, progress)
    return search


def search_board(directory: Path, board: Any) -> Point:
    """The choice for a network and a board of `boards`, which hold all weights on chip."""
    limit = budget(board, FILL)
    return choose(explore(load_workload(directory, 1), limit, (0,)), limit)


def fastest(best: Sequence[Point]) -> Point:
    """Of a front, the smallest of those that are as good as the fastest (`NEARLY`)."""
    return next(point for point in best if point.cycles <= best[-1].cycles * NEARLY)


def choose(search: Search, limit: Budget) -> Point:
    """`fastest` of the front.  ValueError, one sentence, says what is short if there is none."""
    best = front(search.points)
    if best:
        return fastest(best)
    if search.smallest is None:
        raise ValueError(f"no hardware could be built: {search.refused}")
    lut, ram = search.smallest
    short = limit.short(lut) or limit.short(ram)
    raise ValueError(f"no hardware fits {limit.name}: the smallest needs {', '.join(short)} "
                     "(--port-bits 64 128 streams the weights through a memory port)")


def flags(hardware: HardwareConfig) -> str:
    """The options of the other commands that give this hardware."""
    geometry = hardware.geometry
    parts = [f"--lanes {geometry.lanes} --banks {geometry.banks} --neurons {geometry.neurons}",
             f"--spike-word {geometry.spike_word}",
             f"--attention-engines {hardware.attention_engines}",
             "--pairs" if hardware.pairs else "--no-pairs",
             "--beside" if hardware.beside else "--no-beside"]
    if geometry.ports != 2:
        parts.insert(1, f"--ports {geometry.ports}")
    if hardware.streamed:
        parts.append(f"--port-bits {hardware.port_bits} --weight-rows {hardware.weight_rows}")
        parts += ["--spill-residual"] * hardware.spills_residual
    return " ".join(parts)


def reuse(hardware: HardwareConfig) -> str:
    """What neighbouring positions have in common (`hw.reuse`)."""
    return " ".join(["pairs"] * hardware.pairs + ["beside"] * hardware.beside) or "-"


def table(points: Sequence[Point], chosen: Point | None) -> list[str]:
    """The front as text, the chosen one marked."""
    columns = (("lanes", 7), ("banks", 6), ("word", 6), ("neurons", 8), ("engines", 8),
               ("reuse", 14), ("port", 6), ("rows", 7), ("weights", 8), ("cycles", 12), ("busy", 6),
               ("LUT", 9), ("FF", 9), ("RAMB36", 8))
    lines = ["".join(f"{name:>{width}}" for name, width in columns) + "  most cycles"]
    for each in points:
        hardware, geometry = each.hardware, each.hardware.geometry
        lines.append(
            f"{'>' if each is chosen else ' '} {geometry.lanes:>5}{geometry.banks:>6}"
            f"{geometry.spike_word:>6}{geometry.neurons:>8}{hardware.attention_engines:>8}"
            f"{reuse(hardware):>14}{hardware.port_bits or '-':>6}{hardware.weight_rows:>7,}"
            f"{f'{hardware.weight_bits} bit':>8}{each.cycles:>12,.0f}{each.busy:>6.0%}"
            f"{each.area.lut:>9,.0f}{each.area.ff:>9,.0f}{each.area.ramb36:>8g}  {each.bound}")
    return lines


def draw(path: Path, title: str, points: Sequence[Point], best: Sequence[Point],
         chosen: Point | None) -> None:
    """Cycles against LUTs, every point that was evaluated and the front, as SVG (or by suffix)."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "spikeloom"   # equal points, equal file
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    axes.scatter([each.area.lut for each in points], [each.cycles for each in points], s=8,
                 color="0.7", label="evaluated")
    axes.step([each.area.lut for each in best], [each.cycles for each in best], where="post",
              marker="o", markersize=4, label="front")
    for each in best:
        geometry = each.hardware.geometry
        axes.annotate(f"{geometry.lanes}x{geometry.slots}", (each.area.lut, each.cycles),
                      textcoords="offset points", xytext=(3, 4), fontsize=7)
    if chosen is not None:
        axes.plot([chosen.area.lut], [chosen.cycles], "*", markersize=14, label="chosen")
    axes.set(title=title, xlabel="LUTs (area model)", ylabel="cycles of an inference (cycle model)",
             xscale="log", yscale="log")
    axes.grid(True, which="both", linewidth=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, format=path.suffix.removeprefix(".") or "svg",
                   metadata={"Date": None} if path.suffix == ".svg" else None)
    temporary.replace(path)


def write_points(path: Path, points: Sequence[Point], best: Sequence[Point],
                 chosen: Point | None) -> None:
    """What the figure shows, as JSON: {"points": [...]}, each with lut, ff, ramb36, cycles, flags
    for other commands, and whether it is of the front and chosen.
    """
    content = {"points": [
        asdict(each.area) | {"cycles": each.cycles, "flags": flags(each.hardware),
                             "front": any(each is other for other in best),
                             "chosen": each is chosen} for each in points]}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    temporary.replace(path)


def build_parser() -> Parser:
    import boards  # hw knows no board; only its commands do

    parser = Parser(
        prog="python -m hw.explore",
        description="Search lanes, banks, words, neurons, attention engines, reuse and the weight "
                    "ring for the fastest hardware that fits a board, and draw cycles against "
                    "LUTs.")
    parser.add_argument("--model", type=Path, nargs="+", default=[SHIPPED_MODEL], metavar="DIR",
                        help="model directories: several of one network compare weight bits "
                             "(the shipped digits network)")
    parser.add_argument("--board", metavar="NAME", help=f"{', '.join(boards.NAMES)} (none: no "
                                                        "limit but --lut and --ramb36)")
    parser.add_argument("--lut", type=positive, metavar="N", help="LUTs that may be used")
    parser.add_argument("--ramb36", type=positive, metavar="N", help="block RAM likewise")
    parser.add_argument("--fill", type=float, default=FILL, metavar="SHARE",
                        help="of the board's LUTs that may be used (%(default)s)")
    parser.add_argument("--port-bits", type=int, nargs="+", choices=(0, *PORT_BITS),
                        help="weights through a memory port of this width, 0: on chip, which is "
                             "all that boards can do so far (default: 0 with a board, else as the "
                             "number of weights asks for)")
    parser.add_argument("--samples", type=positive, default=1, metavar="N",
                        help="inputs whose spikes are counted (%(default)s)")
    parser.add_argument("--keep", action="store_true",
                        help="ship the choice with hw.build, in hw/choices.json")
    parser.add_argument("--out", type=Path, metavar="FILE",
                        help=f"the figure, SVG, PNG or PDF ({OUT}/MODEL-BOARD.svg); its points "
                             "beside it, as .json")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 2 for bad input, or if nothing fits."""
    return execute(build_parser(), run, argv)


def run(arguments: argparse.Namespace) -> Outcome:
    import boards

    if not 0 < arguments.fill <= 1:
        raise ValueError(f"--fill must be above 0 and at most 1, not {arguments.fill!r}")
    if arguments.keep and (len(arguments.model) > 1 or not arguments.board):
        raise ValueError("--keep needs one --model and a --board")
    limit = (budget(boards.get(arguments.board), arguments.fill) if arguments.board
             else Budget("the limits"))
    limit = Budget(limit.name, arguments.lut or limit.lut, limit.ff,
                   arguments.ramb36 or limit.ramb36)
    points: list[Point] = []
    searches = []
    for directory in arguments.model:
        workload = load_workload(directory, arguments.samples)
        many = weight_count(workload.model) >= MANY_WEIGHTS and not arguments.board
        ports = arguments.port_bits or (PORT_BITS if many else (0,))
        searches.append(explore(workload, limit, ports))
        points += searches[-1].points
    best = front(points)
    chosen = fastest(best) if best else choose(searches[-1], limit)
    out = arguments.out or OUT / f"{workload.name}-{arguments.board or 'any'}.svg"
    draw(out, f"{workload.name} on {limit.name}", points, best, chosen)
    write_points(out.with_suffix(".json"), points, best, chosen)
    errors = np.abs(shipped().errors("lut")) * 100
    print("\n".join(table(best, chosen)))
    print(f"{len(points)} configurations; LUTs within {errors.mean():.0f} % of synthesis in the "
          f"mean, {errors.max():.0f} % at most, on configurations that were not fitted")
    print(f"chosen: {flags(chosen.hardware)}")
    note(f"wrote {out} and {out.with_suffix('.json').name}")
    if arguments.keep:
        keep(SHIPPED, key(arguments.model[-1], limit.name), chosen)
        note(f"kept in {SHIPPED}")
    return Outcome({"picture": out, "points": out.with_suffix(".json"),
                    "configurations": len(points), "chosen": chosen.hardware.to_dict(),
                    "flags": flags(chosen.hardware)})


if __name__ == "__main__":
    sys.exit(main())
