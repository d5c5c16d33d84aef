"""AdamW and a moving average of the weights, as few operations a step as the arithmetic allows.

Keras' AdamW makes ten passes over every weight; on a CPU and 24 million weights that is a fifth of a training step.
TensorFlow's own fused operation makes one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

EPSILON = 1e-8
"""Keeps Adam's division from blowing up where a gradient was always zero."""


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019) on kernels alone.

    Args:
        weights: trainable weights by name.
        beta1: decay of the gradients' mean.
        beta2: decay of their mean square.
        weight_decay: share of a kernel taken away each step, times the learning rate.
    """

    def __init__(self, weights: Mapping[str, Any], *, beta1: float, beta2: float, weight_decay: float) -> None:
        self._weights = {name: weight.value for name, weight in weights.items()}
        self._beta1, self._beta2, self._decay = beta1, beta2, weight_decay
        self._first = {name: tf.Variable(tf.zeros_like(value)) for name, value in self._weights.items()}
        self._second = {name: tf.Variable(tf.zeros_like(value)) for name, value in self._weights.items()}
        self._power1 = tf.Variable(1.0)
        self._power2 = tf.Variable(1.0)

    def variables(self) -> list[Any]:
        """The weights in the order in which :meth:`apply` expects their gradients."""
        return list(self._weights.values())

    def apply(self, gradients: Sequence[Any], rate: Any) -> None:
        """One step, inside a ``tf.function``; ``rate`` is a float32 scalar tensor."""
        power1 = self._power1.assign(self._power1 * self._beta1)
        power2 = self._power2.assign(self._power2 * self._beta2)
        for (name, weight), gradient in zip(self._weights.items(), gradients, strict=True):
            if name.endswith("/kernel"):
                weight.assign_sub(weight * (rate * self._decay))
            tf.raw_ops.ResourceApplyAdam(
                var=weight.handle, m=self._first[name].handle, v=self._second[name].handle,
                beta1_power=power1, beta2_power=power2, lr=rate,
                beta1=self._beta1, beta2=self._beta2, epsilon=EPSILON, grad=tf.cast(gradient, tf.float32),
            )  # fmt: skip

    def state(self) -> dict[str, npt.NDArray[np.float32]]:
        """Everything that the next step depends on besides the weights."""
        out = {f"first/{name}": value.numpy() for name, value in self._first.items()}
        out |= {f"second/{name}": value.numpy() for name, value in self._second.items()}
        return out | {"power1": self._power1.numpy(), "power2": self._power2.numpy()}

    def load(self, state: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Takes up a state written by :meth:`state`."""
        for kind, values in (("first", self._first), ("second", self._second)):
            for name, value in values.items():
                value.assign(state[f"{kind}/{name}"])
        self._power1.assign(state["power1"])
        self._power2.assign(state["power2"])


class MovingAverage:
    """An exponential moving average of all float weights, BatchNormalization's statistics included.

    Its memory is short at first, so that early values do not linger: after n updates the decay is at most
    (1 + n) / (10 + n).
    """

    def __init__(self, weights: Mapping[str, Any], decay: float) -> None:
        self._weights = {name: weight.value for name, weight in weights.items()}
        self._decay = decay
        self._average = {name: tf.Variable(value) for name, value in self._weights.items()}
        self._updates = tf.Variable(0.0)
        self.update = tf.function(self._update, autograph=False)

    def _update(self) -> None:
        count = self._updates.assign_add(1.0)
        keep = tf.minimum(self._decay, (1.0 + count) / (10.0 + count))
        for name, average in self._average.items():
            average.assign_sub((1.0 - keep) * (average - self._weights[name]))

    def arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """The averaged weights by name."""
        return {name: value.numpy() for name, value in self._average.items()}

    def state(self) -> dict[str, npt.NDArray[np.float32]]:
        """The averaged weights and the number of updates."""
        return {f"average/{name}": value for name, value in self.arrays().items()} | {"updates": self._updates.numpy()}

    def load(self, state: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Takes up a state written by :meth:`state`."""
        for name, value in self._average.items():
            value.assign(state[f"average/{name}"])
        self._updates.assign(state["updates"])
