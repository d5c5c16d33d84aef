"""The strip below the pictures: the whole video's expressions over time, where we are, and what the colours mean."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa

from fer_batch.palette import COLOURS, CONDITIONS
from reports import measures
from reports.video.overlay import font_size
from reports.video.text import Colour, Picture, bgr, fill, text_size, write
from reports.wording import clock

_GROUND: Final[Colour] = bgr("#14171C")
_EMPTY: Final[Colour] = bgr("#23282F")
_HATCH: Final[Colour] = bgr("#59626F")
_TEXT: Final[Colour] = bgr("#E7EAF0")
_MUTED: Final[Colour] = bgr("#A3ADBD")

CAPTION: Final = "apparent expression, not felt emotion"
"""Stands in every picture: a video is passed on without the page that explains it."""


class Strip:
    """Draws the strip for the pictures of one video.

    From above: the clock, a caption, the expressions over time, and a key to the colours. The expressions are the means
    over the faces of each moment, stacked in the order of the classes, as on the report's pages. Time without a face is
    hatched to the right, a damaged picture to the left, and what was not sampled is left empty. Up to the playhead the
    colours are full, after it they are dim.

    Attributes:
        height: of the strip, in pixels; even.
    """

    def __init__(self, frames: pa.Table, duration_ms: int, width: int, height: int, white: float = 1) -> None:
        """
        Args:
            frames: the video's rows of :data:`fer_batch.schema.FRAMES`.
            duration_ms: length of the video.
            width, height: of the pictures.
            white: brightness of white, 0..1, see :func:`reports.video.write.white_level`.
        """
        self._duration_ms = max(1, duration_ms)
        self._font = font = font_size(width, height)
        self._pad = pad = max(3, font // 3)
        self._band = (pad, pad + round(1.25 * font) + pad // 2), (max(1, width - 2 * pad), 2 * font)
        rows, row_height = self._key_rows(width), round(1.25 * font)
        self._key_top = self._band[0][1] + self._band[1][1] + pad // 2
        self.height = (self._key_top + rows[-1][0] * row_height + row_height + pad + 1) // 2 * 2
        self._white = white
        self._ahead = np.full((self.height, width, 3), _GROUND, np.uint8)
        self._draw_caption(width)
        for row, x, name in rows:
            self._draw_key(name, x, self._key_top + row * row_height)
        self._past = self._ahead.copy()
        (left, top), (wide, high) = self._band
        band = _band(frames, self._duration_ms, wide, high)
        self._past[top : top + high, left : left + wide] = band
        self._ahead[top : top + high, left : left + wide] = _dimmed(band)

    def draw(self, timestamp_ms: int) -> Picture:
        """The strip at a time of the video, uint8 (height, width, 3)."""
        (left, top), (wide, high) = self._band
        at = left + round((wide - 1) * min(1.0, timestamp_ms / self._duration_ms))
        strip = self._ahead.copy()
        strip[top : top + high, left : at + 1] = self._past[top : top + high, left : at + 1]
        line = max(2, self._font // 8)
        # Drawn over the edges of the band and with a dark rim, so that it is seen on any colour.
        fill(strip, (at - line, top - line), (3 * line, high + 2 * line), _GROUND)
        fill(strip, (at, top - line), (line, high + 2 * line), (255, 255, 255))
        now = f"{clock(timestamp_ms // 100 * 100, tenths=True)} / {clock(self._duration_ms)}"
        write(strip, now, self._font, (self._pad, self._pad // 2), _TEXT)
        return strip if self._white == 1 else np.asarray(strip * np.float32(self._white), np.uint8)

    def _draw_caption(self, width: int) -> None:
        space = width - 3 * self._pad - text_size("00:00:00.0 / 00:00:00", self._font)[0]
        for text in (CAPTION, CAPTION.partition(",")[0]):
            wide = text_size(text, self._font)[0]
            if wide <= space:
                write(self._ahead, text, self._font, (width - self._pad - wide, self._pad // 2), _MUTED)
                return

    def _key_rows(self, width: int) -> list[tuple[int, int, str]]:
        """Row and left edge of each entry of the key, broken into as many rows as the width needs."""
        places, row, x = [], 0, self._pad
        for name in (*COLOURS, "no_face"):
            wide = self._font + self._pad // 2 + text_size(_named(name), self._font)[0]
            if x + wide > width - self._pad and x > self._pad:
                row, x = row + 1, self._pad
            places.append((row, x, name))
            x += wide + 2 * self._pad
        return places

    def _draw_key(self, name: str, x: int, y: int) -> None:
        chip = round(0.8 * self._font)
        top = y + round(0.3 * self._font)
        if name in COLOURS:
            fill(self._ahead, (x, top), (chip, chip), bgr(COLOURS[name]))
        else:
            rows, columns = np.mgrid[0:chip, 0:chip]
            part = self._ahead[top : top + chip, x : x + chip]
            part[:] = _hatched(rows, columns, chip)[: part.shape[0], : part.shape[1]]
        write(self._ahead, _named(name), self._font, (x + self._font + self._pad // 4, y), _MUTED)


def _named(name: str) -> str:
    return CONDITIONS[name].lower() if name in CONDITIONS else name


def _band(frames: pa.Table, duration_ms: int, width: int, height: int) -> Picture:
    """The expressions over time, uint8 (height, width, 3)."""
    shares = measures.strip(frames, duration_ms, width)
    faces = np.stack([shares[name].to_numpy() for name in COLOURS], axis=1)
    conditions = np.stack([shares[name].to_numpy() for name in CONDITIONS], axis=1)
    with_face, without = faces.sum(axis=1), conditions.sum(axis=1)
    rows, columns = np.mgrid[0:height, 0:width]
    band = np.full((height, width, 3), _EMPTY, np.uint8)
    no_face = (without > with_face) & (without > 1e-6)
    is_damaged = no_face & (conditions.argmax(axis=1) == list(CONDITIONS).index("decode_error"))
    for where, slope in ((no_face & ~is_damaged, 1), (is_damaged, -1)):
        band[:, where] = _hatched(rows, slope * columns, height)[:, where]
    shown = (with_face >= without) & (with_face > 1e-6)
    tops = np.cumsum(faces, axis=1) / np.maximum(with_face, 1e-9)[:, None]  # from above, in the order of the classes
    level = (rows + 0.5) / height
    index = np.minimum((level[..., None] > tops[None]).sum(axis=2), len(COLOURS) - 1)
    colours = np.array([bgr(colour) for colour in COLOURS.values()], np.uint8)
    return np.where(shown[None, :, None], colours[index], band)


def _hatched(rows: np.ndarray, columns: np.ndarray, height: int) -> Picture:
    step = max(4, height // 4)
    is_line = (rows + columns) % step < max(1, step // 3)
    return np.where(is_line[..., None], np.array(_HATCH, np.uint8), np.array(_EMPTY, np.uint8))


def _dimmed(band: Picture) -> Picture:
    return np.asarray(0.45 * band + 0.55 * np.array(_GROUND), np.uint8)
