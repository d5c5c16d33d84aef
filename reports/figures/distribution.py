"""How the videos of a run differ in each expression."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from fer_batch.page import INK
from fer_batch.palette import COLOURS
from reports.figures.axes import Figure, grid, layout


def distribution(table: pa.Table) -> Figure:
    """A box a emotion over the videos' own means (5th to 95th percentile), with both means over all videos.

    Args:
        table: :func:`reports.measures.distribution`.
    """
    rows: list[dict[str, Any]] = table.to_pylist()
    names = [row["emotion"] for row in rows]
    data: list[dict[str, Any]] = [
        {"type": "box", "orientation": "h", "y": [at], "q1": [row["q25"]], "median": [row["median"]],
         "q3": [row["q75"]], "lowerfence": [row["q05"]], "upperfence": [row["q95"]], "name": row["emotion"],
         "meta": "emotion", "fillcolor": COLOURS[row["emotion"]], "line": {"color": INK, "width": 1.2}, "width": 0.3,
         "hoverinfo": "x", "xhoverformat": ".0%"}
        for at, row in enumerate(rows)
    ]  # fmt: skip
    # Each mean has its own line, above and below the box, so that whiskers and intervals do not cover each other.
    for kind, name, symbol, shift in (
        ("by_video", "each video counts equally", "diamond", -0.31),
        ("by_face", "each face counts equally", "circle-open", 0.31),
    ):
        known = rows[0][f"{kind}_low"] is not None if rows else False
        error = {"type": "data", "symmetric": False, "thickness": 1.4, "width": 3,
                 "array": [row[f"{kind}_high"] - row[kind] for row in rows],
                 "arrayminus": [row[kind] - row[f"{kind}_low"] for row in rows]} if known else None  # fmt: skip
        data.append(
            {"type": "scatter", "mode": "markers", "y": [at + shift for at in range(len(rows))],
             "x": [row[kind] for row in rows], "name": name, "meta": "ink", "customdata": names,
             "marker": {"symbol": symbol, "size": 8, "color": INK, "line": {"width": 1.6}},
             **({"error_x": error} if error else {}),
             "hovertemplate": f"%{{customdata}}, {name}: %{{x:.1%}}<extra></extra>"}
        )  # fmt: skip
    return {
        "data": data,
        "layout": layout(
            420,
            hovermode="closest",
            margin={"l": 70, "r": 16, "t": 30, "b": 46},
            xaxis={**grid(), "range": [0, 1], "tickformat": ".0%", "fixedrange": True,
                   "title": {"text": "Mean probability in a video"}},
            yaxis={**grid(), "range": [len(rows) - 0.5, -0.5], "ticks": "", "fixedrange": True, "showgrid": False,
                   "tickvals": list(range(len(rows))), "ticktext": names},
        ),
        "frames": [],
    }  # fmt: skip
