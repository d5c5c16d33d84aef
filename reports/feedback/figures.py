"""The figure of a stimulus' shares, as plain data."""

from __future__ import annotations

from typing import Any

import numpy as np

from reports.feedback.shares import Shares
from reports.figures.axes import Figure, axis_time, grid, layout, pieces, time_axis
from reports.groups.figures import COLOURS

PALE = "rgba(34,136,204,0.22)"
"""The first of COLOURS, for bands."""


def share_course(one: Shares, step_ms: int, highest: float) -> Figure:
    """The share of respondents over the threshold with its intervals.

    Args:
        one: the stimulus.
        step_ms: of the steps.
        highest: top of the axis, the same for all stimuli, so that they can be compared by eye.
    """
    middle = one.at_ms + step_ms // 2
    x, y, texts, band_x, band_y = [], [], list[str](), [], []
    for run in pieces(np.isfinite(one.share)):
        x += [*middle[run].tolist(), int(middle[run[-1]])]
        y += [*(100 * one.share[run]).tolist(), np.nan]
        texts += [f"{100 * one.share[i]:.0f} % ({100 * one.low[i]:.0f} to {100 * one.high[i]:.0f})<br>n = "
                  f"{one.people[i]}" for i in run] + [""]  # fmt: skip
        band_x += [middle[run], middle[run][::-1], middle[run][:1]]
        band_y += [100 * one.high[run], 100 * one.low[run][::-1], np.array([np.nan])]
    traces: list[dict[str, Any]] = [
        {"type": "scatter", "mode": "lines", "x": axis_time(np.concatenate([np.zeros(0), *band_x])),
         "y": np.concatenate([np.zeros(0), *band_y]).astype(np.float32), "line": {"width": 0}, "fill": "toself",
         "fillcolor": PALE, "name": "95 % intervals", "hoverinfo": "skip"},
        {"type": "scatter", "mode": "lines+markers" if len(middle) == 1 else "lines", "x": axis_time(x),
         "y": np.asarray(y, np.float32), "name": "share", "line": {"width": 2.2, "color": COLOURS[0]}, "text": texts,
         "hovertemplate": "%{x}<br>%{text}<extra></extra>"},
    ]  # fmt: skip
    return {
        "data": traces,
        "layout": layout(
            260,
            hovermode="closest",
            margin={"l": 58, "r": 12, "t": 14, "b": 46},
            xaxis=time_axis(int(one.at_ms[-1]) + step_ms)
            | {"title": {"text": "Time from the start of the stimulus (m:ss)"}},
            yaxis={**grid(), "title": {"text": "Share of respondents (%)"}, "range": [0, highest], "nticks": 6},
        ),
    }
