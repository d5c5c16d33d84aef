"""The sample's stated chances are its real ones, so that weights by them give the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_batch.errors import RefusedError
from fer_batch.schema import EMOTIONS
from fer_batch.store import Run
from reports.validation.draw import STRETCH_MS, Sample, allocate, draw, rate
from tests.reports.synthetic import HAPPY, SAD, SyntheticRun
from tests.reports.validation.population import population, truths

DRAWS = 120


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return population(tmp_path_factory.mktemp("population") / "run")


@pytest.fixture(scope="module")
def samples(run: Run) -> list[Sample]:
    return [draw(run, 70, seed) for seed in range(DRAWS)]


def key(row: dict[str, Any]) -> tuple[str, int, int]:
    return row["video_id"], row["timestamp_ms"], row["face_index"]


def test_estimates_are_right_on_average(run: Run, samples: list[Sample]) -> None:
    faces = run.faces()
    right = truths(faces) == [EMOTIONS.index(e) for e in faces["emotion"].to_pylist()]
    happy = np.array(faces["emotion"].to_pylist()) == "happy"
    true = [len(faces), right.sum(), (right & happy).sum(), np.sum(faces["confidence"].to_numpy())]
    estimates = []
    for sample in samples:
        weights = 1 / sample.faces["inclusion"].to_numpy()
        model = np.array([EMOTIONS.index(e) for e in sample.faces["emotion"].to_pylist()])
        hit = truths(sample.faces) == model
        is_happy = model == EMOTIONS.index("happy")
        confidence = weights @ sample.faces["confidence"].to_numpy()
        estimates.append([weights.sum(), weights @ hit, weights @ (hit & is_happy), confidence])
    means, errors = np.mean(estimates, axis=0), np.std(estimates, axis=0) / np.sqrt(DRAWS)
    assert (np.abs(means - true) < 3.5 * errors + 1e-6).all(), (means, true, errors)
    # The test can fail: without weights the share of right answers is another.
    plain = np.mean([np.mean(truths(s.faces) == [EMOTIONS.index(e) for e in s.faces["emotion"].to_pylist()])
                     for s in samples])  # fmt: skip
    assert abs(plain - true[1] / true[0]) > 0.02


def test_each_face_is_drawn_as_often_as_stated(samples: list[Sample]) -> None:
    times: Counter[tuple[str, int, int]] = Counter()
    chance: dict[tuple[str, int, int], float] = {}
    for sample in samples:
        for row in sample.faces.to_pylist():
            times[key(row)] += 1
            assert chance.setdefault(key(row), row["inclusion"]) == pytest.approx(row["inclusion"])
    sure = [face for face, p in chance.items() if p == 1]
    assert sure
    assert all(times[face] == DRAWS for face in sure)
    # A face that was met was drawn at least once, so compare only where that is all but certain.
    likely = [face for face, p in chance.items() if DRAWS * p > 12]
    assert len(likely) > 50
    z = [(times[f] - DRAWS * chance[f]) / np.sqrt(DRAWS * chance[f] * (1 - chance[f]) + 1e-9)
         for f in likely if chance[f] < 1]  # fmt: skip
    assert np.abs(z).max() < 5
    assert 0.5 < np.mean(np.square(z)) < 1.6


def test_rare_classes_get_as_many_as_there_are(run: Run, samples: list[Sample]) -> None:
    counts = Counter(samples[0].faces["emotion"].to_pylist())
    in_run = Counter(run.faces()["emotion"].to_pylist())
    assert tuple(in_run[e] for e in EMOTIONS) == samples[0].n_faces
    assert sum(counts.values()) == 70
    for emotion, stretches in zip(EMOTIONS, samples[0].n_stretches, strict=True):
        assert counts[emotion] == min(stretches, counts["neutral"]) or counts[emotion] == counts["neutral"] - 1
    assert counts["disgust"] / in_run["disgust"] > 3 * counts["neutral"] / in_run["neutral"]


def test_no_two_faces_are_of_one_stretch(samples: list[Sample]) -> None:
    for sample in samples[:20]:
        rows = sample.faces.to_pylist()
        stretches = {(r["video_id"], r["track_id"], r["timestamp_ms"] // STRETCH_MS, r["emotion"]) for r in rows}
        assert len(stretches) == len(rows)


def test_the_sample_is_spread_over_videos_tracks_and_time(tmp_path: Path) -> None:
    made = SyntheticRun(tmp_path / "run")
    for number in range(5):
        made.video(f"/v/{number}.mp4", [[(1, HAPPY), (2, HAPPY)]] * 80)
    rows = draw(made.write(), 40, seed=3).faces.to_pylist()
    assert Counter((row["video_id"], row["track_id"]) for row in rows) == {
        (f"v{number:04d}", track): 4 for number in range(5) for track in (1, 2)
    }
    times = sorted(row["timestamp_ms"] for row in rows if row["video_id"] == "v0002" and row["track_id"] == 1)
    assert min(np.diff(times)) > STRETCH_MS


def test_the_seed_decides(run: Run, samples: list[Sample]) -> None:
    again = draw(run, 70, seed=0)
    assert again.sample_id == samples[0].sample_id
    assert again.faces.equals(samples[0].faces)
    assert len({sample.sample_id for sample in samples}) == DRAWS


def test_items_are_in_random_order(samples: list[Sample]) -> None:
    emotions = samples[0].faces["emotion"].to_pylist()
    changes = sum(a != b for a, b in pairwise(emotions))
    assert changes > 0.6 * len(emotions)
    assert samples[0].faces["item"].to_pylist() == [f"{samples[0].sample_id}-{i:04d}" for i in range(1, 71)]


def test_only_rows_that_the_ledger_names_count(tmp_path: Path) -> None:
    made = SyntheticRun(tmp_path / "run").video("/v/a.mp4", [[(1, HAPPY)]] * 10).video("/v/b.mp4", [[(1, SAD)]] * 10)
    made.ledger[1]["part"] = "part-gone.parquet"
    made.ledger.append({**made.ledger[0], "path": "/v/a-copy.mp4"})
    run = made.write()
    with pytest.raises(RefusedError, match=r"part-gone.parquet is missing"):
        draw(run, 20, 0)
    made.ledger.pop(1)
    sample = draw(made.write(), 20, 0)
    assert sample.n_faces == (0, 0, 0, 10, 0, 0, 0)
    assert len(sample.faces) == 3  # 5 s in stretches of 2 s


def test_a_run_without_faces_is_refused(synthetic: Callable[..., SyntheticRun]) -> None:
    with pytest.raises(RefusedError, match="no face"):
        draw(synthetic().video("/v/a.mp4", ["no_face"] * 3).write(), 20, 0)


@pytest.mark.parametrize(
    ("available", "n", "expected"),
    [
        ([100, 100, 100], 30, [10, 10, 10]),
        ([2, 100, 100], 30, [2, 14, 14]),
        ([2, 0, 5], 30, [2, 0, 5]),
        ([1, 3, 100, 100], 20, [1, 3, 8, 8]),
        ([100, 100, 100], 31, [11, 10, 10]),
    ],
)
def test_shares_are_equal_and_what_one_lacks_goes_to_the_others(
    available: list[int], n: int, expected: list[int]
) -> None:
    assert allocate(np.array(available), n) == expected


def test_the_rate_gives_the_number_wanted() -> None:
    # Four stretches of 1 face, two of 4: c m = 1/4 and 1 where c is 1/4, which sums to 3.
    counts = np.array([0, 4, 0, 0, 2])
    assert rate(counts, 3) == pytest.approx(0.25)
    # Five wanted: those of 4 are certain, and the others share three, 3/4 each.
    assert rate(counts, 5) == pytest.approx(0.75)
    assert rate(counts, 6) == float("inf")
    assert rate(counts, 0) == 0
