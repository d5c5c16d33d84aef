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
    (video,) = tables.videos()
    assert video.frames is not None
    assert video.faces is not None
    return video.frames, video.faces


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


# Smoothing, peaks and spread


def of_probability(
    folder: Path, emotion: str, values: Sequence[float | None], track: int = 1
) -> tuple[pa.Table, pa.Table]:
    """A video of one person, a sample each half second, who shows `emotion` with these probabilities, else neutral."""
    index = EMOTIONS.index(emotion)
    samples: list[Sample] = []
    for value in values:
        p = [0.0] * 7
        if value is not None:
            p[index], p[6] = value, 1 - value
        samples.append("no_face" if value is None else [(track, p)])
    return tables_of(folder, samples)


def test_the_window_lasts_three_seconds_or_five_samples(tmp_path: Path) -> None:
    frames, _ = tables_of(tmp_path / "half", [[(1, HAPPY)]] * 9)
    assert measures.window_ms(frames) == 3000
    frames, _ = tables_of(tmp_path / "two", [[(1, HAPPY)]] * 9, step_ms=2000)
    assert measures.window_ms(frames) == 10_000


def test_smoothing_is_the_mean_over_the_window(tmp_path: Path) -> None:
    frames, _ = of_probability(tmp_path, "happy", [0.0, 0.0, 0.7, 0.0, 0.0, None, None, 0.4])
    smooth = measures.smoothed(frames, 1000)  # a sample, the one before and the one after
    expected = [0, 0.7 / 3, 0.7 / 3, 0.7 / 3, 0, None, None, 0.4]
    assert smooth["p_happy"].to_pylist() == pytest.approx(expected, abs=1e-6)
    # Without a face there is no value, and it does not count as zero for its neighbours; but for coverage it does.
    assert smooth["coverage"].to_pylist() == pytest.approx([1, 1, 1, 1, 2 / 3, 1 / 3, 1 / 3, 0.5])
    sums = np.sum([smooth[name].to_pylist()[0] for name in PROBABILITIES])
    assert sums == pytest.approx(1, abs=1e-6)


def test_smoothing_weighs_by_duration(tmp_path: Path) -> None:
    frames, _ = of_probability(tmp_path, "happy", [0.9, 0.1])
    frames = frames.set_column(1, "duration_ms", pa.array([1500, 500], pa.int32()))
    assert measures.smoothed(frames, 2000)["p_happy"].to_pylist() == pytest.approx([0.7, 0.7], abs=1e-6)


def test_a_peak_is_found_at_its_top_with_its_width(tmp_path: Path) -> None:
    curve = [0.1, 0.1, 0.3, 0.5, 0.7, 0.9, 0.7, 0.5, 0.3, 0.1, 0.1]
    _, faces = of_probability(tmp_path, "happy", curve)
    (peak,) = measures.peaks(faces, 1).to_pylist()  # a window of a millisecond smooths nothing
    assert (peak["track_id"], peak["emotion"], peak["at_ms"]) == (1, "happy", 2500)
    assert peak["probability"] == pytest.approx(0.9, abs=1e-6)
    assert peak["prominence"] == pytest.approx(0.8, abs=1e-6)
    # Half of the prominence below the top: at 0.5, that is at 1.5 s and 3.5 s.
    assert (peak["start_ms"], peak["end_ms"]) == (pytest.approx(1500, abs=1), pytest.approx(3500, abs=1))


def test_peaks_are_those_of_the_smoothed_curve(tmp_path: Path) -> None:
    _, faces = of_probability(tmp_path, "happy", [0.1] * 6 + [0.9] + [0.1] * 6)
    assert [row["at_ms"] for row in measures.peaks(faces, 1).to_pylist()] == [3000]
    assert measures.peaks(faces, 3000).num_rows == 0  # one sample of seven is noise


def test_small_rises_and_the_lesser_expression_are_no_peaks(tmp_path: Path) -> None:
    flat = [0.6] * 4
    _, faces = of_probability(tmp_path / "small", "happy", [*flat, 0.6 + measures.PROMINENCE - 0.02, *flat])
    assert measures.peaks(faces, 1).num_rows == 0
    _, faces = of_probability(tmp_path / "enough", "happy", [*flat, 0.6 + measures.PROMINENCE + 0.02, *flat])
    assert measures.peaks(faces, 1).num_rows == 1
    _, faces = of_probability(tmp_path / "lesser", "happy", [0.1, 0.1, 0.45, 0.1, 0.1])  # neutral is above it
    assert measures.peaks(faces, 1).num_rows == 0


def test_whoever_smiles_all_along_has_no_peak_and_whoever_leaves_smiling_has(tmp_path: Path) -> None:
    _, faces = of_probability(tmp_path / "all", "happy", [0.9] * 8)
    assert measures.peaks(faces, 1).num_rows == 0
    _, faces = of_probability(tmp_path / "leaves", "happy", [0.1, 0.2, 0.5, 0.9])
    (peak,) = measures.peaks(faces, 1).to_pylist()
    assert (peak["at_ms"], peak["end_ms"]) == (1500, 2000)


def test_neutral_is_no_peak(tmp_path: Path) -> None:
    _, faces = of_probability(tmp_path, "happy", [0.9, 0.9, 0.1, 0.9, 0.9])
    assert "neutral" not in measures.peaks(faces, 1)["emotion"].to_pylist()


def test_each_person_has_peaks_of_their_own(tmp_path: Path) -> None:
    calm = (0.0, 0.0, 0.0, 0.1, 0.1, 0.0, 0.8)
    samples: list[Sample] = [[(1, calm), (2, calm)]] * 7
    samples[2] = [(1, HAPPY), (2, calm)]
    samples[5] = [(1, calm), (2, SAD)]
    _, faces = tables_of(tmp_path, samples)
    found = [(row["track_id"], row["emotion"], row["at_ms"]) for row in measures.peaks(faces, 1).to_pylist()]
    assert found == [(1, "happy", 1000), (2, "sad", 2500)]


def test_no_peak_reaches_across_a_long_absence(tmp_path: Path) -> None:
    _, faces = of_probability(tmp_path, "happy", [0.1, 0.9, *[None] * 20, 0.9, 0.1])
    found = measures.peaks(faces, 1000).to_pylist()
    assert [row["end_ms"] <= 1000 or row["start_ms"] >= 11_000 for row in found] == [True] * len(found)


def test_a_track_as_frames(tmp_path: Path) -> None:
    frames, faces = tables_of(tmp_path, MIXED)
    own = measures.of_track(frames, faces, 2)
    assert own["n_faces"].to_pylist() == [0, 0, 0, 0, 1]
    assert own["reason"].to_pylist() == ["not_seen", "not_seen", "no_face", "no_face", None]
    assert own["p_sad"].to_pylist() == pytest.approx([None, None, None, None, 0.6], abs=1e-6)


def test_who_is_on_screen_when(tmp_path: Path) -> None:
    face, both = [(1, HAPPY)], [(1, HAPPY), (2, SAD)]
    _, faces = tables_of(tmp_path, [face, both, both, "no_face", face, [(3, SAD)]])
    stays = measures.presence(faces)
    assert [tuple(row.values()) for row in stays.to_pylist()] == [
        (1, 0, 1500), (2, 500, 1500), (1, 2000, 2500), (3, 2500, 3000),
    ]  # fmt: skip
    assert measures.presence(faces, bridge_ms=500).num_rows == 3
    lanes = {row["track_id"]: row["lane"] for row in measures.lanes(stays).to_pylist()}
    assert lanes == {1: 0, 2: 1, 3: 0}  # track 3 comes when 1 has left for good
    assert measures.lanes(measures.presence(faces.slice(0, 0))).num_rows == 0


def test_slices_of_the_table_are_round_and_say_how_many_samples(tmp_path: Path) -> None:
    frames, _ = tables_of(tmp_path, [[(1, HAPPY)]] * 47)  # 23.5 s
    rows = measures.slices(frames, 23_500).to_pylist()
    assert [row["start_ms"] for row in rows] == list(range(0, 23_500, 2000))
    assert rows[-1]["end_ms"] == 23_500
    assert [row["samples"] for row in rows] == [4] * 11 + [3]
    assert measures.slices(frames, 3_600_000).num_rows <= 20


def test_heat_is_the_mean_over_the_time_with_a_face(tmp_path: Path) -> None:
    frames, _ = tables_of(tmp_path, MIXED)
    rows = measures.heat(frames, 2500).to_pylist()
    assert len(rows) == 8 * 5
    assert rows[0]["happy"] == pytest.approx(0.8, abs=1e-6)
    assert {rows[20][name] for name in EMOTIONS} == {None}
    assert rows[-1]["happy"] == pytest.approx(0.4, abs=1e-6)


def test_spread_over_faces_and_time(tmp_path: Path) -> None:
    frames, faces = tables_of(tmp_path, MIXED)
    times = measures.slots(frames, 2500)
    found = measures.spread(faces, times, 400, ("valence",)).to_pylist()
    assert [row["n"] for row in found] == [1, 1, 0, 0, 2]
    assert found[2]["valence_mean"] is None
    # Two faces with valences of 0.8 and -0.6.
    last = found[4]
    assert last["valence_mean"] == pytest.approx(0.1, abs=1e-6)
    assert (last["valence_low"], last["valence_high"]) == (
        pytest.approx(-0.46, abs=1e-6),
        pytest.approx(0.66, abs=1e-6),
    )
    assert (last["at_ms"], measures.slots(frames, 2500).num_rows) == (2250, 5)


def test_a_long_video_has_so_many_slots_and_no_more(tmp_path: Path) -> None:
    frames, _ = tables_of(tmp_path, [[(1, HAPPY)]] * 1000)
    assert measures.slots(frames, 500_000).num_rows == 240


def test_intervals_over_videos() -> None:
    names = {f"{kind}_{name}": [0.0, 0.0, 0.0] for kind in ("time", "face") for name in EMOTIONS}
    rows = pa.table({**names, "n_faces": [10, 10, 20], "time_happy": [0.2, 0.4, 0.6], "face_happy": [0.2, 0.4, 0.6]})
    row = measures.distribution(rows).filter(pc.field("emotion") == "happy").to_pylist()[0]
    # Mean 0.4, standard deviation 0.2, t(0.975, 2) = 4.3027; the interval ends at what a probability can be.
    assert (row["by_video"], row["by_video_low"]) == (pytest.approx(0.4), 0.0)
    assert row["by_video_high"] == pytest.approx(0.4 + 4.302653 * 0.2 / 3**0.5, abs=1e-5)
    # By faces (0.2 * 10 + 0.4 * 10 + 0.6 * 20) / 40 = 0.45; residuals -2.5, -0.5 and 3.
    assert row["by_face"] == pytest.approx(0.45)
    error = (3 / 2 * (2.5**2 + 0.5**2 + 3**2)) ** 0.5 / 40
    assert row["by_face_high"] == pytest.approx(0.45 + 4.302653 * error, abs=1e-5)
    assert (row["q25"], row["median"], row["q75"]) == (pytest.approx(0.3), pytest.approx(0.4), pytest.approx(0.5))
    alone = measures.distribution(rows.slice(0, 1)).to_pylist()[3]
    assert (alone["by_video"], alone["by_video_low"], alone["by_face_low"]) == (pytest.approx(0.2), None, None)


def test_thinning_keeps_all_that_is_asked_for(tmp_path: Path) -> None:
    frames, _ = tables_of(tmp_path, [[(1, HAPPY)]] * 1000)
    thin = measures.thinned(frames, measures.conditions(frames), 100, [(200_000, 210_000)])
    inside = [at for at in thin["timestamp_ms"].to_pylist() if 200_000 <= at < 210_000]
    assert inside == list(range(200_000, 210_000, 500))
    assert thin.num_rows < 150
