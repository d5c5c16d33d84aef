"""An int8 model is put into a bundle, with its own temperature and figures; evaluating it gives what was told of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from fer_batch.bundle import ModelBundle
from fer_batch.bundle_folder import CARD, WEIGHTS
from fer_batch.errors import RefusedError
from fer_batch.precision import too_much
from tests.tiny import write_tiny_bundle
from tests.training.faces import pictures, rows, write_csv
from training.commands import evaluate, export_model
from training.evaluation.evaluate import predict

app = typer.Typer()
app.command("export-model")(export_model)
app.command("evaluate")(evaluate)

N = 70


def invoke(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lines = rows("Training", 140) + rows("PublicTest", N, seed=1)
    return write_csv(tmp_path_factory.mktemp("data") / "fer2013.csv", lines)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    return write_tiny_bundle(tmp_path_factory.mktemp("before") / "model")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, data: Path) -> ModelBundle:
    """A tiny model after the command."""
    path = write_described(tmp_path_factory.mktemp("after") / "model")
    printed = invoke("export-model", "--add-int8", "--model", path, "--data", data)
    assert "points" in printed
    assert f"model bundle: {path}" in printed
    return ModelBundle.load(path)


def write_described(path: Path) -> Path:
    """A tiny bundle that says where it came from, as trained ones do."""
    from fer_batch.bundle import rewrite_bundle

    tiny = write_tiny_bundle(path)
    facts = {"data": "FER2013", "pictures": 140, "blank": 0, "votes": False, "images_seen": 140, "hours": 0.1,
             "teachers": ["somebody"], "recipe": {"seed": 0}}  # fmt: skip
    rewrite_bundle(tiny, path, training=facts, card="# Tiny: a title\n\nText.\n", overwrite=True)
    return path


def test_all_else_stays(bundle: ModelBundle, before: ModelBundle) -> None:
    assert (bundle.path / WEIGHTS).read_bytes() == (before.path / WEIGHTS).read_bytes()
    assert (bundle.temperature, bundle.name, bundle.input_size) == (before.temperature, before.name, before.input_size)
    assert bundle.training["recipe"] == {"seed": 0}
    card = (bundle.path / CARD).read_text(encoding="utf-8")
    assert card.startswith("# Tiny: a title\n")
    assert "Beside the labels it learnt the answers of somebody." in card


def test_int8_says_nearly_what_float32_says(bundle: ModelBundle) -> None:
    faces = pictures(N, seed=1)
    plain, int8 = (predict(bundle, faces, precision=precision) for precision in ("float32", "int8"))
    assert bundle.int8 is not None
    cooled = plain ** (1 / bundle.int8.temperature)  # the float model at int8's temperature
    cooled /= cooled.sum(axis=1, keepdims=True)
    assert np.abs(int8 - cooled).mean() < 0.01
    assert np.abs(int8 - cooled).max() < 0.1


def test_its_temperature_is_fitted(bundle: ModelBundle) -> None:
    faces = pictures(N, seed=1)
    assert bundle.int8 is not None
    logs = np.log(predict(bundle, faces, precision="int8").astype(np.float64))

    def loss(power: float) -> float:
        told = power * logs
        told -= np.log(np.exp(told).sum(axis=1, keepdims=True))
        return float(-told[np.arange(N), faces.labels].mean())

    assert loss(1) < loss(bundle.int8.temperature)  # which takes it back to 1


def test_its_figures_are_what_evaluating_it_gives(bundle: ModelBundle, data: Path, tmp_path: Path) -> None:
    page = tmp_path / "evaluation.html"
    told = json.loads(
        invoke("evaluate", "--data", data, "--model", bundle.path, "--precision", "int8", "--page", page, "--json")
    )
    assert bundle.int8 is not None
    figures = bundle.int8.figures
    assert (figures["split"], figures["n"]) == ("PublicTest", N)
    assert told["accuracy"] == bundle.figures["accuracy"]
    for name in ("accuracy", "confusion", "accuracy_difference", "accuracy_difference_95", "same_class", "recall"):
        assert told["int8"][name] == figures[name]
    assert figures["accuracy_difference"] == pytest.approx(figures["accuracy"] - bundle.figures["accuracy"], abs=2e-4)
    assert f"the accuracy is {100 * figures['accuracy']:.1f} %" in bundle.card
    assert told["int8"]["pictures_per_second"] > 0
    assert "In int8" in page.read_text(encoding="utf-8")
    assert not any("does not tell" in reason for reason in too_much(bundle))


def test_refusals(tiny: ModelBundle, tmp_path: Path, data: Path) -> None:
    with pytest.raises(RefusedError, match="name one file to write, or give --add-int8"):
        invoke("export-model", "--model", tiny.path)
    with pytest.raises(RefusedError, match="name one file to write, or give --add-int8"):
        invoke("export-model", tmp_path / "m.keras", "--add-int8", "--model", tiny.path)
    with pytest.raises(RefusedError, match="give FER2013 by --data"):
        invoke("export-model", "--add-int8", "--model", tiny.path)
    public = write_csv(tmp_path / "public.csv", rows("PublicTest", 2))
    with pytest.raises(RefusedError, match="no rows of the split 'Training'"):
        invoke("export-model", "--add-int8", "--model", tiny.path, "--data", public)
