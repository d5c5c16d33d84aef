"""The data page of ``fer-batch train --explore``: what there is to learn from, seen before anything is learnt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from fer_batch.page import GRID, INK, LAYOUT
from fer_batch.palette import COLOURS
from fer_batch.schema import EMOTIONS
from training.data.faces import FaceSet
from training.data.fer2013 import VOTES
from training.data.report import Copies, DataReport, SplitReport
from training.evaluation.agreement import EMOTION_OF, Majority
from training.evaluation.metrics import Interval, wilson
from training.page import picture, write_page

if TYPE_CHECKING:
    import plotly.graph_objects as go

SAMPLES: Final = 12
"""Pictures shown of each class."""

CONFLICTS_SHOWN: Final = 24
"""Pictures with contradictory labels that are shown; the rest are only listed."""

COPIES_LISTED: Final = 2000
"""Groups of copies whose rows are listed; the rest are counted."""

PATTERNS: Final = {"Training": "", "PublicTest": "/", "PrivateTest": "x"}
"""Fill of each split's bars, as Plotly and ``training.css`` know it: the colour is the class's."""

OTHER_VOTES: Final = {"contempt": "#8b6f47", "unknown": "#7a8494", "NF": "#9d8ec7"}
"""Colours of the votes that are none of the seven classes."""

OUTCOMES: Final = {"NF": "not a face", "no_majority": "no majority"}
"""What a reader calls outcomes that are no class."""


@dataclass(frozen=True)
class ClassVotes:
    """What FER+'s annotators said of the pictures with one label.

    Attributes:
        emotion: the label.
        n: pictures with votes.
        agree: share of them of which a clear majority says the label too, with its 95 % interval.
        shares: mean share of the votes for each column of ``VOTES``.
        instead: the two most frequent other outcomes, with their share of the pictures.
    """

    emotion: str
    n: int
    agree: float
    interval: Interval
    shares: tuple[float, ...]
    instead: tuple[tuple[str, float], ...]


def explore(splits: Mapping[str, FaceSet], path: Path, *, source: str, seed: int = 0) -> DataReport:
    """Write the data page.

    Args:
        splits: what was read; samples and mean faces are those of the first split, which is Training where it is there.
        path: the HTML file to write.
        source: name of the data, for the page's head.
        seed: decides which samples are shown.

    Returns:
        The report that the page shows.

    Raises:
        StoppedError: the page cannot be written.
    """
    report = DataReport.of(splits, source)
    first = next(iter(splits.values()))
    voted = class_votes(splits)
    figures = {"distribution": distribution(report.splits)}
    if voted:
        figures["votes"] = votes_figure(voted)
    shown = report.conflicts[:CONFLICTS_SHOWN]
    write_page(
        path,
        "explore.html",
        figures,
        report=report,
        classes=list(zip(EMOTIONS, samples(first, seed), mean_faces(first), strict=True)),
        first=report.splits[0],
        conflicts=[(copies, _face_of(copies, splits), _majority_of(copies, splits)) for copies in shown],
        conflicts_left=len(report.conflicts) - len(shown),
        listed=report.copies[:COPIES_LISTED],
        copies_left=max(0, len(report.copies) - COPIES_LISTED),
        votes=voted,
        other_votes=OTHER_VOTES,
    )
    return report


def distribution(splits: tuple[SplitReport, ...]) -> go.Figure:
    """Bars of each class's share of each split; the splits' sizes differ, so shares compare and counts do not."""
    import plotly.graph_objects as go

    bars: list[dict[str, Any]] = []
    for split in splits:
        shares = [count / max(1, split.pictures) for count in split.counts]
        bars.append(
            {"type": "bar", "orientation": "h", "name": split.name, "y": list(EMOTIONS), "x": shares,
             "marker": {"color": [COLOURS[emotion] for emotion in EMOTIONS],
                        "pattern": {"shape": PATTERNS[split.name], "size": 6, "solidity": 0.35, "fgcolor": INK}},
             "text": [f"{count:,}" for count in split.counts], "textposition": "outside", "cliponaxis": False,
             "hovertemplate": f"<b>%{{y}}</b>, {split.name}<br>%{{text}} pictures, %{{x:.1%}}<extra></extra>"}
        )  # fmt: skip
    most = max((share for bar in bars for share in bar["x"]), default=1.0)
    layout = {
        **LAYOUT, "height": 120 + 7 * 26 * len(bars), "barmode": "group", "bargap": 0.28, "bargroupgap": 0.06,
        "showlegend": False, "margin": {"l": 70, "r": 16, "t": 10, "b": 46},
        "xaxis": {**GRID, "range": [0, most * 1.18], "tickformat": ".0%", "title": {"text": "Share of the split"},
                  "fixedrange": True},
        # The first class on top, and within it the first split.
        "yaxis": {**GRID, "autorange": "reversed", "ticks": "", "fixedrange": True},
    }  # fmt: skip
    return go.Figure({"data": bars, "layout": layout})


def votes_figure(voted: list[ClassVotes]) -> go.Figure:
    """One bar a label, divided as FER+'s annotators divided their votes on its pictures."""
    import plotly.graph_objects as go

    columns = [VOTES.index(name) for emotion in EMOTIONS for name, of in EMOTION_OF.items() if of == emotion]
    columns += [VOTES.index(name) for name in OTHER_VOTES]
    bars = []
    for column in columns:
        name = VOTES[column]
        emotion = EMOTION_OF.get(name)
        bars.append(
            {"type": "bar", "orientation": "h", "name": emotion or name, "y": [line.emotion for line in voted],
             "x": [line.shares[column] for line in voted],
             "marker": {"color": COLOURS[emotion] if emotion else OTHER_VOTES[name], "line": {"width": 0}},
             "hovertemplate": f"<b>%{{y}}</b><br>%{{x:.1%}} of the votes: {emotion or name}<extra></extra>"}
        )  # fmt: skip
    layout = {
        **LAYOUT, "height": 330, "barmode": "stack", "bargap": 0.25, "showlegend": False,
        "margin": {"l": 70, "r": 24, "t": 10, "b": 46},
        "xaxis": {**GRID, "range": [0, 1], "tickformat": ".0%", "title": {"text": "Mean share of the votes"},
                  "fixedrange": True},
        "yaxis": {**GRID, "autorange": "reversed", "ticks": "", "fixedrange": True},
    }  # fmt: skip
    return go.Figure({"data": bars, "layout": layout})


def class_votes(splits: Mapping[str, FaceSet]) -> list[ClassVotes]:
    """What FER+ says of each label, over all splits that have votes; empty where none has."""
    voted = [(faces.labels, faces.votes) for faces in splits.values() if faces.votes is not None]
    if not voted:
        return []
    labels = np.concatenate([mine for mine, _ in voted])
    votes = np.concatenate([shares for _, shares in voted])
    there = votes.sum(axis=1) > 0
    labels, votes = labels[there], votes[there]
    lines = []
    for index, emotion in enumerate(EMOTIONS):
        mine = votes[labels == index]
        if not len(mine):
            continue
        majority = Majority.of(mine)
        hits = int((majority.classes == index).sum())
        others = {EMOTIONS[other]: int((majority.classes == other).sum()) for other in range(len(EMOTIONS))}
        others = {**others, **majority.excluded, emotion: 0}
        most = sorted((name for name in others if others[name]), key=lambda name: -others[name])[:2]
        lines.append(
            ClassVotes(
                emotion=emotion,
                n=len(mine),
                agree=hits / len(mine),
                interval=wilson(hits, len(mine)),
                shares=tuple(float(share) for share in mine.mean(axis=0)),
                instead=tuple((OUTCOMES.get(name, name), others[name] / len(mine)) for name in most),
            )
        )
    return lines


def samples(faces: FaceSet, seed: int) -> list[list[tuple[str, str]]]:
    """For each class, up to :data:`SAMPLES` of its pictures that are not blank, as address and row or file name."""
    rng = np.random.default_rng(seed)
    usable = ~faces.blank()
    shown = []
    for index in range(len(EMOTIONS)):
        mine = np.flatnonzero(usable & (faces.labels == index))
        chosen = np.sort(rng.permutation(mine)[:SAMPLES])
        shown.append([(picture(faces.images[i]), faces.where(int(i))) for i in chosen])
    return shown


def mean_faces(faces: FaceSet) -> list[tuple[str, int]]:
    """For each class, the mean of its pictures that are not blank as an address, and how many they are."""
    usable = ~faces.blank()
    means = []
    for index in range(len(EMOTIONS)):
        mine = usable & (faces.labels == index)
        count = int(mine.sum())
        mean = faces.images[mine].mean(axis=0) if count else np.zeros(faces.images.shape[1:])
        means.append((picture(np.rint(mean).astype(np.uint8)), count))
    return means


def _face_of(copies: Copies, splits: Mapping[str, FaceSet]) -> str:
    place = copies.places[0]
    return picture(np.asarray(splits[place.split].images[place.index]))


def _majority_of(copies: Copies, splits: Mapping[str, FaceSet]) -> str:
    """What a clear majority of FER+'s annotators said, over the votes on all copies; empty where there is none."""
    votes: list[npt.NDArray[np.float32]] = []
    for place in copies.places:
        mine = splits[place.split].votes
        if mine is not None:
            votes.append(mine[place.index])
    winner = int(Majority.of(np.mean(votes, axis=0, keepdims=True)).classes[0]) if votes else -1
    return EMOTIONS[winner] if winner >= 0 else ""
