"""Draws faces' boxes and labels into a picture."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import cv2

from fer_batch.palette import COLOURS
from reports.video.labels import Label
from reports.video.text import Colour, Picture, bgr, fill, text_size, write

PANEL: Final[Colour] = bgr("#14171C")
WHITE: Final[Colour] = bgr("#FFFFFF")

_Rectangle = tuple[int, int, int, int]
"""Left, top, right, bottom."""


def font_size(width: int, height: int) -> int:
    """Size of text that is read as well at 360 lines as at 2160: it grows with the picture's short side."""
    return max(11, round(0.02 * min(width, height) + 6))


@dataclass(frozen=True)
class _Placed:
    """A label where it is drawn: its text and the panel behind it."""

    text: str
    panel: _Rectangle


class Overlay:
    """Draws labels into pictures of one size.

    A box has its emotion's colour and a dark rim, so that it is seen on any ground; the label names the emotion. A
    label stands above its box, or below or inside where there is no room, always within the picture. Where it would
    cover another label or somebody else's face it becomes shorter: ``person 3  happy 87 %``, then ``3  happy``, then
    ``3``.

    Args:
        width, height: of the pictures.
        white: brightness of white, 0..1, see :func:`reports.video.write.white_level`.
    """

    def __init__(self, width: int, height: int, white: float = 1) -> None:
        self._size = width, height
        self._font = font_size(width, height)
        self._line = max(2, round(min(width, height) / 300))
        self._pad = max(2, self._font // 4)
        self._white = white

    def draw(self, picture: Picture, labels: Sequence[Label]) -> None:
        """Draw them, in place; later tracks first, so that a person's label stays on top of those who came later."""
        boxes = [self._corners(label) for label in labels]
        taken: list[_Rectangle] = []
        placed = []
        for i, label in enumerate(labels):
            others = boxes[:i] + boxes[i + 1 :]
            placed.append(self._place(label, boxes[i], taken, others))
            taken.append(placed[-1].panel)
        for label, box in zip(reversed(labels), reversed(boxes), strict=True):
            self._draw_box(picture, box, self._colour(COLOURS[label.emotion]), label.opacity)
        for label, where in zip(reversed(labels), reversed(placed), strict=True):
            self._draw_label(picture, where, label)

    def _colour(self, hexadecimal: str) -> Colour:
        blue, green, red = (round(part * self._white) for part in bgr(hexadecimal))
        return blue, green, red

    @staticmethod
    def _corners(label: Label) -> _Rectangle:
        x, y, w, h = label.box
        return round(x), round(y), round(x + w), round(y + h)

    def _place(
        self, label: Label, box: _Rectangle, taken: Sequence[_Rectangle], others: Sequence[_Rectangle]
    ) -> _Placed:
        """The longest text, at the best place, that covers no other label or face; else where it covers the least."""
        text, panels = "", [box]
        for text in _texts(label):
            wide, high = text_size(text, self._font)
            panels = list(self._panels(box, (wide + high + 3 * self._pad, high + self._pad)))
            if panels[0][2] <= self._size[0]:
                free = [panel for panel in panels if not _covered(panel, taken) and not _covered(panel, others)]
                if free:
                    return _Placed(text, free[0])
        return _Placed(text, min(panels, key=lambda panel: (_covered(panel, taken), _covered(panel, others))))

    def _panels(self, box: _Rectangle, size: tuple[int, int]) -> Iterator[_Rectangle]:
        """Places for a label of some size, the best first: above, below, inside at the top, inside at the bottom."""
        (width, height), (wide, high) = self._size, size
        left, top, right, bottom = box
        rim = self._line
        rows = top - rim - high, bottom + rim, top, bottom - high
        for x, y in itertools.product((left - rim, right + rim - wide), rows):
            kept_x, kept_y = max(0, min(x, width - wide)), max(0, min(y, height - high))
            yield kept_x, kept_y, kept_x + wide, kept_y + high

    def _draw_box(self, picture: Picture, box: _Rectangle, colour: Colour, opacity: float) -> None:
        left, top, right, bottom = box
        reach = 2 * self._line
        height, width = picture.shape[:2]
        x0, y0 = max(0, left - reach), max(0, top - reach)
        x1, y1 = min(width, right + reach + 1), min(height, bottom + reach + 1)
        if x0 >= x1 or y0 >= y1:
            return
        region = picture[y0:y1, x0:x1]
        drawn = region.copy()
        corners = (left - x0, top - y0), (right - x0, bottom - y0)
        cv2.rectangle(drawn, *corners, PANEL, self._line + 2 * max(1, self._line // 2), cv2.LINE_AA)
        cv2.rectangle(drawn, *corners, colour, self._line, cv2.LINE_AA)
        region[:] = drawn if opacity >= 1 else cv2.addWeighted(drawn, opacity, region, 1 - opacity, 0)

    def _draw_label(self, picture: Picture, placed: _Placed, label: Label) -> None:
        left, top, right, bottom = placed.panel
        fill(picture, (left, top), (right - left, bottom - top), PANEL, 0.82 * label.opacity)
        chip = bottom - top - 2 * self._pad
        corner = left + self._pad, top + self._pad
        fill(picture, corner, (chip, chip), self._colour(COLOURS[label.emotion]), label.opacity)
        where = left + 2 * self._pad + chip, top + self._pad // 2
        write(picture, placed.text, self._font, where, self._colour("#FFFFFF"), label.opacity)


def _texts(label: Label) -> tuple[str, str, str]:
    probability = f"{100 * label.confidence:.0f} %"
    number = str(label.track_id)
    return f"person {number}  {label.emotion} {probability}", f"{number}  {label.emotion}", number


def _covered(panel: _Rectangle, others: Sequence[_Rectangle]) -> int:
    """How much of others a panel covers."""
    return sum(_overlap(panel, other) for other in others)


def _overlap(one: _Rectangle, other: _Rectangle) -> int:
    """Common area of two rectangles."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(0, wide) * max(0, high)
