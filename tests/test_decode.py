"""Every frame of a test clip carries its number, so these tests know which frame they were given."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from fer_batch.config import Sampling
from fer_batch.decode import FrameSample, SegmentReader
from fer_batch.errors import VideoError
from fer_batch.plan import segments, whole
from fer_batch.probe import probe
from fer_batch.unit_size import even
from tests.clips import Clip, Clips, build, constant_times, read_frame_number

CLIPS = [
    "constant", "ntsc", "open_gop", "long_gop", "vfr", "late_start", "trimmed", "matroska", "transport_stream",
    "single_frame", "anamorphic", "odd", "with_cover",
]  # fmt: skip

SAMPLINGS = {
    "default": Sampling(),
    "dense": Sampling(fps=Fraction(30000, 1001)),
    "every 7th": Sampling(mode="every", every=7),
    "all": Sampling(mode="every", every=1),
    "key frames": Sampling(mode="keyframes"),
    "a part": Sampling(fps=Fraction(5), start_ms=700, end_ms=1900),
}


def read(path: Path, sampling: Sampling) -> list[FrameSample]:
    return list(SegmentReader(whole(probe(path)), sampling))


def expected(clip: Clip, sampling: Sampling) -> list[int]:
    """Numbers of the frames that a sampling wants, worked out the plain way."""
    start, end = sampling.start_ms, sampling.end_ms
    inside = [i for i, t in enumerate(clip.times) if t * 1000 >= start and (end is None or t * 1000 < end)]
    if sampling.mode == "every":
        return [i for i in inside if i % sampling.every == 0]
    if sampling.mode == "keyframes":
        return [i for i in inside if i in clip.keyframes]
    wanted = []
    k = -(-start * sampling.fps // 1000)
    while k / sampling.fps <= clip.times[-1]:
        found = next(i for i, t in enumerate(clip.times) if t >= k / sampling.fps)
        if found in inside and found not in wanted:
            wanted.append(found)
        k += 1
    return wanted


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS.keys())
@pytest.mark.parametrize("name", CLIPS)
def test_gives_the_frames_asked_for_with_their_exact_times(clips: Clips, name: str, sampling: Sampling) -> None:
    clip: Clip = getattr(clips, name)
    samples = read(clip.path, sampling)
    assert [sample.frame_index for sample in samples] == expected(clip, sampling)
    for sample in samples:
        assert sample.image is not None
        assert sample.image.shape == (clip.size[1], clip.size[0], 3)
        assert read_frame_number(sample.image) == sample.frame_index
        assert sample.timestamp_ms == clip.times_ms[sample.frame_index]


@pytest.mark.parametrize("name", ["ntsc", "open_gop", "long_gop", "vfr", "trimmed", "matroska", "transport_stream"])
def test_skipping_frames_does_not_change_the_pictures(clips: Clips, name: str) -> None:
    clip: Clip = getattr(clips, name)
    with av.open(clip.path) as container:
        everything = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    reader = SegmentReader(whole(probe(clip.path)), Sampling())
    for sample in reader:
        assert sample.image is not None
        np.testing.assert_array_equal(sample.image, everything[sample.frame_index])
    assert reader.n_decoded < len(everything)


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS.keys())
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_the_cut_into_segments_does_not_matter(tmp_path: Path, suffix: str, sampling: Sampling) -> None:
    steps = [33, 34, 33, 400, 20, 47] * 40
    times = [Fraction(sum(steps[:i]), 1000) for i in range(len(steps))]
    clip = build(tmp_path / f"long.{suffix}", times, gop=12, bframes=2)
    video = probe(clip.path)
    uncut = read(clip.path, sampling)
    for target in (100, 5, 1):
        cut = segments(video, 100, even(target))
        samples = [sample for segment in cut for sample in SegmentReader(segment, sampling)]
        assert [(s.frame_index, s.timestamp_ms, s.duration_ms) for s in samples] == [
            (s.frame_index, s.timestamp_ms, s.duration_ms) for s in uncut
        ]
        for ours, theirs in zip(samples, uncut, strict=True):
            assert ours.image is not None
            assert theirs.image is not None
            np.testing.assert_array_equal(ours.image, theirs.image)
    assert len(segments(video, 100, even(1))) > 5


@pytest.mark.parametrize("name", ["ntsc", "vfr", "matroska", "constant"])
def test_times_agree_with_opencv(clips: Clips, name: str) -> None:
    clip: Clip = getattr(clips, name)
    theirs = []
    capture = cv2.VideoCapture(str(clip.path))
    while capture.grab():
        theirs.append(capture.get(cv2.CAP_PROP_POS_MSEC))
    ours = [sample.timestamp_ms for sample in read(clip.path, Sampling(mode="every"))]
    assert len(ours) == len(theirs)
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) < 1.001  # ours are rounded down


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_pictures_are_turned_as_a_player_shows_them(clips: Clips, degrees: int) -> None:
    clip = clips.rotated[degrees]
    for sample in read(clip.path, Sampling()):
        assert sample.image is not None
        assert sample.image.shape == (clip.size[1], clip.size[0], 3)
        assert read_frame_number(sample.image) == sample.frame_index


@pytest.mark.parametrize("name", ["cut_short", "cut_short_matroska", "overwritten"])
def test_what_is_damaged_is_marked_and_the_rest_is_kept(clips: Clips, name: str) -> None:
    broken = getattr(clips, name)
    reader = SegmentReader(whole(probe(broken.path)), Sampling(mode="every"))
    samples = list(reader)
    whole_ones = [sample.frame_index for sample in samples if sample.image is not None]
    assert set(whole_ones) <= set(broken.intact)
    # the decoder may lose a few good frames that were on their way when it met the damage
    assert len(whole_ones) >= len(broken.intact) - 4
    for sample in samples:
        assert sample.image is None or read_frame_number(sample.image) == sample.frame_index
    if name == "overwritten":
        assert reader.broken_at_ms == int(broken.broken_at * 1000)
        assert [s.frame_index for s in samples if s.image is None] == list(range(33, 45))


def test_avi_with_b_frames_is_read_in_display_order(tmp_path: Path) -> None:
    clip = build(tmp_path / "old.avi", constant_times(25, 3), bframes=2)
    video = probe(clip.path)
    assert video.timing == "decoder"
    samples = read(clip.path, Sampling())
    assert [sample.frame_index for sample in samples] == expected(clip, Sampling())
    for sample in samples:
        assert sample.image is not None
        assert read_frame_number(sample.image) == sample.frame_index
        assert sample.timestamp_ms == clip.times_ms[sample.frame_index]


def test_times_that_jump_back_continue_the_time_line(tmp_path: Path) -> None:
    parts = [build(tmp_path / f"{i}.ts", constant_times(25, 2), start=Fraction(1)) for i in range(2)]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.path.read_bytes() for part in parts))
    samples = read(joined, Sampling(mode="every"))
    times = [sample.timestamp_ms for sample in samples]
    assert len(times) == 100
    assert times == sorted(set(times))
    assert times[-1] == pytest.approx(99 * 40, abs=80)


def test_a_file_replaced_by_another_kind_is_noticed(clips: Clips, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(clips.constant.path.read_bytes())
    segment = whole(probe(path))
    path.unlink()
    with pytest.raises(VideoError) as caught:
        list(SegmentReader(segment, Sampling()))
    assert caught.value.code == "vanished"


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts"])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_place_from_which_a_stream_only_heals_is_no_cut(tmp_path: Path, codec: str, suffix: str) -> None:
    """Intra refresh: marked as key frames, but the frames after them still show what was before."""
    path = tmp_path / f"refresh.{suffix}"
    texture = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        parameters = "intra-refresh=1:keyint=20:bframes=0:log-level=none"
        stream.options = {"x264-params": parameters, "x265-params": parameters}
        for i in range(125):
            picture = np.asarray(np.roll(cv2.blur(texture, (5, 5)), 3 * i, 1), np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = i
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open(path) as container:
        everything = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    video = probe(path)
    for target in (100, 1):
        for segment in segments(video, 100, even(target)):
            for sample in SegmentReader(segment, Sampling()):
                assert sample.image is not None
                np.testing.assert_array_equal(sample.image, everything[sample.frame_index])
