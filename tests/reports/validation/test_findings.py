"""From drawn faces and codes to figures, where the truth about all faces of the run is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score

from fer_batch.errors import RefusedError
from fer_batch.schema import EMOTIONS
from fer_batch.store import Run
from reports.validation.codes import ANSWERS, Codes
from reports.validation.draw import draw
from reports.validation.findings import findings
from reports.validation.key import Key, make_key, read_key, write_key
from tests.reports.validation.population import population, truths

CANNOT_TELL, NO_FACE = ANSWERS.index("cannot_tell"), ANSWERS.index("no_face")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return population(tmp_path_factory.mktemp("population") / "run", videos=24, samples=40)


@pytest.fixture(scope="module")
def key(run: Run) -> Key:
    return make_key(run, draw(run, 300, 0), {}, asked=300, seed=0, show="face")


def coded(*answers: NDArray[Any]) -> Codes:
    return Codes(tuple(f"coder {number}" for number in range(len(answers))), np.stack(answers).astype(np.int8))


def model_of(key: Key) -> NDArray[np.int8]:
    return np.array([EMOTIONS.index(e) for e in key.faces["emotion"].to_pylist()], np.int8)


def test_figures_for_the_run_are_near_its_truth(run: Run, key: Key) -> None:
    found = findings(key, coded(truths(key.faces)))
    faces = run.faces()
    model = np.array([EMOTIONS.index(e) for e in faces["emotion"].to_pylist()])
    true = truths(faces)
    assert found["reference"] == "coder 0"
    assert found["clusters"] == {"by": "video", "n": 24}
    (pair,) = found["pairs"]
    expected = {
        "accuracy": (found["accuracy"], np.mean(model == true)),
        "kappa": (pair["run"]["kappa"], cohen_kappa_score(true, model)),
        "excess": (found["calibration"]["excess"], np.mean(faces["confidence"].to_numpy()) - np.mean(model == true)),
    }
    for number, emotion in enumerate(EMOTIONS):
        row = found["classes"][emotion]
        said, meant = model == number, true == number
        assert row["in_run"] == said.sum()
        assert row["share_model"] == said.mean()
        expected |= {
            f"precision of {emotion}": (row["precision"], np.mean(meant[said])),
            f"recall of {emotion}": (row["recall"], np.mean(said[meant])),
            f"share of {emotion}": (row["share_coded"], np.mean(meant)),
        }
    outside = [
        name
        for name, (estimate, value) in expected.items()
        if estimate["value"] is not None and not estimate["low"] - 1e-9 <= value <= estimate["high"] + 1e-9
    ]
    assert len(outside) <= 2, outside  # of 24 intervals that each hold the truth in 95 % of all samples
    assert found["accuracy"]["high"] - found["accuracy"]["low"] < 0.2
    # On the sample itself, where rare classes are many, agreement is another.
    assert pair["sample"]["agreement"]["value"] == pytest.approx(np.mean(model_of(key) == truths(key.faces)))
    assert pair["sample"]["kappa"]["value"] == pytest.approx(cohen_kappa_score(truths(key.faces), model_of(key)))


def test_a_coder_who_always_agrees(key: Key) -> None:
    found = findings(key, coded(model_of(key)))
    assert found["accuracy"]["value"] == 1
    assert 0.8 < found["accuracy"]["low"] < 1
    kappa = found["pairs"][0]["run"]["kappa"]
    assert (kappa["value"], kappa["low"]) == (1, None)
    assert np.trace(found["confusion"]) == np.sum(found["confusion"]) == len(key.faces)


def test_answers_without_a_class_are_counted_and_in_no_rate(key: Key) -> None:
    answers = truths(key.faces)
    answers[:30], answers[30:40], answers[40:60] = CANNOT_TELL, NO_FACE, -1
    found = findings(key, coded(answers))
    n = len(answers)
    assert found["coded"] == n - 20
    (coder,) = found["coders"]
    assert (coder["left"], coder["answers"]["cannot_tell"], coder["answers"]["no_face"]) == (20, 30, 10)
    assert found["accuracy"]["n"] == n - 60
    assert found["cannot_tell"]["n"] == n - 20
    assert found["cannot_tell"]["low"] < 30 / (n - 20) < found["cannot_tell"]["high"]
    assert found["pairs"][0]["n"] == n - 60


def test_the_majority_is_more_than_half(key: Key) -> None:
    model = model_of(key)
    other = (model + 1) % 7
    third = model.copy()
    third[:10] = CANNOT_TELL  # model, other, cannot tell: nobody has a majority
    third[10:20] = other[10:20]  # two against the model's class
    first, second = model.copy(), other.copy()
    second[100:] = -1  # both who coded these agree
    found = findings(key, coded(first, second, third))
    assert found["no_majority"] == 10
    assert found["reference"] == "majority"
    assert found["accuracy"]["n"] == len(model) - 10
    judges = [(pair["first"], pair["second"]) for pair in found["pairs"]]
    assert judges == [
        ("model", "coder 0"),
        ("model", "coder 1"),
        ("model", "coder 2"),
        ("model", "majority"),
        ("coder 0", "coder 1"),
        ("coder 0", "coder 2"),
        ("coder 1", "coder 2"),
    ]
    by_judges = dict(zip(judges, found["pairs"], strict=True))
    assert by_judges["coder 0", "coder 1"]["sample"]["agreement"]["value"] == 0
    assert by_judges["coder 0", "coder 1"]["n"] == 100
    assert by_judges["model", "coder 2"]["sample"]["agreement"]["value"] == pytest.approx(1 - 10 / (len(model) - 10))
    assert found["alpha"]["value"] is not None
    assert any("10 faces the coders had no majority" in caution for caution in found["cautions"])
    two = findings(key, coded(first, second))
    assert two["alpha"] is None
    assert two["no_majority"] == 100  # one against one
    assert two["accuracy"]["n"] == len(model) - 100


def test_coders_who_share_no_face_are_not_compared(key: Key) -> None:
    first, second = truths(key.faces), truths(key.faces)
    first[:150], second[150:] = -1, -1
    pair = findings(key, coded(first, second))["pairs"][-1]
    assert pair["n"] == 0
    assert pair["run"]["kappa"]["value"] is None


def test_few_clusters_are_said(tmp_path: Path) -> None:
    run = population(tmp_path / "run", videos=2, samples=40)
    key = make_key(run, draw(run, 60, 0), {"x": "y"}, asked=60, seed=0, show="face")
    found = findings(key, coded(truths(key.faces)))
    assert found["clusters"] == {"by": "track", "n": 4}
    assert any("4 tracks only" in caution for caution in found["cautions"])
    assert any("not for other people" in caution for caution in found["cautions"])


def test_one_coded_face_is_no_error_and_plain_json(key: Key) -> None:
    answers = np.full(len(key.faces), -1)
    answers[3] = model_of(key)[3]
    found = findings(key, coded(answers))
    assert found["accuracy"] == {"value": 1.0, "low": None, "high": None, "n": 1}
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    nothing = findings(key, coded(np.where(answers >= 0, CANNOT_TELL, -1)))
    assert nothing["calibration"] is None
    assert nothing["accuracy"]["value"] is None
    json.dumps(nothing, allow_nan=False)


def test_the_key_comes_back_as_it_was_written(run: Run, key: Key) -> None:
    path = write_key(run, key)
    assert path.parent == run.path / "validation"
    back = read_key(run, key.faces["item"].to_pylist()[:3])
    assert back.faces.equals(key.faces)
    assert (back.sample_id, back.n_faces) == (key.sample_id, key.n_faces)
    assert back.about == {"asked": 300, "seed": 0, "show": "face", "model": {"name": "tiny", "sha256": "0" * 64}}


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "of no sample"),
        (["1", "../../etc-0001"], "of no sample"),
        (["s00000000-0001"], "has no sample s00000000"),
        (["s00000000-0001", "s11111111-0001"], "of 2 samples"),
    ],
)
def test_items_of_another_sample_are_refused(run: Run, items: list[str], message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        read_key(run, items)


def test_a_damaged_key_is_refused(run: Run) -> None:
    (run.path / "validation").mkdir(exist_ok=True)
    (run.path / "validation" / "sdddddddd.parquet").write_bytes(b"no table")
    with pytest.raises(RefusedError, match="is damaged"):
        read_key(run, ["sdddddddd-0001"])
