"""The report of kind ``classroom``, and of every run at privacy level `aggregate`: people as a whole, in bins."""

from __future__ import annotations

from reports.classroom.pages import build_bins

__all__ = ["build_bins"]
