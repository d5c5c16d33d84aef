"""Agreement with FER+'s annotators against answers worked out by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from fer_batch.schema import EMOTIONS
from training.data.faces import VOTES
from training.evaluation.agreement import EMOTION_OF, Majority, agreement
from training.evaluation.metrics import wilson


def votes(**counts: int) -> np.ndarray:
    """One picture's votes as shares."""
    row = np.array([counts.get(name, 0) for name in VOTES], np.float32)
    shares: np.ndarray = row / max(1, row.sum())
    return shares


def probabilities(**given: float) -> np.ndarray:
    return np.array([given.get(name, 0) for name in EMOTIONS])


def test_every_class_of_ferplus_is_ours_or_excluded() -> None:
    everything = np.eye(len(VOTES), dtype=np.float32)
    majority = Majority.of(everything)
    named = [EMOTIONS[index] if index >= 0 else None for index in majority.classes]
    assert named == ["neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", None, None, None]
    assert majority.excluded == {"contempt": 1, "unknown": 1, "NF": 1, "no_majority": 0, "no_votes": 0}
    assert set(EMOTION_OF.values()) == set(EMOTIONS)


def test_half_of_the_votes_is_no_majority() -> None:
    rows = [votes(anger=5, fear=5), votes(anger=5, fear=3, sadness=2), votes(anger=6, fear=4), votes(), votes(anger=1)]
    # Shares that float32 rounds up are half all the same.
    rows += [votes(anger=3, fear=3), votes(anger=7, fear=7)]
    majority = Majority.of(np.stack(rows))
    assert majority.classes.tolist() == [-1, -1, 0, -1, 0, -1, -1]
    assert majority.excluded == {"contempt": 0, "unknown": 0, "NF": 0, "no_majority": 4, "no_votes": 1}


def test_agreement_by_hand() -> None:
    told = agreement(
        np.stack([
            probabilities(happy=0.6, sad=0.4),
            probabilities(happy=0.3, sad=0.7),
            probabilities(fear=0.9, neutral=0.1),
            probabilities(fear=1.0),
        ]),
        np.array([EMOTIONS.index(name) for name in ("happy", "happy", "sad", "angry")]),
        np.stack([
            votes(happiness=10), votes(happiness=6, contempt=4), votes(sadness=8, neutral=2), votes(contempt=10)
        ]),
    )  # fmt: skip
    told = json.loads(json.dumps(told, allow_nan=False))
    assert told["n"] == 3
    assert told["excluded"]["contempt"] == 1
    assert told["prediction"] == round(1 / 3, 4)
    assert told["prediction_95"] == [round(end, 4) for end in wilson(1, 3)]
    assert told["label"] == 1
    assert told["probability"] == pytest.approx((0.6 + 0.3 + 0) / 3, abs=1e-4)
    # Votes among the seven: 1 happy; 1 happy, contempt left out; 0.8 sad and 0.2 neutral, of which the first has 1e-12.
    expected = (-math.log(0.6) - math.log(0.3) - 0.8 * math.log(1e-12) - 0.2 * math.log(0.1)) / 3
    assert told["cross_entropy"] == pytest.approx(expected, abs=1e-4)
    assert told["votes_entropy"] == pytest.approx((-0.8 * math.log(0.8) - 0.2 * math.log(0.2)) / 3, abs=1e-4)
    happy, sad, angry = (told["classes"][name] for name in ("happy", "sad", "angry"))
    assert (happy["n"], happy["prediction"], happy["label"], happy["probability"]) == (2, 0.5, 1, 0.45)
    assert (sad["n"], sad["prediction"], sad["label"], sad["probability"]) == (1, 0, 1, 0)
    assert sad["probability_95"] == [0, 1]  # one picture says nothing about a mean's scatter
    assert (angry["n"], angry["prediction"], angry["prediction_95"]) == (0, None, [0, 1])


def test_no_clear_majority_at_all_is_json_too() -> None:
    told = agreement(np.full((2, 7), 1 / 7), np.array([0, 1]), np.stack([votes(), votes(unknown=10)]))
    told = json.loads(json.dumps(told, allow_nan=False))
    assert (told["n"], told["prediction"], told["cross_entropy"], told["cross_entropy_95"]) == (0, None, None, None)
