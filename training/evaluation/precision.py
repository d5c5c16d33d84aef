"""What int8 costs and brings: the same pictures scored by the float model and by its quantised copy."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from fer_batch.bundle import ModelBundle
from fer_batch.score import Scorer
from training.data.faces import FaceSet
from training.evaluation.evaluate import BATCH, Evaluation, Tta, rounded, score
from training.evaluation.metrics import paired_difference, wilson
from training.export.portable import probability_network
from training.export.quantise import Int8Scorer, calibration_faces, quantise


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
        """The quantised model's figures and how they differ, as JSON can hold them.

        ``accuracy_difference`` is int8 less float32, on the same pictures, with the interval of a paired difference;
        ``same_class`` the share of pictures that both call the same.
        """
        rights = [evaluation.predicted == evaluation.labels for evaluation in (self.plain, self.int8)]
        difference, (low, high) = paired_difference(rights[0], rights[1])
        same = int((self.plain.predicted == self.int8.predicted).sum())
        apart = np.abs(self.plain.probabilities - self.int8.probabilities)
        return {
            **self.int8.figures(),
            "accuracy_difference": rounded(difference),
            "accuracy_difference_95": [round(low, 4), round(high, 4)],
            "same_class": rounded(same / self.int8.n),
            "same_class_95": [round(end, 4) for end in wilson(same, self.int8.n)],
            "probability_difference_mean": rounded(apart.mean()),
            "probability_difference_max": rounded(apart.max()),
            "pictures_per_second": round(self.int8_speed, 1),
            "pictures_per_second_float32": round(self.plain_speed, 1),
            "threads": self.threads,
            "bytes": self.bytes,
        }


def compare(
    bundle: ModelBundle, data: FaceSet, training: FaceSet, *, threads: int | None = None, tta: Tta = "none"
) -> Comparison:
    """Scores a bundle on a split in float32, and in int8 after quantising it.

    Args:
        bundle: the model, for grey pictures.
        data: the split.
        training: faces to calibrate with.
        threads: for each; all cores by default.
        tta: test-time augmentation, the same for both.
    """
    scorer = Scorer(bundle, threads=threads, batch_sizes=(BATCH,))
    scorer.warm_up()
    plain, plain_speed = _timed(scorer, data, bundle.input_size, tta)
    model = quantise(probability_network(bundle), calibration_faces(training, bundle.input_size))
    int8, int8_speed = _timed(Int8Scorer(model, threads=threads), data, bundle.input_size, tta)
    return Comparison(plain, int8, plain_speed, int8_speed, threads, len(model))


def _timed(scorer: Any, data: FaceSet, size: int, tta: Tta) -> tuple[Evaluation, float]:
    started = time.perf_counter()
    probabilities = score(scorer, data.images, size, tta)
    return Evaluation.of(probabilities, data.labels), len(data) / (time.perf_counter() - started)
