"""Valence and expressiveness over time, with their spread over faces and neighbouring samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pyarrow as pa

from fer_batch.page import INK
from reports.figures.axes import Figure, condition_bands, frame, grid, headings, layout, line_with_band, time_axis

AFFECT: Final = ("valence", "expressiveness")
"""Columns of the table `faces`."""


def affect(views: Mapping[str, pa.Table], stretches: pa.Table, extent_ms: int, window: int) -> Figure:
    """Two plots: mean (line) and 10th to 90th percentile (band).

    Args:
        views: :func:`reports.measures.spread` of the two columns, ``all`` first and then tracks.
        stretches: :func:`reports.measures.conditions` of the video.
        extent_ms: length of the time axis.
        window: of the spread, milliseconds.
    """
    axes = {"valence": "y", "expressiveness": "y2"}
    bands = [*condition_bands(stretches, -1, 1, yaxis="y"), *condition_bands(stretches, 0, 1, yaxis="y2")]
    drawn = {
        who: [t for name in AFFECT for t in line_with_band(table, name, name, window, yaxis=axes[name])]
        for who, table in views.items()
    }
    first, *others = drawn
    at = len(bands)
    frames = [
        frame(who, {at + i: {key: trace[key] for key in ("x", "y")} for i, trace in enumerate(drawn[who])})
        for who in others
    ]
    domains = {"y": (0.56, 0.97), "y2": (0, 0.41)}
    axis = {**grid(), "fixedrange": True, "nticks": 5}
    return {
        "data": [*bands, *drawn[first]],
        "layout": layout(
            360,
            hovermode="closest",
            annotations=headings(domains, {"y": "Valence (\u22121 to 1)", "y2": "Expressiveness (0 to 1)"}),
            xaxis=time_axis(extent_ms, anchor="y2"),
            yaxis={**axis, "range": [-1, 1], "tickvals": [-1, 0, 1], "domain": domains["y"],
                   "zeroline": True, "zerolinecolor": INK},
            yaxis2={**axis, "range": [0, 1], "tickvals": [0, 0.5, 1], "domain": domains["y2"]},
        ),
        "frames": frames,
    }  # fmt: skip
