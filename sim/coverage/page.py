# SPDX-License-Identifier: Apache-2.0
"""What was measured, as text and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sim.coverage.functional import Hits, grouped
from sim.coverage.python import Share
from sim.coverage.verilog import Simulated, by_file, gaps

# Modules of the Python that are listed, those with most unreached lines and branches.
LISTED = 15


def percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of equal width, the first one to the left."""
    wide = [max(len(row[n]) for row in (heading, *rows)) for n in range(len(heading))]
    return ["  ".join((row[0].ljust(wide[0]), *(cell.rjust(width) for cell, width in
                                                zip(row[1:], wide[1:])))).rstrip()
            for row in (heading, *rows)]


def _share(share: Share) -> tuple[str, ...]:
    return (share.name, f"{share.lines:,} of {share.all_lines:,}",
            percent(share.lines, share.all_lines),
            f"{share.branches:,} of {share.all_branches:,}",
            percent(share.branches, share.all_branches))


def python_lines(shares: Sequence[Share]) -> list[str]:
    """Packages, their sum, and the modules with most unreached."""
    packages = [Share.of(name, [each for each in shares if each.name.startswith(f"{name}/")])
                for name in sorted({each.name.partition("/")[0] for each in shares})]
    rows = [*packages, Share.of("all", shares)]
    worst = [each for each in shares if each.missing][:LISTED]
    return _table(("Python", "lines", "", "branches", ""),
                  [_share(each) for each in (*rows, *worst)])


def verilog_lines(simulated: Simulated) -> list[str]:
    """A row a file, and what was never reached, first what nobody has explained."""
    rows = [(each.name, f"{each.lines} of {each.all_lines}",
             f"{each.signals} of {each.all_signals}", f"{each.bits:,} of {each.all_bits:,}",
             percent(each.bits, each.all_bits)) for each in by_file(simulated.reached)]
    lines, toggles = simulated.reached.lines, simulated.reached.toggles
    signals = {key[:3] for key in toggles}
    alive = {key[:3] for key, hit in toggles.items() if hit}
    hit = sum(toggles.values())
    rows.append(("all", f"{sum(lines.values())} of {len(lines)}",
                 f"{len(alive)} of {len(signals)}", f"{hit:,} of {len(toggles):,}",
                 percent(hit, len(toggles))))
    text = _table(("Verilog", "statements", "signals", "changes of bits", ""), rows)
    unreached = gaps(simulated.reached)
    open_, explained = ([gap for gap in unreached if bool(gap.reason) is known]
                        for known in (False, True))
    text += ["", (f"{len(unreached)} statements and signals were never reached, "
                 f"{len(open_)} of them unexplained")]
    text += [f"  {gap.place}: {gap.what}" for gap in open_]
    text += [f"  {gap.place}: {gap.what} -- {gap.reason}" for gap in explained]
    return text


def functional_lines(hits: Sequence[Hits]) -> list[str]:
    """A row a cross, and the bins that never came."""
    rows = [(each.cross.name, f"{each.hit} of {each.total}", percent(each.hit, each.total))
            for each in hits]
    total = [sum(getattr(each, name) for each in hits) for name in ("hit", "total")]
    rows.append(("all", f"{total[0]} of {total[1]}", percent(*total)))
    text = _table(("cross", "bins", ""), rows)
    for each in hits:
        if each.missing:
            text += ["", f"never: {each.cross.name}"]
            text += [f"  {line}" for line in grouped(each.missing)]
    return text


def as_json(shares: Sequence[Share] | None, simulated: Simulated | None,
            hits: Sequence[Hits] | None) -> dict[str, Any]:
    """The same for programs; the parts that were measured."""
    found: dict[str, Any] = {}
    if shares is not None:
        found["python"] = [asdict(each) for each in shares]
    if simulated is not None:
        found["verilog"] = {
            "combinations": simulated.numbers, "values": simulated.values,
            "files": [asdict(each) for each in by_file(simulated.reached)],
            "never": [asdict(gap) for gap in gaps(simulated.reached)]}
    if hits is not None:
        found["functional"] = [{"cross": list(each.cross.dimensions), "hit": each.hit,
                                "total": each.total, "missing": [list(b) for b in each.missing]}
                               for each in hits]
    return found
