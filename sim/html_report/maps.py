# SPDX-License-Identifier: Apache-2.0
"""Spike maps for the page's viewer, and the residual stream by depth."""

from base64 import b64encode
from typing import Any

import numpy as np
import plotly.graph_objects as go

from sim.html_report.charts import BLUE, RED, figure
from sim.html_report.facts import Facts


def packed(spikes: np.ndarray) -> str:
    """bool [T, C, H, W] as base64 of its bits, the first of a byte the most significant."""
    return b64encode(np.packbits(spikes.reshape(-1)).tobytes()).decode()


def viewer(facts: Facts) -> list[dict[str, Any]]:
    """For each layer that fires: name, shape [T, C, H, W] and `packed` spikes, as the RTL gave
    them.
    """
    return [{"name": f"{run.layer.lif} (after {run.layer.name})", "shape": list(run.spikes.shape),
             "bits": packed(run.spikes)}
            for run in facts.inference.layers if run.spikes is not None]


def picture(facts: Facts) -> list[list[int]]:
    """The input, channels and timesteps summed up."""
    image = np.asarray(facts.image)
    return image.sum(tuple(range(image.ndim - 2))).tolist()


def residual(facts: Facts) -> go.Figure:
    """Quartiles, 0.1 and 99.9 %, and extremes of the stream after each layer that changes it."""
    fmt = facts.program.model.residual
    unit = 2.0 ** -fmt.fraction
    streams = [(run.layer.name, np.asarray(run.residual) * unit)
               for run in facts.inference.layers if run.residual is not None]
    names = [name for name, _ in streams]
    low, q1, median, q3, high = (
        [float(np.quantile(values, share)) for _, values in streams]
        for share in (0.001, 0.25, 0.5, 0.75, 0.999))
    box = go.Box(name="0.1 %, quartiles, 99.9 %", x=names, q1=q1, median=median, q3=q3,
                 lowerfence=low, upperfence=high, marker_color=BLUE)
    ends = go.Scatter(name="smallest and largest", x=names * 2, mode="markers",
                      y=[float(values.min()) for _, values in streams]
                      + [float(values.max()) for _, values in streams],
                      marker={"color": RED, "symbol": "x"})
    drawn = figure(box, ends, height=400, yaxis={"title": "value"})
    for limit in (-(fmt.maximum + 1) * unit, fmt.maximum * unit):
        drawn.add_hline(y=limit, line_dash="dash", line_color=RED,
                        annotation_text=f"{fmt.width} bits end at {limit:g}")
    return drawn
