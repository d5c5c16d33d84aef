"""Writing in pictures: text in the font that Pillow carries, and what else is blended into a picture."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture: TypeAlias = NDArray[np.uint8]
"""uint8 (height, width, 3), BGR."""

Colour: TypeAlias = tuple[int, int, int]
"""Blue, green, red, 0..255."""


def bgr(hexadecimal: str) -> Colour:
    """``"#EE6677"`` as a colour."""
    red, green, blue = bytes.fromhex(hexadecimal.removeprefix("#"))
    return blue, green, red


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)  # Aileron, which Pillow carries: the same on every machine


def text_size(text: str, size: int) -> tuple[int, int]:
    """Width and height of some text; all text of a font size has the same height."""
    height, width = written(text, size).shape
    return width, height


@lru_cache(maxsize=64)  # a few labels stay the same from frame to frame; at 2160 lines each takes 200 kB
def written(text: str, size: int) -> NDArray[np.float32]:
    """Text as float32 (height, width): how much of each pixel it covers, 0..1."""
    font = _font(size)
    width = max(1, round(font.getlength(text) + 0.5))
    page = Image.new("L", (width, round(1.25 * size)), 0)
    ImageDraw.Draw(page).text((0, size), text, fill=255, font=font, anchor="ls")
    return np.asarray(page, np.float32) / np.float32(255)


def write(picture: Picture, text: str, size: int, corner: tuple[int, int], colour: Colour, opacity: float = 1) -> None:
    """Write text into a picture, its upper left corner there; what lies outside the picture is cut off."""
    blend(picture, written(text, size) * np.float32(opacity), corner, colour)


def fill(picture: Picture, corner: tuple[int, int], size: tuple[int, int], colour: Colour, opacity: float = 1) -> None:
    """Fill a rectangle, given by its upper left corner and its width and height, as far as it lies in the picture."""
    blend(picture, np.full((max(0, size[1]), max(0, size[0])), opacity, np.float32), corner, colour)


def blend(picture: Picture, cover: NDArray[np.float32], corner: tuple[int, int], colour: Colour) -> None:
    """Lay a colour over a picture, as thick as `cover`, float32 (height, width) of 0..1, says."""
    x, y = corner
    left, top = max(0, x), max(0, y)
    right, bottom = min(picture.shape[1], x + cover.shape[1]), min(picture.shape[0], y + cover.shape[0])
    if left >= right or top >= bottom:
        return
    region = picture[top:bottom, left:right]
    share = cover[top - y : bottom - y, left - x : right - x, None]
    region[:] = (region + share * (np.array(colour, np.float32) - region) + 0.5).astype(np.uint8)
