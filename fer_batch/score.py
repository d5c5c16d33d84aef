"""Scores face crops: batches of them in, calibrated probabilities out. It knows nothing of Ray.

What computes is :mod:`fer_batch.int8_model` or :mod:`fer_batch.float_model`, whose libraries are imported when a
:class:`Scorer` is made that needs them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from fer_batch.bundle import ModelBundle
from fer_batch.schema import EMOTIONS

Precision = Literal["int8", "float32", "mixed_float16"]

BATCH_SIZES: Final = (1, 8, 32)
"""Batch sizes that are compiled by default: one face, a frame's faces, a full load."""


class Scorer:
    """A model bundle, loaded and ready: crops in, calibrated probabilities out.

    Args:
        bundle: the model.
        threads: size of the thread pool; None for all cores. TensorFlow's can be set only before it has run anything
            in this process; later it stays as it was, and a warning is logged.
        precision: ``int8`` for CPUs, where the bundle has such a model; ``float32``; or ``mixed_float16``, half
            precision, which pays on a GPU.
        batch_sizes: the sizes that are compiled. Other numbers of crops are split, and padded where that is cheaper.

    Raises:
        BundleError: the bundle's weights, or its int8 model, cannot be read.
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        *,
        threads: int | None = None,
        precision: Precision = "float32",
        batch_sizes: Sequence[int] = BATCH_SIZES,
    ) -> None:
        if precision not in get_args(Precision):
            raise ValueError(f"precision must be one of {', '.join(get_args(Precision))}, not {precision!r}")
        if not batch_sizes or min(batch_sizes) < 1:
            raise ValueError(f"batch_sizes must be positive numbers, not {batch_sizes!r}")
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads!r}")
        self.bundle = bundle
        self.batch_sizes = tuple(sorted(set(batch_sizes)))
        self.shape = (bundle.input_size, bundle.input_size, bundle.channels)
        self._logits: Any
        if precision == "int8":
            from fer_batch.int8_model import Int8Model

            self._logits = Int8Model(bundle, threads=threads, batch_sizes=self.batch_sizes)
        else:
            from fer_batch.float_model import FloatModel

            self._logits = FloatModel(bundle, threads=threads, precision=precision, batch_sizes=self.batch_sizes)
        self._temperature = bundle.temperature_in(precision)

    def warm_up(self) -> None:
        """Runs every compiled size once, so that the first real batch is as fast as the next ones."""
        for size in self.batch_sizes:
            self(np.zeros((size, *self.shape), np.uint8))

    def __call__(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Probabilities of the seven emotions for each crop.

        Args:
            crops: (N, S, S, C) uint8 with the bundle's input size and channels; N may be 0.

        Returns:
            (N, 7) float32 in the order of ``EMOTIONS``; each row sums to 1. A crop's row does not depend on the other
            crops, beyond 1e-5.

        Raises:
            ValueError: shape or dtype differ from what the bundle asks for.
        """
        if not isinstance(crops, np.ndarray) or crops.dtype != np.uint8 or crops.shape[1:] != self.shape:
            found = f"{crops.dtype} {crops.shape}" if isinstance(crops, np.ndarray) else type(crops).__name__
            raise ValueError(f"crops must be uint8 (N, {', '.join(map(str, self.shape))}), not {found}")
        out = np.empty((len(crops), len(EMOTIONS)), np.float32)
        done = 0
        for size in batches(len(crops), self.batch_sizes):
            part = crops[done : done + size]
            if len(part) < size:
                part = np.concatenate([part, np.zeros((size - len(part), *self.shape), np.uint8)])
            out[done : done + size] = _probabilities(self._logits(part), self._temperature)[: len(out) - done]
            done += size
        return out


def batches(count: int, sizes: Sequence[int]) -> Iterator[int]:
    """Which of the compiled sizes to run for ``count`` crops, the last one padded where it is not full.

    A size is padded when at least half of it is used; otherwise smaller sizes share the rest.

    Args:
        count: crops to score, 0 or more.
        sizes: compiled sizes in ascending order.
    """
    left = count
    while left > 0:
        fitting = [size for size in sizes if size >= left]
        smaller = [size for size in sizes if size <= left]
        size = fitting[0] if fitting and (fitting[0] <= 2 * left or not smaller) else smaller[-1]
        yield size
        left -= size


def _probabilities(logits: npt.NDArray[np.float32], temperature: float) -> npt.NDArray[np.float32]:
    """The softmax of logits (N, 7) divided by the temperature."""
    powers = np.exp((logits - logits.max(axis=1, keepdims=True)) / np.float32(temperature))
    shares: npt.NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
    return shares
