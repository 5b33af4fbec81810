# SPDX-License-Identifier: Apache-2.0
"""The figures of a benchmark, computed from what was measured.

D dense operations of an inference, A useful additions (golden model), P additions that the lanes
can do per cycle, C cycles from the first sample to the last output word, L LUTs / 1,000.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hw.compiler import Program
from sim.executed import executed_additions
from sim.result_rows import Row

WORTH = 0.02   # of all useful additions: layers with less do not count as the worst


@dataclass(frozen=True)
class Synthesis:
    """What yosys counts: `adders` and `multipliers` as written, the rest mapped to 7 series.

    lut and what follows: None where nothing was mapped
    seconds: of processor time, maybe long ago
    """

    adders: int
    multipliers: int
    lut: int | None = None
    ff: int | None = None
    ramb36: float | None = None
    dsp: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class LayerFigures:
    """One layer.

    useful:    A, additions that the golden model counts
    executed:  additions of the RTL, `sim.executed.executed_additions`
    share:     of all useful additions
    use:       A / (P x cycles)
    cycles:    of its counter, which are `spent` on the four things of `hw.activity`
    predicted: cycles by `hw.cycles`
    """

    name: str
    density: float
    useful: int
    executed: float
    share: float
    use: float
    cycles: int
    spent: dict[str, int]
    predicted: int


@dataclass(frozen=True)
class Result:
    """One network on one hardware, in one of the surroundings.

    row:       the inference in RTL simulation
    adders:    P by the parameters of the hardware
    generation: seconds by step, `sim.generation.Generation`
    predicted: C by `hw.cycles`
    """

    row: Row
    layers: tuple[LayerFigures, ...]
    synthesis: Synthesis
    generation: dict[str, float | None]
    predicted: int

    @property
    def useful(self) -> int:
        return sum(layer.useful for layer in self.layers)

    @property
    def executed(self) -> float:
        return sum(layer.executed for layer in self.layers)

    @property
    def worst(self) -> LayerFigures:
        """The layer that uses the lanes least, of those that are worth it."""
        return min((layer for layer in self.layers if layer.share > WORTH),
                   key=lambda layer: layer.use)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; `metrics` are computed anew when it is read."""
        return asdict(self) | {"metrics": metrics(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Result":
        row, synthesis = values["row"], values["synthesis"]
        return cls(Row(**row | {"shown": tuple(row["shown"])}),
                   tuple(LayerFigures(**layer) for layer in values["layers"]),
                   Synthesis(**synthesis), values["generation"],
                   values["predicted"])


def layer_figures(program: Program, row: Row,
                  predicted: Sequence[int]) -> tuple[LayerFigures, ...]:
    """The figures of each layer of a row."""
    useful = sum(layer["useful"] for layer in row.layers)
    found = []
    for number, (plan, layer) in enumerate(zip(program.plan.layers, row.layers, strict=True)):
        executed = executed_additions(plan, layer["acs"], layer["events"])
        found.append(LayerFigures(
            layer["name"], layer["density"], layer["useful"], executed, layer["useful"] / useful,
            layer["useful"] / (row.adders * layer["cycles"]), layer["cycles"], layer["spent"],
            predicted[number]))
    return tuple(found)


def check(result: Result) -> list[str]:
    """What does not add up, one sentence each: the parts of C, of the layers' cycles, and P."""
    row, wrong = result.row, []
    for name, total, spent in [("C", row.span, row.spent),
                               *((layer.name, layer.cycles, layer.spent)
                                 for layer in result.layers)]:
        if sum(spent.values()) != total:
            wrong.append(f"{row.case}: cycles of {name} must sum up to {total:,}, "
                         f"not {sum(spent.values()):,}")
    if result.synthesis.adders != row.adders:
        wrong.append(f"{row.case}: the lanes must have {row.adders:,} adders, "
                     f"not {result.synthesis.adders:,}")
    return wrong


@dataclass(frozen=True)
class Metric:
    """A figure of a result.

    value:  None where it was not measured
    text:   of a value
    better: "less" or "more", None where neither is
    """

    key: str
    title: str
    value: Callable[[Result], float | None]
    text: str = "{:,.0f}"
    better: str | None = None

    def show(self, value: float | None) -> str:
        return "" if value is None else self.text.format(value)


def _spent(part: str) -> Callable[[Result], float | None]:
    return lambda result: result.row.spent.get(part)


def _of_synthesis(name: str) -> Callable[[Result], float | None]:
    return lambda result: getattr(result.synthesis, name)


def efficiency(result: Result) -> float | None:
    """U = A / (C L), useful additions per cycle and 1,000 LUT."""
    lut = result.synthesis.lut
    return result.useful / (result.row.span * lut / 1000) if lut else None


def _generation(result: Result) -> float:
    return sum(filter(None, result.generation.values()))


def _deviation(result: Result) -> float:
    return abs(result.predicted - result.row.span) / result.row.span


SHARE = "{:.2%}"
#: Every figure of the benchmark, in the order of its page.
METRICS: tuple[Metric, ...] = (
    Metric("weights", "weights", lambda r: r.row.weights),
    Metric("weight_bits", "bits of a weight", lambda r: r.row.weight_bits),
    Metric("port_bits", "bits of the weight port (0: on chip)", lambda r: r.row.port_bits),
    Metric("values", "values compared", lambda r: r.row.values),
    Metric("mismatches", "mismatches", lambda r: r.row.wrong, better="less"),
    Metric("dense", "D, dense operations", lambda r: r.row.dense),
    Metric("useful", "A, useful additions", lambda r: r.useful),
    Metric("density", "density, A / D", lambda r: r.useful / r.row.dense, SHARE),
    Metric("executed", "additions executed", lambda r: r.executed, better="less"),
    Metric("adders", "P, adders of the lanes", lambda r: r.row.adders),
    Metric("counted", "the same, counted in the netlist", _of_synthesis("adders")),
    Metric("cycles", "C, cycles", lambda r: r.row.span, better="less"),
    Metric("compute", "of these compute", _spent("compute")),
    Metric("weight_wait", "weight wait", _spent("weight_wait"), better="less"),
    Metric("fill_drain", "fill and drain", _spent("fill_drain"), better="less"),
    Metric("idle", "idle", _spent("idle"), better="less"),
    Metric("use", "lane use, A / (P C)", lambda r: r.useful / (r.row.adders * r.row.span), SHARE,
           "more"),
    Metric("worst_use", "lane use of the worst layer with > 2 % of A", lambda r: r.worst.use,
           SHARE, "more"),
    Metric("gain", "zero-skip gain, (D / P) / C",
           lambda r: r.row.dense / r.row.adders / r.row.span, "{:.2f}", "more"),
    Metric("lut", "LUT, 7 series", _of_synthesis("lut"), better="less"),
    Metric("ff", "FF", _of_synthesis("ff"), better="less"),
    Metric("ramb36", "RAMB36", _of_synthesis("ramb36"), "{:,g}", "less"),
    Metric("dsp", "DSP", _of_synthesis("dsp"), better="less"),
    Metric("multipliers", "cells that multiply or divide", _of_synthesis("multipliers"),
           better="less"),
    Metric("efficiency", "U, A / (C LUT / 1,000)", efficiency, "{:.1f}", "more"),
    Metric("memory", "bits of memory", lambda r: r.row.on_chip_bits, better="less"),
    Metric("memory_besides", "besides weights", lambda r: r.row.bits_besides_weights,
           better="less"),
    Metric("predicted", "cycles predicted", lambda r: r.predicted),
    Metric("deviation", "deviation of the prediction", _deviation, SHARE, "less"),
    Metric("generation_seconds", "s, checkpoint to Verilog and images", _generation, "{:.1f}",
           "less"),
    Metric("synthesis_seconds", "s, yosys, processor time", _of_synthesis("seconds"), "{:.0f}",
           "less"),
    Metric("build_seconds", "s, building the simulator", lambda r: r.row.build_seconds, "{:.0f}",
           "less"),
    Metric("simulator_speed", "simulated cycles / s of processor time",
           lambda r: (r.row.span / r.row.simulator_seconds) if r.row.simulator_seconds else None,
           better="more"),
    Metric("simulation_seconds", "s, simulating and comparing", lambda r: r.row.simulate_seconds,
           "{:.1f}", "less"),
)
BY_KEY: Mapping[str, Metric] = {metric.key: metric for metric in METRICS}


def metrics(result: Result) -> dict[str, float]:
    """Every figure that was measured, by key."""
    return dict(_measured(result))


def _measured(result: Result) -> Iterator[tuple[str, float]]:
    for metric in METRICS:
        value = metric.value(result)
        if value is not None:
            yield metric.key, value
