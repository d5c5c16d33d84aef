"""How work is cut: segments of a video, and units of segments that are decoded, retried and committed together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from fer_batch.bins import BinRange, Bins, bins_between
from fer_batch.config import RunConfig, Sampling
from fer_batch.probe import Cut, VideoInfo
from fer_batch.unit_size import UnitSize

MAX_UNIT_VIDEOS = 500
"""Most videos that share a unit and its files."""

DECODE_S_PER_FRAME_MP = 0.0017
"""CPU seconds to decode a frame of a million pixels: H.264 on one core of a 2.x GHz server, measured."""

DETECT_S = 0.007
"""CPU seconds to find faces in a frame reduced to 640 pixels, measured likewise."""

SCORE_S, SCORE_INT8_S = 0.012, 0.001
"""CPU seconds to score a face with the default model in float32, and in int8, measured likewise."""


@dataclass(frozen=True)
class Segment:
    """A time range of a video that can be decoded on its own.

    Attributes:
        video: the video (without its cuts, to keep messages small).
        start: where the segment begins.
        end_pts: PTS at which it ends, exclusive.
        is_whole: the segment is all of the video.
        bins: the bins that it holds, at privacy level ``aggregate``; None at others, and where they are known only when
            all was decoded.
    """

    video: VideoInfo
    start: Cut
    end_pts: int
    is_whole: bool
    bins: BinRange | None = None

    @property
    def duration_ms(self) -> int:
        """Length of the segment."""
        clock = self.video.clock
        return clock.milliseconds(self.end_pts) - clock.milliseconds(self.start.pts)


@dataclass(frozen=True)
class Unit:
    """Segments that one worker decodes in order and commits together: several whole videos, or a part of one.

    Attributes:
        segments: what to do.
        attempt: how often this was tried before.
    """

    segments: tuple[Segment, ...]
    attempt: int = 0

    @property
    def unit_id(self) -> str:
        """Name that depends on the content alone."""
        key = "".join(f"{s.video.video_id}:{s.start.pts}:{s.end_pts};" for s in self.segments)
        return hashlib.blake2b(key.encode(), digest_size=8).hexdigest()

    @property
    def media_ms(self) -> int:
        """Length of all segments."""
        return sum(segment.duration_ms for segment in self.segments)

    def divided(self) -> list[Unit]:
        """One unit a segment, to be tried again: so that one bad video cannot take others with it."""
        return [Unit((segment,), self.attempt + 1) for segment in self.segments]


def cost_s(video: VideoInfo, config: RunConfig, faces_per_frame: float = 1.0) -> float:
    """Estimated CPU seconds for a video: decoding, detection and scoring."""
    window_ms = sampled_window_ms(video, config.sampling)
    share = window_ms / max(1, video.duration_ms)
    decode = video.n_frames * share * video.width * video.height / 1e6 * DECODE_S_PER_FRAME_MP
    samples = n_samples(video, config.sampling)
    if config.sampling.mode == "keyframes":
        decode *= 0.03
    score = SCORE_INT8_S if config.precision == "int8" else SCORE_S
    return decode + samples * (DETECT_S * (config.detection.long_side / 640) ** 2 + score * faces_per_frame)


def n_samples(video: VideoInfo, sampling: Sampling) -> float:
    """About how many frames of a video will be sampled."""
    window_ms = sampled_window_ms(video, sampling)
    frames = video.n_frames * window_ms / max(1, video.duration_ms)
    if sampling.mode == "fps":
        return min(frames, float(Fraction(window_ms, 1000) * sampling.fps) + 1)
    return frames / (sampling.every if sampling.mode == "every" else 60)


def sampled_window_ms(video: VideoInfo, sampling: Sampling) -> int:
    """Length of the part of a video between --start and --end."""
    end = video.duration_ms if sampling.end_ms is None else min(video.duration_ms, sampling.end_ms)
    return max(0, end - sampling.start_ms)


def whole(video: VideoInfo) -> Segment:
    """All of a video as one segment."""
    return Segment(replace(video, cuts=()), Cut(video.start_pts, 0, None), video.end_pts, True)


def segments(
    video: VideoInfo,
    cost: float,
    size: UnitSize,
    done: Iterable[tuple[int, int]] = (),
    bins: Bins | None = None,
) -> list[Segment]:
    """Cut a video of some `cost`, in CPU seconds, into segments, without the PTS ranges that are `done`.

    Every segment begins and ends at one of the video's cuts, so that the result of a run does not depend on them. With
    `bins` each is at least as long as one, and says which it holds.
    """
    found = _cut(video, cost, size, done, 0 if bins is None else bins.length_ms)
    if bins is None or video.timing != "packets":
        return found
    known = (bins, video.cuts, video.clock, video.duration_ms)
    return [replace(s, bins=bins_between(*known, s.start.pts, s.end_pts, video.end_pts)) for s in found]


def _cut(
    video: VideoInfo, cost: float, size: UnitSize, done: Iterable[tuple[int, int]], least_ms: int
) -> list[Segment]:
    done = set(done)
    ranges = _remaining(video, done)
    if not done and (cost <= 1.5 * size(cost) or len(video.cuts) == 1):
        return [whole(video)]
    least_pts = int(least_ms / 1000 / video.time_base)
    pts_a_second = (video.end_pts - video.start_pts) / max(cost, 1e-9)
    left_pts = sum(last - first.pts for first, last in ranges)
    bare = replace(video, cuts=())
    found: list[Segment] = []
    for first, last in ranges:
        start = first
        wanted_pts = max(1, least_pts, int(pts_a_second * size(left_pts / pts_a_second)))
        for cut in [c for c in video.cuts if first.pts < c.pts < last]:
            if cut.pts - start.pts >= wanted_pts and last - cut.pts >= wanted_pts // 2:
                found.append(Segment(bare, start, cut.pts, False))
                left_pts -= cut.pts - start.pts
                start = cut
                wanted_pts = max(1, least_pts, int(pts_a_second * size(left_pts / pts_a_second)))
        found.append(Segment(bare, start, last, False))
        left_pts -= last - start.pts
    return found


def disjoint(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """As many of some PTS ranges as do not overlap, in order.

    Those of a video that were committed overlap where a worker of a driver that was killed committed its last segment
    after the next driver had cut the video anew.
    """
    chosen: list[tuple[int, int]] = []
    for start, end in sorted(set(ranges), key=lambda item: (item[1], item[0])):
        if not chosen or start >= chosen[-1][1]:
            chosen.append((start, end))
    return chosen


def tiling(ranges: Iterable[tuple[int, int]], start: int, end: int) -> list[tuple[int, int]] | None:
    """Those of some PTS ranges that cover `start` to `end` without gap or overlap, in order; None if none do."""
    following: dict[int, int] = {}  # from where the end can be reached, and by which range
    for first, last in sorted(set(ranges), reverse=True):
        if last == end or last in following:
            following.setdefault(first, last)
    found = []
    while start != end:
        if start not in following:
            return None
        found.append((start, following[start]))
        start = following[start]
    return found


def _remaining(video: VideoInfo, done: Iterable[tuple[int, int]]) -> list[tuple[Cut, int]]:
    """The gaps between the ranges that are done, each from a cut to a PTS."""
    by_pts = {cut.pts: cut for cut in video.cuts}
    gaps: list[tuple[Cut, int]] = []
    position = video.start_pts
    for start, end in [*sorted(done), (video.end_pts, video.end_pts)]:
        if start > position:
            gaps.append((by_pts[position], start))
        position = max(position, end)
    return gaps


def units(parts: Sequence[Segment], costs: Sequence[float], size: UnitSize) -> list[Unit]:
    """Group segments, of some CPU seconds each, into units; a part of a longer video is a unit of its own."""
    found: list[Unit] = []
    packed: list[Segment] = []
    total, left = 0.0, sum(costs)
    for segment, cost in zip(parts, costs, strict=True):
        more = cost if segment.is_whole else 0.0
        if packed and (total + more > size(left) or len(packed) >= MAX_UNIT_VIDEOS):
            found.append(Unit(tuple(packed)))
            left -= total
            packed, total = [], 0.0
        if not segment.is_whole:
            found.append(Unit((segment,)))
            left -= cost
            continue
        packed.append(segment)
        total += cost
    return found + ([Unit(tuple(packed))] if packed else [])
