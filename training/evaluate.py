"""Scores a model bundle on labelled pictures: every figure with its n and a 95 % interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fer_batch.bundle import ModelBundle
from fer_batch.schema import EMOTIONS
from fer_batch.score import Scorer
from training.augment import resize
from training.data import FaceSet
from training.metrics import (
    Interval,
    confusion_matrix,
    cross_fitted_ece,
    expected_calibration_error,
    f1_scores,
    macro_f1,
    macro_f1_interval,
    precisions,
    recalls,
    wilson,
)

BATCH: Final = 64
"""Pictures scored at once."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a model scored on N labelled pictures.

    Attributes:
        confusion: (7, 7) counts, row is the label, column the prediction.
        ece: calibration error of the probabilities as they are, 0..1.
        ece_cross_fitted: the same with the temperature refitted on one half and judged on the other.
    """

    confusion: npt.NDArray[np.int64]
    ece: float
    ece_cross_fitted: float

    @classmethod
    def of(cls, probabilities: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.integer[Any]]) -> Evaluation:
        """The evaluation of probabilities (N, 7) against labels (N,), N at least 1.

        Raises:
            ValueError: shapes do not fit.
        """
        count = len(labels)
        if count == 0 or probabilities.shape != (count, len(EMOTIONS)):
            raise ValueError(f"probabilities must be ({count}, {len(EMOTIONS)}) with N >= 1, not {probabilities.shape}")
        logs = np.log(np.maximum(probabilities, 1e-12))
        return cls(
            confusion=confusion_matrix(labels, probabilities.argmax(axis=1), len(EMOTIONS)),
            ece=expected_calibration_error(probabilities, labels),
            ece_cross_fitted=cross_fitted_ece(logs, labels) if count > 1 else float("nan"),
        )

    @property
    def n(self) -> int:
        """Number of pictures."""
        return int(self.confusion.sum())

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

    def figures(self) -> dict[str, Any]:
        """All figures as JSON can hold them, rounded to four digits; a rate without a denominator is null."""
        recall, precision, f1 = recalls(self.confusion), precisions(self.confusion), f1_scores(self.confusion)
        counts = self.confusion.sum(axis=1)
        classes = {
            emotion: {
                "n": int(counts[index]),
                "recall": _rounded(recall[index]),
                "recall_95": _interval(wilson(int(self.confusion[index, index]), int(counts[index]))),
                "precision": _rounded(precision[index]),
                "f1": _rounded(f1[index]),
            }
            for index, emotion in enumerate(EMOTIONS)
        }
        return {
            "n": self.n,
            "accuracy": _rounded(self.accuracy),
            "accuracy_95": _interval(self.accuracy_interval),
            "macro_f1": _rounded(self.macro_f1),
            "macro_f1_95": _interval(macro_f1_interval(self.confusion)),
            "ece": _rounded(self.ece),
            "ece_cross_fitted": _rounded(self.ece_cross_fitted),
            "recall": {emotion: entry["recall"] for emotion, entry in classes.items()},
            "classes": classes,
            "confusion": self.confusion.tolist(),
        }


def predict(bundle: ModelBundle, data: FaceSet, *, threads: int | None = None) -> npt.NDArray[np.float32]:
    """Calibrated probabilities (N, 7) of plain pictures, one pass each.

    Raises:
        ValueError: the model takes colour, FER2013 is grey.
    """
    if bundle.channels != 1:
        raise ValueError(f"model {bundle.name} takes {bundle.channels} channels; FER2013 is grey")
    scorer = Scorer(bundle, threads=threads, batch_sizes=(BATCH,))
    out = [
        scorer(resize(data.images[start : start + BATCH], bundle.input_size)) for start in range(0, len(data), BATCH)
    ]
    return np.concatenate(out)


def evaluate(bundle: ModelBundle, data: FaceSet, *, threads: int | None = None) -> Evaluation:
    """Scores a bundle on a split. The same bundle and pictures give the same result on one machine."""
    return Evaluation.of(predict(bundle, data, threads=threads), data.labels)


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)


def _interval(interval: Interval) -> list[float]:
    return [round(value, 4) for value in interval]
