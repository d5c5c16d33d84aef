"""What int8 costs and brings: the same pictures scored by a bundle's float model and by its int8 one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from fer_batch.bundle import ModelBundle
from fer_batch.score import Precision, Scorer
from training.data.faces import FaceSet
from training.evaluation.evaluate import BATCH, Evaluation, Tta, rounded, score
from training.evaluation.metrics import paired_difference, wilson


@dataclass(frozen=True, eq=False)
class Comparison:
    """Both precisions on the same pictures.

    Attributes:
        plain: of the float32 model.
        int8: of the quantised one.
        plain_speed: pictures a second of the float32 model, its loading not counted.
        int8_speed: of the quantised one.
        threads: that both could use; None for all cores.
        bytes: size of the quantised model.
    """

    plain: Evaluation
    int8: Evaluation
    plain_speed: float
    int8_speed: float
    threads: int | None
    bytes: int

    def figures(self) -> dict[str, Any]:
        """The quantised model's figures, :func:`difference`, and both speeds, as JSON can hold them."""
        return {
            **self.int8.figures(),
            **difference(self.plain, self.int8),
            "pictures_per_second": round(self.int8_speed, 1),
            "pictures_per_second_float32": round(self.plain_speed, 1),
            "threads": self.threads,
            "bytes": self.bytes,
        }


def difference(plain: Evaluation, int8: Evaluation) -> dict[str, Any]:
    """How the quantised model differs from the float one on the same pictures, as JSON can hold it.

    ``accuracy_difference`` is int8 less float32, with the interval of a paired difference; ``same_class`` the share of
    pictures that both call the same.
    """
    rights = [evaluation.predicted == evaluation.labels for evaluation in (plain, int8)]
    points, (low, high) = paired_difference(rights[0], rights[1])
    same = int((plain.predicted == int8.predicted).sum())
    apart = np.abs(plain.probabilities - int8.probabilities)
    return {
        "accuracy_difference": rounded(points),
        "accuracy_difference_95": [round(low, 4), round(high, 4)],
        "same_class": rounded(same / int8.n),
        "same_class_95": [round(end, 4) for end in wilson(same, int8.n)],
        "probability_difference_mean": rounded(apart.mean()),
        "probability_difference_max": rounded(apart.max()),
    }


def compare(bundle: ModelBundle, data: FaceSet, *, threads: int | None = None, tta: Tta = "none") -> Comparison:
    """Scores a bundle on a split in float32 and in int8, as the engine does it.

    Args:
        bundle: the model, for grey pictures, with its int8 part.
        data: the split.
        threads: for each; all cores by default.
        tta: test-time augmentation, the same for both.

    Raises:
        BundleError: it has no int8 model.
    """
    int8, int8_speed = _timed(bundle, "int8", data, threads, tta)
    plain, plain_speed = _timed(bundle, "float32", data, threads, tta)
    return Comparison(plain, int8, plain_speed, int8_speed, threads, len(bundle.int8_content()))


def _timed(
    bundle: ModelBundle, precision: Precision, data: FaceSet, threads: int | None, tta: Tta
) -> tuple[Evaluation, float]:
    scorer = Scorer(bundle, precision=precision, threads=threads, batch_sizes=(BATCH,))
    scorer.warm_up()
    started = time.perf_counter()
    probabilities = score(scorer, data.images, bundle.input_size, tta)
    return Evaluation.of(probabilities, data.labels), len(data) / (time.perf_counter() - started)
