"""The new video has the old one's times, sound, size and colours, and nothing else of it."""

from __future__ import annotations

import resource
import subprocess
import weakref
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from fer_batch.decode import FrameSample
from fer_batch.errors import StoppedError
from fer_batch.palette import COLOURS
from fer_batch.probe import VideoInfo, probe
from reports.video import make
from reports.video.faces import Found, every_frame
from reports.video.make import Made, make_video
from reports.video.masks import masks
from reports.video.text import bgr
from reports.video.write import white_level
from tests.clips import Clip, Clips, build, read_frame_number
from tests.clips import constant_times as times
from tests.reports.video.tables import HAPPY, tables

RATE = 48_000


def pictures(path: Path) -> tuple[list[Fraction], list[np.ndarray]]:
    """Times in seconds and pictures of a video."""
    with av.open(path) as container:
        frames = list(container.decode(video=0))
    return [_time(frame) for frame in frames], [np.asarray(frame.to_ndarray(format="bgr24")) for frame in frames]


def _time(frame: av.VideoFrame | av.AudioFrame) -> Fraction:
    assert frame.pts is not None
    assert frame.time_base is not None
    return frame.pts * frame.time_base


@pytest.mark.parametrize(
    "name",
    ["constant", "ntsc", "open_gop", "vfr", "late_start", "trimmed", "matroska", "transport_stream", "single_frame"],
)
def test_every_frame_keeps_its_time(clips: Clips, name: str, tmp_path: Path) -> None:
    clip: Clip = getattr(clips, name)
    made = make_video(probe(clip.path), tmp_path / "out.mp4")
    shown, images = pictures(tmp_path / "out.mp4")
    assert shown == list(clip.times)
    assert [read_frame_number(image) for image in images] == list(range(len(clip.times)))
    assert made == Made(len(clip.times), 0, None, ("copied",) if clip.has_audio else (), False)
    with av.open(tmp_path / "out.mp4") as container:
        stream = container.streams.video[0]
        assert (stream.duration or 0) * Fraction(stream.time_base or 0) == clip.duration


@pytest.mark.parametrize("name", ["ntsc", "vfr"])
def test_ffprobe_sees_the_same_times(clips: Clips, ffprobe: str, name: str, tmp_path: Path) -> None:
    clip: Clip = getattr(clips, name)
    make_video(probe(clip.path), tmp_path / "out.mp4")

    def seen(path: Path) -> list[str]:
        entries = ["-select_streams", "v:0", "-show_entries", "frame=pts_time", "-of", "csv=p=0"]
        command = [ffprobe, "-v", "error", *entries, str(path)]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return [line.strip(",") for line in out.split()]

    assert seen(tmp_path / "out.mp4") == seen(clip.path)
    assert len(seen(clip.path)) == len(clip.times)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotated_pictures_are_upright(clips: Clips, degrees: int, tmp_path: Path) -> None:
    clip = clips.rotated[degrees]
    make_video(probe(clip.path), tmp_path / "out.mp4")
    shown, images = pictures(tmp_path / "out.mp4")
    assert shown == list(clip.times)
    assert images[0].shape[1::-1] == clip.size
    assert [read_frame_number(image) for image in images] == list(range(len(clip.times)))
    with av.open(tmp_path / "out.mp4") as container:
        assert next(container.decode(video=0)).rotation == 0


def test_pixels_are_square_and_sizes_even(clips: Clips, tmp_path: Path) -> None:
    for clip, size in ((clips.anamorphic, (320, 240)), (clips.odd, (322, 242))):
        make_video(probe(clip.path), tmp_path / f"{size[0]}.mp4")
        image = pictures(tmp_path / f"{size[0]}.mp4")[1][3]
        assert image.shape[1::-1] == size
        assert read_frame_number(image[: clip.size[1], : clip.size[0]]) == 3
        assert probe(tmp_path / f"{size[0]}.mp4").sample_aspect == 1


def test_copied_sound_is_the_same_at_the_same_time(clips: Clips, tmp_path: Path) -> None:
    make_video(probe(clips.ntsc.path), tmp_path / "out.mp4")

    def packets(path: Path) -> list[tuple[Fraction, bytes]]:
        with av.open(path) as container:
            sound = container.streams.audio[0]
            return [(p.pts * p.time_base, bytes(p)) for p in container.demux(sound) if p.pts is not None]

    assert packets(tmp_path / "out.mp4") == packets(clips.ntsc.path)
    assert packets(clips.ntsc.path)[0][0] < 0, "the encoder's run-up stays before time zero, where nobody hears it"


def with_sound(path: Path, codec: str, sound_at: Fraction, pictures_at: Fraction) -> list[Fraction]:
    """A video with a click every 0.4 s; gives the clicks' times from the first picture."""
    clicks = [Fraction(i, 10) for i in range(2, 20, 4)]
    wave = np.zeros(2 * RATE, np.float32)
    for click in clicks:
        wave[int(click * RATE) : int(click * RATE) + 240] = 0.8 * np.sin(np.arange(240) / 3)
    with av.open(path, "w") as container:
        video, sound = container.add_stream("mpeg4", rate=25), container.add_stream(codec, rate=RATE)
        assert isinstance(video, av.VideoStream)
        assert isinstance(sound, av.AudioStream)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound.layout = "mono"
        for i in range(50):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 5 * i, np.uint8), format="rgb24")
            frame.pts, frame.time_base = int(pictures_at * 25) + i, Fraction(1, 25)
            container.mux(video.encode(frame))
        name = "fltp" if codec == "aac" else "s16"
        for start in range(0, len(wave), 1024):
            part = wave[None, start : start + 1024]
            values = np.ascontiguousarray(part if name == "fltp" else (part * 32767).astype(np.int16))
            block = av.AudioFrame.from_ndarray(values, name, "mono")  # type: ignore[arg-type]
            block.sample_rate, block.time_base = RATE, Fraction(1, RATE)
            block.pts = int(sound_at * RATE) + start
            container.mux(sound.encode(block))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return [click + sound_at - pictures_at for click in clicks]


def heard_clicks(path: Path) -> list[Fraction]:
    """When clicks begin, in seconds from the first picture."""
    first = pictures(path)[0][0]
    wave: dict[int, float] = {}
    with av.open(path) as container:
        for frame in container.decode(audio=0):
            start = round(_time(frame) * RATE)
            samples = frame.to_ndarray()[0]
            loud = 0.3 * (1 if samples.dtype.kind == "f" else np.iinfo(samples.dtype).max)
            for i in np.flatnonzero(abs(samples) > loud).tolist():
                wave[start + i] = 1.0
    heard = sorted(wave)
    starts = [t for t, before in zip(heard, [-RATE, *heard], strict=False) if t - before > RATE // 10]
    return [Fraction(t, RATE) - first for t in starts]


@pytest.mark.parametrize(
    ("file", "codec", "sound_at", "pictures_at", "how"),
    [
        ("a.mov", "pcm_s16le", Fraction(0), Fraction(0), "encoded"),
        ("a.mkv", "pcm_s16le", Fraction(3, 10), Fraction(0), "encoded"),
        ("b.mkv", "flac", Fraction(0), Fraction(16, 25), "encoded"),
        ("a.mp4", "aac", Fraction(3, 10), Fraction(0), "copied"),
        ("b.mp4", "aac", Fraction(0), Fraction(16, 25), "copied"),
        ("a.ts", "aac", Fraction(0), Fraction(0), "copied"),
        ("b.ts", "mp2", Fraction(0), Fraction(0), "encoded"),
        ("c.mkv", "aac", Fraction(0), Fraction(0), "copied"),
    ],
)
def test_sound_and_pictures_stay_together(
    tmp_path: Path, file: str, codec: str, sound_at: Fraction, pictures_at: Fraction, how: str
) -> None:
    expected = with_sound(tmp_path / file, codec, sound_at, pictures_at)
    made = make_video(probe(tmp_path / file), tmp_path / "out.mp4")
    assert made.sound == (how,)
    was, heard = heard_clicks(tmp_path / file), heard_clicks(tmp_path / "out.mp4")
    assert [float(t) for t in was] == pytest.approx([float(t) for t in expected], abs=0.012), "the test's own clip"
    # Matroska and an encoder's ringing may move the first loud sample by a millisecond, not more.
    assert [float(t) for t in heard] == pytest.approx([float(t) for t in was], abs=0.0015)


def test_sound_can_be_left_out(clips: Clips, tmp_path: Path) -> None:
    made = make_video(probe(clips.ntsc.path), tmp_path / "out.mp4", with_sound=False)
    assert made.sound == ()
    with av.open(tmp_path / "out.mp4") as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_nothing_that_says_more_than_pictures_and_sound_is_taken_over(clips: Clips, tmp_path: Path) -> None:
    told = "Jane Doe, 52.5163N 13.3777E"
    source, out = tmp_path / "in.mkv", tmp_path / "out.mp4"
    with av.open(clips.with_cover.path) as given, av.open(source, "w") as container:
        container.metadata.update({"title": told, "location": told, "creation_time": "2024-05-06T07:08:09Z"})
        streams = {
            s.index: container.add_stream_from_template(s) for s in (*given.streams.video[:1], *given.streams.audio)
        }
        for stream in streams.values():
            stream.metadata.update({"title": told, "language": "fra"})
        container.add_attachment("jane.txt", "text/plain", told.encode())
        base = Fraction(1, 1000)
        container.set_chapters([{"id": 1, "start": 0, "end": 900, "time_base": base, "metadata": {"title": told}}])
        for packet in given.demux([s for s in given.streams if s.index in streams]):
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                container.mux(packet)
    assert source.read_bytes().count(told.encode()) >= 5
    for path in (source, clips.with_cover.path):
        make_video(probe(path), out)
        data = out.read_bytes()
        assert b"Jane" not in data
        assert b"2024" not in data
        with av.open(out) as made:
            assert set(made.metadata) <= {"major_brand", "minor_version", "compatible_brands"}
            assert [stream.type for stream in made.streams] == ["video", "audio"]
            assert made.chapters() == []
            for stream in made.streams:
                tags = dict(stream.metadata)
                assert tags.pop("handler_name") in {"VideoHandler", "SoundHandler"}
                assert tags.pop("language", "und") == "und"
                assert set(tags) <= {"vendor_id"}


def test_the_index_comes_first_so_that_a_browser_can_begin_at_once(clips: Clips, tmp_path: Path) -> None:
    make_video(probe(clips.constant.path), tmp_path / "out.mp4")
    data = (tmp_path / "out.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("name", ["cut_short", "overwritten", "cut_short_matroska"])
def test_of_a_damaged_video_what_decodes_is_written_at_its_time(clips: Clips, name: str, tmp_path: Path) -> None:
    damaged = getattr(clips, name)
    made = make_video(probe(damaged.path), tmp_path / "out.mp4")
    shown, images = pictures(tmp_path / "out.mp4")
    numbers = [read_frame_number(image) for image in images]
    assert set(numbers) <= set(damaged.intact)
    assert len(numbers) == made.frames >= 0.8 * len(damaged.intact)
    assert shown == [damaged.source.times[number] for number in numbers if number is not None]
    assert made.broken_at_ms is not None
    assert name != "overwritten" or made.lost >= 4


def test_colours_stay_what_they_were(tmp_path: Path) -> None:
    source, out = tmp_path / "in.mp4", tmp_path / "out.mp4"
    colour = (40, 90, 200)
    for matrix, primaries, curve in ((1, 1, 1), (6, 6, 6), (9, 9, 16)):
        with av.open(source, "w") as container:
            stream = container.add_stream("libx264", rate=10, options={"crf": "1"})
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            context = stream.codec_context
            context.colorspace, context.color_primaries, context.color_trc, context.color_range = (
                matrix, primaries, curve, 1,
            )  # fmt: skip
            rgb = av.VideoFrame.from_ndarray(np.full((48, 64, 3), colour, np.uint8), format="bgr24")
            frame = rgb.reformat(format="yuv420p", dst_colorspace=5 if matrix == 6 else matrix, dst_color_range=1)
            container.mux([*stream.encode(frame), *stream.encode(None)])
        make_video(probe(source), out)
        with av.open(out) as container:
            made = next(container.decode(video=0))
        tags = made.colorspace, made.color_primaries, made.color_trc, made.color_range
        assert tags == (matrix, primaries, curve, 1)
        assert made.to_ndarray(format="bgr24")[24, 32].tolist() == pytest.approx(colour, abs=5)
        assert white_level(probe(source)) == (0.58 if curve == 16 else 1)


def test_labels_are_drawn_where_the_tables_have_faces_and_nowhere_else(clips: Clips, tmp_path: Path) -> None:
    clip, out = clips.constant, tmp_path / "out.mp4"
    box = (110.0, 50.0, 80.0, 90.0)
    seen = [(1, box, HAPPY)]
    made = tables([(0, "no_face"), (1000, seen), (2000, seen), (3000, "no_face")], 1000)
    make_video(probe(clip.path), out, tables=made)
    shown, images = pictures(out)
    assert shown == list(clip.times)
    plain = pictures(clip.path)[1]
    height, width = plain[0].shape[:2]
    assert images[0].shape[0] > height, "the strip stands below the picture and hides nothing of it"
    colour = np.array(bgr(COLOURS["happy"]))
    for t, image, before in zip(shown, images, plain, strict=True):
        picture = image[:height, :width].astype(int)
        is_boxed = abs(picture[60:130, 110] - colour).max(axis=1).mean() < 40
        assert is_boxed == (1 <= t < Fraction(21, 10)), float(t)  # from 2 s on it fades
        if not 1 <= t < Fraction(23, 10):
            assert abs(picture - before).mean() < 3
            assert abs(picture - before)[40:140, 100:200].max() < 60, "no box, no label"


def test_one_frame_is_in_memory_at_a_time(clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[weakref.ref[np.ndarray]] = []
    most = 0

    class Watched:
        broken_at_ms = None

        def __init__(self, video: VideoInfo) -> None:
            self.reader = every_frame(video)

        def __iter__(self) -> Iterator[FrameSample]:
            nonlocal most
            for sample in self.reader:
                if sample.image is not None:
                    given.append(weakref.ref(sample.image))
                    most = max(most, sum(ref() is not None for ref in given))
                yield sample

    monkeypatch.setattr(make, "every_frame", Watched)
    make_video(probe(clips.constant.path), tmp_path / "out.mp4")
    assert len(given) == 100
    assert most <= 3


def test_masks_of_another_video_are_never_used(clips: Clips, tmp_path: Path) -> None:
    empty = np.empty((0, 4), np.float32)
    for index in (np.arange(90), np.arange(1, 101), np.arange(120)):
        other = Found(index, index * 40, np.empty(0, np.int32), empty, empty[:, 0], 1.0)
        with pytest.raises(StoppedError, match="changed while it was read"):
            make_video(probe(clips.constant.path), tmp_path / "out.mp4", masks=masks(other))
        assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(clips: Clips, tmp_path: Path) -> None:
    video = probe(clips.constant.path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(StoppedError, match="cannot write"):
            make_video(video, tmp_path / "out.mp4")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_a_small_picture_is_padded(tmp_path: Path) -> None:
    clip = build(tmp_path / "small.mp4", times(25, 0.2), size=(12, 8))
    make_video(probe(clip.path), tmp_path / "out.mp4")
    assert pictures(tmp_path / "out.mp4")[1][0].shape == (16, 16, 3)
