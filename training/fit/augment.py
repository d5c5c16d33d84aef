"""Varied pictures in fixed-size batches, made in a background thread so that training never waits for them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from training.fit.recipe import Augmentation

Images = npt.NDArray[np.uint8]

QUEUED_BATCHES = 6
"""Batches made ahead: enough to bridge a pause, little enough to forget about."""


DETAIL_PER_SIDE = 48
"""Fine detail is what a Gaussian blur of the picture's side divided by this takes away: of one FER2013 pixel."""


def augment(
    images: Images,
    size: int,
    how: Augmentation,
    rng: np.random.Generator,
    alignments: npt.NDArray[np.float64] | None = None,
) -> Images:
    """Varied copies of square grey pictures.

    One affine map a picture does alignment, flip, rotation, scale, shift and the change of size together, so pixels
    are interpolated once.

    Args:
        images: (N, S, S) uint8.
        size: side of the result in pixels.
        how: ranges of the variation.
        rng: the only source of chance.
        alignments: (N, 2, 3), the map that lays each face at a template symmetric in x, see
            :func:`training.data.landmarks.alignments`; NaN where there is none. It is applied to the share
            ``how.aligned`` of the pictures that have one.

    Returns:
        (N, size, size, 1) uint8.
    """
    count, side = len(images), images.shape[1]
    angle = np.deg2rad(rng.uniform(-how.rotation, how.rotation, count))
    zoom = np.exp(rng.uniform(-how.scale, how.scale, count)) * size / side
    flip = np.where(rng.random(count) < how.flip, -1.0, 1.0)
    offset = rng.uniform(-how.shift, how.shift, (count, 2)) * size
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    maps = np.empty((count, 2, 3))
    maps[:, 0, 0], maps[:, 0, 1] = cos * flip, -sin
    maps[:, 1, 0], maps[:, 1, 1] = sin * flip, cos
    # The centre of the picture goes to the centre of the result, plus the shift.
    centre = np.array([(side - 1) / 2] * 2)
    maps[:, :, 2] = (size - 1) / 2 + offset - maps[:, :, :2] @ centre
    # Outside of an aligned crop a frame goes on with background, which a mirror image of eyes and mouth is not.
    borders = np.full(count, cv2.BORDER_REFLECT_101)
    if alignments is not None:
        chosen = np.flatnonzero((rng.random(count) < how.aligned) & np.isfinite(alignments).all(axis=(1, 2)))
        first, then = alignments[chosen], maps[chosen]
        maps[chosen] = then[:, :, :2] @ first
        maps[chosen, :, 2] += then[:, :, 2]
        borders[chosen] = cv2.BORDER_REPLICATE
    clarity = np.exp(rng.uniform(-how.detail, how.detail, count)) - 1
    out = np.empty((count, size, size), np.float32)
    for index in range(count):
        picture = images[index].astype(np.float32)
        if clarity[index]:
            picture += clarity[index] * (picture - cv2.GaussianBlur(picture, (0, 0), side / DETAIL_PER_SIDE))
        out[index] = cv2.warpAffine(
            picture, maps[index], (size, size), flags=cv2.INTER_LINEAR, borderMode=int(borders[index])
        )
    gain = rng.uniform(1 - how.contrast, 1 + how.contrast, (count, 1, 1)).astype(np.float32)
    lift = rng.uniform(-how.brightness, how.brightness, (count, 1, 1)).astype(np.float32)
    means = out.mean(axis=(1, 2), keepdims=True)
    out = (out - means) * gain + means + lift
    _erase(out, how, rng)
    varied: Images = np.clip(np.rint(out), 0, 255).astype(np.uint8)[..., None]
    return varied


def _erase(images: npt.NDArray[np.float32], how: Augmentation, rng: np.random.Generator) -> None:
    """Covers a rectangle of some pictures with a flat grey, in place."""
    size = images.shape[1]
    for index in np.flatnonzero(rng.random(len(images)) < how.erase):
        image = images[index]
        area = rng.uniform(*how.erase_area) * size * size
        aspect = np.exp(rng.uniform(-0.7, 0.7))
        height, width = (int(min(size, max(1, round(v)))) for v in (np.sqrt(area * aspect), np.sqrt(area / aspect)))
        y, x = rng.integers(0, size - height + 1), rng.integers(0, size - width + 1)
        image[y : y + height, x : x + width] = rng.uniform(0, 255)


def resize(images: Images, size: int) -> Images:
    """Pictures enlarged or shrunk without variation, as evaluation sees them: (N, S, S) to (N, size, size, 1)."""
    if images.shape[1] == size:
        return np.ascontiguousarray(images)[..., None]
    mode = cv2.INTER_LINEAR if size > images.shape[1] else cv2.INTER_AREA
    out = np.empty((len(images), size, size, 1), np.uint8)
    for index, image in enumerate(images):
        out[index, :, :, 0] = cv2.resize(image, (size, size), interpolation=mode)
    return out


def epoch_order(labels: npt.NDArray[np.int64], balance: float, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Which pictures an epoch shows, and in which order.

    A class of n pictures gets a part of the epoch in proportion to n^(1 - balance). Within a class no picture is shown
    more than once oftener than another.

    Args:
        labels: (N,) class of each picture.
        balance: from 0, each picture once, to 1, every class equally often.
        rng: the only source of chance.

    Returns:
        (N,) indices; at balance 0 a permutation.
    """
    classes, counts = np.unique(labels, return_counts=True)
    wanted = counts ** (1 - balance) * len(labels) / np.sum(counts ** (1 - balance))
    quotas = np.floor(wanted + 1e-9).astype(int)
    # What rounding leaves over goes to the classes that lost most by it.
    quotas[np.argsort(quotas - wanted, kind="stable")[: len(labels) - quotas.sum()]] += 1
    shown = []
    for kind, count, quota in zip(classes, counts, quotas, strict=True):
        members = np.flatnonzero(labels == kind)
        shown += [np.tile(members, quota // count), rng.permutation(members)[: quota % count]]
    return rng.permutation(np.concatenate(shown))


@dataclass(frozen=True)
class Batch:
    """What one training step sees: pictures (B, size, size, 1) uint8 and the rows of the data they came from."""

    images: Images
    rows: npt.NDArray[np.int64]


class EpochStream:
    """The batches of one epoch in an order and with variations that depend on the seed alone.

    An error in the thread is raised where the batches are consumed. Use as a context manager, so that the thread
    ends when the consumer does.

    Args:
        images: (N, S, S) uint8.
        size: side of the pictures that come out.
        batch: pictures in a batch.
        how: ranges of the variation.
        seed: of order and variation.
        labels: (N,), for a recipe that balances the classes.
        alignments: (N, 2, 3), see :func:`augment`.
    """

    def __init__(
        self,
        images: Images,
        *,
        size: int,
        batch: int,
        how: Augmentation,
        seed: list[int],
        labels: npt.NDArray[np.int64] | None = None,
        alignments: npt.NDArray[np.float64] | None = None,
    ) -> None:
        if how.balance and labels is None:
            raise ValueError("classes cannot be balanced without labels")
        self._images, self._size, self._batch, self._how = images, size, batch, how
        self._labels = np.zeros(len(images), np.int64) if labels is None else labels
        self._alignments = alignments
        self._rng = np.random.default_rng(seed)
        self._queue: queue.Queue[Batch | Exception | None] = queue.Queue(QUEUED_BATCHES)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="augment", daemon=True)

    def __len__(self) -> int:
        """Full batches in the epoch; the last pictures of the shuffled order, fewer than a batch, are left out."""
        return len(self._images) // self._batch

    def __enter__(self) -> EpochStream:
        self._thread.start()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._stop.set()
        self._thread.join()

    def __iter__(self) -> Iterator[Batch]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    def _work(self) -> None:
        try:
            order = epoch_order(self._labels, self._how.balance, self._rng)
            for index in range(len(self)):
                # Sorted rows are read from the memory map in order; a batch's order does not matter.
                rows = np.sort(order[index * self._batch : (index + 1) * self._batch])
                maps = None if self._alignments is None else self._alignments[rows]
                self._put(Batch(augment(self._images[rows], self._size, self._how, self._rng, maps), rows))
            self._put(None)
        except Exception as error:  # noqa: BLE001 - handed to the consumer, who raises it
            self._put(error)

    def _put(self, item: Batch | Exception | None) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return
            except queue.Full:
                continue
