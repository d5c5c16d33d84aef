"""Each track's distribution of expressions, side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from fer_batch.palette import COLOURS
from fer_batch.schema import EMOTIONS
from reports.figures.axes import Figure, grid, layout


def people(everyone: dict[str, float | None], tracks: pa.Table) -> Figure:
    """A stacked bar for all tracks together and one a track: the mean of each probability over the time with a face.

    Args:
        everyone: the means over the video by emotion.
        tracks: :func:`reports.measures.tracks`, those to be shown.
    """
    rows: list[dict[str, Any]] = tracks.to_pylist()
    labels = ["All tracks", *[f"Track {row['track_id']}" for row in rows]]
    counts = ["mean of each frame's faces", *[f"n = {row['samples']:,} samples" for row in rows]]
    data = []
    for emotion in EMOTIONS:
        values = np.array([everyone[emotion] or 0.0, *[row[f"p_{emotion}"] for row in rows]], np.float32)
        data.append(
            {"type": "bar", "orientation": "h", "y": labels, "x": values, "name": emotion, "meta": "emotion",
             "marker": {"color": COLOURS[emotion], "line": {"width": 0}}, "customdata": counts,
             "hovertemplate": "%{y} (%{customdata})<br>" + emotion + " %{x:.0%}<extra></extra>"}
        )  # fmt: skip
    return {
        "data": data,
        "layout": layout(
            90 + 26 * len(labels),
            barmode="stack",
            bargap=0.25,
            hovermode="closest",
            margin={"l": 76, "r": 16, "t": 30, "b": 46},
            xaxis={**grid(), "range": [0, 1], "tickformat": ".0%", "fixedrange": True,
                   "title": {"text": "Mean probability"}},
            yaxis={**grid(), "autorange": "reversed", "ticks": "", "fixedrange": True},
        ),
        "frames": [],
    }  # fmt: skip
