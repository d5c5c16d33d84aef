"""Whether a file ends before its own structure says it does, as a broken download or a lost recording leaves it.

FFmpeg reads such a file up to its end without a word. Containers write down how long their parts are, so a look at the
outermost ones tells, whatever the media within.
"""

from __future__ import annotations

from typing import BinaryIO

from fer_batch import mp4
from fer_batch.object_path import AnyPath
from fer_batch.staging import reading

_TS_SYNC = 0x47

_TS_PACKET = ((188, 0), (192, 4), (204, 0))
"""Sizes of a transport stream's packets, plain, with a time code (Blu-ray, AVCHD) or with error correction, and where
in a packet its sync byte is (ISO/IEC 13818-1)."""


def is_cut_short(path: AnyPath, size: int) -> bool:
    """Whether a video file of `size` bytes is shorter than its own structure says.

    Known of MP4 and MOV, Matroska and WebM, AVI, FLV and MPEG transport streams. False for other containers, and where
    the part that is missing left no trace, as in a transport stream that ends between two packets.

    Raises:
        OSError: the file cannot be read.
    """
    with reading(path) as file:
        head = file.read(408)
        if head[4:8] in mp4.TOP_LEVEL:
            return mp4.said_end(file, size) > size
        if head.startswith(b"\x1aE\xdf\xa3"):
            return _matroska_end(head) > size
        if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
            return _avi_end(file, size) > size + 1  # the last chunk need not be padded to an even size
        if head.startswith(b"FLV"):
            return not _flv_is_whole(file, size)
        for packet, sync in _TS_PACKET:
            if all(head[at : at + 1] == bytes([_TS_SYNC]) for at in (sync, packet + sync)):
                return size % packet != 0
    return False


def _matroska_end(head: bytes) -> int:
    """End of the segment that holds everything (RFC 8794); 0 if it was left open, as in a live recording."""
    segment = _element_end(head, 4)
    if head[segment : segment + 4] != b"\x18\x53\x80\x67":
        return 0
    return _element_end(head, segment + 4)


def _element_end(data: bytes, position: int) -> int:
    """End of the element whose data size, in Matroska's variable length, is at a position; 0 if it is not known."""
    width = 9 - data[position].bit_length() if position < len(data) else 9
    stored = data[position : position + width]
    if width > 8 or len(stored) < width:
        return 0
    every_bit = (1 << 7 * width) - 1
    length = int.from_bytes(stored, "big") & every_bit
    return 0 if length == every_bit else position + width + length


def _avi_end(file: BinaryIO, size: int) -> int:
    """Where the last RIFF chunk ends; files beyond a gigabyte have several."""
    position = 0
    while position < size:
        file.seek(position)
        header = file.read(8)
        if header[:4] != b"RIFF":
            return position
        position += 8 + int.from_bytes(header[4:], "little")
    return position


def _flv_is_whole(file: BinaryIO, size: int) -> bool:
    """Whether the last four bytes repeat the size of the tag before them, as after each tag."""
    file.seek(max(0, size - 4))
    length = int.from_bytes(file.read(4), "big")
    start = size - 4 - length
    if length < 11 or start < 13:
        return length == 0 and size == 13  # a header and nothing else
    file.seek(start)
    tag = file.read(4)
    return tag[0] & 0x1F in (8, 9, 18) and int.from_bytes(tag[1:], "big") == length - 11
