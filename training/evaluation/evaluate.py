"""Scores a model bundle on labelled pictures: every figure with its n and a 95 % interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from fer_batch.bundle import ModelBundle
from fer_batch.schema import EMOTIONS
from fer_batch.score import Precision, Scorer
from training.data.faces import FaceSet
from training.evaluation.metrics import (
    Counts,
    Interval,
    calibration_interval,
    chance_calibration_error,
    confusion_matrix,
    cross_fitted,
    expected_calibration_error,
    f1_intervals,
    f1_scores,
    macro_f1,
    macro_f1_interval,
    precisions,
    recalls,
    top_hits,
    wilson,
)
from training.fit.augment import resize

BATCH: Final = 64
"""Pictures scored at once."""

CROP_SHARE: Final = 44 / 48
"""Side of the crops of test-time augmentation as a share of the picture's, as is usual for FER2013's ten-crop."""

Tta = Literal["none", "flip", "crops", "flip+crops"]
"""Test-time augmentation: which views of a picture are averaged. ``flip`` is the picture and its mirror image,
``crops`` its four corners and its middle, both together are ten views."""

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a model scored on N labelled pictures.

    Attributes:
        probabilities: (N, 7) calibrated probabilities.
        labels: (N,) class indices.
    """

    probabilities: npt.NDArray[np.floating[Any]]
    labels: npt.NDArray[np.integer[Any]]

    @classmethod
    def of(cls, probabilities: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.integer[Any]]) -> Evaluation:
        """The evaluation of probabilities (N, 7) against labels (N,), N at least 1.

        Raises:
            ValueError: shapes do not fit.
        """
        count = len(labels)
        if count == 0 or probabilities.shape != (count, len(EMOTIONS)):
            raise ValueError(f"probabilities must be ({count}, {len(EMOTIONS)}) with N >= 1, not {probabilities.shape}")
        return cls(probabilities, labels)

    @property
    def n(self) -> int:
        """Number of pictures."""
        return len(self.labels)

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """(N,) class of the highest probability."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @cached_property
    def confusion(self) -> Counts:
        """(7, 7) counts, row is the label, column the prediction."""
        return confusion_matrix(self.labels, self.predicted, len(EMOTIONS))

    @property
    def accuracy(self) -> float:
        """Share of pictures whose most probable class is their label."""
        return float(np.diag(self.confusion).sum() / self.n)

    @property
    def accuracy_interval(self) -> Interval:
        """95 % Wilson interval of the accuracy."""
        return wilson(int(np.diag(self.confusion).sum()), self.n)

    @property
    def macro_f1(self) -> float:
        """Plain mean of the classes' F1 scores."""
        return macro_f1(self.confusion)

    @property
    def ece(self) -> float:
        """Calibration error of the probabilities as they are, 0..1."""
        return expected_calibration_error(self.probabilities, self.labels)

    @cached_property
    def cross_fitted(self) -> npt.NDArray[np.float64] | None:
        """(N, 7) the probabilities with the temperature of the other half; None for a single picture."""
        if self.n < 2:
            return None
        return cross_fitted(np.log(np.maximum(self.probabilities, 1e-12)), self.labels)

    @property
    def ece_cross_fitted(self) -> float:
        """Calibration error of :attr:`cross_fitted`; NaN for a single picture."""
        judged = self.cross_fitted
        return float("nan") if judged is None else expected_calibration_error(judged, self.labels)

    def figures(self) -> dict[str, Any]:
        """All figures as JSON can hold them, rounded to four digits; a rate without a denominator is null.

        A key that ends in ``_95`` holds the 95 % interval of the figure before it: Wilson's for accuracy, top-2,
        recall, precision and (by way of a share) F1, a bootstrap for macro F1, and
        :func:`training.evaluation.metrics.calibration_interval` for the calibration errors. ``ece_chance`` is what a
        perfectly calibrated model would show on so many pictures.
        """
        top2 = top_hits(self.probabilities, self.labels, 2)
        judged = self.cross_fitted
        classes = self._classes()
        return {
            "n": self.n,
            "accuracy": rounded(self.accuracy),
            "accuracy_95": _interval(self.accuracy_interval),
            "macro_f1": rounded(self.macro_f1),
            "macro_f1_95": _interval(macro_f1_interval(self.confusion)),
            "top2": rounded(top2 / self.n),
            "top2_95": _interval(wilson(top2, self.n)),
            "ece": rounded(self.ece),
            "ece_95": _interval(calibration_interval(self.probabilities, self.labels)),
            "ece_cross_fitted": rounded(self.ece_cross_fitted),
            "ece_cross_fitted_95": None if judged is None else _interval(calibration_interval(judged, self.labels)),
            "ece_chance": rounded(chance_calibration_error(self.probabilities)[0]),
            "recall": {emotion: entry["recall"] for emotion, entry in classes.items()},
            "classes": classes,
            "confusion": self.confusion.tolist(),
        }

    def _classes(self) -> dict[str, dict[str, Any]]:
        recall, precision, f1 = recalls(self.confusion), precisions(self.confusion), f1_scores(self.confusion)
        f1_ends = f1_intervals(self.confusion)
        hits, labelled, called = np.diag(self.confusion), self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        return {
            emotion: {
                "n": int(labelled[index]),
                "predicted": int(called[index]),
                "recall": rounded(recall[index]),
                "recall_95": _interval(wilson(int(hits[index]), int(labelled[index]))),
                "precision": rounded(precision[index]),
                "precision_95": _interval(wilson(int(hits[index]), int(called[index]))),
                "f1": rounded(f1[index]),
                "f1_95": _interval(f1_ends[index]),
            }
            for index, emotion in enumerate(EMOTIONS)
        }


def predict(
    bundle: ModelBundle,
    data: FaceSet,
    *,
    threads: int | None = None,
    tta: Tta = "none",
    precision: Precision = "float32",
) -> npt.NDArray[np.float32]:
    """Calibrated probabilities (N, 7) of plain pictures, one pass each unless test-time augmentation is asked for.

    Raises:
        ValueError: the model takes colour, FER2013 is grey.
    """
    if bundle.channels != 1:
        raise ValueError(f"model {bundle.name} takes {bundle.channels} channels; FER2013 is grey")
    scorer = Scorer(bundle, threads=threads, precision=precision, batch_sizes=(BATCH,))
    return score(scorer, data.images, bundle.input_size, tta)


def score(
    scorer: Callable[[Images], npt.NDArray[np.float32]], images: Images, size: int, tta: Tta = "none"
) -> npt.NDArray[np.float32]:
    """Mean probabilities (N, 7) of each picture's views.

    Args:
        scorer: crops (B, size, size, 1) uint8 to probabilities (B, 7).
        images: (N, S, S) uint8 grey.
        size: side of the scorer's crops in pixels.
        tta: which views; one pass each is ``none``.
    """
    out = []
    for start in range(0, len(images), BATCH):
        shown = views(images[start : start + BATCH], tta)
        out.append(np.mean([scorer(resize(view, size)) for view in shown], axis=0))
    return np.concatenate(out)


def views(images: Images, tta: Tta) -> list[Images]:
    """The views of pictures (N, S, S) that test-time augmentation averages, each (N, S, S) or (N, C, C)."""
    if tta not in get_args(Tta):
        raise ValueError(f"tta must be one of {', '.join(get_args(Tta))}, not {tta!r}")
    shown = [images]
    if "crops" in tta:
        side = images.shape[1]
        crop = round(CROP_SHARE * side)
        last = side - crop
        places = [(0, 0), (0, last), (last, 0), (last, last), (last // 2, last // 2)]
        shown = [images[:, y : y + crop, x : x + crop] for y, x in places]
    if "flip" in tta:
        shown += [view[:, :, ::-1] for view in shown]
    return shown


def evaluate(bundle: ModelBundle, data: FaceSet, *, threads: int | None = None, tta: Tta = "none") -> Evaluation:
    """Scores a bundle on a split. The same bundle and pictures give the same result on one machine."""
    return Evaluation.of(predict(bundle, data, threads=threads, tta=tta), data.labels)


def rounded(value: float) -> float | None:
    """Four digits, as figures are kept; None for NaN."""
    return None if np.isnan(value) else round(float(value), 4)


def _interval(interval: Interval) -> list[float]:
    return [round(value, 4) for value in interval]
