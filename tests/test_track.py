from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_batch.config import Detection, Sampling, Tracking
from fer_batch.decode import SegmentReader
from fer_batch.detect import FaceDetector, check_detector
from fer_batch.plan import whole
from fer_batch.probe import probe
from fer_batch.track import assign_tracks
from tests.clips import Clips

Seen = list[tuple[int, float, float, float]]
"""Time in ms, centre x, centre y, size."""


def tracks(seen: Seen, tracking: Tracking | None = None) -> list[int]:
    times = np.array([t for t, *_ in seen], np.int64)
    boxes = np.array([[x - s / 2, y - s / 2, s, s] for _, x, y, s in seen], np.float64).reshape(-1, 4)
    return [int(i) for i in assign_tracks(times, boxes, tracking or Tracking())]


def in_clip(path: Path, sampling: Sampling) -> dict[int, list[tuple[int, float]]]:
    """Tracks of a clip: for each id the times and the horizontal centres."""
    detector = FaceDetector(check_detector(None)[0], Detection())
    seen: Seen = []
    for sample in SegmentReader(whole(probe(path)), sampling):
        assert sample.image is not None
        faces, _ = detector(sample.image)
        seen += [(sample.timestamp_ms, f.box[0] + f.box[2] / 2, f.box[1] + f.box[3] / 2, f.size) for f in faces]
    found: dict[int, list[tuple[int, float]]] = {}
    for track_id, (t, x, _, _) in zip(tracks(seen), seen, strict=True):
        found.setdefault(track_id, []).append((t, x))
    return found


def test_nobody_is_no_track() -> None:
    assert tracks([]) == []


def test_one_who_sits_still_is_one_track() -> None:
    assert tracks([(t, 300 + t % 7, 200 - t % 5, 80) for t in range(0, 60_000, 500)]) == [1] * 120


def test_one_who_walks_by_more_than_a_face_a_sample_is_one_track() -> None:
    assert tracks([(500 * i, 100 + 110 * i, 200, 80) for i in range(8)]) == [1] * 8


def test_two_who_cross_keep_their_ids() -> None:
    seen: Seen = []
    for i in range(9):
        pair = [(500 * i, 100 + 50.0 * i, 200.0, 80.0), (500 * i, 520 - 50.0 * i, 215.0, 85.0)]
        seen += sorted(pair, key=lambda face: face[1])
    ids = tracks(seen)
    going_right = [i for i, face in zip(ids, seen, strict=True) if face[3] == 80]
    assert set(going_right) == {1}
    assert set(ids) == {1, 2}


def test_entries_and_exits() -> None:
    seen: Seen = []
    for i in range(20):
        seen.append((500 * i, 100, 200, 80))
        if 5 <= i < 12:
            seen.append((500 * i, 500, 200, 80))
    ids = tracks(seen)
    assert ids.count(1) == 20
    assert ids.count(2) == 7


def test_a_lost_second_does_not_end_a_track_but_a_long_absence_does() -> None:
    still = [(t, 300.0, 200.0, 80.0) for t in range(0, 3000, 500)]
    assert set(tracks([*still, *[(t + 4000, x, y, s) for t, x, y, s in still]])) == {1}
    assert set(tracks([*still, *[(t + 10_000, x, y, s) for t, x, y, s in still]])) == {1, 2}


def test_samples_far_apart_still_make_tracks() -> None:
    seen: Seen = [(10_000 * i, 300, 200, 80) for i in range(6)]
    times = np.array([t for t, *_ in seen])
    boxes = np.array([[260, 160, 80, 80]] * 6, np.float64)
    assert set(assign_tracks(times, boxes, Tracking(), step_ms=10_000).tolist()) == {1}


def test_a_face_far_away_or_of_another_size_is_another_track() -> None:
    assert tracks([(0, 100, 100, 80), (500, 600, 100, 80)]) == [1, 2]
    assert tracks([(0, 100, 100, 80), (500, 100, 100, 200)]) == [1, 2]


def test_two_faces_in_one_frame_are_never_one_track() -> None:
    assert tracks([(0, 100, 100, 80), (500, 90, 100, 80), (500, 110, 100, 80)])[1:] in ([1, 2], [2, 1])


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 20), st.floats(0, 1000), st.floats(0, 1000), st.floats(20, 300)), max_size=40))
def test_ids_are_from_one_without_gaps_unique_in_a_frame_and_in_order_of_appearance(
    raw: list[tuple[int, float, float, float]],
) -> None:
    seen = sorted((500 * step, x, y, s) for step, x, y, s in raw)
    ids = tracks(seen)
    assert sorted(set(ids)) == list(range(1, len(set(ids)) + 1))
    first_seen = [ids.index(i) for i in sorted(set(ids))]
    assert first_seen == sorted(first_seen)
    pairs = [(t, i) for (t, *_), i in zip(seen, ids, strict=True)]
    assert len(pairs) == len(set(pairs))


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(mode="every", every=5)])
def test_one_person_in_a_clip_is_one_track(clips: Clips, sampling: Sampling) -> None:
    assert len(in_clip(clips.one_face.path, sampling)) == 1


def test_people_who_come_and_go_in_a_clip(clips: Clips) -> None:
    found = in_clip(clips.coming_and_going.path, Sampling())
    assert len(found) == 2
    assert len(found[1]) == 16
    assert all(2000 <= t < 6000 for t, _ in found[2])


def test_a_crossing_in_a_clip(clips: Clips) -> None:
    found = in_clip(clips.crossing.path, Sampling())
    assert len(found) == 2  # although one is hidden behind the other for three seconds
    assert found[1][-1][1] - found[1][0][1] > 100
    assert found[2][-1][1] - found[2][0][1] < -100  # they did not swap


def test_a_lost_second_in_a_clip(clips: Clips) -> None:
    assert len(in_clip(clips.lost_second.path, Sampling())) == 1


def test_a_real_person_sitting_still_is_one_track(shared: Path) -> None:
    found = in_clip(shared / "clips" / "WolfgangLanger_Pexels.mp4", Sampling())
    assert [len(track) for track in found.values()] == [40]
