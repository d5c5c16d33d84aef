"""Edits of a clip's bytes: what no encoder writes, but files in the world hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

MP4_PARENTS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"edts", b"udta"}

TS_PACKET = 188


def edit_box(path: Path, names: Sequence[bytes], change: Callable[[bytes], bytes]) -> None:
    """Change the payload of a box of an MP4, given by its path such as ``moov, trak, edts, elst``; sizes follow.

    The first box of each name is taken. The boxes must come after the media, as no offsets are mended.
    """
    path.write_bytes(_edited(path.read_bytes(), list(names), change))


def _edited(data: bytes, names: list[bytes], change: Callable[[bytes], bytes]) -> bytes:
    position = 0
    while position < len(data):
        size, name = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        if name == names[0]:
            payload = data[position + 8 : position + size]
            new = change(payload) if len(names) == 1 else _edited(payload, names[1:], change)
            head = (len(new) + 8).to_bytes(4, "big") + name
            return data[:position] + head + new + data[position + size :]
        position += size
    raise ValueError(f"no box {names[0]!r}")


def box(name: bytes, payload: bytes) -> bytes:
    """A box of an MP4."""
    return (len(payload) + 8).to_bytes(4, "big") + name + payload


def edit_list(*edits: tuple[int, int]) -> bytes:
    """Payload of an ``elst`` box: for each edit its length in the movie's ticks and its start in the media's."""
    entries = b"".join(
        length.to_bytes(4, "big") + start.to_bytes(4, "big", signed=True) + b"\0\1\0\0" for length, start in edits
    )
    return bytes(4) + len(edits).to_bytes(4, "big") + entries


def external_data(url: str) -> bytes:
    """Payload of a ``dref`` box that says the media lies elsewhere."""
    return bytes(4) + (1).to_bytes(4, "big") + box(b"url ", bytes(4) + url.encode() + b"\0")


def without_pts(path: Path, lacking: Callable[[int], bool]) -> None:
    """Take the PTS (and DTS) from some frames of a transport stream, by their number in stored order.

    Their bytes stay as stuffing of the packet's header (ISO/IEC 13818-1, 2.4.3.7).
    """
    data = bytearray(path.read_bytes())
    frame = 0
    for match in re.finditer(rb"\x00\x00\x01\xe0", bytes(data)):
        flags = match.start() + 7
        if match.start() % TS_PACKET and data[flags] & 0x80:
            if lacking(frame):
                length = data[flags + 1]
                data[flags] &= 0x3F
                data[flags + 2 : flags + 2 + length] = b"\xff" * length
            frame += 1
    path.write_bytes(bytes(data))


def shift_clusters(path: Path, shift_ms: Callable[[int], int]) -> None:
    """Move the clusters of a Matroska file in time: to each one's own, in ms, add what `shift_ms` says of it."""
    data = bytearray(path.read_bytes())
    for match in re.finditer(rb"\x1f\x43\xb6\x75.{1,8}?\xe7([\x81-\x88])", bytes(data), re.DOTALL):
        width = match[1][0] & 0x0F
        old = int.from_bytes(data[match.end() : match.end() + width], "big")
        data[match.end() : match.end() + width] = (old + shift_ms(old)).to_bytes(width, "big")
    path.write_bytes(bytes(data))


def flip_bits(path: Path, start: int, end: int, every: int) -> None:
    """Turn over one bit in each `every` bytes of a range."""
    data = bytearray(path.read_bytes())
    for position in range(start, min(end, len(data)), every):
        data[position] ^= 1 << position % 8
    path.write_bytes(bytes(data))


def jpeg_sizes(path: Path, size: tuple[int, int], first: int = 0) -> None:
    """Write another size into the headers of a clip's JPEG pictures, from a certain one on."""
    data = bytearray(path.read_bytes())
    for match in list(re.finditer(rb"\xff\xc0\x00\x11\x08", bytes(data)))[first:]:
        data[match.end() : match.end() + 4] = size[1].to_bytes(2, "big") + size[0].to_bytes(2, "big")
    path.write_bytes(bytes(data))


def giant_parameters(size: int) -> bytes:
    """H.264's description of a stream (SPS) of square pictures, in Annex B form; nothing else of it is special."""
    bits = ""

    def fixed(width: int, value: int) -> None:
        nonlocal bits
        bits += format(value, f"0{width}b")

    def golomb(value: int) -> None:
        nonlocal bits
        code = format(value + 1, "b")
        bits += "0" * (len(code) - 1) + code

    for width, value in ((8, 66), (8, 0xC0), (8, 62)):  # baseline, level 6.2
        fixed(width, value)
    for value in (0, 0, 2, 1):  # id, frame numbers of 4 bits, no reordering, one reference
        golomb(value)
    fixed(1, 0)
    golomb(size // 16 - 1)
    golomb(size // 16 - 1)
    for value in (1, 1, 0, 0, 1):  # frames only, direct inference, no cropping, no VUI; the end
        fixed(1, value)
    bits += "0" * (-len(bits) % 8)
    body = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return b"\0\0\0\1\x67" + re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\x00\x00\x03", body)
