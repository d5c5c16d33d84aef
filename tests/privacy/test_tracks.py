"""Runs at privacy level `tracks`: means of tracks in the place of faces, which are on no disk at any moment."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import fer_batch
from fer_batch import Resources, Run
from fer_batch.bundle import ModelBundle
from fer_batch.config import Privacy, RunConfig, Sampling
from fer_batch.errors import RefusedError
from fer_batch.schema import FACES, FRAMES, PROBABILITIES, TRACK_BINS, TRACKS, VIDEOS
from fer_batch.score import Scorer
from tests.encoding import build, constant_times
from tests.faults.inline import Inline, Kill, Killed, Scores, killed_at, on
from tests.jobs.command import fer_batch as command
from tests.scenes import Person, still

TWO = Resources(cpus=2)

CONFIG = RunConfig(Sampling(fps=Fraction(1)), privacy=Privacy("tracks", bin_s=30))

SCORES = (*PROBABILITIES, "valence", "expressiveness")


@pytest.fixture(scope="module")
def runs(tiny: ModelBundle, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """The same video at levels `tracks` and `faces`: one person all the time, one for two samples of the second bin."""
    folder = tmp_path_factory.mktemp("tracks")
    people = [Person("astronaut", still(80, 90, 70)), Person("hopper", still(230, 90, 70, during=(31, 33)))]
    video = build(folder / "v.mp4", constant_times(1, 40), people, gop=4).path
    made = []
    scores = Scores(Scorer(tiny, threads=1))
    for name, config in (("tracks", CONFIG), ("faces", replace(CONFIG, privacy=Privacy()))):
        with on(Inline(scores)) as patch:
            patch.setattr("fer_batch.unit_size.UNIT_COST_S", 0.01)  # as many units as can be
            patch.setattr("fer_batch.unit_size.MIN_UNIT_COST_S", 0.01)
            with killed_at(Kill(1, "driver", "before"), folder / name), suppress(Killed):
                fer_batch.run(video, folder / name, config, model=tiny.path, resources=TWO)
            tables = [pq.read_schema(file).names for file in (folder / name).rglob("*.parquet")]
            assert all(names != FACES.names for names in tables) or name == "faces"
            made.append(fer_batch.run(video, folder / name, config, model=tiny.path, resources=TWO))
    return made[0], made[1]


def test_means_are_those_of_the_faces(runs: tuple[Run, Run]) -> None:
    run, other = runs
    faces = other.faces()
    tracks, bins = run.tracks().to_pylist(), run.track_bins().to_pylist()
    assert [(row["track_id"], row["n_samples"], row["start_ms"], row["end_ms"]) for row in tracks] == [
        (1, 40, 0, 40_000), (2, 2, 31_000, 33_000)]  # fmt: skip
    assert [(row["track_id"], row["start_ms"], row["duration_ms"], row["n_samples"]) for row in bins] == [
        (1, 0, 30_000, 30), (1, 30_000, 10_000, 10), (2, 30_000, 10_000, 2)]  # fmt: skip
    ids, times = faces["track_id"].to_numpy(), faces["timestamp_ms"].to_numpy()
    values = np.column_stack([faces[name].to_numpy() for name in SCORES])
    for row in (*tracks, *bins):
        mine = ids == row["track_id"]
        if "duration_ms" in row:
            mine &= times // 30_000 == row["start_ms"] // 30_000
        if row["n_samples"] < 3:
            assert {row[name] for name in (*SCORES, "face_size")} == {None}
        else:
            np.testing.assert_allclose([row[name] for name in SCORES], values[mine].mean(axis=0), atol=2e-6)
    frames = run.frames()
    exact = [name for name in FRAMES.names if name not in PROBABILITIES]
    assert frames.select(exact).equals(other.frames().select(exact))
    assert all(frames[name].null_count == len(frames) for name in PROBABILITIES)
    told = [name for name in VIDEOS.names if name not in ("part", "wall_s", "n_decoded")]
    assert run.videos().select(told).equals(other.videos().select(told))


def test_the_folder_holds_no_rows_of_faces(runs: tuple[Run, Run]) -> None:
    run, _ = runs
    assert sorted(item.name for item in run.path.iterdir()) == ["frames", "report", "run.json", "run.log", "track_bins",
                                                                "tracks", "videos.parquet"]  # fmt: skip
    kinds = [pq.read_schema(file).names for file in run.path.rglob("*.parquet")]
    assert sorted(kinds) == sorted(schema.names for schema in (FRAMES, TRACKS, TRACK_BINS, VIDEOS))
    with pytest.raises(RefusedError, match="tracks, track_bins, frames only"):
        run.faces()


def test_its_report_is_the_list_of_videos(runs: tuple[Run, Run], tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    run, _ = runs
    assert command(monkeypatch, "report", run.path, "--out", tmp_path / "pages") == 0
    html = (tmp_path / "pages" / "index.html").read_text(encoding="utf-8")
    assert "At privacy level tracks no rows of faces are kept" in html
    assert not list((tmp_path / "pages" / "videos").iterdir())
    assert command(monkeypatch, "export", run.path, "--out", tmp_path / "exported") == 0
    assert "2 tracks, 3 track_bins" in capsys.readouterr().out
