"""``fer-batch validate`` from end to end: draw, code, read back."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from fer_batch.probe import fingerprint
from fer_batch.store import Run
from jobs import cli
from jobs.cli import app
from tests.clips import Person, build, constant_times, still
from tests.reports.synthetic import SyntheticRun
from tests.reports.validation.population import probabilities


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two videos of 12 s, one of which is gone; 30 frames a second, so samples are every 15th frame."""
    folder = tmp_path_factory.mktemp("validate")
    clip = build(folder / "[red]a.mp4", constant_times(30, 12), [Person("astronaut", still(150, 95, 80))], gop=60)
    made = SyntheticRun(folder / "run", model={"name": "tiny", "sha256": "0" * 64})
    video_id = fingerprint(clip.path, clip.path.stat().st_size)
    for path, of in ((clip.path, video_id), (folder / "[b]gone.mp4", "v0000")):
        made.video(str(path), [[(1, probabilities(i // 3 % 7, 0.5 + i / 100))] for i in range(24)], video_id=of)
    return made.write()


def validate(run: Run, *arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["validate", str(run.path), *map(str, arguments)], env={"COLUMNS": "100"})


@pytest.fixture(scope="module")
def prepared(run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    out = tmp_path_factory.mktemp("out") / "coding"
    return out, validate(run, "--out", out, "--n", "40", "--coders", "Anna, Ben", "--show", "strip")


def fill(table: Path, key: list[dict[str, Any]], wrong: int) -> None:
    """Code as the model does, but for the first few faces."""
    answers = {row["item"]: "cannot_tell" if i < wrong else row["emotion"] for i, row in enumerate(key)}
    items = [row["item"] for row in csv.DictReader(table.open())]
    with table.open("w") as file:
        csv.writer(file).writerows([("item", "code"), *((item, answers[item]) for item in items)])


def test_drawing_says_what_was_done_and_what_to_do(run: Run, prepared: tuple[Path, Result]) -> None:
    out, result = prepared
    assert result.exit_code == 0, result.output
    assert f"{out}/index.html" in result.stdout
    assert "codes-Anna.csv codes-Ben.csv" in result.stdout
    assert "pictures of people's faces. Delete" in result.stdout
    assert "cannot be shown" in result.stdout
    assert "[b]gone.mp4: the file is not where it was" in result.stderr
    (key,) = (run.path / "validation").glob("*.parquet")
    assert str(key) in result.stdout
    assert sorted(path.name for path in out.iterdir()) == [
        "README.txt", "codes-Anna.csv", "codes-Ben.csv", "images", "index.html"
    ]  # fmt: skip
    rows = pq.read_table(key).to_pylist()
    assert {row["lost"] for row in rows} == {None, "vanished"}
    shown = [row["item"] for row in rows if row["lost"] is None]
    assert {path.name for path in (out / "images").iterdir()} == {
        name for item in shown for name in (f"{item}.jpg", f"{item}-strip.jpg")
    }


def test_reading_back(run: Run, prepared: tuple[Path, Result]) -> None:
    out, _ = prepared
    (key,) = (run.path / "validation").glob("*.parquet")
    rows = pq.read_table(key).to_pylist()
    shown = [row for row in rows if row["lost"] is None]
    fill(out / "codes-Anna.csv", shown, 3)
    fill(out / "codes-Ben.csv", shown, 0)
    result = validate(run, "--codes", out / "codes-Anna.csv", out / "codes-Ben.csv")
    assert result.exit_code == 0, result.output
    assert f"{len(shown)} of {len(rows)} faces coded (Anna {len(shown)}, Ben {len(shown)})" in result.stdout
    assert "Anna - Ben" in result.stdout
    assert "model - majority" in result.stdout
    page = key.with_suffix(".html")
    assert f"page: {page}" in result.stdout
    assert "Model against human coders" in page.read_text()
    plain = validate(run, "--codes", out / "codes-Anna.csv", "--codes", out / "codes-Ben.csv", "--json")
    found = json.loads(plain.stdout)
    assert (found["drawn"], found["shown"], found["coded"]) == (len(rows), len(shown), len(shown))
    assert found["accuracy"]["value"] == 1
    assert found["no_majority"] == 3
    alone = json.loads(validate(run, "--codes", out / "codes-Anna.csv", "--json").stdout)
    assert alone["reference"] == "Anna"
    assert alone["accuracy"]["n"] == len(shown) - 3


def test_json_of_drawing(run: Run, tmp_path: Path) -> None:
    result = validate(run, "--out", tmp_path / "out", "--n", "20", "--seed", "5", "--json")
    outcome = json.loads(result.stdout)
    assert outcome["drawn"] == 20
    assert outcome["shown"] < 20
    assert sum(row["drawn"] for row in outcome["classes"].values()) == 20
    assert len(outcome["unread"]) == 1
    assert (tmp_path / "out" / "codes.csv").is_file()
    assert Path(outcome["key"]).parent == run.path / "validation"


def test_a_run_that_goes_on_is_said_to(run: Run, tmp_path: Path) -> None:
    made = SyntheticRun(tmp_path / "run", state="running")
    for row in run.videos().slice(1, 1).to_pylist():
        made.video(row["path"], [[(1, probabilities(3, 0.9))]] * 24, video_id=row["video_id"])
    result = validate(made.write(), "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "is not complete" in result.stderr


def test_without_any_video_nothing_is_left_to_code(tmp_path: Path) -> None:
    made = SyntheticRun(tmp_path / "run").video("/nowhere/a.mp4", [[(1, probabilities(3, 0.9))]] * 20)
    result = validate(made.write(), "--out", tmp_path / "out")
    assert "no face could be shown" in str(result.exception)
    assert "/nowhere/a.mp4: the file is not where it was" in str(result.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "validate goes in two steps"),
        (["--out", "x", "--codes", "y"], "validate goes in two steps"),
        (["y.csv"], "validate goes in two steps"),
        (["--out", "x", "y.csv"], "files of codes are given after --codes"),
        (["--out", "x", "--n", "3"], "--n"),
        (["--out", "x", "--coders", "../../Anna"], "is no name that a file can have"),
        (["--codes", "nowhere.csv"], "nowhere.csv cannot be read"),
    ],
)
def test_what_cannot_be_is_refused(
    run: Run,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fer-batch", "validate", str(run.path), *arguments])
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
