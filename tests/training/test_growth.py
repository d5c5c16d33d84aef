"""A grown network computes what the shallow one did, until it learns more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fer_batch.architecture import Architecture
from fer_batch.network import build_network, named_weights
from training.fit.growth import grow


def _network(depths: tuple[int, int, int, int], **options: Any) -> Any:
    return build_network(Architecture(depths=depths, width=8, head_units=16, **options), input_size=32)


def _arrays(network: Any) -> dict[str, Any]:
    return {name: weight.numpy() for name, weight in named_weights(network).items()}


@pytest.mark.parametrize("se", [False, True])
def test_growth_keeps_the_function(se: bool) -> None:
    random = np.random.default_rng(0)
    small, large = _network((1, 1, 1, 1), se=se), _network((2, 3, 2, 1), se=se)
    for name, weight in named_weights(small).items():
        if name.endswith("moving_variance"):
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
        elif not name.endswith("kernel"):
            weight.assign(weight.numpy() + random.normal(0, 0.1, weight.shape))
    grown = grow(_arrays(small), _arrays(large))
    for name, weight in named_weights(large).items():
        weight.assign(grown[name])
    pixels = random.integers(0, 256, (6, 32, 32, 1)).astype(np.float32)
    for training in (False, True):  # with the statistics of the batch too, dropout apart
        for network in (small, large):
            network.get_layer("head_dropout").rate = 0.0
        before, after = small(pixels, training=training).numpy(), large(pixels, training=training).numpy()
        np.testing.assert_allclose(after, before, atol=1e-4)
        assert np.ptp(before) > 0.1


def test_only_depth_grows() -> None:
    small = _arrays(_network((1, 1, 1, 1)))
    with pytest.raises(ValueError, match=r"conv4_block2.*grown in depth"):
        grow(_arrays(_network((1, 1, 2, 1))), small)
    wider = _arrays(build_network(Architecture(depths=(1, 1, 1, 1), width=16, head_units=16), input_size=32))
    with pytest.raises(ValueError, match=r"conv1_bn/beta is \(8,\)|conv1_conv/kernel is"):
        grow(small, wider)
