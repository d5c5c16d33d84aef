"""Known tables give known measures; every expected number here was worked out by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from fer_batch.schema import EMOTIONS, PROBABILITIES
from reports import measures
from reports.load import RunTables
from tests.reports.synthetic import HAPPY, SAD, Sample, SyntheticRun

# Five samples of half a second: alone and happy twice, then nobody, then two people, one happy and one sad.
MIXED: Sequence[Sample] = ([(1, HAPPY)], [(1, HAPPY)], "no_face", "no_face", [(1, HAPPY), (2, SAD)])


def tables_of(folder: Path, samples: Sequence[Sample], step_ms: int = 500) -> tuple[pa.Table, pa.Table]:
    tables = RunTables(SyntheticRun(folder).video("/v/a.mp4", samples, step_ms=step_ms).write())
    frames, faces = tables.frames("v0000"), tables.faces("v0000")
    assert frames is not None
    assert faces is not None
    return frames, faces


def mean(table: pa.Table, column: str = "mean") -> dict[str, float]:
    return dict(zip(table["emotion"].to_pylist(), table[column].to_pylist(), strict=True))


def test_mean_over_the_time_with_a_face(tmp_path: Path) -> None:
    frames, _ = tables_of(tmp_path, MIXED)
    found = mean(measures.expressions(frames))
    # Frames: happy .8, .8 and (.8 + 0) / 2 = .4; each weighs 500 ms. Time without a face has no say.
    assert found["happy"] == pytest.approx(2.0 / 3, abs=1e-6)
    assert found["sad"] == pytest.approx(0.1, abs=1e-6)
    assert found["neutral"] == pytest.approx((0.2 + 0.2 + 0.25) / 3, abs=1e-6)
    assert sum(found.values()) == pytest.approx(1, abs=1e-6)


def test_a_sample_weighs_as_long_as_it_stands_for(tmp_path: Path) -> None:
    frames, _ = tables_of(tmp_path, [[(1, HAPPY)], [(1, SAD)]])
    frames = frames.set_column(1, "duration_ms", pa.array([3000, 1000], pa.int32()))
    assert mean(measures.expressions(frames))["happy"] == pytest.approx(0.8 * 0.75, abs=1e-6)


def test_highest_sample_and_its_time(tmp_path: Path) -> None:
    frames, _ = tables_of(tmp_path, MIXED)
    rows = {row["emotion"]: row for row in measures.expressions(frames).to_pylist()}
    assert rows["sad"]["highest"] == pytest.approx(0.3, abs=1e-6)
    assert rows["sad"]["highest_ms"] == 2000


def test_no_face_at_all_is_unknown_and_not_neutral(tmp_path: Path) -> None:
    frames, faces = tables_of(tmp_path, ["no_face", "decode_error"])
    assert set(mean(measures.expressions(frames)).values()) == {None}
    row = measures.summary(frames, faces).to_pylist()[0]
    assert row["emotion"] is None
    assert (row["with_face_ms"], row["no_face_ms"], row["decode_error_ms"]) == (0, 500, 500)


def test_stretches_of_one_condition(tmp_path: Path) -> None:
    frames, _ = tables_of(tmp_path, [*MIXED, "decode_error", "too_small"])
    found = [tuple(row.values()) for row in measures.conditions(frames).to_pylist()]
    assert found == [
        (0, 1000, "face", 2),
        (1000, 2000, "no_face", 2),
        (2000, 2500, "face", 1),
        (2500, 3000, "decode_error", 1),
        (3000, 3500, "too_small", 1),
    ]


def test_time_that_was_not_sampled_ends_a_stretch(tmp_path: Path) -> None:
    frames, _ = tables_of(tmp_path, [[(1, HAPPY)]] * 4)
    frames = frames.set_column(0, "timestamp_ms", pa.array([0, 500, 5000, 5500], pa.int64()))
    found = [(row["start_ms"], row["end_ms"]) for row in measures.conditions(frames).to_pylist()]
    assert found == [(0, 1000), (5000, 6000)]


def test_times_rounded_down_leave_no_slit(tmp_path: Path) -> None:
    frames, _ = tables_of(tmp_path, [[(1, HAPPY)], [(1, HAPPY)], "no_face"])
    frames = frames.set_column(0, "timestamp_ms", pa.array([0, 501, 1001], pa.int64()))
    found = [(row["start_ms"], row["end_ms"]) for row in measures.conditions(frames).to_pylist()]
    assert found == [(0, 1001), (1001, 1501)]


def test_tracks(tmp_path: Path) -> None:
    _, faces = tables_of(tmp_path, MIXED)
    first, second = measures.tracks(faces, sampled_ms=2500).to_pylist()
    assert (first["track_id"], first["first_ms"], first["last_ms"], first["samples"]) == (1, 0, 2500, 3)
    assert first["coverage"] == pytest.approx(1500 / 2500)
    assert (first["emotion"], first["share"]) == ("happy", pytest.approx(0.8, abs=1e-6))
    assert first["valence"] == pytest.approx(0.8, abs=1e-6)
    assert (second["first_ms"], second["last_ms"], second["emotion"]) == (2000, 2500, "sad")
    assert second["valence"] == pytest.approx(-0.6, abs=1e-6)
    assert second["expressiveness"] == pytest.approx(0.7, abs=1e-6)


def test_summary(tmp_path: Path) -> None:
    frames, faces = tables_of(tmp_path, MIXED)
    row = measures.summary(frames, faces).to_pylist()[0]
    assert (row["sampled_ms"], row["with_face_ms"], row["no_face_ms"]) == (2500, 1500, 1000)
    assert (row["longest_gap_ms"], row["longest_gap_at_ms"], row["most_faces"]) == (1000, 1000, 2)
    assert row["face_happy"] == pytest.approx(3 * 0.8 / 4, abs=1e-6)
    assert row["emotion"] == "happy"


def test_each_video_counts_alike_and_each_face_counts_alike(tmp_path: Path) -> None:
    long = measures.summary(*tables_of(tmp_path / "long", [[(1, HAPPY)]] * 9))
    short = measures.summary(*tables_of(tmp_path / "short", [[(1, SAD)]]))
    empty = measures.summary(*tables_of(tmp_path / "empty", ["no_face"] * 5))
    rows = pa.Table.from_pylist([t.to_pylist()[0] for t in (long, short, empty)])
    found = measures.distribution(rows)
    assert mean(found, "by_video")["happy"] == pytest.approx(0.4, abs=1e-6)
    assert mean(found, "by_face")["happy"] == pytest.approx(0.72, abs=1e-6)
    assert mean(found, "by_face")["sad"] == pytest.approx(0.06, abs=1e-6)


def test_strip_shares_the_time_of_each_slice(tmp_path: Path) -> None:
    frames, _ = tables_of(tmp_path, MIXED)
    # 2.5 s of samples in a video of 4 s, cut into four: slice 2 (2 s to 3 s) holds the last sample and 0.5 s unknown.
    rows = measures.strip(frames, 4000, 4).to_pylist()
    assert rows[0]["happy"] == pytest.approx(0.8, abs=1e-6)
    assert rows[1]["no_face"] == pytest.approx(1)
    assert rows[1]["neutral"] == 0
    assert rows[2]["happy"] == pytest.approx(0.2, abs=1e-6)
    assert sum(rows[2][name] for name in EMOTIONS) == pytest.approx(0.5, abs=1e-6)
    assert all(rows[3][name] == 0 for name in (*EMOTIONS, "no_face"))


def test_strip_has_no_holes_where_samples_come_a_frame_late(tmp_path: Path) -> None:
    frames, _ = tables_of(tmp_path, [[(1, HAPPY)]] * 3)
    position = frames.schema.get_field_index("timestamp_ms")
    frames = frames.set_column(position, frames.schema.field(position), pa.array([0, 520, 1000], pa.int64()))
    rows = measures.strip(frames, 1500, 30).to_pylist()
    assert [round(sum(row[name] for name in EMOTIONS), 5) for row in rows] == [1.0] * 30


def test_strip_finer_than_the_samples(tmp_path: Path) -> None:
    frames, _ = tables_of(tmp_path, [[(1, HAPPY)], "decode_error"])
    rows = measures.strip(frames, 1000, 10).to_pylist()
    assert [round(row["happy"], 5) for row in rows] == [0.8] * 5 + [0.0] * 5
    assert [round(row["decode_error"], 5) for row in rows] == [0.0] * 5 + [1.0] * 5


def test_thinning_keeps_the_extremes(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    values = rng.dirichlet(np.ones(7), size=10_000)
    samples: list[Sample] = [[(1, p)] for p in values.tolist()]
    samples[3210] = [(1, (0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0))]
    samples[7000:7003] = ["no_face"] * 3
    frames, _ = tables_of(tmp_path, samples)
    stretches = measures.conditions(frames)
    thin = measures.thinned(frames, stretches)
    assert thin.num_rows <= 1.6 * measures.LONGEST_FIGURE
    for name in PROBABILITIES:
        assert pc.max(thin[name]) == pc.max(frames[name])
        assert pc.min(thin[name]) == pc.min(frames[name])
    times = thin["timestamp_ms"].to_pylist()
    assert times == sorted(set(times))
    # The edges of the gap stay where they are: last face before it, its own ends, first face after it.
    assert {6999 * 500, 7000 * 500, 7002 * 500, 7003 * 500} <= set(times)


def test_few_rows_are_not_thinned(tmp_path: Path) -> None:
    frames, _ = tables_of(tmp_path, MIXED)
    assert measures.thinned(frames, measures.conditions(frames)).equals(frames)


def test_bridging_joins_short_gaps_only(tmp_path: Path) -> None:
    face: Sample = [(1, HAPPY)]
    frames, _ = tables_of(tmp_path, [face, "no_face", face, "no_face", "no_face", "no_face", face])
    rows = measures.bridged(measures.conditions(frames), 1000).to_pylist()
    assert [(row["start_ms"], row["end_ms"], row["condition"]) for row in rows] == [
        (0, 1500, "face"),
        (1500, 3000, "no_face"),
        (3000, 3500, "face"),
    ]


def test_totals_count_a_copy_once(synthetic: Callable[..., SyntheticRun]) -> None:
    made = synthetic().video("/v/a.mp4", MIXED).failed("/v/bad.mp4")
    made.ledger.append({**made.ledger[0], "path": "/v/copy.mp4"})
    row = measures.totals(made.write().videos()).to_pylist()[0]
    assert (row["files"], row["ok"], row["failed"], row["copies"]) == (3, 2, 1, 1)
    assert (row["n_faces"], row["n_tracks"], row["sampled_ms"]) == (4, 2, 2500)
    assert row["coverage"] == pytest.approx(0.6)
