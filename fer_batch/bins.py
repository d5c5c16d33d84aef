"""Bins of time, as privacy level `aggregate` keeps them: where they begin and end, and which bins a segment holds.

A segment holds the bins that begin in it. To see them whole its worker reads from the cut before the first of them to
the cut after the last, so that no part of a bin is ever left for another worker, or on a disk.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fer_batch.config import RunConfig, Sampling
from fer_batch.probe import Cut
from fer_batch.sampling import Clock, first_pts_at


@dataclass(frozen=True)
class Bins:
    """Bins of equal length that follow each other from the first that lies wholly in what is sampled.

    Attributes:
        start_ms: where the first begins: bins of all runs are counted from a video's time zero.
        length_ms: of each.
        end_ms: no bin reaches past this time; None for the end of the video.
    """

    start_ms: int
    length_ms: int
    end_ms: int | None = None

    @classmethod
    def of(cls, config: RunConfig) -> Bins | None:
        """The bins that a run keeps instead of faces; None where it keeps faces or tracks."""
        if config.privacy.level != "aggregate":
            return None
        length_ms = 1000 * config.privacy.bin_s
        return cls(-(-config.sampling.start_ms // length_ms) * length_ms, length_ms, config.sampling.end_ms)

    def border_ms(self, number: int) -> int:
        """Where a bin begins, and the one before it ends."""
        return self.start_ms + number * self.length_ms

    def whole(self, duration_ms: int) -> int:
        """How many bins a video of that length fills; what is left over at its end is in no bin."""
        end_ms = duration_ms if self.end_ms is None else min(duration_ms, self.end_ms)
        return max(0, end_ms - self.start_ms) // self.length_ms

    def first_from(self, pts: int, clock: Clock) -> int:
        """Number of the first bin that begins at or after `pts`."""
        number = max(0, (clock.milliseconds(pts) - self.start_ms) // self.length_ms)
        while first_pts_at(self.border_ms(number), clock) < pts:
            number += 1
        return number

    def until(self, number: int, sampling: Sampling) -> Sampling:
        """The sampling rule, but for frames after that many bins, which are left out."""
        return replace(sampling, end_ms=self.border_ms(number))


@dataclass(frozen=True)
class BinRange:
    """The bins of a segment, and what has to be read to see them whole.

    Attributes:
        first, end: numbers of the bins, `end` exclusive.
        read_from: the cut to read from.
        read_to: PTS of the cut to read to, or of the video's end.
    """

    first: int
    end: int
    read_from: Cut
    read_to: int


def bins_between(
    bins: Bins, cuts: Sequence[Cut], clock: Clock, duration_ms: int, start_pts: int, end_pts: int, last_pts: int
) -> BinRange:
    """The bins that begin in a segment.

    Args:
        bins: of the run.
        cuts: all of the video's, by time.
        clock, duration_ms: of the video.
        start_pts, end_pts: of the segment.
        last_pts: the end of the video.
    """
    whole = bins.whole(duration_ms)
    first = min(whole, bins.first_from(start_pts, clock))
    end = whole if end_pts >= last_pts else min(whole, bins.first_from(end_pts, clock))
    places = [cut.pts for cut in cuts]
    before = cuts[max(0, bisect_right(places, first_pts_at(bins.border_ms(first), clock)) - 1)]
    after = bisect_left(places, first_pts_at(bins.border_ms(end), clock))
    return BinRange(first, end, before, places[after] if after < len(places) else last_pts)
