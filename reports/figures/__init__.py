"""Figures: functions from a table to a figure.

A figure is a Plotly figure as plain data: ``data``, ``layout``, and in ``frames`` the traces of other views of it (one
person, raw samples) that the page can put in their place. Text and grid take the colours of the page when it is drawn
(``page.js``), so one figure serves light and dark.
"""

from __future__ import annotations

from reports.figures.affect import AFFECT, affect
from reports.figures.axes import PATTERNS, Figure
from reports.figures.distribution import distribution
from reports.figures.heatmap import heatmap
from reports.figures.people import people
from reports.figures.quality import QUALITY, quality
from reports.figures.strip import LAYERS, LEVELS, levels, strip_layers
from reports.figures.timeline import TimelineView, timeline

__all__ = [
    "AFFECT",
    "LAYERS",
    "LEVELS",
    "PATTERNS",
    "QUALITY",
    "Figure",
    "TimelineView",
    "affect",
    "distribution",
    "heatmap",
    "levels",
    "people",
    "quality",
    "strip_layers",
    "timeline",
]
