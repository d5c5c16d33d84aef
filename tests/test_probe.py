from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from fer_batch.container import open_video
from fer_batch.errors import VideoError
from fer_batch.probe import fingerprint, probe
from tests import damage
from tests.clips import Clip, Clips, build, constant_times

CLIPS = [
    "constant", "ntsc", "open_gop", "long_gop", "vfr", "late_start", "trimmed", "matroska", "transport_stream",
    "single_frame", "anamorphic", "odd", "with_cover",
]  # fmt: skip


@pytest.mark.parametrize("name", CLIPS)
def test_finds_the_truth_about_a_clip(clips: Clips, name: str) -> None:
    clip: Clip = getattr(clips, name)
    video = probe(clip.path)
    assert (video.width, video.height) == clip.size
    assert video.n_frames == len(clip.times)
    assert video.is_vfr == clip.is_vfr
    assert video.rotation == clip.rotation
    assert video.broken_at_ms is None
    assert video.timing == "packets"
    assert abs(video.duration_ms - clip.duration * 1000) <= 1 + 1000 * (clip.duration - clip.times[-1])
    assert video.video_id[0] == "v"


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_finds_rotation_and_the_size_as_shown(clips: Clips, degrees: int) -> None:
    video = probe(clips.rotated[degrees].path)
    assert (video.rotation, video.width, video.height) == (degrees, *clips.rotated[degrees].size)


def test_cuts_lie_at_closed_key_frames_only(clips: Clips, tmp_path: Path) -> None:
    closed = build(tmp_path / "closed.mp4", constant_times(25, 9), bframes=2, gop=60)
    video = probe(closed.path)
    assert [cut.frame_index for cut in video.cuts] == [0, 60, 120, 180]
    for cut in video.cuts[1:]:
        assert video.clock.seconds(cut.pts) == closed.times[cut.frame_index]
        assert cut.previous_pts is not None
        assert video.clock.seconds(cut.previous_pts) == closed.times[cut.frame_index - 1]
    opened = build(tmp_path / "open.mp4", constant_times(25, 9), bframes=2, gop=60, closed_gop=False)
    assert [cut.frame_index for cut in probe(opened.path).cuts] == [0]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("empty", "empty"),
        ("text", "not_a_video"),
        ("noise", "not_a_video"),
        ("picture", "not_a_video"),
        ("unfinished", "unfinished"),
        ("concat_script", "not_a_video"),
        ("playlist", "not_a_video"),
        ("audio", "no_video_stream"),
        ("audio_with_cover", "no_video_stream"),
    ],
)
def test_what_is_no_video_is_refused_with_a_code(clips: Clips, kind: str, code: str) -> None:
    with pytest.raises(VideoError) as caught:
        probe(clips.not_videos[kind])
    assert caught.value.code == code
    assert len(str(caught.value)) > 10


@pytest.mark.parametrize("kind", ["concat_script", "playlist"])
def test_a_script_named_like_a_video_opens_no_other_file(clips: Clips, kind: str, tmp_path: Path) -> None:
    script = tmp_path / "script.mp4"
    shutil.copy(clips.not_videos[kind], script)
    log = tmp_path / "opened.txt"
    # an audit hook sees Python's files only; FFmpeg's own are seen by the access time of what the script names
    target = clips.constant.path
    os.utime(target, ns=(0, target.stat().st_mtime_ns))
    code = (
        "import sys; from pathlib import Path; from fer_batch.probe import probe\n"
        f"try: probe(Path({str(script)!r}))\nexcept Exception as error: Path({str(log)!r}).write_text(error.code)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert log.read_text() == "not_a_video"
    assert target.stat().st_atime_ns == 0


def test_vanished_and_unreadable_files_have_their_own_codes(tmp_path: Path) -> None:
    with pytest.raises(VideoError) as gone:
        probe(tmp_path / "gone.mp4")
    assert gone.value.code == "vanished"
    with pytest.raises(VideoError) as folder:
        probe(tmp_path)
    assert folder.value.code == "unreadable"


def test_a_picture_too_large_to_decode_is_refused_from_its_header(
    clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer_batch.container.MAX_PIXELS", 320 * 240 - 1)
    with pytest.raises(VideoError) as caught:
        probe(clips.constant.path)
    assert caught.value.code == "too_large"


@pytest.mark.parametrize("name", ["a:b.mp4", "-dash.mp4", "new\nline 'q' \"d\" $(x) <b>.mp4", "http:__x.mp4"])
def test_names_are_never_read_as_addresses_or_options(clips: Clips, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    shutil.copy(clips.constant.path, path)
    assert probe(path).n_frames == 100


def test_names_that_are_not_utf8_are_opened(clips: Clips, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff\xfe.mp4")
    shutil.copy(clips.constant.path, path)
    assert probe(path).n_frames == 100


@pytest.mark.parametrize("name", ["cut_short", "cut_short_matroska"])
def test_a_file_cut_short_is_known_to_be(clips: Clips, name: str) -> None:
    broken = getattr(clips, name)
    video = probe(broken.path)
    assert video.broken_at_ms is not None
    assert abs(video.broken_at_ms - broken.broken_at * 1000) <= 200


def test_a_matroska_file_that_lost_its_index_with_its_end_is_cut_short(tmp_path: Path) -> None:
    # One key frame, and that after the first sound: FFmpeg refuses to go back to the beginning.
    whole = build(tmp_path / "whole.mkv", constant_times(25, 4), start=Fraction(1, 50), gop=1000, audio=True)
    cut = damage.cut_short(whole, tmp_path / "cut.mkv", 0.5)
    broken_at_ms = probe(cut.path).broken_at_ms
    assert broken_at_ms is not None
    assert broken_at_ms <= whole.times_ms[-1] - 1000


def test_sound_that_outlasts_the_picture_is_no_damage(clips: Clips) -> None:
    assert probe(clips.ntsc.path).broken_at_ms is None


def test_fingerprint_depends_on_content_and_size_not_on_name(tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in "abc")
    content = bytes(range(256)) * 4000
    first.write_bytes(content)
    second.write_bytes(content)
    third.write_bytes(content[:-1] + b"!")
    ids = [fingerprint(path, path.stat().st_size) for path in (first, second, third)]
    assert ids[0] == ids[1] != ids[2]


def test_agrees_with_ffprobe(clips: Clips, ffprobe: str) -> None:
    for clip in (clips.ntsc, clips.vfr, clips.matroska, clips.rotated[90], clips.anamorphic, clips.trimmed):
        entries = "stream=codec_name,width,height,start_time:frame=pts_time:format=format_name"
        out = subprocess.run(
            [ffprobe, "-v", "error", "-select_streams", "v:0", "-show_entries", entries, "-of", "json", clip.path],
            check=True,
            capture_output=True,
        ).stdout
        theirs = json.loads(out)
        video = probe(clip.path)
        assert video.codec == theirs["streams"][0]["codec_name"]
        assert video.container == theirs["format"]["format_name"]
        assert video.n_frames == len(theirs["frames"])
        first = Fraction(theirs["frames"][0]["pts_time"])
        last = Fraction(theirs["frames"][-1]["pts_time"])
        assert abs(last - first - clip.times[-1]) < Fraction(1, 1000)


def test_open_video_names_the_containers_it_knows(clips: Clips) -> None:
    with pytest.raises(VideoError, match="matroska"):
        open_video(clips.not_videos["text"])
