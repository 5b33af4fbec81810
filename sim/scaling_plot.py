# SPDX-License-Identifier: Apache-2.0
"""The curves of `sim.scaling` as one picture."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

Figures = Mapping[str, float]
NETWORKS = "networks"   # the curve over weights; the others are over additions per cycle
PANELS = (("cycles", "cycles of an inference"), ("lut", "LUT, 7 series"),
          ("use", "lane use"), ("synthesis_seconds", "s of yosys, processor time"),
          ("simulator_speed", "simulated cycles / s of processor time"))


def draw(curves: Mapping[str, Sequence[Figures]], path: Path) -> None:
    """Write an SVG, whole or not at all, the same for the same curves.

    curves: figures by the keys of `sim.metrics.METRICS`, in the order of the curve; a panel leaves
            out points that lack its figure
    """
    import matplotlib  # 2 s, and only for figures

    matplotlib.use("svg")
    from matplotlib import pyplot

    with matplotlib.rc_context({"svg.hashsalt": "spikeloom", "svg.fonttype": "none",
                                "font.size": 9}):
        figure, axes = pyplot.subplots(2, 3, figsize=(12, 7), layout="constrained")
        for axis, (key, title) in zip(axes.flat, PANELS):
            _panel(axis, {name: points for name, points in curves.items() if name != NETWORKS},
                   "adders", key)
            axis.set(title=title, xlabel="additions per cycle", xscale="log",
                     yscale="linear" if key == "use" else "log")
        last = axes.flat[len(PANELS)]
        _panel(last, {name: points for name, points in curves.items() if name == NETWORKS},
               "weights", "cycles")
        last.set(title="cycles of an inference, networks on 768 adders", xlabel="weights",
                 xscale="log", yscale="log")
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        figure.savefig(partial, format="svg", metadata={"Date": None})
        pyplot.close(figure)
    os.replace(partial, path)


def _panel(axis: object, curves: Mapping[str, Sequence[Figures]], x: str, y: str) -> None:
    for name, points in curves.items():
        pairs = [(point[x], point[y]) for point in points if x in point and y in point]
        if pairs:
            axis.plot(*zip(*pairs), marker="o", label=name)
    if axis.lines:
        axis.legend()
    axis.grid(True, which="both", alpha=0.3)
