"""What a model actor does: hold a model and score batches of crops."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fer_batch.score import Precision


THREADS_SHARED = 4
"""An int8 model gets a thread for so many cores: one scores 400 to 800 faces a second, and threads that wait for each
other turn in circles, which takes the cores from decoding."""


class EmotionActor:
    """Holds a model and scores batches of crops."""

    def __init__(self, bundle: Path, threads: int, precision: Precision, on_gpu: bool) -> None:
        if on_gpu:
            self.require_gpu()
        from fer_batch.bundle import ModelBundle
        from fer_batch.score import Scorer

        if precision == "int8":
            threads = max(1, threads // THREADS_SHARED)
        self._scorer = Scorer(ModelBundle.load(bundle), threads=threads, precision=precision)
        self._scorer.warm_up()
        self._busy_s = 0.0

    def require_gpu(self) -> None:
        """Rather stop than score on the CPU what was meant for the GPU.

        Raises:
            RuntimeError: TensorFlow sees no GPU.
        """
        import tensorflow as tf

        if not tf.config.list_physical_devices("GPU"):
            raise RuntimeError("TensorFlow sees no GPU: pip install 'fer-batch[gpu]', or run with --gpus 0")

    def score(self, crops: np.ndarray) -> np.ndarray:
        """Probabilities, float32 (n, 7), of crops, uint8 (n, size, size, channels)."""
        start = time.perf_counter()
        scores: np.ndarray = self._scorer(crops)
        self._busy_s += time.perf_counter() - start
        return scores

    def busy_s(self) -> float:
        """Time spent scoring so far; answers once the model is ready."""
        return self._busy_s
