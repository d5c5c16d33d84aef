"""Muon's update is orthogonal, and both optimisers do what their papers say on small known cases."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from training.fit.optimiser import ADAM_SIZE, AdamW, Muon, Optimiser, orthogonal


class Weight:
    """What a Keras variable offers to an optimiser."""

    def __init__(self, value: np.ndarray) -> None:
        self.value = tf.Variable(value.astype(np.float32))


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (9, 9)])
def test_orthogonal(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    matrix = random.normal(size=shape).astype(np.float32)
    result = np.asarray(orthogonal(tf.constant(matrix), tf.float32))
    left, singular, right = np.linalg.svd(result, full_matrices=False)
    assert singular.min() > 0.6
    assert singular.max() < 1.3
    # The same singular vectors: the polar factor of the two is the same.
    u, _, v = np.linalg.svd(matrix, full_matrices=False)
    np.testing.assert_allclose(left @ right, u @ v, atol=1e-4)


def _weights() -> dict[str, Weight]:
    random = np.random.default_rng(1)
    return {
        "conv1_conv/kernel": Weight(random.normal(size=(3, 3, 3, 4))),
        "conv2_conv/kernel": Weight(random.normal(size=(3, 3, 4, 8))),
        "conv2_bn/gamma": Weight(np.ones(8)),
    }


def test_muon_moves_inner_kernels_by_an_orthogonal_step_of_adams_size() -> None:
    weights = _weights()
    muon = Muon(weights, momentum=0.9, precise=True, beta1=0.9, beta2=0.999, weight_decay=0.0)
    variables = muon.variables()
    assert variables[0] is weights["conv2_conv/kernel"].value
    before = variables[0].numpy()
    random = np.random.default_rng(2)
    gradients = [tf.constant(random.normal(size=v.shape).astype(np.float32)) for v in variables]
    muon.apply(gradients, tf.constant(0.01))
    moved = (before - variables[0].numpy()).reshape(-1, 8) / 0.01
    singular = np.linalg.svd(moved / (ADAM_SIZE * 36**0.5), compute_uv=False)
    assert singular.min() > 0.6
    assert singular.max() < 1.3
    assert np.sqrt((moved**2).mean()) == pytest.approx(ADAM_SIZE, rel=0.2)


def test_weight_decay_is_decoupled_and_spares_gains() -> None:
    for kind in ("adamw", "muon"):
        weights = _weights()
        made: Optimiser = (
            AdamW(weights, beta1=0.9, beta2=0.999, weight_decay=0.5)
            if kind == "adamw"
            else Muon(weights, momentum=0.9, precise=True, beta1=0.9, beta2=0.999, weight_decay=0.5)
        )
        before = {name: weight.value.numpy() for name, weight in weights.items()}
        made.apply([tf.zeros(v.shape) for v in made.variables()], tf.constant(0.1))
        for name, weight in weights.items():
            factor = 0.95 if name.endswith("/kernel") else 1.0
            np.testing.assert_allclose(weight.value.numpy(), before[name] * factor, rtol=1e-6)
