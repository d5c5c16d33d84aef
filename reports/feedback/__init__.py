"""Many people's answers to several stimuli: ranked, followed through time, broken down by what is known of people."""

from __future__ import annotations

from reports.feedback.pages import build_feedback
from reports.feedback.survey import SCHEMAS, Feedback, survey

__all__ = ["SCHEMAS", "Feedback", "build_feedback", "survey"]
