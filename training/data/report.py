"""What one should know about data before training on it: sizes, classes, blank pictures, copies and their labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fer_batch.page import counted, number
from fer_batch.schema import EMOTIONS
from training.data.faces import FaceSet
from training.data.fer2013 import KNOWN_SIZES, SPLITS


@dataclass(frozen=True)
class Place:
    """One picture of the data: its split, its index there, its row or file name, and its label in words."""

    split: str
    index: int
    where: str
    emotion: str

    def __str__(self) -> str:
        # A file's path below the data's folder says enough by itself; a row needs its split beside it.
        return self.where if "/" in self.where else f"{self.split} {self.where}"


@dataclass(frozen=True)
class Copies:
    """Pictures that are the same in every pixel, two or more, in the order of splits and rows."""

    places: tuple[Place, ...]

    @property
    def emotions(self) -> tuple[str, ...]:
        """The labels they have, each once, in the order of ``EMOTIONS``."""
        return tuple(sorted({place.emotion for place in self.places}, key=EMOTIONS.index))

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits they are in, each once."""
        return tuple(dict.fromkeys(place.split for place in self.places))

    def within(self, split: str) -> int:
        """How many of them are in a split."""
        return sum(place.split == split for place in self.places)


@dataclass(frozen=True)
class SplitReport:
    """One split of the data.

    Attributes:
        name: ``Training``, ``PublicTest`` or ``PrivateTest``.
        counts: pictures of each class, in the order of ``EMOTIONS``, blank ones too.
        blank: the blank pictures.
        voted: pictures that have FER+ votes; None without a FER+ file.
        note: what one should know about where the pictures come from.
    """

    name: str
    counts: tuple[int, ...]
    blank: tuple[Place, ...]
    voted: int | None
    note: str

    @property
    def pictures(self) -> int:
        """Pictures in all."""
        return sum(self.counts)

    @property
    def known(self) -> int:
        """Pictures that the challenge's own edition has in this split."""
        return KNOWN_SIZES[self.name]


@dataclass(frozen=True)
class Leak:
    """Pictures of one split that are in another, too: what is learnt from the one is no news in the other.

    Attributes:
        source: the split they are in first.
        into: the split whose figures they flatter.
        pictures: how many pictures of `into` are copies of one in `source`.
        same_label: how many of these have a copy with the same label there.
    """

    source: str
    into: str
    pictures: int
    same_label: int


@dataclass(frozen=True)
class DataReport:
    """All splits of the data, and what is the same in them.

    Attributes:
        source: the data's name.
        splits: one entry a split that is there, in the order of ``SPLITS``.
        copies: pictures that occur more than once; blank ones are not counted among them.
    """

    source: str
    splits: tuple[SplitReport, ...]
    copies: tuple[Copies, ...]

    @classmethod
    def of(cls, splits: Mapping[str, FaceSet], source: str) -> DataReport:
        """The report on splits that were read; takes well under a second for the whole of FER2013."""
        groups: dict[bytes, list[Place]] = {}
        reports = []
        for name, faces in splits.items():
            blank = faces.blank()
            for index, image in enumerate(faces.images):
                if not blank[index]:
                    digest = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
                    groups.setdefault(digest, []).append(_place(name, faces, index))
            reports.append(
                SplitReport(
                    name=name,
                    counts=tuple(int(n) for n in np.bincount(faces.labels, minlength=len(EMOTIONS))),
                    blank=tuple(_place(name, faces, int(index)) for index in np.flatnonzero(blank)),
                    voted=None if faces.votes is None else int((faces.votes.sum(axis=1) > 0).sum()),
                    note=faces.note,
                )
            )
        return cls(source, tuple(reports), tuple(Copies(tuple(places)) for places in groups.values() if places[1:]))

    @property
    def pictures(self) -> int:
        """Pictures in all."""
        return sum(split.pictures for split in self.splits)

    @property
    def blank(self) -> tuple[Place, ...]:
        """All blank pictures."""
        return tuple(place for split in self.splits for place in split.blank)

    @property
    def repeats(self) -> int:
        """Pictures that occurred before: what would go if each were kept once."""
        return sum(len(copies.places) - 1 for copies in self.copies)

    @property
    def conflicts(self) -> tuple[Copies, ...]:
        """Copies with different labels; those with the most labels first, then those with the most copies."""
        mixed = [copies for copies in self.copies if len(copies.emotions) > 1]
        return tuple(sorted(mixed, key=lambda copies: (-len(copies.emotions), -len(copies.places))))

    @property
    def leaks(self) -> tuple[Leak, ...]:
        """What one split shares with a later one, for each pair that shares anything."""
        names = [split.name for split in self.splits]
        pairs = [(first, second) for first in names for second in names if SPLITS.index(first) < SPLITS.index(second)]
        return tuple(leak for pair in pairs if (leak := self._leak(*pair)).pictures)

    def _leak(self, source: str, into: str) -> Leak:
        pictures = same = 0
        for copies in self.copies:
            labels = {place.emotion for place in copies.places if place.split == source}
            shared = [place for place in copies.places if place.split == into] if labels else []
            pictures += len(shared)
            same += sum(place.emotion in labels for place in shared)
        return Leak(source, into, pictures, same)

    def sizes(self) -> str:
        """How many pictures each split has, and whether these are the challenge's own numbers."""
        sizes = ", ".join(f"{split.name} {number(split.pictures)}" for split in self.splits)
        other = [split for split in self.splits if split.pictures != split.known]
        if not other:
            return f"{sizes}: as in the challenge's own edition"
        own = ", ".join(f"{split.name} {number(split.known)}" for split in other)
        return f"{sizes}; the challenge's own edition has {own}"

    def lines(self) -> list[str]:
        """The report in a few lines for a terminal."""
        said = [f"{self.source}: {self.sizes()}"]
        said += [f"{split.name}: {split.note}" for split in self.splits if split.note]
        for split in self.splits:
            missing = [emotion for emotion, count in zip(EMOTIONS, split.counts, strict=True) if not count]
            if missing:
                said.append(f"{split.name} has no picture of {', '.join(missing)}")
        voted = [f"{split.name} {number(split.voted)}" for split in self.splits if split.voted is not None]
        if voted:
            said.append(f"FER+ votes: {', '.join(voted)} pictures")
        if self.blank:
            where = ", ".join(f"{len(split.blank)} in {split.name}" for split in self.splits if split.blank)
            said.append(f"blank pictures: {where}; training leaves them out")
        if self.copies:
            said.append(
                f"copies: {counted(self.repeats, 'picture')} occurred before; "
                f"{counted(len(self.conflicts), 'picture has', 'pictures have')} copies with different labels"
            )
        said += [
            f"leak: {number(leak.pictures)} of {leak.into}'s pictures are in {leak.source} too, "
            f"{number(leak.same_label)} with the same label"
            for leak in self.leaks
        ]
        return said


def _place(split: str, faces: FaceSet, index: int) -> Place:
    return Place(split, index, faces.where(index), EMOTIONS[int(faces.labels[index])])
