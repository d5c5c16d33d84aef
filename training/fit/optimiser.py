"""The optimisers and a moving average of the weights, as few operations a step as the arithmetic allows.

Keras' AdamW makes ten passes over every weight; on a CPU and 24 million weights that is a fifth of a training step.
TensorFlow's own fused operation makes one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

EPSILON: Final = 1e-8
"""Keeps Adam's division from blowing up where a gradient was always zero."""

ORTHOGONAL: Final = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration of Jordan et al. (2024): five steps bring singular values near 1."""

ADAM_SIZE: Final = 0.2
"""Root mean square of a typical update by Adam, as a share of the rate (Liu et al. 2025, section 2.2)."""

State = dict[str, npt.NDArray[np.float32]]


class Optimiser(Protocol):
    """What a training step needs of an optimiser."""

    def variables(self) -> list[Any]:
        """The weights in the order in which :meth:`apply` expects their gradients."""

    def apply(self, gradients: Sequence[Any], rate: Any) -> None:
        """One step, inside a ``tf.function``; ``rate`` is a float32 scalar tensor."""

    def state(self) -> State:
        """Everything that the next step depends on besides the weights."""

    def load(self, state: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Takes up a state written by :meth:`state`."""


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

    def state(self) -> State:
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


class Muon:
    """Momentum whose update of every convolution is made orthogonal (Jordan et al. 2024); AdamW for the rest.

    A kernel counts as a matrix of (height x width x inputs, outputs). Updates are scaled to the size that Adam's have
    (Liu et al. 2025), so that rate and weight decay mean the same for both. The first layers, few channels wide, and
    the head stay with AdamW.

    Args:
        weights: trainable weights by name.
        momentum: decay of the gradients' mean, applied as Nesterov does.
        precise: orthogonalises in float32; otherwise in bfloat16, which is enough and faster where it has units.
        beta1: of AdamW, as the two below.
        beta2: likewise.
        weight_decay: share of a kernel taken away each step, times the learning rate; of both.
    """

    def __init__(
        self,
        weights: Mapping[str, Any],
        *,
        momentum: float,
        precise: bool,
        beta1: float,
        beta2: float,
        weight_decay: float,
    ) -> None:
        self._kernels = {
            name: weight.value
            for name, weight in weights.items()
            if name.endswith("_conv/kernel") and not name.startswith("conv1_")
        }
        rest = {name: weight for name, weight in weights.items() if name not in self._kernels}
        self._rest = AdamW(rest, beta1=beta1, beta2=beta2, weight_decay=weight_decay)
        self._means = {name: tf.Variable(tf.zeros_like(value)) for name, value in self._kernels.items()}
        self._keep, self._decay = momentum, weight_decay
        self._dtype = tf.float32 if precise else tf.bfloat16

    def variables(self) -> list[Any]:
        """The weights in the order in which :meth:`apply` expects their gradients: kernels, then the rest."""
        return [*self._kernels.values(), *self._rest.variables()]

    def apply(self, gradients: Sequence[Any], rate: Any) -> None:
        """One step, inside a ``tf.function``; ``rate`` is a float32 scalar tensor."""
        count = len(self._kernels)
        for (name, weight), gradient in zip(self._kernels.items(), gradients[:count], strict=True):
            exact = tf.cast(gradient, tf.float32)
            mean = self._means[name].assign(self._means[name] * self._keep + exact * (1 - self._keep))
            step = tf.reshape(exact * (1 - self._keep) + mean * self._keep, [-1, weight.shape[-1]])
            size = ADAM_SIZE * max(step.shape) ** 0.5
            update = tf.reshape(orthogonal(step, self._dtype), weight.shape)
            weight.assign(weight * (1 - rate * self._decay) - update * (rate * size))
        self._rest.apply(gradients[count:], rate)

    def state(self) -> State:
        """Everything that the next step depends on besides the weights."""
        out = {f"momentum/{name}": value.numpy() for name, value in self._means.items()}
        return out | {f"rest/{name}": value for name, value in self._rest.state().items()}

    def load(self, state: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Takes up a state written by :meth:`state`."""
        for name, value in self._means.items():
            value.assign(state[f"momentum/{name}"])
        self._rest.load({name.removeprefix("rest/"): v for name, v in state.items() if name.startswith("rest/")})


def orthogonal(matrix: Any, dtype: Any) -> Any:
    """The nearest matrix with orthonormal rows or columns, approximately: singular values from 0.7 to 1.2.

    Args:
        matrix: (A, B) float32 tensor.
        dtype: in which the products are computed.

    Returns:
        (A, B) float32 tensor with the singular vectors of ``matrix``.
    """
    a, b, c = ORTHOGONAL
    tall = matrix.shape[0] > matrix.shape[1]
    x = tf.cast(matrix / (tf.norm(matrix) + 1e-7), dtype)
    x = tf.transpose(x) if tall else x
    for _ in range(5):
        square = tf.matmul(x, x, transpose_b=True)
        x = a * x + tf.matmul(b * square + c * tf.matmul(square, square), x)
    return tf.cast(tf.transpose(x) if tall else x, tf.float32)


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

    def update(self) -> None:
        """Moves a little towards the weights as they are, inside a ``tf.function``."""
        count = self._updates.assign_add(1.0)
        keep = tf.minimum(self._decay, (1.0 + count) / (10.0 + count))
        for name, average in self._average.items():
            average.assign_sub((1.0 - keep) * (average - self._weights[name]))

    def restart(self) -> None:
        """Forgets what was averaged and begins at the weights as they are."""
        for name, average in self._average.items():
            average.assign(self._weights[name])
        self._updates.assign(0.0)

    def arrays(self) -> State:
        """The averaged weights by name."""
        return {name: value.numpy() for name, value in self._average.items()}

    def state(self) -> State:
        """The averaged weights and the number of updates."""
        return {f"average/{name}": value for name, value in self.arrays().items()} | {"updates": self._updates.numpy()}

    def load(self, state: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Takes up a state written by :meth:`state`."""
        for name, value in self._average.items():
            value.assign(state[f"average/{name}"])
        self._updates.assign(state["updates"])
