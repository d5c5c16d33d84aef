"""The faster layers compute what Keras' own do, forwards and backwards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fer_batch.network import load_keras

keras = load_keras()

import tensorflow as tf  # noqa: E402 - after its start-up messages were turned aside

from training.fit.layers import FusedBatchNormalization, MatrixConv2D  # noqa: E402
from training.fit.optimiser import AdamW, MovingAverage  # noqa: E402


def _gradients(layer: Any, pixels: Any, **options: Any) -> tuple[Any, list[Any]]:
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        out = layer(pixels, **options)
        loss = tf.reduce_sum(tf.sin(out))
    wanted = [pixels, *(w.value for w in layer.trainable_variables if w.name != "bias")]
    return out, tape.gradient(loss, wanted)


@pytest.mark.parametrize(
    ("kernel", "stride", "side"), [(1, 1, 4), (1, 2, 5), (3, 1, 2), (3, 1, 1), (3, 1, 6), (7, 2, 9)]
)
def test_convolutions(kernel: int, stride: int, side: int) -> None:
    padding = "same" if kernel == 3 else "valid"
    pixels = tf.constant(np.random.default_rng(0).normal(size=(3, side, side, 5)), tf.float32)
    plain = keras.layers.Conv2D(4, kernel, strides=stride, padding=padding, bias_initializer="random_normal")
    fast = MatrixConv2D(4, kernel, strides=stride, padding=padding)
    plain(pixels)
    fast(pixels)
    fast.set_weights(plain.get_weights())
    expected, expected_gradients = _gradients(plain, pixels)
    out, gradients = _gradients(fast, pixels)
    np.testing.assert_allclose(out, expected, atol=1e-5)
    for one, other in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_batch_normalization() -> None:
    random = np.random.default_rng(0)
    pixels = tf.constant(random.normal(2, 3, (64, 4, 4, 5)), tf.float32)
    plain, fast = keras.layers.BatchNormalization(epsilon=1e-5), FusedBatchNormalization(epsilon=1e-5)
    plain(pixels)
    fast(pixels)
    fast.set_weights(plain.get_weights())
    for training in (False, True):  # in this order, as training changes the statistics
        expected, expected_gradients = _gradients(plain, pixels, training=training)
        out, gradients = _gradients(fast, pixels, training=training)
        np.testing.assert_allclose(out, expected, atol=1e-3)
        for one, other in zip(gradients, expected_gradients, strict=True):
            np.testing.assert_allclose(one, other, atol=2e-2)
    np.testing.assert_allclose(fast.moving_mean, plain.moving_mean, atol=1e-5)
    # The fused operation estimates the variance without bias: n / (n - 1), here 1024 / 1023.
    np.testing.assert_allclose(fast.moving_variance, plain.moving_variance, rtol=2e-3)


def test_adamw_takes_keras_steps() -> None:
    start = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    mine, theirs = (keras.Variable(start, name="kernel") for _ in range(2))
    optimiser = AdamW({"layer/kernel": mine}, beta1=0.9, beta2=0.999, weight_decay=0.1)
    reference = keras.optimizers.AdamW(0.01, weight_decay=0.1, epsilon=1e-8)
    for step in range(5):
        gradient = tf.constant(start * np.float32(np.cos(step)))
        optimiser.apply([gradient], tf.constant(0.01))
        reference.apply([gradient], [theirs])
    np.testing.assert_allclose(mine.numpy(), theirs.numpy(), atol=1e-5)
    assert np.abs(mine.numpy() - start).max() > 0.01


def test_moving_average_by_hand() -> None:
    weight = keras.Variable([0.0], name="kernel")
    average = MovingAverage({"layer/kernel": weight}, decay=0.9)
    weight.assign([1.0])
    average.update()  # the first update keeps min(0.9, 2 / 11)
    np.testing.assert_allclose(average.arrays()["layer/kernel"], [1 - 2 / 11], rtol=1e-6)
    average.update()  # then 3 / 12
    np.testing.assert_allclose(average.arrays()["layer/kernel"], [1 - 2 / 11 * 3 / 12], rtol=1e-6)
