"""``fer-batch evaluate`` and its parts: views of a picture, int8, FER+, the page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from fer_batch.bundle import ModelBundle
from fer_batch.errors import RefusedError
from fer_batch.schema import EMOTIONS
from fer_batch.score import Scorer
from tests.browser import LAPTOP, PHONE, check_page, opened
from tests.tiny import write_tiny_bundle
from tests.training.faces import pictures, rows, write_csv, write_votes
from training.commands import evaluate
from training.data.faces import VOTES
from training.evaluation.curves import curves, find_history
from training.evaluation.evaluate import predict, score, views
from training.evaluation.page import worst_mistakes
from training.fit.augment import resize

app = typer.Typer()
app.command()(evaluate)

Invoke = Callable[..., str]


def invoke(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_flipping_is_the_mean_of_both_passes(tiny: ModelBundle) -> None:
    faces = pictures(10)
    scorer = Scorer(tiny, batch_sizes=(10,))
    plain, mirrored = (scorer(resize(images, 48)) for images in (faces.images, faces.images[:, :, ::-1]))
    assert np.abs(plain - mirrored).max() > 0.01
    np.testing.assert_allclose(predict(tiny, faces, tta="flip"), (plain + mirrored) / 2, atol=1e-6)
    np.testing.assert_allclose(predict(tiny, faces), plain, atol=1e-6)


def test_views_are_what_they_are_called() -> None:
    image = np.arange(48 * 48, dtype=np.int64).reshape(1, 48, 48).astype(np.uint8)
    assert len(views(image, "none")) == 1
    crops = views(image, "crops")
    assert [crop.shape for crop in crops] == [(1, 44, 44)] * 5
    for crop, (y, x) in zip(crops, [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)], strict=True):
        np.testing.assert_array_equal(crop, image[:, y : y + 44, x : x + 44])
    ten = views(image, "flip+crops")
    assert len(ten) == 10
    np.testing.assert_array_equal(ten[7], ten[2][:, :, ::-1])
    with pytest.raises(ValueError, match="tta must be one of none, flip"):
        views(image, "rotate")  # type: ignore[arg-type]


def test_views_reach_the_scorer_at_its_size_in_batches() -> None:
    seen: list[tuple[int, ...]] = []

    def scorer(crops: np.ndarray) -> np.ndarray:
        seen.append(crops.shape)
        return np.full((len(crops), 7), crops[:, :1, :1, 0].astype(np.float32).reshape(-1, 1))

    images = np.repeat(np.arange(70, dtype=np.uint8), 48 * 48).reshape(70, 48, 48)
    out = score(scorer, images, 32, "crops")
    assert seen == [(64, 32, 32, 1)] * 5 + [(6, 32, 32, 1)] * 5
    np.testing.assert_array_equal(out, np.repeat(np.arange(70), 7).reshape(70, 7))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("data")
    lines = rows("Training", 14) + rows("PublicTest", 35, seed=1)
    return (
        write_csv(folder / "fer2013.csv", lines),
        write_votes(folder / "fer2013new.csv", ["Training"] * 14 + ["PublicTest"] * 35),
    )


def test_all_at_once_as_json(data: tuple[Path, Path], tiny: ModelBundle, tmp_path: Path) -> None:
    csv, votes = data
    page = tmp_path / "pages" / "evaluation.html"
    told = json.loads(
        invoke("--data", csv, "--model", tiny.path, "--ferplus", votes, "--tta", "flip",
               "--page", page, "--json")
    )  # fmt: skip
    assert (told["n"], told["tta"], told["split"], told["labelling"]) == (35, "flip", "PublicTest", "FER2013")
    expected = predict(tiny, pictures(35, seed=1), tta="flip").argmax(axis=1) == pictures(35, seed=1).labels
    assert told["accuracy"] == round(float(expected.mean()), 4)
    # Row i of the votes, Training's rows counted, is for column i of ten, of which three are none of ours.
    assert told["ferplus"]["n"] == sum(VOTES[i % 10] not in ("contempt", "unknown", "NF") for i in range(14, 49))
    assert sum(told["ferplus"]["excluded"].values()) == 35 - told["ferplus"]["n"]
    assert page.stat().st_size > 1_000_000  # Plotly is inside


def test_for_people(data: tuple[Path, Path], tiny: ModelBundle) -> None:
    csv, votes = data
    told = invoke("--data", csv, "--model", tiny.path, "--ferplus", votes, "--tta", "crops")
    for words in (*EMOTIONS, "test-time augmentation (crops)", "FER+:", "majority agree", "two most probable",
                  "perfectly calibrated"):  # fmt: skip
        assert words in " ".join(told.split())


def test_refusals(data: tuple[Path, Path], tiny: ModelBundle, tmp_path: Path) -> None:
    public = write_csv(tmp_path / "public.csv", rows("PublicTest", 2))
    common = ["--data", public, "--model", tiny.path]
    with pytest.raises(RefusedError, match="model tiny has no int8 part"):
        invoke(*common, "--precision", "int8")
    with pytest.raises(RefusedError, match="add --page"):
        invoke(*common, "--history", tmp_path)
    page = tmp_path / "page.html"
    with pytest.raises(RefusedError, match=r"holds no history\.parquet or history\.csv"):
        invoke(*common, "--page", page, "--history", tmp_path)
    (tmp_path / "history.csv").write_text("stage,images_seen\n0,12\n")
    with pytest.raises(RefusedError, match="no column 'label_loss' of numbers"):
        invoke(*common, "--page", page, "--history", tmp_path)
    (tmp_path / "history.parquet").write_bytes(b"PAR1 not")
    with pytest.raises(RefusedError, match=r"history\.parquet cannot be read"):
        invoke(*common, "--page", page, "--history", tmp_path)
    assert not page.exists()


def test_curves_mark_where_a_stage_begins(tiny: ModelBundle, tmp_path: Path) -> None:
    assert find_history(tiny) is None
    path = history(tmp_path / "history.csv")
    found = find_history(tiny, tmp_path)
    assert found is not None
    assert len(found) == 3
    assert found.equals(find_history(tiny, path))
    figures = curves(found)
    assert list(figures["accuracy"].data[1].y) == [0.5, 0.6, 0.65]
    assert list(figures["loss"].data[0].y) == [1.5, 1.2, 1.0]
    assert [shape.x0 for shape in figures["loss"].layout.shapes] == [200]


def history(path: Path) -> Path:
    path.write_text(
        "stage,epoch,images_seen,label_loss,accuracy,valid_accuracy,valid_loss\n"
        "0,0,100,1.5,0.4,0.5,1.4\n0,1,200,1.2,0.5,0.6,1.2\n1,0,300,1.0,0.6,0.65,1.1\n"
    )
    return path


def test_worst_mistakes_come_first() -> None:
    from training.evaluation.evaluate import Evaluation

    faces = pictures(7)
    probabilities = np.full((7, 7), 0.02)
    # All are called happy (3); the label's own probability rises with the row.
    probabilities[np.arange(7), np.arange(7)] = 0.05 + 0.02 * np.arange(7)
    probabilities[:, 3] = 0.6
    found = worst_mistakes(Evaluation.of(probabilities, faces.labels), faces, count=3)
    assert [(m.label, m.called, m.where) for m in found] == [
        ("angry", "happy", "row 1"), ("disgust", "happy", "row 2"), ("fear", "happy", "row 3"),
    ]  # fmt: skip
    assert found[0].probabilities[0] == ("happy", 0.6)
    assert found[0].votes == ((VOTES[0], 1.0),)
    assert found[0].image.startswith("data:image/png;base64,")


HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, data: tuple[Path, Path]) -> Path:
    folder = tmp_path_factory.mktemp("page")
    csv, votes = data
    model = write_tiny_bundle(folder / "model")
    described = json.loads((model.path / "model.json").read_text())
    (model.path / "model.json").write_text(json.dumps({**described, "name": f"tiny {HOSTILE}"}))
    out = folder / "evaluation.html"
    invoke("--data", csv, "--model", model.path, "--ferplus", votes, "--page", out, "--history",
           history(folder / "history.csv"))  # fmt: skip
    return out


def test_names_are_escaped(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert HOSTILE not in text
    assert "tiny &lt;script&gt;alert(1)" in text


def test_file_names_are_escaped(tmp_path: Path, tiny: ModelBundle) -> None:
    from dataclasses import replace

    from training.evaluation.evaluate import Evaluation
    from training.evaluation.page import write_evaluation_page

    faces = replace(pictures(7), names=tuple(f"train/{HOSTILE}{index}.jpg" for index in range(7)))
    evaluation = Evaluation.of(np.roll(np.eye(7), 1, axis=1), faces.labels)
    told = {"model": tiny.name, "sha256": tiny.sha256, "labelling": "FER2013", "split": "Training", "tta": "none"}
    out = write_evaluation_page(tmp_path / "p.html", evaluation, {**told, **evaluation.figures()}, faces, None)
    text = out.read_text(encoding="utf-8")
    assert HOSTILE not in text
    assert text.count("&lt;script&gt;alert(1)") == 7


@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_in_a_browser_figures_have_data_and_nothing_is_said(browser: Any, page: Path, size: tuple[int, int]) -> None:
    opened(browser, page, size, "dark")
    check_page(browser, size)
    counts = browser.execute_script("""
        const out = {};
        document.querySelectorAll('[data-figure]').forEach(box => {
            out[box.dataset.figure] = box._fullData.map(trace => (trace.z || trace.y).length);
        });
        return out;
    """)
    assert counts["confusion"] == [7, 49]
    assert counts["accuracy"] == counts["loss"] == [3, 3]
    assert counts["reliability"][2] == 15
    assert len(counts["classes"]) == 2
    # No cell of a table is wider than its place.
    too_wide = browser.execute_script("""
        return Array.from(document.querySelectorAll('td, .tiles li'))
            .filter(cell => cell.scrollWidth > cell.clientWidth + 1).map(cell => cell.textContent);
    """)
    assert too_wide == []
    shown = browser.find_elements("css selector", ".faces img")
    assert len(shown) == 24
    assert shown[0].get_property("naturalWidth") == 48
