"""Runs at privacy level `aggregate`: what the bins say, and that they depend on videos and configuration alone."""

from __future__ import annotations

import random
import tempfile
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import fer_batch
from fer_batch import Resources, Run
from fer_batch.bundle import ModelBundle
from fer_batch.config import Privacy, RunConfig, Sampling
from fer_batch.errors import RefusedError
from fer_batch.schema import BINS, PROBABILITIES
from fer_batch.score import Scorer
from tests.clips import Clips
from tests.faults.inline import Inline, Kill, Killed, Scores, killed_at, on
from tests.privacy.people import BIN_S, PEOPLE, write_class
from tests.privacy.traces import Writes, holds_only_bins

TWO = Resources(cpus=2)

CONFIG = RunConfig(Sampling(fps=Fraction(1, 2)), privacy=Privacy("aggregate", bin_s=BIN_S))


@pytest.fixture(scope="module")
def folder(clips: Clips, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class, and a video that fills no bin."""
    target = tmp_path_factory.mktemp("in")
    write_class(target / "class.mp4")
    (target / "short.mp4").write_bytes(clips.two_faces.path.read_bytes())
    return target


@pytest.fixture(scope="module")
def scores(tiny: ModelBundle) -> Scores:
    return Scores(Scorer(tiny, threads=1))


@pytest.fixture(scope="module")
def undisturbed(folder: Path, scores: Scores, tiny: ModelBundle, tmp_path_factory: pytest.TempPathFactory) -> Run:
    with on(Inline(scores, size=1)):
        return fer_batch.run(folder, tmp_path_factory.mktemp("out"), CONFIG, model=tiny.path, resources=TWO)


@pytest.fixture(scope="module")
def with_faces(folder: Path, scores: Scores, tiny: ModelBundle, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same videos at level `faces`."""
    config, out = replace(CONFIG, privacy=Privacy()), tmp_path_factory.mktemp("faces")
    with on(Inline(scores, size=1)):
        return fer_batch.run(folder / "class.mp4", out, config, model=tiny.path, resources=TWO)


def test_bins_are_what_the_faces_add_up_to(undisturbed: Run, with_faces: Run) -> None:
    rows = undisturbed.bins().to_pylist()
    assert [row["start_ms"] for row in rows] == [0, 30_000, 60_000, 90_000]  # the last ten seconds fill none
    assert [row["status"] for row in rows] == ["shown", "too_few", "shown", "shown"]
    assert all(row[name] is None for row in rows if row["status"] != "shown" for name in BINS.names[7:])
    times = with_faces.faces()["timestamp_ms"].to_numpy()
    values = np.column_stack([with_faces.faces()[name].to_numpy() for name in (*PROBABILITIES, "valence")])
    for row, most in zip(rows, PEOPLE, strict=True):
        inside = [at for at in with_faces.frames()["timestamp_ms"].to_pylist() if at // 30_000 == row["bin"]]
        counts = {at: int((times == at).sum()) for at in inside}
        assert max(counts.values()) == most
        assert row["n_sampled"] == len(inside) == 15
        if row["status"] == "shown":
            assert row["people"] == 10  # twelve, rounded
            assert row["presence"] == pytest.approx(np.mean(list(counts.values())) / most, abs=0.026)
            many = np.isin(times, [at for at, count in counts.items() if count >= 5])
            found = [row[name] for name in (*PROBABILITIES, "valence")]
            np.testing.assert_allclose(found, values[many].mean(axis=0), atol=6e-4)
            assert row["expressiveness"] == pytest.approx(1 - row["p_neutral"], abs=1e-6)


def test_the_folder_holds_nothing_finer(undisturbed: Run) -> None:
    assert sorted(item.name for item in undisturbed.path.iterdir()) == ["bins", "report", "run.json", "run.log",
                                                                        "videos.parquet"]  # fmt: skip
    assert holds_only_bins(undisturbed.path) == []
    for row in undisturbed.videos().to_pylist():
        told = [row[name] for name in ("n_with_face", "n_faces", "n_tracks", "with_face_ms", "wall_s")]
        assert told == [None] * 5
    info = undisturbed.info
    assert (info["counts"]["faces"], info["counts"]["tracks"]) == (None, None)
    assert set(info["timings"]) == {"start_ray_s", "wall_s"}
    for table in ("faces", "frames", "tracks"):
        with pytest.raises(RefusedError, match=r"privacy.level is 'aggregate', so it has bins only"):
            getattr(undisturbed, table)()


kills = st.lists(
    st.builds(Kill, st.integers(0, 12), st.sampled_from(["worker", "driver"]), st.sampled_from(["before", "after"])),
    max_size=3,
)


@example(seed=1, target_s=0.01, batch=7, kills=[Kill(2, "driver", "after"), Kill(1, "worker", "before")])
@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
@given(seed=st.integers(0, 1000), target_s=st.sampled_from([0.01, 0.3]), batch=st.integers(1, 70), kills=kills)
def test_bins_do_not_depend_on_units_workers_order_or_kills(
    folder: Path, scores: Scores, tiny: ModelBundle, undisturbed: Run, seed: int, target_s: float, batch: int,
    kills: list[Kill],
) -> None:  # fmt: skip
    files = sorted(folder.iterdir())
    with tempfile.TemporaryDirectory() as scratch, on(Inline(scores, 3, seed)) as patch, Writes() as writes:
        out = Path(scratch) / "out"
        patch.setattr("fer_batch.unit_size.MIN_UNIT_COST_S", target_s)
        patch.setattr("fer_batch.unit_size.UNIT_COST_S", target_s)
        patch.setattr("fer_batch.process.BATCH", batch)
        for kill in kills:
            random.Random(seed + kill.write).shuffle(files)
            with killed_at(kill, out), suppress(Killed):
                fer_batch.run(files, out, CONFIG, model=tiny.path, resources=TWO)
            assert holds_only_bins(out) == []  # as it was killed
        run = fer_batch.run(files, out, CONFIG, model=tiny.path, resources=TWO)
        assert holds_only_bins(out) == []
        assert writes.elsewhere(out) == set()
        ours, theirs = undisturbed.bins(), run.bins()
        exact = [name for name in BINS.names if name not in (*PROBABILITIES, "valence", "expressiveness")]
        assert ours.select(exact).equals(theirs.select(exact))
        for name in set(BINS.names) - set(exact):
            np.testing.assert_allclose(ours[name].to_numpy(), theirs[name].to_numpy(), atol=1.1e-3)
        told = ["path", "status", "n_frames", "n_sampled", "sampled_ms", "n_faces"]
        assert undisturbed.videos().select(told).equals(run.videos().select(told))
        assert not run.work_dir.exists()
