"""Training curves: what each epoch cost and brought, found beside a model or where one is pointed to, and drawn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fer_batch.bundle import ModelBundle
from fer_batch.errors import RefusedError
from fer_batch.page import GRID, INK, LAYOUT, number

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

FILES: Final = ("history.parquet", "history.csv")
"""What training calls its history, the one that is taken first leading."""

NEEDED: Final = ("stage", "images_seen", "label_loss", "accuracy", "valid_accuracy", "valid_loss")
"""Columns without which there is no curve."""

TRAINING, VALIDATION = "#EE6677", "#4477AA"


def find_history(bundle: ModelBundle, path: Path | None = None) -> pd.DataFrame | None:
    """The history of a model's training, a row an epoch.

    Args:
        bundle: the model; it may carry its history itself or in a file of its folder.
        path: a history file (CSV or Parquet) or the folder that holds it, such as ``--checkpoints`` of training.

    Returns:
        At least the columns of :data:`NEEDED`; None where no path was given and the model has no history.

    Raises:
        RefusedError: the path holds no history, or it cannot be read.
    """
    import pandas as pd

    carried = bundle.training.get("history")
    if path is None and carried:
        return _checked(pd.DataFrame(carried), bundle.path)
    places = [path] if path is not None and path.is_file() else [(path or bundle.path) / name for name in FILES]
    for place in places:
        if place.is_file():
            try:
                return _checked(pd.read_parquet(place) if place.suffix == ".parquet" else pd.read_csv(place), place)
            except (OSError, ValueError) as error:
                raise RefusedError(f"{place} cannot be read as a training history: {error}") from error
    if path is not None:
        raise RefusedError(f"{path} holds no {' or '.join(FILES)}; give the --checkpoints folder of the training")
    return None


def _checked(history: pd.DataFrame, place: Path) -> pd.DataFrame:
    for name in NEEDED:
        if name not in history or history[name].dtype.kind not in "iuf":
            raise RefusedError(f"{place} is no training history: it has no column {name!r} of numbers")
    return history


def curves(history: pd.DataFrame) -> dict[str, go.Figure]:
    """Accuracy and loss by pictures seen; a dotted line where a stage of the training begins."""
    accuracy = {"training": history["accuracy"], "validation": history["valid_accuracy"]}
    loss = {"training": history["label_loss"], "validation": history["valid_loss"]}
    return {
        "accuracy": _curve(history, accuracy, "Accuracy", ".1%"),
        "loss": _curve(history, loss, "Loss on the labels (nats)", ".3f"),
    }


def _curve(history: pd.DataFrame, lines: Mapping[str, Any], title: str, form: str) -> go.Figure:
    import plotly.graph_objects as go

    seen = history["images_seen"].to_numpy()
    texts = [f"epoch {index + 1}, {number(count)} pictures seen" for index, count in enumerate(seen)]
    traces = [
        {
            "type": "scatter", "x": seen, "y": values.to_numpy(), "name": name, "mode": "lines+markers",
            "line": {"width": 2, "color": colour}, "marker": {"size": 5}, "text": texts,
            "hovertemplate": f"{name} %{{y:{form}}}<br>%{{text}}<extra></extra>",
        }
        for (name, values), colour in zip(lines.items(), (TRAINING, VALIDATION), strict=True)
    ]  # fmt: skip
    stages = history["stage"].to_numpy()
    begun = [float(seen[i - 1]) for i in range(1, len(stages)) if stages[i] != stages[i - 1]]
    return go.Figure(
        {
            "data": traces,
            "layout": {
                **LAYOUT, "height": 320, "margin": {"l": 52, "r": 12, "t": 34, "b": 44}, "hovermode": "closest",
                "xaxis": {**GRID, "title": {"text": "Pictures seen"}, "rangemode": "tozero", "nticks": 6},
                "yaxis": {**GRID, "title": {"text": title}, "tickformat": ".0%" if "%" in form else ""},
                "legend": {"orientation": "h", "x": 0, "y": 1.14},
                "shapes": [
                    {"type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "yref": "paper",
                     "line": {"color": INK, "width": 1, "dash": "dot"}}
                    for at in begun
                ],
            },
        }
    )  # fmt: skip
