"""Every frame of a test clip carries its number, so these tests know which frame they were led back to."""

from __future__ import annotations

import os
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from fer_batch.config import Sampling
from fer_batch.decode import SegmentReader
from fer_batch.errors import VideoError
from fer_batch.plan import whole
from fer_batch.probe import fingerprint, probe
from fer_batch.revisit import find_again, frames_again
from tests.clips import Clip, Clips, read_frame_number

CLIPS = ["constant", "ntsc", "open_gop", "long_gop", "vfr", "trimmed", "matroska", "transport_stream", "anamorphic"]


def ledger_row(path: Path, of: Path | None = None) -> dict[str, object]:
    content = of or path
    video_id = fingerprint(content, content.stat().st_size)
    return {"video_id": video_id, "path": str(path), "path_bytes": None}


@pytest.mark.parametrize("sampling", [Sampling(fps=Fraction(5)), Sampling(mode="every", every=7)], ids=["fps", "every"])
@pytest.mark.parametrize("name", CLIPS)
def test_the_frames_are_those_that_the_run_saw(clips: Clips, name: str, sampling: Sampling) -> None:
    clip: Clip = getattr(clips, name)
    seen = list(SegmentReader(whole(probe(clip.path)), sampling))
    wanted = seen[1::3] or seen
    again = list(frames_again(find_again([ledger_row(clip.path)]), sampling, {
        sample.frame_index: sample.timestamp_ms for sample in reversed(wanted)
    }))  # fmt: skip
    assert [sample.frame_index for sample in again] == [sample.frame_index for sample in wanted]
    for then, now in zip(wanted, again, strict=True):
        assert now.image is not None
        assert read_frame_number(now.image) == now.frame_index
        np.testing.assert_array_equal(then.image, now.image)


def test_a_damaged_frame_has_no_picture(clips: Clips) -> None:
    every = Sampling(mode="every", every=1)
    seen = {s.frame_index: s for s in SegmentReader(whole(probe(clips.overwritten.path)), every)}
    lost = next(i for i, sample in seen.items() if sample.image is None)
    frames = {lost: seen[lost].timestamp_ms, 50: seen[50].timestamp_ms}
    again = {s.frame_index: s.image for s in frames_again(probe(clips.overwritten.path), every, frames)}
    assert again[lost] is None
    assert again[50] is not None


@pytest.mark.parametrize("frames", [{0: 0, 13: 521}, {0: 0, 9999: 520}], ids=["another time", "no such frame"])
def test_what_is_not_as_the_run_had_it_is_an_error(clips: Clips, frames: dict[int, int]) -> None:
    with pytest.raises(VideoError, match="no frame was found at") as caught:
        list(frames_again(probe(clips.constant.path), Sampling(), frames))
    assert caught.value.code == "changed"


def test_the_file_is_found_by_its_content(clips: Clips, tmp_path: Path) -> None:
    here = tmp_path / "a.mp4"
    shutil.copy(clips.one_face.path, here)
    moved, other = tmp_path / "b.mp4", tmp_path / "c.mp4"
    shutil.copy(clips.two_faces.path, other)
    assert find_again([ledger_row(moved, of=here), ledger_row(other, of=here), ledger_row(here)]).path == here
    for row, code in ((ledger_row(moved, of=here), "vanished"), (ledger_row(other, of=here), "changed")):
        with pytest.raises(VideoError) as caught:
            find_again([row])
        assert caught.value.code == code
    with pytest.raises(VideoError):
        find_again([])


def test_a_name_that_is_not_utf8_is_found(clips: Clips, tmp_path: Path) -> None:
    raw = bytes(tmp_path) + b"/\xff name.mp4"
    shutil.copy(clips.one_face.path, os.fsdecode(raw))
    row = {**ledger_row(clips.one_face.path), "path": "\\xff name.mp4", "path_bytes": raw}
    assert os.fsencode(str(find_again([row]).path)) == raw
