"""Which face of a video is a participant: by track, by a region of the picture, or the largest one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reports.measures.columns import column

Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, width, height, in shares of the picture as shown."""

FORMS = "track:3, track:3+7 (one person's two tracks), region:x,y,w,h in shares of the picture, or largest"
"""What a selector looks like, for messages."""


@dataclass(frozen=True)
class Person:
    """A selector of one face in each frame.

    Attributes:
        kind: ``track``, ``region`` or ``largest``.
        tracks: one person's tracks, in order; empty for the other kinds.
        region: the face whose middle lies in this box, the largest of them; None for the other kinds.
    """

    kind: Literal["track", "region", "largest"]
    tracks: tuple[int, ...] = ()
    region: Box | None = None

    @classmethod
    def parse(cls, text: str) -> Person:
        """Read a selector; an empty one is the largest face.

        Raises:
            ValueError: it is none; the message says what is wrong.
        """
        kind, _, value = text.strip().lower().partition(":")
        if kind in {"", "largest"} and not value.strip():
            return cls("largest")
        if kind == "track":
            if not re.fullmatch(r"\s*\d{1,9}(\s*\+\s*\d{1,9})*\s*", value):
                raise ValueError(f"{text!r} names no track")
            tracks = [int(number) for number in value.split("+")]
            if min(tracks) < 1 or len(set(tracks)) < len(tracks):
                raise ValueError(f"{text!r}: tracks are numbered from 1, and each is named once")
            return cls("track", tracks=tuple(sorted(tracks)))
        if kind == "region":
            return cls("region", region=_region(text, value))
        raise ValueError(f"{text!r} is no person selector")

    def __str__(self) -> str:
        if self.region is not None:
            return "region:" + ",".join(f"{value:g}" for value in self.region)
        return "track:" + "+".join(map(str, self.tracks)) if self.tracks else self.kind

    def choose(self, faces: pa.Table, width: int | None, height: int | None) -> NDArray[np.int64]:
        """Row numbers of this person's faces, at most one a frame, in order of time.

        Args:
            faces: one video's rows of the table `faces`, sorted by time.
            width, height: of the picture, in display pixels.

        Raises:
            ValueError: two tracks of the person are in one frame.
        """
        rows = np.arange(faces.num_rows)
        if self.kind == "track":
            rows = rows[np.isin(faces["track_id"].to_numpy(), self.tracks)]
        elif self.region is not None:
            x, y, w, h = self.region
            middle_x = (column(faces, "x") + column(faces, "w") / 2) / (width or 1)
            middle_y = (column(faces, "y") + column(faces, "h") / 2) / (height or 1)
            rows = rows[(middle_x >= x) & (middle_x <= x + w) & (middle_y >= y) & (middle_y <= y + h)]
        time = faces["timestamp_ms"].to_numpy()[rows]
        area = (column(faces, "w") * column(faces, "h"))[rows]
        order = np.lexsort((-area, time))
        first = np.r_[True, np.diff(time[order]) != 0][: len(order)]
        if self.kind == "track" and not first.all():
            at = int(time[order][~first][0])
            raise ValueError(f"{self}: two of these tracks are in the picture at {at} ms, so they are two people")
        return np.asarray(rows[order][first], np.int64)


def _region(text: str, value: str) -> Box:
    # Where a comma is the decimal mark, another sign stands between the numbers.
    parts = re.split(r"[;\s]+", value.strip()) if re.search(r"[;\s]", value.strip()) else value.split(",")
    if len(parts) > 4:  # "0.1, 0.2, 0.3, 0.4"
        parts = [part for part in parts if part]
    try:
        numbers = [float(part.strip().rstrip(",").replace(",", ".")) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) != 4:
        raise ValueError(f"{text!r}: a region has four numbers, left, top, width and height, in shares of the picture")
    x, y, w, h = numbers
    if not (0 <= x < 1 and 0 <= y < 1 and w > 0 and h > 0 and x + w <= 1.001 and y + h <= 1.001):
        raise ValueError(f"{text!r} does not lie in the picture: left, top, width and height are shares from 0 to 1")
    return x, y, w, h
