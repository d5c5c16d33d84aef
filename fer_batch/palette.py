"""The one colour that each emotion has, on every page, in every figure, light and dark."""

from __future__ import annotations

from typing import Final

COLOURS: Final = {
    "angry": "#EE6677",
    "disgust": "#228833",
    "fear": "#AA3377",
    "happy": "#CCBB44",
    "sad": "#4477AA",
    "surprise": "#66CCEE",
    "neutral": "#BBBBBB",
}
"""Paul Tol's 'bright' scheme: seven colours that stay apart with any common kind of colour blindness."""

CONDITIONS: Final = {
    "no_face": "No face",
    "too_small": "Faces too small",
    "decode_error": "Picture damaged",
}
"""What a stretch of video without scores is called. It has a pattern, not a colour, so it is never taken for one."""
