"""Measures: functions from a table to a table. Every mean over time weighs a sample by its `duration_ms`."""

from __future__ import annotations

from reports.measures.peaks import PROMINENCE, peaks
from reports.measures.run import distribution, totals
from reports.measures.slices import heat, slices, slots, spread, strip
from reports.measures.smoothing import LONGEST_FIGURE, smoothed, thinned, window_ms
from reports.measures.stretches import NOT_SEEN, bridged, conditions, lanes, presence
from reports.measures.video import expressions, of_track, summary, tracks

__all__ = [
    "LONGEST_FIGURE",
    "NOT_SEEN",
    "PROMINENCE",
    "bridged",
    "conditions",
    "distribution",
    "expressions",
    "heat",
    "lanes",
    "of_track",
    "peaks",
    "presence",
    "slices",
    "slots",
    "smoothed",
    "spread",
    "strip",
    "summary",
    "thinned",
    "totals",
    "tracks",
    "window_ms",
]
