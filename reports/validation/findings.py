"""All figures of a validation, from the key and the codes, as plain values for a terminal, a page or a program."""

from __future__ import annotations

from dataclasses import asdict
from itertools import combinations
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fer_batch.schema import EMOTIONS
from reports.validation.codes import ANSWERS, CANNOT_TELL, NO_FACE, Codes
from reports.validation.estimate import (
    Estimate,
    Weights,
    calibration,
    cohen_kappa,
    effective_n,
    interval,
    krippendorff_alpha,
    multiplicities,
    rate,
    run_weights,
)
from reports.validation.key import Key

ENOUGH_VIDEOS: Final = 20
"""With so many videos coded they are the clusters, with fewer it is the tracks: intervals from few clusters are too
narrow (Cameron & Miller 2015)."""

ENOUGH_FOR_RECALL: Final = 5.0
"""A recall rests on faces that the model put elsewhere, few of which are drawn and with large weights; it is given
where the coders' faces of the class are worth this many equally weighted ones."""

_CLASSES: Final = len(EMOTIONS)
_SPLIT: Final = -2
_SEED: Final = 0


def findings(key: Key, codes: Codes) -> dict[str, Any]:
    """Compare the model with the coders, and the coders with each other.

    Returns:
        ``sample_id``, ``model``, ``asked``, ``seed``, ``show``, ``faces_in_run``, ``drawn``, ``shown``, ``coded`` (by
        anybody), ``clusters``, ``coders``, ``reference`` (whom the model is measured by), ``pairs`` (agreement of any
        two judges), ``alpha`` (three coders or more), ``accuracy``, ``cannot_tell``, ``no_face``, ``no_majority``,
        ``classes``, ``confusion`` (counts, row is the reference, column the model), ``calibration``, ``cautions``.
        Figures are ``{value, low, high, n}``: the interval is 95 %, and what cannot be said is None.
    """
    columns = {name: key.faces[name].to_numpy() for name in ("video_id", "track_id", "inclusion", "confidence")}
    model = np.array([EMOTIONS.index(emotion) for emotion in key.faces["emotion"].to_pylist()])
    coded = np.asarray((codes.answers >= 0).any(axis=0))
    clusters, by = _clusters(columns["video_id"], columns["track_id"], coded)
    n_clusters = len(np.unique(clusters[coded]))
    drawn_anew = multiplicities(clusters[coded], _SEED)
    times = np.zeros((len(drawn_anew), len(model)))
    times[:, coded] = drawn_anew
    judges = _Judges(times, columns["inclusion"].astype(np.float64), model, np.array(key.n_faces), clusters)

    majority = _majority(codes.answers)
    reference = codes.answers[0] if len(codes.coders) == 1 else majority
    weights = judges.weights(coded)
    has_class = (reference >= 0) & (reference < _CLASSES)
    pairs = [judges.pair("model", model, name, row) for name, row in zip(codes.coders, codes.answers, strict=True)]
    if len(codes.coders) > 1:
        pairs.append(judges.pair("model", model, "majority", majority))
    for (one, first), (other, second) in combinations(zip(codes.coders, codes.answers, strict=True), 2):
        pairs.append(judges.pair(one, first, other, second))
    alpha = None
    if len(codes.coders) > 2:
        alpha = asdict(interval(krippendorff_alpha(times, codes.answers, _CLASSES), int(coded.sum()), n_clusters))
    return {
        "sample_id": key.sample_id,
        "model": key.about.get("model"),
        "asked": key.about.get("asked"),
        "seed": key.about.get("seed"),
        "show": key.about.get("show"),
        "faces_in_run": sum(key.n_faces),
        "drawn": len(model),
        "shown": len(model) - (len(key.faces["lost"]) - key.faces["lost"].null_count),
        "coded": int(coded.sum()),
        "clusters": {"by": by, "n": n_clusters},
        "coders": [_coder(name, row) for name, row in zip(codes.coders, codes.answers, strict=True)],
        "reference": codes.coders[0] if len(codes.coders) == 1 else "majority",
        "pairs": pairs,
        "alpha": alpha,
        "accuracy": asdict(rate(weights, model == reference, has_class, clusters)),
        "cannot_tell": asdict(rate(weights, reference == ANSWERS.index(CANNOT_TELL), coded, clusters)),
        "no_face": asdict(rate(weights, reference == ANSWERS.index(NO_FACE), coded, clusters)),
        "no_majority": int((reference[coded] == _SPLIT).sum()),
        "classes": _classes(weights, model, reference, has_class, clusters, key.n_faces),
        "confusion": _confusion(reference[has_class], model[has_class]),
        "calibration": _calibration(weights[:, has_class], columns["confidence"][has_class].astype(np.float64),
                                    (model == reference)[has_class], clusters[has_class]),
        "cautions": _cautions(by, n_clusters, codes, int((reference[coded] == _SPLIT).sum())),
    }  # fmt: skip


class _Judges:
    """Compares any two judges, the model being one, on the faces to which both gave a class."""

    def __init__(
        self,
        times: Weights,
        inclusion: NDArray[np.float64],
        stratum: NDArray[Any],
        totals: NDArray[Any],
        clusters: NDArray[Any],
    ) -> None:
        self._times, self._clusters = times, clusters
        self._design = inclusion, stratum, totals

    def weights(self, coded: NDArray[np.bool_]) -> Weights:
        """Weights for estimates about the whole run from the faces that were coded."""
        return run_weights(self._times, *self._design, coded)

    def pair(self, one: str, first: NDArray[Any], other: str, second: NDArray[Any]) -> dict[str, Any]:
        """Agreement on the sample as drawn, and as it would be on all faces of the run."""
        both = (first >= 0) & (first < _CLASSES) & (second >= 0) & (second < _CLASSES)
        n = int(both.sum())
        same = first == second
        answered = (first != -1) & (second != -1)
        run = self.weights(answered)
        nothing = asdict(Estimate(None, None, None, 0))
        row: dict[str, Any] = {"first": one, "second": other, "n": n}
        for name, weights in (("sample", self._times), ("run", run)):
            if n:
                kappas = cohen_kappa(weights[:, both], first[both], second[both], _CLASSES)
                row[name] = {
                    "agreement": asdict(rate(weights, same, both, self._clusters)),
                    "kappa": asdict(interval(kappas, n, len(np.unique(self._clusters[both])))),
                }
            else:
                row[name] = {"agreement": nothing, "kappa": nothing}
        return row


def _clusters(videos: NDArray[Any], tracks: NDArray[Any], coded: NDArray[np.bool_]) -> tuple[NDArray[np.int64], str]:
    """A number for each face's cluster, and what the clusters are."""
    if len(np.unique(videos[coded])) >= ENOUGH_VIDEOS:
        return np.unique(videos, return_inverse=True)[1], "video"
    names = np.array([f"{video} {track}" for video, track in zip(videos, tracks, strict=True)])
    return np.unique(names, return_inverse=True)[1], "track"


def _majority(answers: NDArray[Any]) -> NDArray[np.int64]:
    """The answer of more than half of those who coded a face; -1 where nobody did, `_SPLIT` where there is none."""
    votes = np.stack([(answers == number).sum(axis=0) for number in range(len(ANSWERS))])
    coders = votes.sum(axis=0)
    most = np.where(2 * votes.max(axis=0) > coders, votes.argmax(axis=0), _SPLIT)
    return np.where(coders == 0, -1, most).astype(np.int64)


def _coder(name: str, answers: NDArray[Any]) -> dict[str, Any]:
    counts = np.bincount(answers[answers >= 0], minlength=len(ANSWERS))
    return {
        "name": name,
        "coded": int(counts.sum()),
        "left": int((answers < 0).sum()),
        "answers": dict(zip(ANSWERS, counts.tolist(), strict=True)),
    }


def _classes(
    weights: Weights,
    model: NDArray[Any],
    reference: NDArray[Any],
    has_class: NDArray[np.bool_],
    clusters: NDArray[Any],
    n_faces: tuple[int, ...],
) -> dict[str, Any]:
    found = {}
    for number, emotion in enumerate(EMOTIONS):
        said, meant = model == number, reference == number
        recall = rate(weights, said, meant, clusters)
        if effective_n(weights[0] * meant) < ENOUGH_FOR_RECALL:
            recall = Estimate(None, None, None, recall.n)
        found[emotion] = {
            "in_run": n_faces[number],
            "drawn": int(said.sum()),
            "precision": asdict(rate(weights, meant, said & has_class, clusters)),
            "recall": asdict(recall),
            "share_model": n_faces[number] / sum(n_faces),
            "share_coded": asdict(rate(weights, meant, has_class, clusters)),
        }
    return found


def _confusion(reference: NDArray[Any], model: NDArray[Any]) -> list[list[int]]:
    flat = np.bincount(reference.astype(np.int64) * _CLASSES + model, minlength=_CLASSES**2)
    return [[int(count) for count in row] for row in flat.reshape(_CLASSES, _CLASSES)]


def _calibration(
    weights: Weights, confidence: NDArray[np.float64], right: NDArray[np.bool_], clusters: NDArray[Any]
) -> dict[str, Any] | None:
    if not len(confidence):
        return None
    found = calibration(weights, confidence, right, clusters, _SEED)
    return {**asdict(found), "bins": [asdict(row) for row in found.bins]}


def _cautions(by: str, n_clusters: int, codes: Codes, no_majority: int) -> list[str]:
    """What a reader must know before believing the intervals."""
    found = []
    if by == "track":
        found.append(
            f"Fewer than {ENOUGH_VIDEOS} videos were coded, so the intervals count tracks as independent. They hold "
            "for more faces from these videos, not for other people or places."
        )
    if n_clusters < ENOUGH_VIDEOS:
        found.append(f"The coded faces come from {n_clusters} {by}{'s' * (n_clusters != 1)} only: intervals are rough.")
    if no_majority:
        found.append(
            f"On {no_majority} face{'s' * (no_majority != 1)} the coders had no majority. These are the hard ones, and "
            "figures against the majority leave them out, so they flatter the model."
        )
    if len(codes.coders) == 1:
        found.append("One coder's view is not the truth: let a second person code too, to see how far people agree.")
    return found
