"""The boxes of MP4 and MOV files (ISO/IEC 14496-12, and QuickTime's own): what FFmpeg does not tell of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from fer_batch.object_path import AnyPath
from fer_batch.staging import reading

TOP_LEVEL = frozenset(
    b"ftyp styp moov moof mdat mfra free skip wide sidx ssix uuid meta udta pnot emsg prft pdin imda".split()
)
"""Boxes that stand at the top level."""

_BEGINNINGS = frozenset(b"ftyp moov mdat wide free skip".split())

_WAY_TO_MEDIA = (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref")


def begins_as_mp4(path: AnyPath) -> bool:
    """Whether the first box is one that MP4 and MOV files begin with.

    Raises:
        OSError: the file cannot be read.
    """
    with reading(path) as file:
        return file.read(8)[4:] in _BEGINNINGS


def said_end(file: BinaryIO, size: int) -> int:
    """Where the last top-level box of a file of `size` bytes says that it ends: beyond `size`, if it was cut short."""
    position = 0
    for name, _start, end in _boxes(file, 0, size):
        if name not in TOP_LEVEL:
            break  # some cameras leave remarks behind the last box
        position = end
    return position


def has_external_media(path: AnyPath) -> bool:
    """Whether a track's pictures or sound lie in other files, of which this one only holds the addresses.

    Raises:
        OSError: the file cannot be read.
    """
    with reading(path) as file:
        size = file.seek(0, 2)
        return begins_as_mp4(path) and any(is_external for is_external in _references(file, 0, size, _WAY_TO_MEDIA))


def _references(file: BinaryIO, start: int, end: int, way: tuple[bytes, ...]) -> Iterator[bool]:
    """For each data reference, whether it leads out of the file: the lowest bit of its flags says that it does not."""
    for name, inside, box_end in _boxes(file, start, end):
        if name == way[0] and len(way) > 1:
            yield from _references(file, inside, min(box_end, end), way[1:])
        elif name == way[0]:
            for _kind, entry, _entry_end in _boxes(file, inside + 8, min(box_end, end)):
                file.seek(entry)
                yield len(flags := file.read(4)) == 4 and not flags[3] & 1


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Each box between two places: its name, where its content begins, and where it says that it ends.

    Ends at a box that goes on to the end of what holds it, or whose size makes no sense.
    """
    while start < end:
        file.seek(start)
        header = file.read(16)
        length = int.from_bytes(header[:4], "big")
        inside = 16 if length == 1 else 8
        length = int.from_bytes(header[8:16], "big") if length == 1 else length
        if len(header) < inside or length < inside:
            return
        yield header[4:8], start + inside, start + length
        start += length
