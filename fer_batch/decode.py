"""Decode a segment in order and hand out the frames that the sampling wants, each with its exact time.

Where packets carry reliable PTS, the wanted frames are known before decoding begins. Then a closed group of pictures
is decoded only up to the last frame wanted of it, and frames that no other needs are skipped on the way there.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

import av
import av.container
import av.video.frame
import av.video.stream
import cv2
import numpy as np
from av.error import FFmpegError

from fer_batch.config import Sampling
from fer_batch.container import PacketTime, check_readable, closed_groups, open_video, read_packets, video_stream
from fer_batch.errors import VideoError
from fer_batch.plan import Segment
from fer_batch.probe import fingerprint
from fer_batch.sampling import choice

_OnDamage = Callable[[int], None]
"""Hears of damage, with the PTS where it begins."""

_Packet: TypeAlias = "av.Packet[av.video.stream.VideoStream]"

_Skip = Literal["DEFAULT", "NONREF"]

_TURN = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


@dataclass(frozen=True)
class FrameSample:
    """A frame chosen by the sampling rule.

    Attributes:
        frame_index: its position among the video's frames in display order.
        pts: its exact time, in ticks of the video's time base; the video begins at its `start_pts`.
        timestamp_ms: its time from the start of the video, rounded down.
        duration_ms: the time that it stands for, or :data:`fer_batch.sampling.UNTIL_NEXT`.
        image: the picture as shown, uint8 (height, width, 3), BGR; None where the data is damaged.
    """

    frame_index: int
    pts: int
    timestamp_ms: int
    duration_ms: int
    image: np.ndarray | None


class SegmentReader:
    """Iterates over the samples of a segment, in display order.

    A frame that is damaged, or that depends on damaged data, comes without its picture: what a decoder conceals is
    made up. After an error everything up to the next closed group of pictures counts as damaged.

    Attributes:
        n_decoded: frames that were decoded so far, wanted or not.
        n_frames: frames of the segment, once it was read.
        end_ms: end of a video whose packets do not tell it, once it was read; else None.
        broken_at_ms: time of the first damage; None if there was none.
    """

    def __init__(self, segment: Segment, sampling: Sampling) -> None:
        self.segment = segment
        self.n_decoded = 0
        self.n_frames = 0
        self.broken_at_ms: int | None = None
        self.end_ms: int | None = None
        self._video = segment.video
        self._clock = segment.video.clock
        self._choose = choice(sampling, self._clock)

    def __iter__(self) -> Iterator[FrameSample]:
        """
        Raises:
            VideoError: the file vanished, or changed since it was probed.
        """
        self._check_unchanged()
        yield from self._by_packet_times() if self._video.timing == "packets" else self._by_decoded_order()
        self._check_unchanged()

    def _check_unchanged(self) -> None:
        """A file that is still being written holds other frames from one look to the next."""
        video = self._video
        status = check_readable(video.path)
        if (status.st_size, status.st_mtime_ns) == (video.size_bytes, video.mtime_ns):
            return
        if fingerprint(video.path, status.st_size) != video.video_id:
            what = "grew" if status.st_size > video.size_bytes else "changed"
            raise VideoError("changed", f"the file {what} while it was processed; run the same command again")

    def _by_packet_times(self) -> Iterator[FrameSample]:
        times = [time for _packet, time in self._packets()]
        self.n_frames = sum(time.is_shown for time in times)
        waiting = self._wanted(times)[::-1]
        if not waiting:
            return
        groups = closed_groups(times)
        group_starts = [times[g].pts for g in groups[1:]]
        modes = _decoding(times, groups, {sample.pts for sample in waiting})
        damaged: list[tuple[int, float]] = []

        def on_damage(pts: int) -> None:
            self._note_damage(pts)
            following = bisect_right(group_starts, pts)
            damaged.append((pts, group_starts[following] if following < len(group_starts) else math.inf))

        packets = (packet for packet, _time in self._packets())
        for frame in self._decode(zip(packets, modes, strict=False), on_damage):
            shown_at = frame.pts if frame.pts is not None else -1
            while waiting and waiting[-1].pts < shown_at:
                yield self._lost(waiting.pop())
            if waiting and waiting[-1].pts == shown_at:
                sample = waiting.pop()
                is_damaged = any(start <= shown_at < end for start, end in damaged)
                yield self._lost(sample) if is_damaged else self._sample(sample, frame)
        while waiting:
            yield self._lost(waiting.pop())

    def _by_decoded_order(self) -> Iterator[FrameSample]:
        """For files whose packets do not tell when a frame is shown: every frame is decoded.

        Times that do not grow mark the start of a new time line, which is joined to the end of the one before. A frame
        without a time is shown when the one before ends.
        """
        use_dts = self._video.container == "avi"
        last: int | None = None
        step = self._video.frame_ticks  # how long the last frame is shown
        offset: int | None = None  # from the container's times to ours
        is_damaged = False

        def on_damage(_pts: int) -> None:
            nonlocal is_damaged
            is_damaged = True
            self._note_damage(self._clock.zero if last is None else last)

        packets: Iterator[tuple[_Packet, _Skip]] = ((packet, "DEFAULT") for packet in self._every_packet())
        for frame in self._decode(packets, on_damage):
            if last is None:
                use_dts = use_dts or frame.pts is None
            time = frame.dts if use_dts else frame.pts
            following = self._clock.zero if last is None else last + step
            pts = following
            if time is not None:
                is_new_line = offset is None or (last is not None and time + offset <= last)
                offset = following - time if offset is None or is_new_line else offset
                pts = time + offset
            if frame.duration:
                step = frame.duration
            elif last is not None:
                step = pts - last
            is_damaged = is_damaged and not frame.key_frame
            duration = self._choose(self.n_frames, pts, last, bool(frame.key_frame))
            if duration is not None:
                sample = _Wanted(self.n_frames, pts, duration)
                yield self._lost(sample) if is_damaged else self._sample(sample, frame)
            last = pts
            self.n_frames += 1
        if last is not None:
            self.end_ms = self._clock.milliseconds(last + step)

    def _every_packet(self) -> Iterator[_Packet]:
        """All of the video's packets in decode order, also those without a time."""
        with open_video(self._video.path) as container:
            try:
                yield from (packet for packet in read_packets(container, self._stream(container)) if packet.size)
            except FFmpegError:
                self._note_damage(self._video.end_pts)  # reading breaks off here, as it did when probing

    def _stream(self, container: av.container.InputContainer) -> av.video.stream.VideoStream:
        stream = video_stream(container, index=self._video.stream_index)
        if stream.index != self._video.stream_index:
            raise VideoError("changed", "the file changed while it was processed; run the same command again")
        # An error in the data must be reported, not papered over with parts of other pictures.
        stream.codec_context.options |= {"err_detect": "explode"}
        return stream

    def _packets(self) -> Iterator[tuple[_Packet, PacketTime]]:
        """The segment's packets with their times, in decode order, from its first key frame on."""
        is_first = self.segment.start.previous_pts is None
        back_s = [0, 5] if not is_first else []  # not every container's index leads to the place asked for
        for seek_back_s in [*back_s, None]:
            with open_video(self._video.path) as container:
                stream = self._stream(container)
                if seek_back_s is not None:
                    target = self.segment.start.pts - int(seek_back_s / self._clock.time_base)
                    container.seek(target, stream=stream, backward=True)
                found = self._inside(read_packets(container, stream), is_first)
                first = next(found, None)
                if first is not None:
                    yield first
                    yield from found
                    return

    def _inside(self, packets: Iterator[_Packet], is_inside: bool) -> Iterator[tuple[_Packet, PacketTime]]:
        start, end = self.segment.start.pts, self.segment.end_pts
        is_first, is_last = is_inside, end >= self._video.end_pts
        while True:
            try:
                packet = next(packets, None)
            except FFmpegError:
                self._note_damage(self._video.end_pts)  # reading breaks off here, as it did when probing
                return
            if packet is None:
                return
            time = PacketTime.of(packet)
            if time is None:
                continue
            if not is_inside and time.is_key and time.pts > start:
                return  # past the place that was looked for
            is_inside = is_inside or (time.is_key and time.pts == start)
            if is_inside and not is_last and time.is_key and time.pts >= end:
                return
            if is_inside and (is_first or time.pts >= start):
                yield packet, time

    def _wanted(self, times: Sequence[PacketTime]) -> list[_Wanted]:
        """The frames to hand out, in display order."""
        keys = {time.pts for time in times if time.is_key}
        shown = sorted(time.pts for time in times if time.is_shown)
        found = []
        previous = [self.segment.start.previous_pts, *shown]
        for index, (before, pts) in enumerate(zip(previous, shown, strict=False), self.segment.start.frame_index):
            duration = self._choose(index, pts, before, pts in keys)
            if duration is not None:
                found.append(_Wanted(index, pts, duration))
        return found

    def _decode(
        self, packets: Iterable[tuple[_Packet, _Skip | None]], on_damage: _OnDamage
    ) -> Iterator[av.video.frame.VideoFrame]:
        """Frames in display order; each packet comes with FFmpeg's `skip_frame`, or None to leave it out."""
        context = None
        for packet, mode in packets:
            if mode is None:
                continue
            context = packet.stream.codec_context
            context.skip_frame = mode
            try:
                frames = context.decode(packet)
            except FFmpegError:
                on_damage(packet.pts if packet.pts is not None else packet.dts or 0)
                continue
            yield from self._counted(frames, on_damage)
        if context is None:
            return
        try:
            frames = context.decode(None)
        except FFmpegError:
            return  # nothing was left to flush; what is missing is handed out as lost
        yield from self._counted(frames, on_damage)

    def _counted(
        self, frames: Iterable[av.video.frame.VideoFrame], on_damage: _OnDamage
    ) -> Iterator[av.video.frame.VideoFrame]:
        for frame in frames:
            self.n_decoded += 1
            if frame.is_corrupt:
                on_damage(frame.pts if frame.pts is not None else 0)
            yield frame

    def _sample(self, wanted: _Wanted, frame: av.video.frame.VideoFrame) -> FrameSample:
        return self._frame_sample(wanted, self._picture(frame))

    def _lost(self, wanted: _Wanted) -> FrameSample:
        self._note_damage(wanted.pts)
        return self._frame_sample(wanted, None)

    def _frame_sample(self, wanted: _Wanted, image: np.ndarray | None) -> FrameSample:
        at_ms = self._clock.milliseconds(wanted.pts)
        return FrameSample(wanted.frame_index, wanted.pts, at_ms, wanted.duration_ms, image)

    def _picture(self, frame: av.video.frame.VideoFrame) -> np.ndarray:
        """The picture as it is meant to be shown: turned, pixels square, and of one size all through the video."""
        image = np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
        if self._video.rotation:
            image = np.asarray(cv2.rotate(image, _TURN[self._video.rotation]), np.uint8)
        size = (self._video.width, self._video.height)
        if image.shape[1::-1] != size:
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)
        return image

    def _note_damage(self, pts: int) -> None:
        at = max(0, self._clock.milliseconds(pts))
        self.broken_at_ms = at if self.broken_at_ms is None else min(at, self.broken_at_ms)


@dataclass(frozen=True)
class _Wanted:
    frame_index: int
    pts: int
    duration_ms: int


def _decoding(times: Sequence[PacketTime], groups: Sequence[int], wanted: set[int]) -> list[_Skip | None]:
    """FFmpeg's `skip_frame` for each packet, None for those that need not be decoded at all.

    A wanted frame is decoded, and of the others before it in its group those that frames refer to (``NONREF``
    leaves out the rest). What follows a group's last wanted frame is not needed by any wanted frame.
    """
    modes: list[_Skip | None] = [None] * len(times)
    for start, end in pairwise([*groups, len(times)]):
        last = max((i for i in range(start, end) if times[i].pts in wanted), default=start - 1)
        for i in range(start, last + 1):
            modes[i] = "DEFAULT" if times[i].pts in wanted else "NONREF"
    return modes
