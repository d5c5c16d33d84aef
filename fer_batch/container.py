"""Open a media file safely, choose its video stream, and read what its packets say of time."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import av
import av.container
import av.logging
import av.video.stream
from av.error import FFmpegError

from fer_batch.errors import VideoError
from fer_batch.mp4 import begins_as_mp4, has_external_media
from fer_batch.object_path import AnyPath, ObjectPath
from fer_batch.object_system import ObjectStatus
from fer_batch.staging import object_status, open_object
from fer_batch.truncation import is_cut_short
from fer_batch.watchdog import beat

av.logging.set_level(av.logging.FATAL)  # FFmpeg's remarks on damage are turned into ledger rows instead

FORMATS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,mxf,ivf,nut"
"""Demuxers that may open a file: containers that hold their media themselves. Playlists and scripts are not among
them, for they could make FFmpeg open other files or addresses."""

STILL_PICTURES = frozenset({"avif", "heic", "heix", "heim", "heis", "mif1", "mif2", "jpeg", "crx"})
"""Brands of files of MP4's structure that hold single pictures (ISO/IEC 23008-12, and Canon's raw format)."""

MAX_PIXELS = 8192 * 8192
"""Largest picture that is decoded; a decoder's buffers for a larger one could exhaust the memory."""

LIMITS = {"max_pixels": str(MAX_PIXELS)}
"""For FFmpeg's decoders, when they look into a file and when they read it: a stream can ask for larger pictures later
than its header does."""


@dataclass(frozen=True, slots=True)
class PacketTime:
    """What one packet of the video stream says of time.

    Attributes:
        pts: its PTS, or its DTS where it has none.
        duration: of its frame, 0 if unknown.
        is_key: the container says that it is a key frame.
        is_restart: decoding can begin here and be exact at once.
        is_shown: its frame is shown; others are needed for decoding only (an edit list cuts them off).
        is_guess: `pts` is the DTS.
    """

    pts: int
    duration: int
    is_key: bool
    is_restart: bool
    is_shown: bool
    is_guess: bool

    @classmethod
    def of(cls, packet: av.Packet[Any]) -> PacketTime | None:
        """The packet's times; None for one that has none, such as the empty packet at the end of a stream."""
        pts = packet.pts if packet.pts is not None else packet.dts
        if pts is None or not packet.size:
            return None
        is_restart = packet.is_keyframe and _is_restart(packet)
        return cls(pts, packet.duration or 0, packet.is_keyframe, is_restart, not packet.is_discard, packet.pts is None)


def _is_restart(packet: av.Packet[Any]) -> bool:
    """Whether a key frame forgets all frames before it.

    Containers also mark places from which H.264 and HEVC heal over the next frames (intra refresh) as key frames. Only
    the stream itself tells: by an IDR slice (H.264, type 5) or an IRAP picture (HEVC, types 16 to 21).
    """
    context = packet.stream.codec_context
    if context.name not in ("h264", "hevc"):
        return True
    data, extra = bytes(packet), context.extradata or b""
    position = 4 if context.name == "h264" else 21
    is_prefixed = len(extra) > position and extra[0] == 1  # else start codes separate the units (Annex B)
    headers = _prefixed_headers(data, (extra[position] & 3) + 1) if is_prefixed else _start_code_headers(data)
    if context.name == "h264":
        return any(header & 0x1F == 5 for header in headers)
    return any(16 <= header >> 1 & 0x3F <= 21 for header in headers)


def _prefixed_headers(data: bytes, length_size: int) -> Iterator[int]:
    position = 0
    while position + length_size < len(data):
        yield data[position + length_size]
        position += length_size + int.from_bytes(data[position : position + length_size], "big")


def _start_code_headers(data: bytes) -> Iterator[int]:
    position = data.find(b"\0\0\1")
    while 0 <= position < len(data) - 3:
        yield data[position + 3]
        position = data.find(b"\0\0\1", position + 3)


def read_packets(
    container: av.container.InputContainer, stream: av.stream.Stream | Sequence[av.stream.Stream]
) -> Iterator[av.Packet[Any]]:
    """The packets of a stream, or of several, in decode order; each is a sign of life to the watchdog.

    Raises:
        FFmpegError: reading breaks off.
    """
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except IndexError:
            return  # after the last packet PyAV stumbles over streams that only appeared later (its issue 692)
        if packet is None:
            return
        beat()
        yield packet


def open_video(path: AnyPath) -> av.container.InputContainer:
    """Open `path` as one media file: FFmpeg itself opens no address, and no demuxer that could open anything else.

    Raises:
        VideoError: ``unreadable``, ``vanished``, ``empty``, ``unfinished``, ``not_a_video`` or ``external_media``.
    """
    check_readable(path)
    if has_external_media(path):
        raise VideoError(
            "external_media",
            "its pictures or sound lie in other files, which are not opened; save it as a self-contained movie",
        )
    container = _open(path)
    if container.metadata.get("major_brand", "").strip() in STILL_PICTURES:
        container.close()
        raise VideoError("not_a_video", "a picture, not a video; fer-batch predict looks at faces in pictures")
    return container


def _open(path: AnyPath) -> av.container.InputContainer:
    try:
        return av.open(
            open_object(path) if isinstance(path, ObjectPath) else "file:" + os.fspath(path),
            mode="r",
            options=LIMITS,
            container_options={"protocol_whitelist": "file", "format_whitelist": FORMATS},
            metadata_errors="replace",
        )
    except FFmpegError as error:
        if begins_as_mp4(path):
            raise VideoError(
                "unfinished",
                "an MP4 or MOV file without its index, which comes last: it was cut short or its recording never ended",
            ) from error
        if is_cut_short(path, path.stat().st_size):
            raise VideoError(
                "unfinished", "the file ends before its first picture: it was cut short or its recording never ended"
            ) from error
        raise VideoError(
            "not_a_video",
            f"not a video that can be read ({error.strerror}); supported containers: {FORMATS.replace(',', ', ')}",
        ) from error


def check_readable(path: AnyPath) -> os.stat_result | ObjectStatus:
    """The file's status, as it is now.

    Raises:
        VideoError: ``vanished``, ``unreadable`` or ``empty``.
    """
    kind = "object" if isinstance(path, ObjectPath) else "file"
    try:
        status = _opened_object(path) if isinstance(path, ObjectPath) else _opened_file(path)
    except FileNotFoundError as error:
        raise VideoError("vanished", f"the {kind} is no longer there; put it back") from error
    except OSError as error:
        raise VideoError(
            "unreadable",
            f"cannot be read: {error.strerror}; check the {kind} and its permissions",
        ) from error
    if status.st_size == 0:
        raise VideoError("empty", f"the {kind} is empty (0 bytes)")
    return status


def _opened_file(path: Path) -> os.stat_result:
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise VideoError("unreadable", "a folder that cannot be listed; check its permissions")
    if not stat.S_ISREG(status.st_mode):
        raise VideoError("unreadable", "not a regular file")
    with open(path, "rb"):
        return status


def _opened_object(path: ObjectPath) -> ObjectStatus:
    status = object_status(path)
    if status.st_size:
        open_object(path).close()
    return status


def video_stream(
    container: av.container.InputContainer, stills: Collection[int] = (), index: int | None = None
) -> av.video.stream.VideoStream:
    """The stream with the moving picture: the default one of those that move, else the first.

    Cover art does not count; a stream of one picture counts if there is no other.

    Args:
        container: the file.
        stills: see :func:`still_streams`.
        index: of the stream, where it was chosen before; if the file has no such stream now, another is returned.

    Raises:
        VideoError: ``no_video_stream``, ``no_decoder`` or ``too_large``.
    """
    streams = _film_streams(container)
    if not streams:
        raise VideoError("no_video_stream", "the file has no video stream (sound only, or a cover picture)")
    best = max(
        [s for s in streams if s.index == index] or streams,
        key=lambda s: (
            s.frames != 1 and s.index not in stills,
            bool(s.disposition & av.stream.Disposition.default),
            -s.index,
        ),
    )
    if best.codec_context is None:
        raise VideoError("no_decoder", "no decoder for this codec is built in; convert the file, for example to H.264")
    if best.codec_context.width * best.codec_context.height > MAX_PIXELS:
        size = f"{best.codec_context.width}x{best.codec_context.height}"
        raise VideoError("too_large", f"pictures of {size} pixels exceed the limit of {MAX_PIXELS} pixels")
    best.codec_context.thread_count = 1
    best.codec_context.options = dict(LIMITS)
    return best


def still_streams(path: AnyPath, container: av.container.InputContainer) -> set[int]:
    """Of several video streams those that hold a single picture though their header does not say so.

    Matroska and transport streams do not count pictures. Packets are read until each stream has shown a second one:
    to the end, where one never does.

    Args:
        path: the file, which is opened once more where there is something to find out.
        container: the same, open.

    Raises:
        VideoError: as :func:`open_video`.
    """
    streams = _film_streams(container)
    unknown = [s.index for s in streams if not s.frames]
    if len(streams) < 2 or not unknown:
        return set()
    pictures = dict.fromkeys(unknown, 0)
    with open_video(path) as again, suppress(FFmpegError):  # what was seen before damage is all that can be had
        for packet in read_packets(again, [again.streams[index] for index in unknown]):
            pictures[packet.stream.index] += bool(packet.size)
            if min(pictures.values()) > 1:
                break
    return {index for index, count in pictures.items() if count < 2}


def _film_streams(container: av.container.InputContainer) -> list[av.video.stream.VideoStream]:
    return [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]


def closed_groups(packets: Sequence[PacketTime]) -> list[int]:
    """Where closed groups of pictures begin, as positions in decode order, 0 always among them.

    A group is closed at a frame where decoding can restart, with every earlier packet shown before it and every later
    one after it: then nothing on one side is needed to decode the other.
    """
    shown_after = list(accumulate((p.pts for p in reversed(packets)), min))[::-1]
    shown_before = list(accumulate((p.pts for p in packets), max))
    return [0] + [
        i
        for i in range(1, len(packets))
        if packets[i].is_restart and packets[i].is_shown and shown_before[i - 1] < packets[i].pts <= shown_after[i]
    ]
