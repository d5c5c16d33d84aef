"""File names as text for people: nothing in them may act on a terminal or forge a line of a log."""

from __future__ import annotations

import unicodedata

_ACTING = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode's categories of control characters, halves of characters, and ends of lines and paragraphs."""

_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""What changes the direction of text, so that a name seems to end otherwise than it does."""


def printable(text: str) -> str:
    r"""`text` with such characters written as escapes, ``\n`` or ``\x1b`` for example."""
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in _ACTING or character in _TURNING
        else character
        for character in text
    )
