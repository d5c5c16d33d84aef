"""What is drawn at a moment follows from the samples about it, and where they have no face nothing is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fer_batch.palette import COLOURS
from reports.video.labels import FADE_MS, MAX_STEP_MS, Label, Labels
from reports.video.overlay import Overlay
from reports.video.strip import Strip
from reports.video.text import bgr
from tests.clips import Clips
from tests.reports.video.tables import HAPPY, SAD, Seen, tables

BOX = (100.0, 50.0, 40.0, 60.0)
FACE: Seen = (1, BOX, HAPPY)


def labels(samples: list[tuple[int, list[Seen] | str]], step_ms: int = 500) -> Labels:
    made = tables(samples, step_ms)
    return Labels(made.faces, made.frames)


def test_between_two_samples_box_and_probabilities_move_in_a_straight_line() -> None:
    shown = labels([(0, [(7, (0, 10, 40, 60), HAPPY)]), (500, [(7, (100, 20, 60, 80), SAD)])])
    (label,) = shown.at(125)
    assert (label.track_id, label.opacity) == (7, 1.0)
    assert label.box == pytest.approx((25, 12.5, 45, 65))
    assert label.probabilities == pytest.approx(np.array(HAPPY) * 0.75 + np.array(SAD) * 0.25)
    assert label.emotion == "happy"
    assert label.confidence == pytest.approx(0.6)
    (at_sample,) = shown.at(500)
    assert at_sample.box == pytest.approx((100, 20, 60, 80))
    assert at_sample.emotion == "sad"


@pytest.mark.parametrize("gone", ["no_face", "too_small", "decode_error"])
def test_a_face_that_the_next_sample_lacks_fades_out_and_is_not_joined_to_a_later_one(gone: str) -> None:
    shown = labels([(0, [FACE]), (500, gone), (1000, [FACE])])
    assert [label.opacity for label in shown.at(0)] == [1.0]
    assert 0 < shown.at(200)[0].opacity < 0.5
    assert shown.at(200)[0].box == pytest.approx(BOX)
    assert [shown.at(t) for t in (250, 499, 500, 750, 999)] == [[]] * 5
    assert len(shown.at(1000)) == 1


def test_samples_far_apart_are_not_joined() -> None:
    near = labels([(0, [FACE]), (MAX_STEP_MS, [FACE])], MAX_STEP_MS)
    far = labels([(0, [FACE]), (MAX_STEP_MS + 1, [FACE])], MAX_STEP_MS + 1)
    assert near.at(MAX_STEP_MS // 2)[0].opacity == 1.0
    assert far.at(MAX_STEP_MS // 2) == []
    assert far.at(FADE_MS - 1) != []
    assert far.at(FADE_MS) == []


def test_nothing_is_shown_where_the_video_was_not_sampled() -> None:
    shown = labels([(10_000, [FACE]), (10_500, [FACE])])
    assert [shown.at(t) for t in (0, 9_999, 10_750, 60_000)] == [[]] * 4


def test_a_video_without_faces_and_one_without_samples_show_nothing() -> None:
    assert labels([(0, "no_face"), (500, "no_face")]).at(100) == []
    assert labels([]).at(0) == []


def test_at_no_moment_is_a_track_shown_that_the_last_sample_lacks() -> None:
    random = np.random.default_rng(5)
    times = np.cumsum(random.choice([40, 250, 500, 1900, 2500], 60)).tolist()
    samples: list[tuple[int, list[Seen] | str]] = []
    for at in times:
        tracks = [track for track in (1, 2, 3) if random.random() < 0.6]
        samples.append((at, [(track, BOX, HAPPY) for track in tracks] or "no_face"))
    shown = labels(samples)
    seen = {at: [] if isinstance(found, str) else [face[0] for face in found] for at, found in samples}
    for t in range(0, times[-1] + 3000, 7):
        last = max((at for at in times if at <= t), default=None)
        tracks = [label.track_id for label in shown.at(t)]
        assert set(tracks) <= set([] if last is None else seen[last]), t
        assert len(tracks) == len(set(tracks))
    for at in times:
        assert [label.track_id for label in shown.at(at)] == seen[at]
    for before, after in itertools.pairwise(times):
        both = set(seen[before]) & set(seen[after]) if after - before <= MAX_STEP_MS else set()
        assert {label.track_id for label in shown.at(after - 1) if label.opacity == 1.0} == both


def label(number: int, box: tuple[float, float, float, float], opacity: float = 1.0) -> Label:
    return Label(number, box, np.array(HAPPY), opacity)


def test_a_box_has_its_emotions_colour_and_a_faded_one_less_of_it() -> None:
    picture = np.zeros((360, 640, 3), np.uint8)
    Overlay(640, 360).draw(picture, [label(1, (200, 100, 100, 120)), label(2, (400, 100, 100, 120), 0.5)])
    assert picture[160, 200].tolist() == list(bgr(COLOURS["happy"]))
    assert picture[160, 400].tolist() == pytest.approx([part / 2 for part in bgr(COLOURS["happy"])], abs=2)
    assert picture[105:215, 205:295].max() == 0, "the face itself stays clear"


@pytest.mark.parametrize("size", [(640, 360), (176, 144), (3840, 2160), (20, 20)])
def test_labels_at_the_edges_and_beyond_are_drawn_as_far_as_they_fit(size: tuple[int, int]) -> None:
    width, height = size
    picture = np.zeros((height, width, 3), np.uint8)
    boxes = [(-50, -50, 80, 80), (width - 10, height - 10, 80, 90), (width + 50, 5, 40, 40), (0, 0, width, height)]
    Overlay(width, height).draw(picture, [label(i, box) for i, box in enumerate(boxes, 1)])
    assert picture.any()


def test_in_a_crowd_no_label_covers_another_face(clips: Clips) -> None:
    people = clips.crowd.boxes[0]
    picture = np.zeros((480, 640, 3), np.uint8)
    Overlay(640, 480).draw(picture, [label(i, (box.x, box.y, box.w, box.h)) for i, box in enumerate(people, 1)])
    for box in people:  # a face's own number may stand in the upper half of its box
        x, y, w, h = (round(value) for value in (box.x, box.y, box.w, box.h))
        assert picture[y + h * 3 // 4 : y + h - 5, x + 5 : x + w - 5].max() == 0


def test_the_strip_shows_what_was_when_and_where_we_are() -> None:
    made = tables([(0, [FACE]), (1000, "no_face"), (2000, [(1, BOX, SAD)]), (3000, "decode_error")], 1000)
    strip = Strip(made.frames, 5000, 1000, 500)
    picture = strip.draw(5000)
    assert picture.shape == (strip.height, 1000, 3)
    assert strip.height % 2 == 0
    (rows,) = np.nonzero((picture[:, 100] == bgr(COLOURS["happy"])).all(axis=1))
    band = picture[rows[0] : rows[-1] + 1]
    shares = {name: (band[:, 100] == bgr(COLOURS[name])).all(axis=1).mean() for name in COLOURS}
    assert shares["happy"] + shares["neutral"] == pytest.approx(1, abs=0.15)
    assert (band[:, 500] == bgr(COLOURS["sad"])).all(axis=1).mean() == pytest.approx(0.6, abs=0.15)
    colours = {bgr(colour) for colour in COLOURS.values()}
    for first, last in ((210, 390), (610, 790), (810, 980)):  # no face, damaged, not sampled: never a colour
        assert not colours & set(map(tuple, band[:, first:last].reshape(-1, 3).tolist()))
    assert len(np.unique(band[:, 210:390].reshape(-1, 3), axis=0)) > 1, "hatched"
    assert len(np.unique(band[:, 820:980].reshape(-1, 3), axis=0)) == 1, "empty"
    for t, x in ((0, 5), (2500, 500), (4999, 994)):
        white = (strip.draw(t)[rows[0] : rows[-1]] == 255).all(axis=2).all(axis=0)
        assert np.flatnonzero(white).mean() == pytest.approx(x, abs=4)
