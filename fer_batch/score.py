"""Scores face crops: the one place where the engine meets TensorFlow. It knows nothing of Ray."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from fer_batch.architecture import Architecture
from fer_batch.bundle import ModelBundle
from fer_batch.network import EPSILON, build_network, load_keras, named_weights
from fer_batch.schema import EMOTIONS

log = logging.getLogger(__name__)

Precision = Literal["float32", "mixed_float16"]

BATCH_SIZES: Final = (1, 8, 32)
"""Batch sizes that are compiled by default: one face, a frame's faces, a full load."""


class Scorer:
    """A model bundle, loaded and ready: crops in, calibrated probabilities out.

    Args:
        bundle: the model.
        threads: size of TensorFlow's thread pool; None leaves it to TensorFlow (all cores). It can be set only before
            TensorFlow has run anything in this process; later it stays as it was, and a warning is logged.
        precision: ``mixed_float16`` computes in half precision, which pays on a GPU.
        batch_sizes: the sizes that are compiled. Other numbers of crops are split, and padded where that is cheaper.

    Raises:
        BundleError: the bundle's weights cannot be read.
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
        load_keras()
        _set_up_devices(threads)
        import tensorflow as tf

        network = scoring_network(bundle, precision)
        temperature = bundle.temperature

        def forward(pixels: Any) -> Any:
            logits = network(tf.cast(pixels, tf.float32), training=False)
            return tf.nn.softmax(tf.cast(logits, tf.float32) / temperature)

        self._network = network  # a tf.function does not keep its variables alive
        function = tf.function(forward, autograph=False)  # no Python control flow to convert; it would leave a file
        self._forward = {
            size: function.get_concrete_function(tf.TensorSpec((size, *self.shape), tf.uint8))
            for size in self.batch_sizes
        }
        self._constant = tf.constant

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
            scores = self._forward[size](self._constant(part)).numpy()
            out[done : done + size] = scores[: len(out) - done]
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


def fold_batch_norm(weights: Mapping[str, npt.NDArray[np.float32]]) -> dict[str, npt.NDArray[np.float32]]:
    """The backbone's weights with every BatchNormalization folded into the convolution before it.

    In scoring a BatchNormalization is a fixed scale and offset for each channel, which the convolution can apply itself
    for nothing; kept apart they cost a pass over every feature map.

    Args:
        weights: by name, as in a bundle.

    Returns:
        Weights of the same network without the backbone's BatchNormalization layers; the head's stays.
    """
    folded = dict(weights)
    for name in weights:
        if not name.endswith("_conv/kernel"):
            continue
        conv = name.removesuffix("/kernel")
        norm = conv.removesuffix("_conv") + "_bn"
        gamma, beta, mean, variance = (
            folded.pop(f"{norm}/{part}") for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        gain = gamma / np.sqrt(variance + EPSILON)
        folded[name] = (weights[name] * gain).astype(np.float32)
        folded[f"{conv}/bias"] = ((weights[f"{conv}/bias"] - mean) * gain + beta).astype(np.float32)
    return folded


def scoring_network(bundle: ModelBundle, precision: str) -> Any:
    """The bundle's network with its weights, BatchNormalization folded away.

    Args:
        bundle: the model.
        precision: Keras' dtype policy to compute in.

    Returns:
        A Keras model from pixels (batch, S, S, C), 0..255, to logits (batch, 7), temperature not applied.

    Raises:
        BundleError: the bundle's weights cannot be read.
    """
    keras = load_keras()

    def norm(*, epsilon: float, name: str) -> Any:
        if name == "head_bn":
            return keras.layers.BatchNormalization(epsilon=epsilon, name=name)
        return keras.layers.Identity(name=name)

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        network = build_network(
            Architecture.from_options(bundle.architecture),
            input_size=bundle.input_size,
            channels=bundle.channels,
            mean=bundle.mean,
            scale=bundle.scale,
            batch_norm=norm,
        )
    finally:
        keras.config.set_dtype_policy(before)
    folded = fold_batch_norm(bundle.weights())
    for name, weight in named_weights(network).items():
        weight.assign(folded[name])
    return network


def _set_up_devices(threads: int | None) -> None:
    """Thread pools and GPU memory, which TensorFlow fixes when it first computes something."""
    import tensorflow as tf

    try:
        if threads is not None and tf.config.threading.get_intra_op_parallelism_threads() != threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            # The network is one chain of layers: a second pool would only compete with the first.
            tf.config.threading.set_inter_op_parallelism_threads(1)
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError as error:
        log.warning("TensorFlow was already running, so its threads and GPU memory stay as they are: %s", error)
