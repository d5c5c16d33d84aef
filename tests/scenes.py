"""Pictures with a known content: people at known places, and the frame's own number in a strip at the bottom."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from jobs.samples import Image, PortraitName, portrait

NUMBER_BITS = 16
"""A frame number lies in 0 .. 65535."""

Path3 = Callable[[float], tuple[float, float, float] | None]
"""Seconds to (centre x, centre y, height) of a face in display pixels; None while the person is out of the picture."""


@dataclass(frozen=True)
class Box:
    """A face's true box in display pixels: upright, with square pixels."""

    who: PortraitName
    x: float
    y: float
    w: float
    h: float

    @property
    def centre(self) -> tuple[float, float]:
        """The middle of the box."""
        return self.x + self.w / 2, self.y + self.h / 2


@dataclass(frozen=True)
class Person:
    """Somebody in a scene and where the face is at any time."""

    who: PortraitName
    path: Path3


def still(
    x: float, y: float, height: float, *, during: tuple[float, float] = (0, math.inf), sway: float = 2.0
) -> Path3:
    """A face that stays where it is but for a little swaying, between two times in seconds."""

    def path(t: float) -> tuple[float, float, float] | None:
        if not during[0] <= t < during[1]:
            return None
        return x + sway * math.sin(2 * t), y + sway * math.cos(1.7 * t), height

    return path


def line(start: tuple[float, float], end: tuple[float, float], height: float, *, during: tuple[float, float]) -> Path3:
    """A face that goes from one point to another at an even pace, and is not there before and after."""

    def path(t: float) -> tuple[float, float, float] | None:
        share = (t - during[0]) / (during[1] - during[0])
        if not 0 <= share < 1:
            return None
        return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1]), height

    return path


def draw(size: tuple[int, int], people: Sequence[Person], t: float, number: int) -> tuple[Image, tuple[Box, ...]]:
    """Draws the picture of a scene at a time.

    Args:
        size: width and height.
        people: the later ones stand in front.
        t: seconds from the first frame.
        number: the frame number to write into the strip.

    Returns:
        The picture, RGB, and the true boxes of the faces whose centre lies within it, in the order of ``people``.
    """
    image = _background(size).copy()
    boxes = []
    for person in people:
        place = person.path(t)
        if place is None:
            continue
        x, y, height = place
        width = _paste(image, person.who, place)
        if 0 <= x < size[0] and 0 <= y < size[1]:
            boxes.append(Box(person.who, x - width / 2, y - height / 2, width, height))
    write_frame_number(image, number)
    return image, tuple(boxes)


def write_frame_number(image: Image, number: int) -> None:
    """Writes a number into the bottom tenth of a picture: a row of black and white blocks and, below, its negative."""
    if not 0 <= number < 1 << NUMBER_BITS:
        raise ValueError(f"frame number {number} does not fit into {NUMBER_BITS} bits")
    bits = np.array([number >> bit & 1 for bit in reversed(range(NUMBER_BITS))], dtype=np.uint8) * 255
    height, width = image.shape[:2]
    strip = height - height // 10
    middle = (strip + height) // 2
    columns = np.arange(width) * NUMBER_BITS // width
    image[strip:middle] = bits[columns][None, :, None]
    image[middle:] = 255 - bits[columns][None, :, None]


def read_frame_number(image: npt.NDArray[np.generic]) -> int | None:
    """Reads the number that :func:`write_frame_number` wrote, also after scaling; None where it is not legible.

    Args:
        image: upright picture, (height, width) or (height, width, 3), any order of colours.
    """
    grey = image.astype(np.float32) if image.ndim == 2 else image.mean(axis=2, dtype=np.float32)
    height, width = grey.shape
    strip = height * 9 / 10
    rows = [grey[_middle(strip, height, share, 2)] for share in (0, 1)]
    number = 0
    for bit in range(NUMBER_BITS):
        columns = _middle(0, width, bit, NUMBER_BITS)
        difference = float(rows[0][:, columns].mean() - rows[1][:, columns].mean())
        if abs(difference) < 80:
            return None
        number = number << 1 | (difference > 0)
    return number


def _middle(start: float, end: float, part: int, parts: int) -> slice:
    """The inner half of one of the equal parts of a range, at least a pixel."""
    width = (end - start) / parts
    first = round(start + (part + 0.25) * width)
    return slice(first, max(first + 1, round(start + (part + 0.75) * width)))


@cache
def _background(size: tuple[int, int]) -> Image:
    """A soft, uneven wall in which no detector sees a face."""
    coarse = np.random.default_rng(7).uniform(70, 150, (6, 8, 3)).astype(np.float32)
    fine = np.random.default_rng(8).normal(0, 4, (size[1], size[0], 1))
    wall = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    return np.clip(wall + fine, 0, 255).astype(np.uint8)


def _paste(image: Image, who: PortraitName, place: tuple[float, float, float]) -> float:
    """Blends a portrait's head into a picture and gives the width of its face's box."""
    x, y, height = place
    picture = portrait(who)
    scale = height / picture.face[3]
    face_x = picture.face[0] + picture.face[2] / 2
    face_y = picture.face[1] + picture.face[3] / 2
    to_frame = np.array([[scale, 0, x - scale * face_x], [0, scale, y - scale * face_y]])
    # Only the part of the frame that the head can reach is drawn: most of the time goes here.
    reach = 1.05 * height
    left, right = (int(np.clip(v, 0, image.shape[1])) for v in (x - reach, x + reach))
    top, bottom = (int(np.clip(v, 0, image.shape[0])) for v in (y - reach, y + reach))
    if left < right and top < bottom:
        to_frame -= [[0, 0, left], [0, 0, top]]
        size = (right - left, bottom - top)
        head = cv2.warpAffine(picture.image, to_frame, size, flags=cv2.INTER_AREA)
        mask = cv2.warpAffine(_head_mask(who), to_frame, size)[..., None]
        region = image[top:bottom, left:right]
        image[top:bottom, left:right] = (region * (1 - mask) + head * mask).astype(np.uint8)
    return picture.face[2] * scale


@cache
def _head_mask(who: PortraitName) -> npt.NDArray[np.float32]:
    """One within an ellipse about the head, zero outside, soft at its border."""
    picture = portrait(who)
    x, y, w, h = picture.face
    mask = np.zeros(picture.image.shape[:2], dtype=np.float32)
    cv2.ellipse(mask, ((x + w / 2, y + h / 2), (1.8 * w, 1.8 * h), 0), 1.0, -1)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), h / 20), dtype=np.float32)
