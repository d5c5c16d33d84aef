"""Comparisons of people at privacy level `tracks`: means as from faces; what needs single samples is left out."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_batch.errors import RefusedError
from fer_batch.schema import PROBABILITIES
from fer_batch.store import Run
from reports.feedback import build_feedback, survey
from reports.groups import Settings, build_groups, compare
from reports.sessions import build_sessions, follow
from tests.browser import LAPTOP, PHONE, check_page, opened
from tests.jobs.command import fer_batch
from tests.jobs.filled import job_toml
from tests.privacy.levels import as_tracks
from tests.reports.sessions.study import HEAD, face, recorded
from tests.reports.synthetic import SyntheticRun

VALUES = ("valence", "expressiveness", *PROBABILITIES)
FEW: Any = {"resamples": 999}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run, Path]:
    """The sessions of 12 people at both levels, and their table: whole bins throughout."""
    folder = tmp_path_factory.mktemp("levels")
    run, table = recorded(folder, lambda person, session: 0.3 + 0.04 * session + 0.01 * (person % 3), people=12,
                          sessions=4)  # fmt: skip
    return run, as_tracks(run, folder / "tracks"), table


def same(ours: list[dict[str, Any]], others: list[dict[str, Any]], names: list[str], left_out: set[str]) -> None:
    """Rows are equal but for the measures that need samples."""
    others = [row for row in others if row["measure"] not in left_out]
    assert len(ours) == len(others) > 0
    for mine, other in zip(ours, others, strict=True):
        for name in names:
            assert mine[name] == (
                pytest.approx(other[name], abs=2e-6) if isinstance(other[name], float) else other[name]
            )


def test_comparisons_are_those_of_the_faces(study: tuple[Run, Run, Path]) -> None:
    faces, tracks, table = study
    asked = Settings(baseline="neutral", **FEW)
    ours, others = (compare(run, table, asked) for run in (tracks, faces))
    gone = {"time_positive", "peak_valence"}
    names = ["level", "measure", "people", "mean", "low", "high", "coverage"]
    same(ours.tables["means"].to_pylist(), others.tables["means"].to_pylist(), names, gone)
    people, of_faces = (one.tables["people"].to_pylist() for one in (ours, others))
    assert [(row["participant"], row["samples"], row["seen_ms"]) for row in people] == [
        (row["participant"], row["samples"], row["seen_ms"]) for row in of_faces]  # fmt: skip
    assert {(row["time_positive"], row["peak_valence"]) for row in people} == {(None, None)}
    assert (len(ours.tables["curves"]), ours.cells.bin_ms, others.cells.bin_ms) == (0, 30_000, None)


def test_sessions_are_those_of_the_faces(study: tuple[Run, Run, Path]) -> None:
    faces, tracks, table = study
    asked = Settings(baseline="neutral", **FEW)
    ours, others = (follow(run, table, asked) for run in (tracks, faces))
    for name in ("visits", "slopes", "changes", "course"):
        values = {"visits": ["mean", "baseline"], "slopes": ["slope", "low", "high"]}.get(name, ["mean", "low", "high"])
        same(ours.tables[name].to_pylist(), others.tables[name].to_pylist(), ["measure", *values], {"time_positive"})
    # The neutral stretch has two bins: too few blocks for its error, so sessions have no intervals.
    assert {row["low"] for row in ours.tables["visits"].to_pylist()} == {None}
    plain = follow(tracks, table, Settings(**FEW)).tables["visits"].to_pylist()
    assert all(row["low"] < row["mean"] < row["high"] for row in plain if row["measure"] == "valence")


def test_only_whole_bins_of_the_right_track_count(tmp_path: Path) -> None:
    """Two people, two samples a second: a small face is track 1; the larger one leaves and comes back as track 3."""
    small, large = face(0.1), face(0.7)
    made = SyntheticRun(tmp_path / "run")
    made.video("v.mp4", [[(1, small), (2, large)]] * 40 + [[(1, small)]] * 10 + [[(1, small), (3, large)]] * 74)
    for row in made.faces:
        row["face_size"] = 50.0 if row["track_id"] == 1 else 90.0
    run = as_tracks(made.write(), tmp_path / "tracks")  # 62 s: bins of 30, 30 and 2 s
    table = tmp_path / "people.csv"

    def means(*rows: str) -> dict[str, Any]:
        lines = [f"P{n},1,v.mp4,{row},{run.id}" for n, row in enumerate(rows)]
        table.write_text("\n".join([HEAD + ",run", *lines]) + "\n")
        return {row["participant"]: (row["samples"], round(row["p_happy"], 6), row["coverage"])
                for row in compare(run, table, Settings(min_group=2, **FEW)).tables["people"].to_pylist()}  # fmt: skip

    assert means("track:1,a,0,", "track:2+3,a,0,") == {
        "P0": (124, 0.1, 1.0), "P1": (114, 0.7, pytest.approx(57 / 62))}  # fmt: skip
    # From 1 s on the first bin is not whole; up to 59 s the second is not.
    assert means("track:1,a,1000,", "track:3,a,1000,") == {"P0": (64, 0.1, 1.0), "P1": (64, 0.7, 1.0)}
    # The largest is the person of tracks 2 and 3, never the small one beside them.
    assert means("largest,a,0,30000", "track:1,b,0,30000", "largest,b,30000,", "track:1,a,30000,")["P0"] == (
        50, 0.7, pytest.approx(25 / 30))  # fmt: skip
    with pytest.raises(RefusedError, match="no bin of 30 s lies wholly in it"):
        means("track:1,a,1000,59000", "track:2,a,1000,29000")
    with pytest.raises(RefusedError, match=r"row 3, column person: largest takes the same track \(2\) as row 2"):
        means("track:2,a,0,", "largest,a,0,")
    with pytest.raises(RefusedError, match=r"region:0,0,1,1 needs the boxes of faces, and at privacy.level 'tracks'"):
        means('"region:0,0,1,1",a,0,', "track:1,a,0,")
    with pytest.raises(RefusedError, match=r"track:1\+2: two of these tracks are in the picture at 0 ms"):
        means("track:1+2,a,0,", "track:3,a,0,")


def test_a_bin_with_few_samples_is_time_without_a_mean(tmp_path: Path) -> None:
    made = SyntheticRun(tmp_path / "run")
    for name in "ab":
        made.video(f"{name}.mp4", [[(1, face(0.6))]] * 60 + [[(1, face(0.1))]] * 2 + ["no_face"] * 58)
        made.video(f"{name}2.mp4", [[(1, face(0.1))]] * 2 + ["no_face"] * 58)
    run = as_tracks(made.write(), tmp_path / "tracks")
    table = tmp_path / "people.csv"
    rows = [f"{name},1,{name}{n}.mp4,largest,{what},0," for name in "ab" for n, what in (("", "x"), ("2", "y"))]
    table.write_text("\n".join([HEAD, *rows]) + "\n")
    study = compare(run, table, Settings(min_group=2, **FEW))
    (mine, _) = study.tables["people"].to_pylist()
    assert (mine["samples"], mine["seen_ms"], mine["coverage"], round(mine["p_happy"], 6)) == (60, 30_000, 0.5, 0.6)
    assert set(study.cells.left_out.values()) == {"face seen in fewer than three samples of each bin"}


def test_the_pages_say_what_is_left_out(study: tuple[Run, Run, Path], tmp_path: Path, browser: Any) -> None:
    _, run, table = study
    asked = Settings(baseline="neutral", **FEW)
    found = survey(run, table, asked)
    first = build_groups(run, found.study, tmp_path, has_index=False)
    pages = [first, first.with_name("stimulus-01.html"), build_feedback(run, found, tmp_path),
             build_sessions(run, follow(run, table, asked), tmp_path)]  # fmt: skip
    pages.append(pages[-1].with_name("participant-001.html"))
    for page in pages:
        html = page.read_text(encoding="utf-8")
        assert "The run keeps means of tracks in bins of 30 s" in html, page
        assert "Not here, because they need single samples: " in html, page
        assert not {"Time positive", "Peak valence", 'id="through"', "nan"} & {*html.split(">"), *html.split("<")}, page
        for size in (LAPTOP, PHONE):
            opened(browser, page, size)
            check_page(browser, size)


def test_export_and_participants_work_from_tracks(
    study: tuple[Run, Run, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    faces, run, table = study
    read = {}
    for level, one in (("faces", faces), ("tracks", run)):
        out = tmp_path / level
        assert fer_batch(monkeypatch, "export", one.path, "--out", out, "--groups", table) == 0
        read[level] = {file.stem: list(csv.DictReader(file.open(encoding="utf-8"))) for file in out.glob("*.csv")}
    ours, others = read["tracks"], read["faces"]
    assert set(ours) == {"videos", "frames", "tracks", "track_bins", "trials", "participants"}
    assert (len(ours["tracks"]), len(ours["track_bins"])) == (48, 48 * 10)
    assert [row["n_faces"] for row in ours["frames"]] == [row["n_faces"] for row in others["frames"]]
    assert not {"p_happy", "valence", "emotion"} & ({*ours["videos"][0]} | {*ours["frames"][0]})
    for mine, other in zip(ours["trials"], others["trials"], strict=True):
        assert mine.keys() == other.keys()
        assert (mine["n_samples"], mine["seen_ms"]) == (other["n_samples"], other["seen_ms"])
        np.testing.assert_allclose([float(mine[n]) for n in VALUES], [float(other[n]) for n in VALUES], atol=2e-6)
    words = " ".join((tmp_path / "tracks" / "methods.md").read_text().split())
    assert "No rows of faces were kept (privacy level tracks)" in words
    assert "in bins of 30 s" in words
    assert fer_batch(monkeypatch, "participants", run.path, "--out", tmp_path / "t.csv", "--rows", "track") == 0
    assert fer_batch(monkeypatch, "participants", faces.path, "--out", tmp_path / "f.csv", "--rows", "track") == 0
    text = (tmp_path / "f.csv").read_text()
    assert (tmp_path / "t.csv").read_text() == text.replace(faces.id, run.id)
    capsys.readouterr()
    for arguments, what in ((("export", run.path, "--out", tmp_path / "elan", "--format", "elan"), "--format elan"),
                            (("validate", run.path, "--out", tmp_path / "x"), "validate"),
                            (("report", run.path, "--thumbnails"), "--thumbnails"),
                            (("annotate", __file__, "--run", run.path, "--out", tmp_path / "x.mp4"), "annotate --run"),
                            (("participants", run.path, "--out", tmp_path / "x.csv", "--contact-sheet", tmp_path / "s"),
                             "--contact-sheet")):  # fmt: skip
        assert fer_batch(monkeypatch, *arguments) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert f"{what} needs rows of faces, and this run keeps none: its privacy.level is 'tracks'" in said


@pytest.mark.parametrize("kind", ["sessions", "customer_feedback"])
def test_kinds_that_compare_people_build_their_pages(
    kind: str, study: tuple[Run, Run, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, run, table = study
    (tmp_path / "people.csv").write_bytes(table.read_bytes())
    job = tmp_path / "job.toml"
    job.write_text(job_toml(kind, '[privacy]\nlevel = "tracks"\nbin_seconds = 30\n[report]\nresamples = 999\n'))
    info = run.info
    copy = tmp_path / "run"
    copy.mkdir()
    for item in run.path.iterdir():
        (copy / item.name).symlink_to(item)
    (copy / "run.json").unlink()
    (copy / "run.json").write_text(json.dumps(info))
    assert fer_batch(monkeypatch, "report", copy, "--job", job) == 0
    page = copy / "report" / {"sessions": "sessions", "customer_feedback": "feedback"}[kind] / "index.html"
    assert "Privacy level tracks." in page.read_text(encoding="utf-8")
