# SPDX-License-Identifier: Apache-2.0
"""Which combinations of circumstances the compared inferences had, and which never came.

A fact is what held for one layer of one inference: what it is, on what hardware, and what happened
in it (`layer_facts`).  A cross names some of these dimensions; its bins are the combinations of
their values that can be built, and a bin is hit when a layer with these facts was simulated.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from hw.compiler import Program
from hw.layout import LayerPlan
from hw.network import Kind, Layer

Facts = Mapping[str, str]

# What is only known of a layer that was simulated.
HAPPENED = ("saturated", "waited", "silent")
# What a layer is to the engine.
CONV3, CONV3_ADD, CONV1, CONV1_ADD = ("3x3 to spikes", "3x3 to residual", "1x1 to spikes",
                                      "1x1 to residual")
SPIKE_HEAD = "head of spikes"
CONVOLUTIONS = ("encoder", CONV3, CONV3_ADD, CONV1, CONV1_ADD)
WEIGHTED = (*CONVOLUTIONS, "head of sums", SPIKE_HEAD)
ROLES = (*WEIGHTED, "attention")
FIRING = (*CONVOLUTIONS, "attention")
NO_YES = ("no", "yes")

DIMENSIONS: Mapping[str, Sequence[str]] = {
    "layer": ROLES, "tau": ("2", "1.5"), "pooled": NO_YES, "weight bits": ("4", "6", "8"),
    "weights": ("on chip", "streamed", "tight ring"), "ports": ("1", "2"),
    "tiles": ("part of one", "one", "several", "several and part of one"),
    "banks": ("1", "2", "3", "4", "5", "8"), "walk": ("alone", "pairs", "beside"),
    "residual": ("on chip", "outside"), "reads": ("on chip", "outside"),
    "writes": ("on chip", "outside"), "saturated": NO_YES, "waited": NO_YES, "silent": NO_YES,
    "input": ("image", "events"), "timesteps": tuple("12345678"),
    "head": ("avgpool_fc", "fc_avgpool", "sn_avgpool_fc", "sn_fc_avgpool"),
}


@dataclass(frozen=True)
class Cross:
    """Dimensions whose values should all come together.

    possible: whether a bin, a value for each dimension, can be built
    why:      what the others are
    """

    dimensions: tuple[str, ...]
    possible: Callable[[Facts], bool]
    why: str

    @property
    def name(self) -> str:
        return " x ".join(self.dimensions)

    def bins(self) -> Iterator[tuple[str, ...]]:
        for values in product(*(DIMENSIONS[name] for name in self.dimensions)):
            if self.possible(dict(zip(self.dimensions, values, strict=True))):
                yield values


def _walks(bin_: Facts) -> bool:
    """What `hw.reuse` allows."""
    return {"pairs": bin_["layer"] != "encoder",
            "beside": bin_["layer"] in ("encoder", CONV3)}.get(bin_["walk"], True)


CROSSES = (
    Cross(("layer", "tau", "pooled"),
          lambda b: b["layer"] in FIRING and (b["pooled"] == "no"
                                              or b["layer"] in ("encoder", CONV3)),
          "heads fire nothing; only the tokenizer pools"),
    Cross(("layer", "weight bits", "weights"), lambda b: b["layer"] in WEIGHTED,
          "attention has no weights"),
    Cross(("layer", "tiles", "ports"), lambda b: b["layer"] in WEIGHTED,
          "attention has no tiles"),
    Cross(("layer", "banks", "walk"), lambda b: b["layer"] in CONVOLUTIONS and _walks(b),
          "the encoder has no pairs, and only 3x3 convolutions to spikes go beside each other"),
    Cross(("layer", "residual", "saturated"), lambda b: b["layer"] in (CONV3_ADD, CONV1_ADD),
          "the others add to no stream"),
    Cross(("layer", "reads", "writes", "pooled"),
          lambda b: b["layer"] in ("encoder", CONV3) or (
              b["layer"] == CONV3_ADD and (b["writes"], b["pooled"]) == ("on chip", "no")),
          "maps of the blocks stay on chip"),
    Cross(("layer", "weights", "waited"),
          lambda b: b["layer"] in WEIGHTED and (b["weights"] != "on chip" or b["waited"] == "no"),
          "weights on chip are there"),
    Cross(("layer", "silent", "input"), lambda b: b["layer"] not in ("head of sums",),
          "the sums of a head count samples, not spikes"),
    Cross(("head", "tau", "input"), lambda b: True, "all can be built"),
    Cross(("timesteps", "tau", "input"), lambda b: True, "all can be built"),
)


def role(layer: Layer, spiking: bool) -> str:
    """What a layer is; `spiking`: of the network's classifier."""
    if layer.kind is Kind.CLASSIFIER:
        return SPIKE_HEAD if spiking else "head of sums"
    if layer.kind is not Kind.CONV:
        return layer.kind.value
    return f"{layer.kernel}x{layer.kernel} to {layer.output.value}"


def layer_facts(program: Program, inferences: Iterable[Any], memory: str) -> list[dict[str, str]]:
    """What held for each layer, each different one once.

    inferences: `sim.trace.Inference`s of the program
    memory:     the dimension of `sim.draw`
    """
    planned = planned_facts(program, memory)
    found: dict[tuple[tuple[str, str], ...], None] = {}
    for inference in inferences:
        for plan, facts, run in zip(program.plan.layers, planned, inference.layers, strict=True):
            silent = not (run.acs if plan.layer.kind is Kind.ATTENTION else run.events)
            happened = {"saturated": run.saturations > 0, "waited": run.spent.weight_wait > 0,
                        "silent": silent}
            facts = facts | {name: NO_YES[value] for name, value in happened.items()}
            found.setdefault(tuple(facts.items()))
    return [dict(facts) for facts in found]


def planned_facts(program: Program, memory: str) -> list[dict[str, str]]:
    """Of each layer, in order: the dimensions that need no simulation."""
    hardware, network = program.hardware, program.model.network
    values = {each["layer"]: each for each in program.instructions if each.get("report")}
    weights = ("on chip" if not hardware.streamed else
               "tight ring" if memory == "tight ring" else "streamed")
    common = {
        "tau": f"{network.tau:g}", "weight bits": str(program.model.weight_bits),
        "weights": weights, "ports": str(hardware.geometry.ports),
        "banks": str(hardware.geometry.banks), "timesteps": str(network.timesteps),
        "residual": "outside" if hardware.spills_residual else "on chip",
        "input": "image" if network.static_input else "events", "head": network.classifier.value}
    found = []
    for plan in program.plan.layers:
        layer, instruction = plan.layer, values[plan.index]
        found.append(common | {
            "layer": role(layer, network.classifier.spiking), "walk": plan.walk.value,
            "tiles": _tiles(plan, hardware.geometry.lanes), "pooled": NO_YES[layer.pool],
            "reads": ("on chip", "outside")[instruction.get("source_window", 0)],
            "writes": ("on chip", "outside")[instruction.get("target_window", 0)]})
    return found


def _tiles(plan: LayerPlan, lanes: int) -> str:
    channels = len(plan.out_channels)
    if channels <= lanes:
        return "one" if channels == lanes else "part of one"
    return "several" if channels % lanes == 0 else "several and part of one"


def planned_crosses() -> list[Cross]:
    """Those of which every dimension is known without a simulation."""
    return [cross for cross in CROSSES if not set(cross.dimensions) & set(HAPPENED)]


@dataclass(frozen=True)
class Hits:
    """How many bins of a cross there are, and those that never came."""

    cross: Cross
    total: int
    missing: tuple[tuple[str, ...], ...]

    @property
    def hit(self) -> int:
        return self.total - len(self.missing)


def measure(facts: Iterable[Facts], crosses: Sequence[Cross] = CROSSES) -> list[Hits]:
    """What came of each cross.

    Raises ValueError for a fact that is in no bin: then `possible` is wrong.
    """
    facts, found = list(facts), []
    for cross in crosses:
        bins = list(cross.bins())
        layers = cross.dimensions[0] != "layer"
        seen = {tuple(each[name] for name in cross.dimensions) for each in facts
                if layers or any(each["layer"] == bin_[0] for bin_ in bins)}
        for values in sorted(seen.difference(bins)):
            raise ValueError(f"a bin of {cross.name} must be one that can be built, "
                             f"not {values!r}, which was simulated")
        found.append(Hits(cross, len(bins), tuple(each for each in bins if each not in seen)))
    return found


def grouped(missing: Iterable[tuple[str, ...]]) -> list[str]:
    """Bins as lines, those that differ in the last dimension together."""
    lines: dict[tuple[str, ...], list[str]] = {}
    for *first, last in missing:
        lines.setdefault(tuple(first), []).append(last)
    return [", ".join((*first, "/".join(last))) for first, last in lines.items()]
