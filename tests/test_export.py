"""``fer-batch export`` as people meet it: files, refusals, and what it says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pympi
import pyreadstat
import pytest
from typer.testing import CliRunner

from jobs import cli
from jobs.cli import app
from jobs.export import MAX_GAP_MS, MIN_SEGMENT_MS, Kind
from reports.export import FORMATS, elan
from tests.reports.synthetic import HAPPY, SAD, SyntheticRun


@pytest.fixture
def run(tmp_path: Path) -> Path:
    made = SyntheticRun(tmp_path / "run")
    made.video("/films/a.mp4", [[(1, HAPPY)], [(1, HAPPY), (2, SAD)], "no_face"]).failed("/films/b.txt").write()
    return tmp_path / "run"


def refused(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says when it refuses."""
    monkeypatch.setattr(sys, "argv", ["fer-batch", "export", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_each_kind_of_file_is_read_by_the_program_it_is_for(run: Path, tmp_path: Path) -> None:
    table = tmp_path / "who.csv"
    table.write_text("participant,video,person,stimulus,start_ms,end_ms\nP1,a.mp4,largest,clip,,\n", encoding="utf-8")
    out = tmp_path / "new" / "out"
    wanted = [argument for kind in FORMATS for argument in ("--format", kind)]
    result = CliRunner().invoke(app, ["export", str(run), "--out", str(out), *wanted, "--groups", str(table)])
    assert result.exit_code == 0, result.output
    assert "2 videos, 3 frames, 3 faces, 1 trials, 1 participants, 2 ELAN segments" in result.stdout
    by_csv = pd.read_csv(out / "faces.csv")
    by_tsv = pd.read_csv(out / "faces.tsv", sep="\t")
    by_sav = pyreadstat.read_sav(out / "faces.sav", apply_value_formats=True)[0]
    pd.testing.assert_frame_equal(by_csv, by_tsv)
    assert by_csv["emotion"].tolist() == by_sav["emotion"].tolist() == ["happy", "happy", "sad"]
    assert by_csv["p_happy"].tolist() == pytest.approx(by_sav["p_happy"].tolist(), abs=1e-6)
    assert pympi.Eaf(str(out / "elan" / "a.eaf")).get_annotation_data_for_tier("track_1") == [(0, 1000, "happy")]
    assert (out / "methods.md").is_file()
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]


def test_csv_is_what_is_written_unless_another_is_asked_for(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["export", str(run), "--out", str(out), "--json"])
    assert result.exit_code == 0
    outcome = json.loads(result.stdout)
    names = ["videos.csv", "frames.csv", "faces.csv", "methods.md"]
    assert outcome["files"] == [str(out / name) for name in names]
    assert sorted(path.name for path in out.iterdir()) == sorted([*names, "export.json"])
    assert (outcome["state"], outcome["segments"]) == ("complete", None)
    assert outcome["rows"] == {"videos": 2, "frames": 3, "faces": 3}


def test_files_that_are_there_are_kept_unless_overwritten(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "faces.csv").write_text("mine")
    (out / "notes.txt").write_text("mine too")
    assert "holds faces.csv already" in refused([str(run), "--out", str(out)], monkeypatch, capsys)
    assert {path.name: path.read_text() for path in out.iterdir()} == {"faces.csv": "mine", "notes.txt": "mine too"}
    result = CliRunner().invoke(app, ["export", str(run), "--out", str(out), "--overwrite"])
    assert result.exit_code == 0
    assert (out / "faces.csv").read_text().startswith("video_id,path,")
    assert (out / "notes.txt").read_text() == "mine too"


def test_overwriting_leaves_nothing_of_an_earlier_export_but_what_people_made(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name, films in (("one", ("a", "b")), ("two", ("b",))):
        made = SyntheticRun(tmp_path / name)
        for film in films:
            made.video(f"/films/{film}.mp4", [[(1, HAPPY)]])
        made.write()
    first = ["export", str(tmp_path / "one"), "--out", str(out), "--format", "elan", "--format", "sav"]
    assert CliRunner().invoke(app, first).exit_code == 0
    (out / "elan" / "a-anna.eaf").write_text("a coder's copy")
    result = CliRunner().invoke(app, ["export", str(tmp_path / "two"), "--out", str(out), "--format", "elan",
                                      "--overwrite"])  # fmt: skip
    assert "removed of an earlier export: elan/a.eaf" in result.stdout
    assert sorted(path.name for path in (out / "elan").iterdir()) == ["a-anna.eaf", "b.eaf"]
    assert (out / "videos.sav").is_file(), "another kind of file than this export writes"
    # A list that was tampered with reaches no file outside, and none of another kind.
    (tmp_path / "x.csv").write_text("mine")
    wrong = ["../x.csv", "elan/../../x.csv", str(tmp_path / "x.csv"), 7]
    (out / "export.json").write_text(json.dumps({"files": wrong}))
    again = CliRunner().invoke(app, ["export", str(tmp_path / "two"), "--out", str(out), "--overwrite"])
    assert again.exit_code == 0
    assert (tmp_path / "x.csv").read_text() == "mine"


def test_what_cannot_be_is_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "out" / "faces.csv").mkdir(parents=True)
    for arguments, message in (
        ([str(tmp_path / "nowhere"), "--out", str(tmp_path / "new")], "holds no run"),
        ([str(run), "--out", str(tmp_path / "file")], "is a file; choose a folder"),
        ([str(run), "--out", str(run)], "is the run's own folder"),
        ([str(run), "--out", str(tmp_path / "out"), "--overwrite"], "is a folder and stands where a file"),
        ([str(run), "--out", str(tmp_path / "new"), "--groups", str(tmp_path / "no.csv")], "cannot be read"),
        ([str(run), "--out", str(tmp_path / "new"), "--format", "xls"], "xls"),
    ):
        assert message in refused(arguments, monkeypatch, capsys).replace("\n", " "), arguments
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_made_stops_it(run: Path) -> None:
    monkey = CliRunner().invoke(app, ["export", str(run), "--out", "/proc/nothing"])
    assert monkey.exit_code != 0
    assert "cannot make the folder /proc/nothing" in str(monkey.exception)


def test_the_command_offers_what_the_exports_know() -> None:
    assert tuple(kind.value for kind in Kind) == FORMATS
    assert (MIN_SEGMENT_MS, MAX_GAP_MS) == (elan.MIN_SEGMENT_MS, elan.MAX_GAP_MS)
