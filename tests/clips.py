"""The clips that tests share, each built at its first use, and the builders for a test's own."""

from __future__ import annotations

from fractions import Fraction
from functools import cached_property
from pathlib import Path

from tests import damage
from tests.damage import Damaged
from tests.encoding import HIDDEN_NUMBER, Clip, build, build_audio, constant_times
from tests.scenes import Box, Person, line, read_frame_number, still

__all__ = [
    "HIDDEN_NUMBER",
    "Box",
    "Clip",
    "Clips",
    "Damaged",
    "Person",
    "build",
    "build_audio",
    "constant_times",
    "line",
    "read_frame_number",
    "still",
]

NTSC = Fraction(30_000, 1001)

_ALONE = [Person("astronaut", still(150, 95, 80))]
"""A face for clips that are about something else, well away from the strip with the number."""


class Clips:
    """Named clips in a folder. Read-only: a test that changes a file or its folder copies it first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, name: str) -> Path:
        return self.folder / name

    # Time and structure

    @cached_property
    def constant(self) -> Clip:
        """25 frames a second, no B-frames, a key frame every 15."""
        return build(self._path("constant.mp4"), constant_times(25, 4), _ALONE)

    @cached_property
    def ntsc(self) -> Clip:
        """30000/1001 frames a second, two B-frames in a row, closed groups of 15 pictures, sound."""
        return build(self._path("ntsc.mp4"), constant_times(NTSC, 4), _ALONE, bframes=2, audio=True)

    @cached_property
    def open_gop(self) -> Clip:
        """B-frames that refer across key frames: cutting there loses them."""
        return build(self._path("open_gop.mp4"), constant_times(25, 4), _ALONE, bframes=2, closed_gop=False)

    @cached_property
    def long_gop(self) -> Clip:
        """One key frame, the first."""
        return build(self._path("long_gop.mp4"), constant_times(25, 6), _ALONE, gop=1000, bframes=2)

    @cached_property
    def vfr(self) -> Clip:
        """Uneven times: hurried, slow, and a gap of 2.4 s; B-frames."""
        steps = [17, 33, 50, 41, 100, 3, 250, 40, 40, 700, 33, 2400, 20, 60] * 4
        times = [Fraction(sum(steps[:i]), 1000) for i in range(len(steps))]
        return build(self._path("vfr.mp4"), times, _ALONE, bframes=2)

    @cached_property
    def late_start(self) -> Clip:
        """The first frame is at 1.5 s in the container; time zero is there."""
        return build(self._path("late_start.mp4"), constant_times(25, 3), _ALONE, start=Fraction(3, 2), bframes=2)

    @cached_property
    def trimmed(self) -> Clip:
        """An edit list hides the first 20 stored frames, a key frame among them; what shows begins between two."""
        return build(self._path("trimmed.mp4"), constant_times(25, 4), _ALONE, trimmed=20, bframes=2)

    @cached_property
    def matroska(self) -> Clip:
        """30000/1001 frames a second, their times rounded to milliseconds by the container."""
        return build(self._path("matroska.mkv"), constant_times(NTSC, 4), _ALONE, bframes=2)

    @cached_property
    def transport_stream(self) -> Clip:
        """An MPEG transport stream: no index, does not start at zero."""
        return build(self._path("transport.ts"), constant_times(25, 3), _ALONE, start=Fraction(1), bframes=2)

    @cached_property
    def single_frame(self) -> Clip:
        """One frame only."""
        return build(self._path("single_frame.mp4"), [Fraction(0)], _ALONE)

    # Geometry

    @cached_property
    def rotated(self) -> dict[int, Clip]:
        """Wide pictures, which a player must turn by 0, 90, 180 and 270 degrees clockwise to show them upright."""
        return {degrees: self._rotated(degrees) for degrees in (0, 90, 180, 270)}

    def _rotated(self, degrees: int) -> Clip:
        size = (320, 240) if degrees % 180 == 0 else (240, 320)
        people = [Person("hopper", still(120, 95, 80))]
        return build(self._path(f"rotated_{degrees}.mp4"), constant_times(10, 2), people, size=size, rotation=degrees)

    @cached_property
    def anamorphic(self) -> Clip:
        """Stored with 220 columns, shown with 320: pixels of 16:11."""
        return build(self._path("anamorphic.mp4"), constant_times(25, 2), _ALONE, sar=Fraction(16, 11))

    @cached_property
    def odd(self) -> Clip:
        """321 by 241 pixels."""
        return build(self._path("odd.mp4"), constant_times(25, 2), _ALONE, size=(321, 241))

    # People

    @cached_property
    def no_face(self) -> Clip:
        """A wall."""
        return build(self._path("no_face.mp4"), constant_times(25, 3))

    @cached_property
    def one_face(self) -> Clip:
        """One person who sits still, 6 s."""
        people = [Person("astronaut", still(150, 100, 90, sway=4))]
        return build(self._path("one_face.mp4"), constant_times(25, 6), people)

    @cached_property
    def two_faces(self) -> Clip:
        """Two people side by side, 4 s."""
        people = [Person("astronaut", still(90, 100, 80)), Person("hopper", still(225, 100, 90))]
        return build(self._path("two_faces.mp4"), constant_times(25, 4), people)

    @cached_property
    def crowd(self) -> Clip:
        """Thirty-two faces, 640x480."""
        places = [(i, j) for j in range(4) for i in range(8)]
        people = [
            Person("hopper" if (i + j) % 2 else "astronaut", still(47 + 78 * i, 50 + 105 * j, 50)) for i, j in places
        ]
        return build(self._path("crowd.mp4"), constant_times(10, 2), people, size=(640, 480))

    @cached_property
    def coming_and_going(self) -> Clip:
        """One sits all along; the other walks in from the right at 2 s, stays, and is gone from 6 s; 8 s."""

        def visitor(t: float) -> tuple[float, float, float] | None:
            return (max(225.0, 360 - 135 * (t - 2)), 100.0, 90.0) if 2 <= t < 6 else None

        people = [Person("astronaut", still(90, 100, 80)), Person("hopper", visitor)]
        return build(self._path("coming_and_going.mp4"), constant_times(25, 8), people)

    @cached_property
    def crossing(self) -> Clip:
        """Two people change sides, one passing before the other at 4 s; 8 s."""
        people = [
            Person("astronaut", line((70, 90), (250, 90), 70, during=(0, 8.1))),
            Person("hopper", line((250, 110), (70, 110), 90, during=(0, 8.1))),
        ]
        return build(self._path("crossing.mp4"), constant_times(25, 8), people)

    @cached_property
    def lost_second(self) -> Clip:
        """One person; from 3.0 to 4.0 s there is nobody; 7 s."""
        people = [Person("astronaut", still(150, 100, 90, during=when)) for when in ((0, 3), (4, 7))]
        return build(self._path("lost_second.mp4"), constant_times(25, 7), people)

    # Broken, and not what they are named

    @cached_property
    def cut_short(self) -> Damaged:
        """The first 60 % of an MP4 with its index in front."""
        whole = build(self._path("cut_short_whole.mp4"), constant_times(25, 4), _ALONE, faststart=True, bframes=2)
        return damage.cut_short(whole, self._path("cut_short.mp4"))

    @cached_property
    def cut_short_matroska(self) -> Damaged:
        """The first 60 % of a Matroska file."""
        return damage.cut_short(self.matroska, self._path("cut_short.mkv"))

    @cached_property
    def overwritten(self) -> Damaged:
        """Frames 33 to 36 of the clip ``constant`` are noise; the key frame 45 heals it."""
        return damage.overwrite_frames(self.constant, self._path("overwritten.mp4"), (33, 34, 35, 36))

    @cached_property
    def not_videos(self) -> dict[str, Path]:
        """Files with a video's name that are none, by what they are."""
        target = self.constant.path
        return {
            "empty": damage.empty(self._path("empty.mp4")),
            "text": damage.text(self._path("text.mp4")),
            "noise": damage.noise(self._path("noise.mp4")),
            "picture": damage.picture(self._path("picture.mp4")),
            "unfinished": damage.without_index(self.constant, self._path("unfinished.mp4")),
            "concat_script": damage.concat_script(self._path("concat_script.mp4"), target),
            "playlist": damage.playlist(self._path("playlist.mp4"), target),
            "audio": build_audio(self._path("audio.mp4")),
            "audio_with_cover": build_audio(self._path("audio_with_cover.mp4"), cover=True),
        }

    @cached_property
    def with_cover(self) -> Clip:
        """A real video with sound and, beside it, a picture as cover art."""
        return build(self._path("with_cover.mp4"), constant_times(25, 2), _ALONE, audio=True, cover=True)
