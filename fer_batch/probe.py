"""Open a video safely and learn all that planning needs, without decoding more than its first picture."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Literal

import av
import av.container
import av.video.stream
from av.error import FFmpegError

from fer_batch.container import (
    PacketTime,
    check_readable,
    closed_groups,
    open_video,
    read_packets,
    still_streams,
    video_stream,
)
from fer_batch.errors import VideoError
from fer_batch.object_path import AnyPath
from fer_batch.sampling import Clock
from fer_batch.staging import read_blocks
from fer_batch.truncation import is_cut_short

MIN_CUT_MS = 2000
"""Places to cut that are closer than this to the one before are not kept: a segment that short saves nothing."""

LONGEST_MS = 2**31 - 1
"""Longest video, 24.8 days: no sample may last longer than the tables can hold."""

_FINGERPRINT_BLOCKS = 64
_FINGERPRINT_BLOCK = 4096


@dataclass(frozen=True)
class Cut:
    """A place where a video can be cut: a key frame that no frame before depends on and that depends on none.

    Attributes:
        pts: PTS of the key frame.
        frame_index: its position in display order.
        previous_pts: PTS of the frame shown just before it; None at the video's start.
    """

    pts: int
    frame_index: int
    previous_pts: int | None


@dataclass(frozen=True)
class VideoInfo:
    """What probing found out about a video.

    Attributes:
        path: the file.
        video_id: fingerprint of the content.
        size_bytes, mtime_ns: of the file when it was probed.
        container, codec: FFmpeg's names.
        stream_index: which stream is the video.
        width, height: display size in pixels, rotation and pixel aspect applied.
        rotation: degrees clockwise to turn the decoded picture by for display: 0, 90, 180 or 270.
        sample_aspect: width of a decoded pixel as a multiple of its height.
        time_base, start_pts, end_pts: seconds a tick; PTS of the first frame shown; end of the last.
        n_frames: frames shown.
        is_vfr: the time between frames varies.
        timing: ``packets`` where packets carry reliable PTS, ``decoder`` where only the order of the decoded frames
            tells (some AVI files, PTS that are missing or jump back): then every frame is decoded and the video is not
            cut.
        cuts: places where it can be cut, the first at its start.
        broken_at_ms: where reading the container ended early; None if it did not.
        missing_ms: how much of the length that the container promises is not there; None if that is not known.
        frame_ticks: how long a frame lasts by the frame rate, for frames that do not tell.
    """

    path: AnyPath
    video_id: str
    size_bytes: int
    mtime_ns: int
    container: str
    codec: str
    stream_index: int
    width: int
    height: int
    rotation: int
    sample_aspect: Fraction
    time_base: Fraction
    start_pts: int
    end_pts: int
    n_frames: int
    is_vfr: bool
    timing: Literal["packets", "decoder"]
    broken_at_ms: int | None
    cuts: tuple[Cut, ...] = field(repr=False)
    missing_ms: int | None = None
    frame_ticks: int = 1

    @property
    def clock(self) -> Clock:
        """Turns PTS into time."""
        return Clock(self.time_base, self.start_pts)

    @property
    def duration_ms(self) -> int:
        """Length of the video stream."""
        return self.clock.milliseconds(self.end_pts)

    @property
    def avg_fps(self) -> float:
        """Mean frame rate."""
        seconds = self.clock.seconds(self.end_pts)
        return float(self.n_frames / seconds) if seconds else 0.0


def probe(path: AnyPath) -> VideoInfo:
    """Read a video's headers and packet times and decode its first picture.

    Raises:
        VideoError: the file cannot be processed; its code is one of those in ARCHITECTURE.md.
    """
    status = check_readable(path)
    with open_video(path) as container:
        stream = video_stream(container, still_streams(path, container))
        packets, broken, is_timeless = _packet_times(container, stream)
        shown = sorted({p.pts for p in packets if p.is_shown})
        is_short = broken or is_cut_short(path, status.st_size) or _ends_before_its_index(stream, status.st_size)
        if not shown:
            why = "the file is cut short before its first frame" if is_short else "the video stream holds no frame"
            raise VideoError("no_frames", why)
        timing = "decoder" if is_timeless else _timing(container, stream, packets)
        clock = Clock(_time_base(stream), shown[0])
        end = max(p.pts + p.duration for p in packets if p.is_shown)
        if end <= shown[-1]:  # no durations: the last frame lasts as long as the one before
            end = shown[-1] + (shown[-1] - shown[-2] if len(shown) > 1 else _frame_ticks(stream))
        end_ms = clock.milliseconds(end)
        if end_ms > LONGEST_MS:
            raise VideoError("bad_times", f"its times span {end_ms / 86_400_000:,.0f} days: they are damaged")
        promised_ms = _promised_ms(container, stream, clock) if is_short else 0
        rotation, width, height = _display(path, stream.index)
        aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1)
        return VideoInfo(
            path=path,
            video_id=fingerprint(path, status.st_size),
            size_bytes=status.st_size,
            mtime_ns=status.st_mtime_ns,
            container=container.format.name,
            codec=stream.codec_context.codec.canonical_name,
            stream_index=stream.index,
            **_square(width, height, aspect, rotation),
            rotation=rotation,
            sample_aspect=aspect,
            time_base=clock.time_base,
            start_pts=clock.zero,
            end_pts=end,
            n_frames=len(shown),
            is_vfr=_is_vfr(shown) if timing == "packets" else False,
            timing=timing,
            broken_at_ms=end_ms if is_short else None,
            missing_ms=promised_ms - end_ms if promised_ms > end_ms else None,
            frame_ticks=_frame_ticks(stream),
            cuts=_cuts(packets, shown, clock) if timing == "packets" else (Cut(clock.zero, 0, None),),
        )


def fingerprint(path: AnyPath, size: int) -> str:
    """Id of a file's content that stays cheap for huge files: its size and up to 64 blocks spread over it."""
    digest = hashlib.blake2b(str(size).encode(), digest_size=10)
    last = max(0, size - _FINGERPRINT_BLOCK)
    starts = sorted({last * i // (_FINGERPRINT_BLOCKS - 1) for i in range(_FINGERPRINT_BLOCKS)})
    for block in read_blocks(path, starts, _FINGERPRINT_BLOCK, size):
        digest.update(block)
    return "v" + digest.hexdigest()


def _packet_times(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream
) -> tuple[list[PacketTime], bool, bool]:
    """Times of all packets in decode order, whether reading broke off, and whether some packets have no time.

    Such a packet is entered with the end of the one before, so that the video's length is about right.
    """
    found: list[PacketTime] = []
    is_timeless = False
    try:
        for packet in read_packets(container, stream):
            time = PacketTime.of(packet)
            if time is None and packet.size:
                is_timeless = True
                step = packet.duration or _frame_ticks(stream)
                time = PacketTime(found[-1].pts + step if found else 0, step, packet.is_keyframe, False, True, True)
            if time is not None:
                found.append(time)
    except FFmpegError:
        return found, True, is_timeless
    return found, False, is_timeless


def _timing(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream, packets: list[PacketTime]
) -> Literal["packets", "decoder"]:
    reorders = stream.codec_context.has_b_frames
    if reorders and (container.format.name == "avi" or any(p.is_guess for p in packets)):
        return "decoder"  # these times follow the decode order: they are not when the frames are shown
    if stream.codec_context.name == "vp8":
        return "decoder"  # some of its packets are never shown, and nothing tells which
    # No codec shows a frame more than 16 frames after its turn in decode order: a larger step back is a new time line.
    latest = packets[0].pts
    window: list[int] = []
    for packet in packets:
        window.append(packet.pts)
        if len(window) > 17:
            latest = max(latest, window.pop(0))
            if packet.pts < latest:
                return "decoder"
    return "packets" if len({p.pts for p in packets}) == len(packets) else "decoder"


def _cuts(packets: list[PacketTime], shown: list[int], clock: Clock) -> tuple[Cut, ...]:
    cuts = [Cut(clock.zero, 0, None)]
    for i in closed_groups(packets)[1:]:
        pts = packets[i].pts
        if clock.milliseconds(pts) - clock.milliseconds(cuts[-1].pts) >= MIN_CUT_MS:
            position = bisect_left(shown, pts)
            cuts.append(Cut(pts, position, shown[position - 1]))
    return tuple(cuts)


def _is_vfr(shown: list[int]) -> bool:
    """Steps that differ by more than a container's rounding (a tick either way) or 2 %."""
    steps = sorted(after - before for before, after in pairwise(shown))
    return bool(steps) and steps[-1] - steps[0] > max(2, steps[len(steps) // 2] // 50)


def _ends_before_its_index(stream: av.video.stream.VideoStream, size: int) -> bool:
    """Whether the index of an MP4 or MOV file leads beyond its end."""
    return any(entry.pos + entry.size > size for entry in stream.index_entries)


def _promised_ms(container: av.container.InputContainer, stream: av.video.stream.VideoStream, clock: Clock) -> int:
    """Length of the whole video as the container's header tells it, 0 where it does not."""
    name, base = container.format.name, _time_base(stream)
    whole = Fraction(container.duration or 0, av.time_base)
    if name.startswith("mov"):  # the file's length after edits; sound may outlast the picture
        of_stream = (stream.duration or 0) * base
        return int(min(whole, of_stream) * 1000) if of_stream else int(whole * 1000)
    if name.startswith(("matroska", "flv")):  # counted from zero, wherever the first frame is
        return int((whole - clock.zero * base) * 1000)
    return int(stream.frames * base * 1000) if name == "avi" else 0


def _frame_ticks(stream: av.video.stream.VideoStream) -> int:
    """How long a frame lasts that does not say so itself: by the frame rate, by 25 a second if there is none."""
    return max(1, round(1 / ((stream.average_rate or 25) * _time_base(stream))))


def _display(path: AnyPath, stream_index: int) -> tuple[int, int, int]:
    """Rotation and size of the first picture of a stream that can be decoded.

    Raises:
        VideoError: ``undecodable``.
    """
    with open_video(path) as container:
        stream = video_stream(container, index=stream_index)
        try:
            for packet in read_packets(container, stream):
                try:
                    for frame in packet.decode():
                        return round(-frame.rotation / 90) * 90 % 360, frame.width, frame.height
                except FFmpegError:
                    continue  # damaged; the next picture may be whole
        except FFmpegError as error:
            raise VideoError("undecodable", f"no frame could be decoded ({error.strerror})") from error
    raise VideoError("undecodable", "no frame could be decoded: the data is damaged or incomplete")


def _square(width: int, height: int, aspect: Fraction, rotation: int) -> dict[str, int]:
    """Display size: pixels made square by stretching the width, then turned."""
    wide = max(1, round(width * aspect))
    return {"width": height, "height": wide} if rotation in (90, 270) else {"width": wide, "height": height}


def _time_base(stream: av.video.stream.VideoStream) -> Fraction:
    if stream.time_base is None:
        raise VideoError("no_frames", "the video stream has no time base")
    return stream.time_base
