"""What the driver still has to do: which videos wait, how they are cut into units, what is tried again.

Knows nothing of Ray and does no work itself, so every rule here can be tested on its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from fer_batch.bins import Bins
from fer_batch.config import RunConfig
from fer_batch.object_path import ObjectPath
from fer_batch.plan import MAX_UNIT_VIDEOS, Segment, Unit, cost_s, segments, units, whole
from fer_batch.probe import VideoInfo
from fer_batch.unit_size import about, before, enough, even, growing, largest, shrinking

MAX_ATTEMPTS = 3
"""How often a unit whose worker dies is tried before its video fails."""


@dataclass
class Schedule:
    """Keeps ids and counts only, besides the videos that wait for a worker.

    Attributes:
        config: for the estimate of costs.
        workers: units are made so small that each worker has at least two, and all end at about the same time.
        committed: tells the PTS ranges of a video that an earlier run committed.
        known_ids: ids of videos that are done or scheduled.
        duplicates: files with the content of another, to be entered in the ledger when that one is done.
        media_ms: length of all videos that were scheduled.
    """

    config: RunConfig
    workers: int
    committed: Callable[[str], list[tuple[int, int]]]
    known_ids: set[str] = field(default_factory=set)
    duplicates: list[VideoInfo] = field(default_factory=list)
    media_ms: int = 0
    kept_ms: int = 0
    _waiting: deque[_Waiting] = field(default_factory=deque)
    _waiting_s: float = 0.0
    _begun_s: float = 0.0
    _ready: deque[Unit] = field(default_factory=deque)
    _mean_s: float = 0.0  # CPU seconds of a unit, of those that were made last
    _open: dict[str, tuple[VideoInfo, set[int]]] = field(default_factory=dict)
    _complete: list[VideoInfo] = field(default_factory=list)

    def add(self, video: VideoInfo) -> None:
        """Take on a video that was probed."""
        if video.video_id in self.known_ids:
            self.duplicates.append(video)
            return
        self.known_ids.add(video.video_id)
        waiting = _Waiting(video, cost_s(video, self.config), tuple(self.committed(video.video_id)))
        self._waiting.append(waiting)
        self._waiting_s += waiting.left_s
        self.media_ms += video.duration_ms

    def next_unit(self, all_found: bool) -> Unit | None:
        """The unit to do next; None if there is none, or if it is better to wait until more is known.

        Args:
            all_found: no further videos will be added.
        """
        if not self._ready:
            most = 2 * self.workers * MAX_UNIT_VIDEOS
            is_enough = enough(self._waiting_s, self.workers) or len(self._waiting) >= most
            if self._waiting and (all_found or is_enough):
                self._cut(all_found)
        return self._ready.popleft() if self._ready else None

    def backlog(self) -> int:
        """About how many units of full size could be begun now: no worker is worth starting for less."""
        return min(len(self._ready), about(len(self._ready) * self._mean_s)) + about(self._waiting_s)

    def next_complete(self) -> VideoInfo | None:
        """A video whose segments are all committed and wait to be joined."""
        return self._complete.pop() if self._complete else None

    def done(self, unit: Unit) -> None:
        """A unit is committed."""
        for segment in unit.segments:
            video, missing = self._open.get(segment.video.video_id, (None, set()))
            missing.discard(segment.start.pts)
            if video is not None and not missing:
                del self._open[video.video_id]
                self._complete.append(video)

    def lost(self, unit: Unit) -> list[VideoInfo]:
        """The worker of a unit died. It is scheduled again; returns the videos that are given up instead.

        Of a unit of several videos each is tried on its own, so that only the guilty one fails.
        """
        if len(unit.segments) > 1 or unit.attempt + 1 < MAX_ATTEMPTS:
            self._ready.extendleft(reversed(unit.divided()))
            return []
        self.drop(unit.segments[0])
        return [unit.segments[0].video]

    def drop(self, segment: Segment) -> None:
        """Forget a video that failed: what is left of it is not worth doing."""
        video_id = segment.video.video_id
        self._open.pop(video_id, None)
        self._ready = deque(u for u in self._ready if all(s.video.video_id != video_id for s in u.segments))

    def _cut(self, all_found: bool) -> None:
        """Make units of what waits; of about half of it as long as more may be found, lest the last ones be large.

        Each worker that has a part of an object fetches all of it, so of objects few are cut.
        """
        total = self._waiting_s
        equal = even(largest(total, self.workers))
        size = shrinking(total, self.workers) if all_found else equal
        size = growing(size, self._begun_s, total, self.workers)
        parts: list[Segment] = []
        costs: list[float] = []
        bins = Bins.of(self.config)
        is_uncut = self.config.privacy.level == "tracks"  # a segment's faces would wait on a disk for the others
        while self._waiting and (all_found or self._waiting_s >= total / 2):
            waiting = self._waiting.popleft()
            self._waiting_s = self._waiting_s - waiting.left_s if self._waiting else 0.0
            video, cost = waiting.video, waiting.cost_s
            here = equal if isinstance(video.path, ObjectPath) else before(self._waiting_s, size)
            cut = [whole(video)] if is_uncut else segments(video, cost, here, waiting.done, bins)
            if cut == [] or not cut[0].is_whole:
                bare = replace(video, cuts=())
                self.kept_ms += video.duration_ms - sum(segment.duration_ms for segment in cut)
                if cut:
                    self._open[video.video_id] = (bare, {segment.start.pts for segment in cut})
                else:
                    self._complete.append(bare)
            parts += cut
            costs += [cost * segment.duration_ms / max(1, video.duration_ms) for segment in cut]
        self._begun_s += total - self._waiting_s
        made = units(parts, costs, before(self._waiting_s, size))
        self._mean_s = sum(costs) / max(1, len(made))
        self._ready += made


@dataclass(frozen=True)
class _Waiting:
    """A video that waits to be cut, its cost, and the PTS ranges of it that an earlier run committed."""

    video: VideoInfo
    cost_s: float
    done: tuple[tuple[int, int], ...]

    @property
    def left_s(self) -> float:
        """Cost of what is not done, in CPU seconds."""
        length = self.video.end_pts - self.video.start_pts
        return self.cost_s * (1 - sum(end - start for start, end in self.done) / max(1, length))
