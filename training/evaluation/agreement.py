"""How a model's calls, and FER2013's own labels, agree with the ten annotators of FER+."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import scipy.special

from fer_batch.schema import EMOTIONS
from training.data.faces import VOTES
from training.evaluation.metrics import Interval, mean_interval, wilson

EMOTION_OF: Final = {
    "anger": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "happiness": "happy",
    "sadness": "sad",
    "surprise": "surprise",
    "neutral": "neutral",
}
"""FER+'s names of our classes. Its contempt, unknown and NF (no face) are none of them."""

_COLUMNS: Final = [VOTES.index(name) for emotion in EMOTIONS for name, ours in EMOTION_OF.items() if ours == emotion]


@dataclass(frozen=True, eq=False)
class Majority:
    """What the annotators' majority says of each of N pictures.

    Attributes:
        classes: (N,) index into ``EMOTIONS``; -1 where there is none.
        excluded: why there is none, and for how many pictures: ``contempt``, ``unknown``, ``NF``, ``no_majority``
            (no class has more than half of the votes) and ``no_votes``.
    """

    classes: npt.NDArray[np.int64]
    excluded: dict[str, int]

    @classmethod
    def of(cls, votes: npt.NDArray[np.floating[Any]]) -> Majority:
        """The majority of votes (N, 10), in the order of ``VOTES``; a row may be all zero.

        A clear majority is more than half of all votes (Barsoum et al. 2016, majority voting).
        """
        total = votes.sum(axis=1)
        top = votes.argmax(axis=1)
        clear = votes.max(axis=1, initial=0) > 0.5 * total * (1 + 1e-6)  # shares are float32
        place = {column: index for index, column in enumerate(_COLUMNS)}
        classes = np.array([place.get(int(column), -1) for column in top], np.int64)
        excluded = {name: int((clear & (top == VOTES.index(name))).sum()) for name in VOTES if name not in EMOTION_OF}
        excluded["no_majority"] = int((~clear & (total > 0)).sum())
        excluded["no_votes"] = int((total == 0).sum())
        return cls(np.where(clear, classes, -1), excluded)


def agreement(
    probabilities: npt.NDArray[np.floating[Any]],
    labels: npt.NDArray[np.integer[Any]],
    votes: npt.NDArray[np.floating[Any]],
) -> dict[str, Any]:
    """Agreement with the annotators, on the pictures of which a clear majority sees one of our seven expressions.

    Args:
        probabilities: (N, 7) of the model.
        labels: (N,) FER2013's own.
        votes: (N, 10) in the order of ``VOTES``.

    Returns:
        What JSON can hold, intervals under keys that end in ``_95``: ``n``, ``excluded``; ``prediction``, the share of
        pictures that the model calls what the majority does; ``label``, the share that are labelled so;
        ``probability``, the mean probability given to the majority's class; ``cross_entropy`` of the model to the
        votes among the seven, in nats, and ``votes_entropy``, below which no model can come; ``classes``, by the
        majority's class.
    """
    majority = Majority.of(votes)
    found = majority.classes >= 0
    truth, given = majority.classes[found], probabilities[found].astype(np.float64)
    shares = votes[found][:, _COLUMNS].astype(np.float64)
    shares /= shares.sum(axis=1, keepdims=True)
    called, labelled = given.argmax(axis=1) == truth, labels[found] == truth
    granted = given[np.arange(len(truth)), truth]
    cross_entropy = -(shares * np.log(np.maximum(given, 1e-12))).sum(axis=1)
    classes = {}
    for index, emotion in enumerate(EMOTIONS):
        mine = truth == index
        classes[emotion] = {
            "n": int(mine.sum()),
            **_rate("prediction", called[mine]),
            **_rate("label", labelled[mine]),
            **_mean("probability", granted[mine], (0.0, 1.0)),
        }
    return {
        "n": len(truth),
        "excluded": majority.excluded,
        **_rate("prediction", called),
        **_rate("label", labelled),
        **_mean("probability", granted, (0.0, 1.0)),
        **_mean("cross_entropy", cross_entropy, (0.0, np.inf)),
        **_mean("votes_entropy", scipy.special.entr(shares).sum(axis=1), (0.0, np.inf)),
        "classes": classes,
    }


def _rate(name: str, hits: npt.NDArray[np.bool_]) -> dict[str, Any]:
    return _entry(name, float(hits.mean()) if len(hits) else None, wilson(int(hits.sum()), len(hits)))


def _mean(name: str, values: npt.NDArray[np.float64], bounds: Interval) -> dict[str, Any]:
    low, high = mean_interval(values)
    interval = max(low, bounds[0]), min(high, bounds[1])
    return _entry(name, float(values.mean()) if len(values) else None, interval)


def _entry(name: str, value: float | None, interval: Interval) -> dict[str, Any]:
    """A figure with its interval; null is the figure without pictures, and an interval that is open at an end."""
    return {
        name: None if value is None else round(value, 4),
        f"{name}_95": [round(end, 4) for end in interval] if np.isfinite(interval).all() else None,
    }
