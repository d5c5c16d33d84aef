"""From a video to a new one: frame by frame, decoded, drawn on or obscured, and encoded again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pyarrow as pa

from fer_batch.errors import StoppedError
from fer_batch.probe import VideoInfo
from fer_batch.store import atomic_write
from reports.video.faces import Progress, every_frame
from reports.video.labels import Label, Labels
from reports.video.masks import Masks, hide, with_margin
from reports.video.overlay import Overlay
from reports.video.sound import Sound
from reports.video.strip import Strip
from reports.video.text import Picture
from reports.video.write import VideoWriter, white_level

SMALLEST: Final = 16
"""Pictures narrower or lower than this are padded: encoders refuse them."""


@dataclass(frozen=True)
class Made:
    """What was written.

    Attributes:
        frames: pictures written.
        lost: frames that are damaged and were left out; the picture before them stays on for their time.
        broken_at_ms: where damage begins, None if there is none.
        sound: for each sound track `copied`, `encoded` or `left out`; empty without sound.
        is_sound_damaged: parts of the sound could not be read or decoded.
    """

    frames: int
    lost: int
    broken_at_ms: int | None
    sound: tuple[str, ...]
    is_sound_damaged: bool


@dataclass(frozen=True)
class Tables:
    """One video's rows of a run: :data:`fer_batch.schema.FACES` and :data:`fer_batch.schema.FRAMES`."""

    faces: pa.Table
    frames: pa.Table


def make_video(
    video: VideoInfo,
    out: Path,
    *,
    tables: Tables | None = None,
    masks: Masks | None = None,
    with_sound: bool = True,
    on_progress: Progress | None = None,
) -> Made:
    """Write a video anew, with labels, with faces obscured, or both.

    A frame is in memory only while it is drawn and encoded (the encoder looks some dozens of frames ahead); the
    tables, the masks and the packets' times are small and stay.

    Args:
        video: the source.
        out: the new MP4; it is there only when it is complete.
        tables: what to draw: boxes and labels, and the strip below the pictures.
        masks: what to hide; with tables also every face that they name.
        with_sound: take the sound over.
        on_progress: called after each frame.

    Raises:
        StoppedError: it cannot be written, or the file changed meanwhile.
        VideoError: the file vanished or changed since it was probed.
    """
    canvas = _Canvas(video, tables)
    reader = every_frame(video)
    frames = lost = 0
    with ExitStack() as stack:
        # FFmpeg opens the file by its name, for it reads it again to put the index in front.
        file = stack.enter_context(atomic_write(out))
        sound = stack.enter_context(Sound(Path(str(video.path)))) if with_sound else None
        writer = stack.enter_context(VideoWriter(Path(file.name), video, canvas.size, sound))
        for sample in reader:
            if sample.image is None:
                lost += 1
            else:
                hidden = None if masks is None else _masks_of(masks, frames, sample.frame_index)
                writer.write(canvas.compose(sample.image, sample.timestamp_ms, hidden), sample.pts)
                frames += 1
            if on_progress is not None:
                on_progress(sample.frame_index + 1, video.n_frames)
        if not frames:
            raise StoppedError(f"{video.path}: not one of its {lost} frames can be decoded; there is nothing to write")
        if masks is not None and frames != len(masks.found.frame_index):
            raise StoppedError(f"{video.path} changed while it was read; run the same command again")
    breaks = [at for at in (video.broken_at_ms, reader.broken_at_ms) if at is not None]
    how, is_damaged = ((), False) if sound is None else (tuple(sound.how), sound.is_damaged)
    return Made(frames, lost, min(breaks, default=None), how, is_damaged)


def _masks_of(masks: Masks, position: int, frame_index: int) -> np.ndarray:
    """The masks of a frame; never those of another, should the file have changed since faces were looked for."""
    known = masks.found.frame_index
    if position >= len(known) or known[position] != frame_index:
        raise StoppedError("the video changed while it was read; run the same command again")
    return masks.of(position)


class _Canvas:
    """Puts a frame together: the picture, its masks or labels, the strip below."""

    def __init__(self, video: VideoInfo, tables: Tables | None) -> None:
        # H.264 with 4:2:0 needs even sizes: a missing row or column repeats the last.
        width, height = (max(SMALLEST, side + side % 2) for side in (video.width, video.height))
        self._padding = (0, height - video.height, 0, width - video.width)
        self._labels = self._overlay = self._strip = None
        if tables is not None:
            white = white_level(video)
            self._labels = Labels(tables.faces, tables.frames)
            self._overlay = Overlay(video.width, video.height, white)
            self._strip = Strip(tables.frames, video.duration_ms, width, height, white)
        self.size = width, height + (self._strip.height if self._strip else 0)

    def compose(self, image: Picture, timestamp_ms: int, hidden: np.ndarray | None) -> Picture:
        """The whole frame, uint8 (height, width, 3); `image` is drawn on."""
        labels = self._labels.at(timestamp_ms) if self._labels else []
        if hidden is not None:
            hide(image, np.concatenate([hidden, _label_masks(labels)]))
        if self._overlay:
            self._overlay.draw(image, labels)
        picture = image if not any(self._padding) else cv2.copyMakeBorder(image, *self._padding, cv2.BORDER_REPLICATE)
        if self._strip:
            picture = np.concatenate([picture, self._strip.draw(timestamp_ms)])
        return np.ascontiguousarray(picture, np.uint8)


def _label_masks(labels: Sequence[Label]) -> np.ndarray:
    """What is labelled as a face is hidden, whether or not it was found again."""
    return with_margin(np.array([label.box for label in labels], np.float64).reshape(-1, 4))
