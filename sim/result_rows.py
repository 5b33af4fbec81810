# SPDX-License-Identifier: Apache-2.0
"""Measured rows as JSON files, and as the tables of docs/results.md."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hw.compiler import Program
from hw.memory_map import MemoryMap
from hw.options import describe, weight_count
from quantize.models import dense_operations
from sim.build import write_whole
from sim.cases import Case, Surroundings
from sim.executed import executed_additions
from sim.measure import Measurement

BEGIN, END = "<!-- measured: python -m sim.results -->", "<!-- end of what is measured -->"


@dataclass(frozen=True)
class Row:
    """One inference of one network; everything but `around` depends on network and hardware.

    cycles:  of the inference, input included; None where it was interrupted and resumed
    span:    cycles from the first sample to the last output word; 0 where it was resumed
    spent:   the same by what they were spent on, `sim.activity.Spent`
    dense:   operations without any sparsity, T times the encoder, attention as Q K^T V
    executed: additions of the adders, `sim.executed.executed_additions`
    adders:  lanes x events that a lane adds per cycle
    port_bits: of each memory port
    moved:   bytes [read, written] by memory port, as predicted and (unless resumed) counted
    external_bytes: of the memory behind the ports
    simulator_seconds: processor time of the simulator alone
    build_seconds:  Verilog, translation and compilation, when the simulator was built
    """

    case: str
    command: str
    network: str
    synthetic: bool
    weights: int
    hardware: str
    around: str
    values: int
    wrong: int
    shown: tuple[str, ...]
    cycles: int | None
    layer_cycles: int
    acs: int
    adders: int
    port_bits: int
    moved: dict[str, list[int]]
    on_chip_bits: int
    bits_besides_weights: int
    external_bytes: int
    build_seconds: float
    simulate_seconds: float
    peak_mb: float
    resumed_at: str | None
    layers: list[dict]
    # What earlier versions did not note.
    span: int = 0
    spent: dict[str, int] = field(default_factory=dict)
    dense: int = 0
    executed: float | None = None
    weight_bits: int = 8
    simulator_seconds: float = 0.0


def row(case: Case, network: str, program: Program, around: Surroundings, mapped: MemoryMap,
        measured: Measurement, build_seconds: float) -> Row:
    """The row of a measurement."""
    geometry, layers = program.hardware.geometry, measured.layers
    return Row(
        case=case.name, command=case.command, network=network,
        synthetic="synthetic" in program.model.provenance, weights=weight_count(program.model),
        hardware=describe(program.model, program.hardware), around=str(around),
        values=measured.values, wrong=measured.wrong, shown=measured.shown,
        cycles=measured.cycles, layer_cycles=sum(layer.cycles for layer in layers),
        span=measured.span.cycles, spent=asdict(measured.span.spent),
        dense=dense_operations(program.model.network, key_value_first=False),
        acs=measured.acs, executed=sum(
            executed_additions(plan, layer.acs, layer.events)
            for plan, layer in zip(program.plan.layers, layers, strict=True)),
        adders=geometry.lanes * geometry.slots,
        weight_bits=program.model.weight_bits, port_bits=program.hardware.port_bits,
        moved={each.port: [each.read, each.written] for each in measured.predicted},
        on_chip_bits=mapped.on_chip_bits, bits_besides_weights=mapped.bits_besides_weights,
        external_bytes=sum(region.size for region in mapped.regions),
        build_seconds=build_seconds, simulate_seconds=measured.seconds,
        simulator_seconds=measured.simulator_seconds, peak_mb=measured.peak_mb,
        resumed_at=layers[measured.first].name if measured.first else None,
        layers=[asdict(layer) for layer in layers])


def save(rows: Sequence[Row], path: Path) -> None:
    """Write the rows of a case."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps([asdict(each) for each in rows], indent=1) + "\n")


def load(paths: Iterable[Path]) -> list[Row]:
    """The rows of some cases, in the order of `paths`."""
    return [Row(**values | {"shown": tuple(values["shown"])})
            for path in paths for values in json.loads(path.read_text())]


def markdown(rows: Sequence[Row]) -> list[str]:
    """Both tables: what was compared, and what is stored and moved."""
    lines = table(
        ("command", "network", "weights", "around", "mismatches", "values compared", "cycles",
         "AC", "executed / AC", "adders busy", "s to build", "s to simulate"), map(_compared, rows))
    lines.append("")
    # The surroundings change nothing here: the first row of each network and case stands for all.
    first = {(each.case, each.network): each for each in reversed(rows)}
    return lines + table(
        ("command", "network", "on-chip KB", "besides weights KB", "external MB",
         "weights read MB", "port busy with them", "residual MB read / written",
         "maps MB read / written"),
        map(_stored, [each for each in rows if first[each.case, each.network] is each]))


def _network(each: Row) -> str:
    return f"{each.network}, {'synthetic' if each.synthetic else 'trained'}"


def _compared(each: Row) -> tuple[str, ...]:
    cycles = each.layer_cycles if each.cycles is None else each.cycles
    resumed = "" if each.resumed_at is None else f" (resumed at {each.resumed_at})"
    return (f"`{each.command}`", _network(each), f"{each.weights:,}", each.around,
            f"{each.wrong:,}", f"{each.values:,}", f"{cycles:,}{resumed}", f"{each.acs:,}",
            "-" if each.executed is None else f"{each.executed / each.acs:.1%}",
            f"{each.acs / each.adders / each.layer_cycles:.1%}", f"{each.build_seconds:.0f}",
            f"{each.simulate_seconds:.1f}")


def _stored(each: Row) -> tuple[str, ...]:
    def megabytes(port: str, *which: int) -> str:
        if port not in each.moved:
            return "on chip"
        return " / ".join(f"{each.moved[port][index] / 1e6:.2f}" for index in which)

    return (f"`{each.command}`", _network(each), f"{each.on_chip_bits / 8192:,.0f}",
            f"{each.bits_besides_weights / 8192:,.0f}", f"{each.external_bytes / 1e6:.2f}",
            megabytes("weights", 0), _busy(each), megabytes("residual", 0, 1),
            megabytes("maps", 0, 1))


def _busy(each: Row) -> str:
    """Beats of program and weights per cycle."""
    if "weights" not in each.moved:
        return "on chip"
    beats = 8 * each.moved["weights"][0] / each.port_bits
    return f"{beats / (each.cycles or each.layer_cycles):.0%}"


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table; numbers, whose columns begin with a digit, to the right."""
    rows = list(rows)
    right = [all(each[column][:1].isdigit() for each in rows) for column in range(len(heading))]
    rule = ["---:" if each and rows else "---" for each in right]
    return [f"| {' | '.join(each)} |" for each in (heading, rule, *rows)]


def check_page(page: Path, begin: str = BEGIN) -> tuple[str, str]:
    """What is before and after the tables of `page`; ValueError if it has no markers."""
    before, found, rest = (page.read_text() if page.is_file() else "").partition(begin)
    _, end, after = rest.partition(END)
    if not found or not end:
        raise ValueError(f"{str(page)!r} must hold the lines {begin!r} and {END!r}")
    return before, after


def write_tables(page: Path, lines: Sequence[str], begin: str = BEGIN) -> None:
    """Replace what is between the markers of `page`; ValueError if it has none."""
    before, after = check_page(page, begin)
    write_whole(page, "\n".join([before + begin, "", *lines, "", END + after]))
