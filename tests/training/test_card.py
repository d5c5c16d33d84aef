"""The model card: its figures are the evaluation's, its worked example is right, and it names what it should."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fer_batch.architecture import Architecture
from fer_batch.schema import EMOTIONS
from training.evaluation.evaluate import Evaluation
from training.export.card import Origin, model_card, network_in_words, provenance, rare_calls

ORIGIN = Origin(
    name="little", title="A little model", data="FER2013", pictures=100, blank=2, votes=True, images_seen=400, hours=0.5
)


def evaluation(hits: int = 20, present: int = 50, false_calls: int = 10, absent: int = 950) -> Evaluation:
    """Disgust is class 1; all other pictures are neutral ones, called neutral unless they are called disgust."""
    labels = np.r_[np.full(present, 1), np.full(absent, 6)]
    called = np.r_[
        np.full(hits, 1), np.full(present - hits, 6), np.full(false_calls, 1), np.full(absent - false_calls, 6)
    ]
    probabilities = np.full((len(labels), 7), 0.05)
    probabilities[np.arange(len(labels)), called] = 0.7
    return Evaluation.of(probabilities, labels)


def card(origin: Origin = ORIGIN, architecture: Architecture | None = None, **figures: object) -> str:
    told = {"split": "PublicTest", **evaluation().figures(), **figures}
    return model_card(origin, architecture or Architecture(), 96, told)


def test_bayes_by_hand() -> None:
    # Recall 20 / 50, false-positive rate 10 / 950. Of 1,000 faces 10 show disgust: 4 found, 10.4 false calls.
    worked = rare_calls(evaluation().confusion.tolist(), 0.01)
    assert (worked.hits, worked.present, worked.false_calls, worked.absent) == (20, 50, 10, 950)
    assert worked.right == pytest.approx(0.01 * 0.4 / (0.01 * 0.4 + 0.99 * 10 / 950))
    assert worked.interval[0] < worked.right < worked.interval[1]
    assert worked == rare_calls(evaluation().confusion.tolist(), 0.01)
    # At the share of the split itself it is the precision.
    assert rare_calls(evaluation().confusion.tolist(), 0.05).right == pytest.approx(20 / 30)
    # A larger split leaves less open; a model that never calls it leaves the share of right calls unknown.
    larger = rare_calls((evaluation().confusion * 20).tolist(), 0.01)
    assert larger.interval[1] - larger.interval[0] < worked.interval[1] - worked.interval[0]
    assert np.isnan(rare_calls(evaluation(hits=0, false_calls=0).confusion.tolist(), 0.01).right)


def test_the_card_works_the_example_out() -> None:
    text = " ".join(card().split())
    assert "calls 20 of 50 disgust faces disgust (recall 0.40), and 10 of the 950 others" in text
    assert "1.0 % show disgust, it finds 400 of 1000 and calls 1042 others so too: 28 %" in text
    assert "0.1 % show disgust, it finds 40 of 100 and calls 1052 others so too: 4 %" in text


def test_the_card_has_every_figure_with_its_n_and_interval() -> None:
    figures = evaluation().figures()
    text = card()
    for emotion in ("disgust", "neutral"):
        entry = figures["classes"][emotion]
        row = next(line for line in text.splitlines() if line.startswith(f"| {emotion} |"))
        for name in ("recall", "precision", "f1"):
            low, high = entry[f"{name}_95"]
            assert f"{entry[name]:.2f} [{low:.2f}, {high:.2f}]" in row
        assert f"| {entry['n']} |" in row
    assert f"{100 * figures['accuracy']:.1f} % [{100 * figures['accuracy_95'][0]:.1f}" in text
    for words in ("two most probable", "calibration error", "FER2013's own labels", "web search", "commercially",
                  "PrivateTest was not looked at", "Lie detection", "side views", "48 x 48"):  # fmt: skip
        assert words in text


def test_the_card_names_teachers_start_and_family() -> None:
    plain = card()
    assert "Beside the labels" not in plain
    assert "trained from random initialisation on this data alone" in plain
    taught = card(replace(ORIGIN, teachers=("compact VGG, seed 1", "compact VGG, seed 2"), initial="ImageNet weights"))
    assert "learnt the answers of compact VGG, seed 1 and compact VGG, seed 2" in taught
    assert "its weights began as ImageNet weights" in taught
    assert "no other weights went in" not in taught
    assert provenance()["weights"].endswith("no other weights went in")
    assert ORIGIN.facts()["teachers"] == []
    vgg = Architecture(family="vgg", depths=(2, 2, 2, 2), width=32, head_units=0)
    assert "A VGG of four stages with 2, 2, 2, 2 convolutions of 3x3 and 32 to 256 channels: 1.2 million" in card(
        architecture=vgg
    )
    assert network_in_words(Architecture(stem="small")).startswith("ResNet50")
    assert "3x3 first convolution" in network_in_words(Architecture(stem="small"))
    assert network_in_words(Architecture(depths=(1, 1, 1, 1))).startswith("A ResNet")


def test_what_was_not_measured_is_not_told() -> None:
    assert "FER+: on" not in card()
    assert "In int8" not in card()
    ferplus = {"n": 30, "prediction": 0.7, "prediction_95": [0.5, 0.8], "label": 0.65, "label_95": [0.5, 0.8]}
    paired = {"accuracy_difference": -0.012, "accuracy_difference_95": [-0.02, 0.001], "same_class": 0.9}
    text = card(ferplus=ferplus, int8={**evaluation().figures(), **paired})
    assert "70.0 % [50.0, 80.0]" in text
    assert "-1.20 points [-2.00, 0.10] on the same pictures, 90.0 % of them called the same" in text


def test_a_split_without_the_rare_class_has_no_example() -> None:
    labels = np.array([0, 6, 6])
    figures = {"split": "PublicTest", **Evaluation.of(np.eye(7)[labels], labels).figures()}
    text = model_card(ORIGIN, Architecture(), 48, figures)
    assert "### A worked example" not in text
    assert all(f"| {emotion} |" in text for emotion in EMOTIONS)
