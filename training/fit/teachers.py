"""Trained models whose answers a student learns beside the labels (Hinton et al. 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from fer_batch.bundle import ModelBundle
from fer_batch.float_model import scoring_network


class Teachers:
    """One or several models, asked about the very pictures that the student sees, variation and all.

    Args:
        bundles: the models; they take grey pictures, each of its own size.
        temperature: divides their logits, besides each one's own calibration.
        precision: Keras' dtype policy to compute in.

    Raises:
        BundleError: a bundle's weights cannot be read.
        ValueError: a model takes colour.
    """

    def __init__(self, bundles: Sequence[ModelBundle], *, temperature: float, precision: str) -> None:
        for bundle in bundles:
            if bundle.channels != 1:
                raise ValueError(f"teacher {bundle.name} takes {bundle.channels} channels; training pictures are grey")
        self._bundles = tuple(bundles)
        self._temperature = temperature
        self._networks = [scoring_network(bundle, precision) for bundle in bundles]

    def __len__(self) -> int:
        return len(self._bundles)

    def __call__(self, pixels: Any) -> Any:
        """Mean probabilities (B, 7) of pictures (B, S, S, 1), 0..255; to be called inside a ``tf.function``."""
        answers = []
        for bundle, network in zip(self._bundles, self._networks, strict=True):
            side = bundle.input_size
            method = "area" if side < pixels.shape[1] else "bilinear"
            fitting = tf.image.resize(tf.cast(pixels, tf.float32), (side, side), method)
            logits = tf.cast(network(fitting, training=False), tf.float32)
            answers.append(tf.nn.softmax(logits / (bundle.temperature * self._temperature)))
        return tf.stop_gradient(tf.add_n(answers) / len(answers))
