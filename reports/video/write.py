"""Writes pictures with their exact times, and the sound that belongs to them, as an MP4 that every player shows."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import av
import av.video.stream
from av.codec.codec import codecs_available
from av.error import FFmpegError
from av.video.reformatter import ColorRange, Colorspace, ColorTrc, Interpolation

from fer_batch.container import open_video, video_stream
from fer_batch.errors import RefusedError, StoppedError
from fer_batch.probe import VideoInfo
from reports.video.sound import Sound
from reports.video.text import Picture

ENCODER: Final = "libx264"

QUALITY: Final = {"preset": "faster", "crf": "20"}
"""A quality at which a picture is hard to tell from its source, at about real time for 720p on one core."""

KEY_EVERY_S: Final = 2
"""Most time between key frames: a player goes to one of them when it is told to jump."""

_RGB, _BT709 = 0, 1
_EXACT: Final = int(Interpolation.BICUBIC | Interpolation.ACCURATE_RND)
"""Without exact rounding every picture would come out a shade darker and bluish (by 1 to 3 of 255, measured)."""

_MATRICES: Final = {1: Colorspace.ITU709, 4: Colorspace.FCC, 5: Colorspace.ITU601, 6: Colorspace.ITU601,
                    7: Colorspace.SMPTE240M, 9: Colorspace.BT2020, 10: Colorspace.BT2020}  # fmt: skip
"""FFmpeg's names for a stream's matrix (AVCOL_SPC) and for the conversion (SWS_CS)."""


def white_level(video: VideoInfo) -> float:
    """How bright white is drawn, 0..1 of the largest value.

    Full white in an HDR video would be many times as bright as a page. ITU-R BT.2408 puts graphics' white at 58 % of
    the signal in PQ and at 75 % in HLG.
    """
    with open_video(video.path) as container:
        curve = video_stream(container, index=video.stream_index).codec_context.color_trc
    return {int(ColorTrc.SMPTE2084): 0.58, int(ColorTrc.ARIB_STD_B67): 0.75}.get(curve, 1.0)


class VideoWriter:
    """Writes one file; a context manager.

    Pictures are encoded as H.264, 4:2:0, 8 bits, limited range. The matrix, primaries and transfer curve are those of
    the source, so that colours stay what they were; HDR stays HDR. There are no B-frames: then every frame's time and
    length is in the file as it is, with nothing left to an edit list, which some programs ignore. Nothing but picture
    and sound is written: no tags, chapters, data, covers, timecodes; the same input gives the same metadata, none.

    The time base is the source's, and so are the times, all moved together so that the first picture or sound is at
    zero.

    Args:
        path: the file; MP4 whatever its name.
        video: the source.
        size: width and height of the pictures, even.
        sound: of the source; None for none.

    Raises:
        RefusedError: this build of PyAV has no H.264 encoder.
        StoppedError: while writing: the disk is full, say.
    """

    def __init__(self, path: Path, video: VideoInfo, size: tuple[int, int], sound: Sound | None) -> None:
        if ENCODER not in codecs_available:
            raise RefusedError(f"this build of PyAV cannot encode H.264 ({ENCODER} is missing); pip install av")
        self._video, self._sound = video, sound
        self._path = path
        self._held: av.Packet[av.video.stream.VideoStream] | None = None
        start = video.start_pts * video.time_base
        heard = None if sound is None else sound.start
        first = start if heard is None else min(start, heard)
        # A whole number of the pictures' ticks, so that their times stay exact; sound moves by less than a sample.
        self._shift = math.floor(first / video.time_base)
        options = {"movflags": "+faststart", "fflags": "+bitexact", "avoid_negative_ts": "disabled"}
        if sound is not None and sound.rate:
            # MP4 tells a later start of pictures or sound in units of the whole file, by default milliseconds.
            is_later = start > self._shift * video.time_base
            unit = math.lcm(sound.rate, video.time_base.denominator) if is_later else sound.rate
            options["movie_timescale"] = str(unit if unit < 2**31 else sound.rate)
        self._output = av.open("file:" + os.fspath(path), "w", format="mp4", container_options=options)
        self._stream = self._add_pictures(size)
        if sound is not None:
            sound.attach(self._output, self._shift * video.time_base)

    def _add_pictures(self, size: tuple[int, int]) -> av.video.stream.VideoStream:
        rate = Fraction(self._video.avg_fps or 25).limit_denominator(1001)
        stream = self._output.add_stream(ENCODER, rate=max(rate, Fraction(1, 1001)), options=dict(QUALITY))
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = self._video.time_base
        stream.gop_size = max(1, round(KEY_EVERY_S * rate))
        stream.max_b_frames = 0
        stream.thread_count, stream.thread_type = 0, "FRAME"  # as many as there are cores
        with open_video(self._video.path) as container:
            source = video_stream(container, index=self._video.stream_index).codec_context
            matrix = source.colorspace
            self._matrix = _MATRICES.get(_BT709 if matrix == _RGB else matrix, Colorspace.ITU601)
            context = stream.codec_context
            context.color_range = ColorRange.MPEG
            context.colorspace = _BT709 if matrix == _RGB else matrix
            context.color_primaries, context.color_trc = source.color_primaries, source.color_trc
        return stream

    def __enter__(self) -> VideoWriter:
        return self

    def write(self, picture: Picture, pts: int) -> None:
        """Encode a picture.

        Args:
            picture: uint8 (height, width, 3), BGR, of the size that was announced.
            pts: its time in the source's time base.
        """
        frame = av.VideoFrame.from_ndarray(picture, format="bgr24").reformat(
            format="yuv420p", dst_colorspace=self._matrix, dst_color_range=ColorRange.MPEG, interpolation=_EXACT
        )
        frame.pts, frame.time_base = pts - self._shift, self._video.time_base
        try:
            self._hold_back(self._stream.encode(frame))
            self._write_sound(pts * self._video.time_base)
        except FFmpegError as error:
            raise self._stopped(error) from error

    def close(self) -> None:
        """Write what is still on its way, the rest of the sound and the index."""
        try:
            self._hold_back(self._stream.encode(None))
            self._release(self._video.end_pts - self._shift)
            self._write_sound(None)
            self._output.close()
        except FFmpegError as error:
            raise self._stopped(error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._abandon()

    def _abandon(self) -> None:
        """Let go of a file that will be removed; what goes wrong now does not matter any more."""
        with suppress(FFmpegError):
            self._output.close()

    def _hold_back(self, packets: Iterable[av.Packet[Any]]) -> None:
        """Write each packet when the next one's time is known, for it tells how long the frame lasts."""
        for packet in packets:
            self._release(packet.pts or 0)
            self._held = packet

    def _release(self, end: int) -> None:
        if self._held is not None:
            self._held.duration = max(1, end - (self._held.pts or 0))
            self._output.mux(self._held)

    def _write_sound(self, until: Fraction | None) -> None:
        if self._sound is not None:
            for packet in self._sound.packets(until):
                self._output.mux(packet)

    def _stopped(self, error: FFmpegError) -> StoppedError:
        return StoppedError(f"cannot write {self._path}: {error.strerror}. Make room or choose another --out.")
