"""How good the crops were from which the expressions were read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import pyarrow as pa

from reports.figures.axes import Figure, condition_bands, frame, grid, headings, layout, line_with_band, time_axis

_NAMES: Final = {
    "face_size": ("face size", "Face size (px)"),
    "sharpness": ("sharpness", "Sharpness (variance of the Laplacian)"),
    "det_score": ("detector's score", "Detector's score (0 to 1)"),
}
"""Columns of the table `faces`, their names in a reading and on an axis."""

QUALITY: Final = tuple(_NAMES)


def quality(views: Mapping[str, pa.Table], stretches: pa.Table, extent_ms: int, window: int) -> Figure:
    """Three plots: face size, sharpness and the detector's score, mean (line) and 10th to 90th percentile (band).

    Args:
        views: :func:`reports.measures.spread` of :data:`QUALITY`, ``all`` first and then tracks.
        stretches: :func:`reports.measures.conditions` of the video.
        extent_ms: length of the time axis.
        window: of the spread, milliseconds.
    """
    first, *others = views
    tops = {}
    for name in _NAMES:
        highest = [np.asarray(t[f"{name}_high"].to_numpy(zero_copy_only=False), float) for t in views.values()]
        tops[name] = 1.05 * max((np.nanmax(h) for h in highest if not np.isnan(h).all()), default=1.0)
    tops["det_score"] = 1.02
    axes = dict(zip(_NAMES, ("y", "y2", "y3"), strict=True))
    bands = [t for name in _NAMES for t in condition_bands(stretches, 0, tops[name], yaxis=axes[name])]
    drawn = {
        who: [
            t
            for name, (label, _) in _NAMES.items()
            for t in line_with_band(table, name, label, window, yaxis=axes[name])
        ]
        for who, table in views.items()
    }
    at = len(bands)
    axis = {**grid(), "fixedrange": True, "nticks": 4}
    domains = {"y": (0.75, 0.98), "y2": (0.375, 0.605), "y3": (0, 0.23)}
    return {
        "data": [*bands, *drawn[first]],
        "layout": layout(
            420,
            hovermode="closest",
            annotations=headings(domains, {axes[name]: title for name, (_, title) in _NAMES.items()}),
            xaxis=time_axis(extent_ms, anchor="y3"),
            **{
                f"yaxis{axes[name][1:]}": {**axis, "range": [0, tops[name]], "domain": domains[axes[name]]}
                for name in QUALITY
            },
        ),
        "frames": [
            frame(who, {at + i: {key: trace[key] for key in ("x", "y")} for i, trace in enumerate(drawn[who])})
            for who in others
        ],
    }  # fmt: skip
