"""Files that are broken, or are not what they are named: what still decodes in them is known."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.encoding import Clip


@dataclass(frozen=True)
class Damaged:
    """A broken copy of a clip."""

    path: Path
    source: Clip
    intact: tuple[int, ...]
    """Numbers of the frames, in display order, that nothing prevents from being decoded exactly."""
    broken_at: Fraction
    """Time of the first frame in display order that is not among the intact ones."""


@dataclass(frozen=True)
class _Packet:
    """Where in the file a frame is stored."""

    number: int
    start: int
    end: int
    is_key: bool


def cut_short(clip: Clip, path: Path, share: float = 0.6) -> Damaged:
    """The first part of a clip's bytes, as a broken download leaves them.

    An MP4 needs its index at the beginning (``faststart``), else nothing of it can be read.
    """
    whole = clip.path.read_bytes()
    end = int(len(whole) * share)
    path.write_bytes(whole[:end])
    return _damaged(clip, path, {packet.number for packet in _packets(clip) if packet.end > end})


def overwrite_frames(clip: Clip, path: Path, frames: tuple[int, ...], *, seed: int = 1) -> Damaged:
    """Replaces the stored data of some frames by noise, beyond its first bytes, so that sizes stay right.

    A frame so damaged cannot be told from a good one before it is decoded. What refers to it suffers, too, up to the
    next key frame: the clip's groups of pictures must be closed.
    """
    stored = bytearray(clip.path.read_bytes())
    random = np.random.default_rng(seed)
    lost: set[int] = set()
    spoilt = False
    for packet in _packets(clip):
        spoilt = spoilt and not packet.is_key
        if packet.number in frames:
            first = packet.start + min(64, (packet.end - packet.start) // 2)
            stored[first : packet.end] = random.bytes(packet.end - first)
            spoilt = True
        if spoilt:
            lost.add(packet.number)
    path.write_bytes(bytes(stored))
    return _damaged(clip, path, lost)


def without_index(clip: Clip, path: Path) -> Path:
    """An MP4 whose recording was never finished: its index, at the end, is missing."""
    stored = clip.path.read_bytes()
    index = stored.rindex(b"moov") - 4
    assert index > stored.index(b"mdat"), "the clip's index lies at the beginning"
    path.write_bytes(stored[:index])
    return path


def empty(path: Path) -> Path:
    """A file of zero bytes."""
    path.write_bytes(b"")
    return path


def text(path: Path) -> Path:
    """A text file, whatever its name says."""
    path.write_text("This is a letter and no film.\n" * 50, encoding="utf-8")
    return path


def noise(path: Path) -> Path:
    """Random bytes, whatever their name says."""
    path.write_bytes(np.random.default_rng(3).bytes(20_000))
    return path


def picture(path: Path) -> Path:
    """A JPEG picture, whatever its name says."""
    image = np.random.default_rng(4).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    with av.open(path, "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("mjpeg")
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def concat_script(path: Path, target: Path) -> Path:
    """A script of FFmpeg's that would open another file."""
    path.write_text(f"ffconcat version 1.0\nfile '{target}'\n", encoding="utf-8")
    return path


def playlist(path: Path, target: Path) -> Path:
    """An HLS playlist that would open another file."""
    head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n"
    path.write_text(f"{head}{target.as_uri()}\n#EXT-X-ENDLIST\n", encoding="utf-8")
    return path


def _damaged(clip: Clip, path: Path, lost: set[int]) -> Damaged:
    assert lost, "nothing of the clip was damaged"
    intact = tuple(number for number in range(len(clip.times)) if number not in lost)
    return Damaged(path, clip, intact, clip.times[min(lost)])


def _packets(clip: Clip) -> list[_Packet]:
    """The clip's frames in the order in which they are stored."""
    with av.open(clip.path) as container:
        stored = [
            (packet.pts, packet.pos, packet.pos + packet.size, packet.is_keyframe)
            for packet in container.demux(container.streams.video[0])
            if packet.pts is not None and packet.pos is not None
        ]
    order = sorted(pts for pts, *_ in stored)
    return [_Packet(order.index(pts), start, end, is_key) for pts, start, end, is_key in stored]
