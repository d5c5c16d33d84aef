"""Emotion by time as a heat map."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_batch.schema import EMOTIONS
from reports.figures.axes import Figure, axis_time, condition_bands, frame, grid, headings, layout, time_axis


def heatmap(views: Mapping[str, pa.Table], stretches: pa.Table, extent_ms: int) -> Figure:
    """A row an emotion, a column a slice of time, colour the mean probability over the time with a face.

    Args:
        views: :func:`reports.measures.heat`, ``all`` first and then tracks.
        stretches: :func:`reports.measures.conditions` of the video; where no cell is drawn, their patterns show.
        extent_ms: length of the time axis.
    """
    cells = {who: _cells(table) for who, table in views.items()}
    first, *others = cells
    table = views[first]
    edges = np.append(table["start_ms"].to_numpy(), table["end_ms"].to_numpy()[-1:])
    bands = condition_bands(stretches, 0, 1, yaxis="y2")
    trace = {
        # Cividis is even in lightness and reads alike with any common kind of colour blindness.
        "type": "heatmap", "x": axis_time(edges), "y": list(EMOTIONS), "z": cells[first], "zmin": 0,
        "zmax": 1, "colorscale": "Cividis", "name": "mean probability", "meta": "heat", "hoverongaps": False,
        "hovertemplate": "%{x}<br>%{y} %{z:.0%}<extra></extra>",
        "colorbar": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 1,
                     "xanchor": "right", "len": 0.5, "thickness": 10, "tickformat": ".0%", "tickvals": [0, 0.5, 1],
                     "outlinewidth": 0, "ticks": ""},
    }  # fmt: skip
    return {
        "data": [*bands, trace],
        "layout": layout(
            330,
            hovermode="closest",
            annotations=headings({"y": (0, 1)}, {"y": "Mean probability:"}),
            margin={"l": 70, "r": 12, "t": 56, "b": 46},
            xaxis=time_axis(extent_ms),
            yaxis={**grid(), "range": [len(EMOTIONS) - 0.5, -0.5], "fixedrange": True, "showgrid": False, "ticks": ""},
            # The patterns lie above the cells, but where one is the other is not.
            yaxis2={"range": [0, 1], "overlaying": "y", "visible": False, "fixedrange": True},
        ),
        "frames": [frame(who, {len(bands): {"z": cells[who]}}) for who in others],
    }  # fmt: skip


def _cells(table: pa.Table) -> NDArray[np.float32]:
    values = [np.asarray(table[name].to_numpy(zero_copy_only=False), np.float32) for name in EMOTIONS]
    return np.stack(values)
