"""The page of an evaluation: curves, confusion, each class, calibration, and the worst mistakes to look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fer_batch.page import GRID, INK, LAYOUT
from fer_batch.schema import EMOTIONS
from training.data.faces import VOTES, FaceSet
from training.evaluation.curves import curves
from training.evaluation.evaluate import Evaluation
from training.evaluation.metrics import ECE_BINS, Reliability, wilson
from training.page import picture, write_page

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

WORST: Final = 24
"""So many mistakes are shown."""

BLUE, RED = "#4477AA", "#EE6677"

_SHADES: Final = [[0, "rgba(68,119,170,0.02)"], [1, "rgba(68,119,170,0.72)"]]
"""From no picture of a row to all: text stays readable on it in light and dark."""


@dataclass(frozen=True)
class Mistake:
    """A picture that the model called wrongly.

    Attributes:
        image: as a data address.
        where: its row or file in the data.
        label: its class in the data.
        called: the model's.
        probabilities: of each class, the highest first.
        votes: FER+'s, as counted, the most frequent first; empty where there are none.
    """

    image: str
    where: str
    label: str
    called: str
    probabilities: tuple[tuple[str, float], ...]
    votes: tuple[tuple[str, float], ...]


def write_evaluation_page(
    path: Path, evaluation: Evaluation, told: dict[str, Any], pictures: FaceSet, history: pd.DataFrame | None
) -> Path:
    """Writes the page.

    Args:
        path: the HTML file.
        evaluation: of the pictures.
        told: its figures with what was added to them, as ``fer-batch evaluate --json`` prints them.
        pictures: the split that was scored, in the order of the evaluation.
        history: from :func:`training.evaluation.curves.find_history`; None leaves the curves out.

    Raises:
        StoppedError: the page cannot be written.
    """
    judged = evaluation.probabilities if evaluation.cross_fitted is None else evaluation.cross_fitted
    figures = {
        "confusion": confusion_figure(evaluation),
        "classes": classes_figure(told),
        "reliability": reliability_figure(Reliability.of(judged, evaluation.labels)),
    }
    if history is not None:
        figures |= curves(history)
    wrong = int((evaluation.predicted != evaluation.labels).sum())
    return write_page(
        path,
        "evaluation.html",
        figures,
        told=told,
        mistakes=worst_mistakes(evaluation, pictures),
        wrong=wrong,
        epochs=0 if history is None else len(history),
        has_votes=pictures.votes is not None,
    )


def worst_mistakes(evaluation: Evaluation, pictures: FaceSet, count: int = WORST) -> list[Mistake]:
    """The mistakes whose label the model held for least likely, the worst first."""
    granted = evaluation.probabilities[np.arange(evaluation.n), evaluation.labels]
    wrong = np.flatnonzero(evaluation.predicted != evaluation.labels)
    return [
        Mistake(
            image=picture(np.asarray(pictures.images[index])),
            where=pictures.where(int(index)),
            label=EMOTIONS[evaluation.labels[index]],
            called=EMOTIONS[evaluation.predicted[index]],
            probabilities=_ranked(EMOTIONS, evaluation.probabilities[index]),
            votes=() if pictures.votes is None else _ranked(VOTES, pictures.votes[index]),
        )
        for index in wrong[np.argsort(granted[wrong], kind="stable")][:count]
    ]


def confusion_figure(evaluation: Evaluation) -> go.Figure:
    """Counts and shares of each label's pictures; the colour is the share."""
    import plotly.graph_objects as go

    counts = evaluation.confusion
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    columns, rows = np.meshgrid(np.arange(len(EMOTIONS)), np.arange(len(EMOTIONS)))
    texts = [f"{n}<br>{share:.0%}" for n, share in zip(counts.ravel(), shares.ravel(), strict=True)]
    # Text as a trace of its own takes the page's colour, in light and dark; a heatmap's own text does not.
    data = [
        {"type": "heatmap", "z": shares, "x": EMOTIONS, "y": EMOTIONS, "zmin": 0, "zmax": 1, "colorscale": _SHADES,
         "showscale": False, "xgap": 1, "ygap": 1, "customdata": counts,
         "hovertemplate": "labelled %{y}, called %{x}<br>%{customdata} pictures, "
                          "%{z:.1%} of the label<extra></extra>"},
        {"type": "scatter", "x": np.array(EMOTIONS)[columns.ravel()], "y": np.array(EMOTIONS)[rows.ravel()],
         "mode": "text", "text": texts, "textfont": {"size": 11}, "hoverinfo": "skip"},
    ]  # fmt: skip
    axis = {**GRID, "showgrid": False, "type": "category", "categoryarray": list(EMOTIONS), "ticks": ""}
    layout = {
        **LAYOUT, "height": 470, "showlegend": False, "margin": {"l": 66, "r": 8, "t": 58, "b": 8},
        "xaxis": {**axis, "side": "top", "title": {"text": "The model's call"}, "tickangle": -40},
        "yaxis": {**axis, "autorange": "reversed", "title": {"text": ""}},
    }  # fmt: skip
    return go.Figure({"data": data, "layout": layout})


def classes_figure(told: dict[str, Any]) -> go.Figure:
    """Recall and precision of each class with their intervals."""
    import plotly.graph_objects as go

    data = []
    for name, colour, shift in (("recall", BLUE, -0.14), ("precision", RED, 0.14)):
        entries = [told["classes"][emotion] for emotion in EMOTIONS]
        known = [(index, entry) for index, entry in enumerate(entries) if entry[name] is not None]
        values = np.array([entry[name] for _, entry in known], float)
        ends = np.array([entry[f"{name}_95"] for _, entry in known], float).reshape(-1, 2)
        data.append(
            {"type": "scatter", "mode": "markers", "name": name, "x": values,
             "y": [index + shift for index, _ in known],
             "error_x": {"type": "data", "symmetric": False, "array": ends[:, 1] - values,
                         "arrayminus": values - ends[:, 0], "color": colour, "thickness": 1.6, "width": 4},
             "marker": {"size": 8, "color": colour, "symbol": "circle" if name == "recall" else "diamond"},
             "text": [f"{EMOTIONS[i]}, n = {e['n' if name == 'recall' else 'predicted']}" for i, e in known],
             "customdata": ends,
             "hovertemplate": "%{text}<br>" + name + " %{x:.2f} [%{customdata[0]:.2f}, %{customdata[1]:.2f}]"
                              "<extra></extra>"}
        )  # fmt: skip
    layout = {
        **LAYOUT, "height": 360, "margin": {"l": 66, "r": 12, "t": 34, "b": 40}, "hovermode": "closest",
        "xaxis": {**GRID, "range": [0, 1], "tickformat": ".1f"},
        "yaxis": {**GRID, "range": [len(EMOTIONS) - 0.5, -0.5], "tickvals": list(range(len(EMOTIONS))),
                  "ticktext": list(EMOTIONS)},
        "legend": {"orientation": "h", "x": 0, "y": 1.12},
    }  # fmt: skip
    return go.Figure({"data": data, "layout": layout})


def reliability_figure(bins: Reliability) -> go.Figure:
    """Accuracy against confidence with Wilson's intervals; below it how many pictures each bin has."""
    import plotly.graph_objects as go

    filled = np.flatnonzero(bins.count)
    accuracy = bins.hits[filled] / bins.count[filled]
    ends = np.array([wilson(int(bins.hits[i]), int(bins.count[i])) for i in filled]).reshape(-1, 2)
    centres = (np.arange(ECE_BINS) + 0.5) / ECE_BINS
    data = [
        {"type": "scatter", "x": [0, 1], "y": [0, 1], "mode": "lines", "name": "perfectly calibrated",
         "line": {"color": INK, "width": 1.5, "dash": "dash"}, "hoverinfo": "skip"},
        {"type": "scatter", "x": bins.confidence[filled], "y": accuracy, "mode": "markers+lines", "name": "the model",
         "line": {"width": 1, "color": BLUE}, "marker": {"size": 8, "color": BLUE},
         "error_y": {"type": "data", "symmetric": False, "array": ends[:, 1] - accuracy,
                     "arrayminus": accuracy - ends[:, 0], "color": BLUE, "thickness": 1.5, "width": 4},
         "customdata": np.column_stack([bins.count[filled], ends]),
         "hovertemplate": "said %{x:.1%}, right %{y:.1%} [%{customdata[1]:.1%}, %{customdata[2]:.1%}]<br>"
                          "%{customdata[0]} pictures<extra></extra>"},
        {"type": "bar", "x": centres, "y": bins.count, "width": [0.9 / ECE_BINS] * ECE_BINS, "yaxis": "y2",
         "marker": {"color": BLUE, "opacity": 0.6}, "showlegend": False,
         "hovertemplate": "%{y} pictures<extra></extra>"},
    ]  # fmt: skip
    layout = {
        **LAYOUT, "height": 480, "margin": {"l": 58, "r": 12, "t": 34, "b": 44}, "hovermode": "closest",
        "xaxis": {**GRID, "range": [0, 1], "tickformat": ".0%", "anchor": "y2",
                  "title": {"text": "Probability of the model's call"}},
        "yaxis": {**GRID, "range": [0, 1], "domain": [0.3, 1], "tickformat": ".0%",
                  "title": {"text": "Share that is right"}},
        "yaxis2": {**GRID, "domain": [0, 0.22], "title": {"text": "Pictures"}, "nticks": 3},
        "legend": {"orientation": "h", "x": 0, "y": 1.1},
    }  # fmt: skip
    return go.Figure({"data": data, "layout": layout})


def _ranked(names: tuple[str, ...], values: Any) -> tuple[tuple[str, float], ...]:
    """Names with their values, the highest first, without what is zero."""
    order = np.argsort(-np.asarray(values), kind="stable")
    return tuple((names[i], float(values[i])) for i in order if values[i] > 0)
