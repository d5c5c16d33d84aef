"""Crops in, probabilities out: the same however they are batched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fer_batch.architecture import Architecture
from fer_batch.bundle import ModelBundle
from fer_batch.network import build_network, named_weights
from fer_batch.score import Scorer, batches
from tests.tiny import write_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    return write_tiny_bundle(tmp_path_factory.mktemp("score") / "model")


@pytest.fixture(scope="module")
def scorer(bundle: ModelBundle) -> Scorer:
    return Scorer(bundle)


@pytest.fixture(scope="module")
def crops() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (43, 48, 48, 1), dtype=np.uint8)


def test_probabilities(scorer: Scorer, crops: npt.NDArray[np.uint8]) -> None:
    scores = scorer(crops)
    assert scores.shape == (43, 7)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)
    assert np.ptp(scores, axis=0).max() > 0.01  # pictures differ, so do their scores
    assert (scorer(crops) == scores).all()


def test_no_crops(scorer: Scorer, crops: npt.NDArray[np.uint8]) -> None:
    assert scorer(crops[:0]).shape == (0, 7)


@pytest.mark.parametrize("count", [1, 2, 5, 8, 9, 31, 32, 33, 43])
def test_batching_does_not_matter(scorer: Scorer, crops: npt.NDArray[np.uint8], count: int) -> None:
    one_by_one = np.concatenate([scorer(crops[i : i + 1]) for i in range(count)])
    np.testing.assert_allclose(scorer(crops[:count]), one_by_one, atol=1e-5)


def test_what_pads_a_batch_does_not_matter(bundle: ModelBundle, crops: npt.NDArray[np.uint8]) -> None:
    only_large = Scorer(bundle, batch_sizes=(32,))
    np.testing.assert_allclose(only_large(crops[:3]), only_large(crops[:32])[:3], atol=1e-5)


def test_the_folded_network_computes_the_same(bundle: ModelBundle, tmp_path: Path) -> None:
    # BatchNormalization with statistics of its own, and a temperature.
    from fer_batch.bundle import write_bundle
    from tests.tiny import ARCHITECTURE, TEMPLATE

    random = np.random.default_rng(1)
    weights = bundle.weights()
    for name, value in weights.items():
        if name.endswith(("gamma", "moving_variance")):
            weights[name] = random.uniform(0.5, 1.5, value.shape).astype(np.float16).astype(np.float32)
        elif name.endswith(("beta", "moving_mean", "bias")):
            weights[name] = random.normal(0, 0.2, value.shape).astype(np.float16).astype(np.float32)
    other = write_bundle(
        tmp_path / "model", name="other", architecture=ARCHITECTURE, input_size=48, channels=1, mean=120.0, scale=60.0,
        template=TEMPLATE, temperature=2.0, weights=weights, card="",
    )  # fmt: skip
    plain = build_network(Architecture.from_options(other.architecture), input_size=48, mean=120.0, scale=60.0)
    for name, weight in named_weights(plain).items():
        weight.assign(weights[name])
    pixels = random.integers(0, 256, (8, 48, 48, 1), dtype=np.uint8)
    logits = plain(pixels.astype(np.float32), training=False).numpy() / 2.0
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(Scorer(other, batch_sizes=(8,))(pixels), expected, atol=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 48, 48, 1), np.float32),
        np.zeros((2, 64, 64, 1), np.uint8),
        np.zeros((2, 48, 48, 3), np.uint8),
        np.zeros((48, 48, 1), np.uint8),
    ],
)
def test_wrong_crops_are_refused(scorer: Scorer, wrong: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"crops must be uint8 \(N, 48, 48, 1\), not"):
        scorer(wrong)


def test_wrong_options_are_refused(bundle: ModelBundle) -> None:
    with pytest.raises(ValueError, match="precision"):
        Scorer(bundle, precision="float8")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="batch_sizes"):
        Scorer(bundle, batch_sizes=())
    with pytest.raises(ValueError, match="threads"):
        Scorer(bundle, threads=0)


def test_half_precision_is_close(bundle: ModelBundle, scorer: Scorer, crops: npt.NDArray[np.uint8]) -> None:
    half = Scorer(bundle, precision="mixed_float16", batch_sizes=(8,))
    np.testing.assert_allclose(half(crops[:8]), scorer(crops[:8]), atol=0.02)
    assert half(crops[:8]).dtype == np.float32


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, []), (1, [1]), (3, [1, 1, 1]), (4, [8]), (8, [8]), (9, [8, 1]), (16, [32]), (33, [32, 1]), (70, [32, 32, 8])],
)
def test_which_sizes_run(count: int, expected: list[int]) -> None:
    assert list(batches(count, (1, 8, 32))) == expected


def test_a_single_size_takes_everything() -> None:
    assert list(batches(5, (32,))) == [32]
    assert list(batches(33, (32,))) == [32, 32]


def test_threads_are_set_before_tensorflow_starts(bundle: ModelBundle) -> None:
    code = (
        "import sys; from pathlib import Path; from fer_batch.bundle import ModelBundle; "
        "from fer_batch.score import Scorer; s = Scorer(ModelBundle.load(Path(sys.argv[1])), threads=1); s.warm_up(); "
        "import tensorflow as tf; print(tf.config.threading.get_intra_op_parallelism_threads())"
    )
    done = subprocess.run([sys.executable, "-c", code, str(bundle.path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
    assert done.stderr == ""


def test_the_shipped_bundle_scores() -> None:
    shipped = ModelBundle.load()
    scorer = Scorer(shipped, batch_sizes=(1,))
    scores = scorer(np.full((1, *scorer.shape), 128, np.uint8))
    np.testing.assert_allclose(scores.sum(), 1, atol=1e-6)
