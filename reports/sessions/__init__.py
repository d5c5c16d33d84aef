"""Participants who come again: what each shows in a session, and how that changes over the sessions."""

from __future__ import annotations

from reports.sessions.change import SCHEMAS, Sessions, follow
from reports.sessions.pages import build_sessions

__all__ = ["SCHEMAS", "Sessions", "build_sessions", "follow"]
