"""Which files are still to be done: those that the ledger does not hold as they are now; and copies of videos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fer_batch.commit import Counts, commit_rows
from fer_batch.discover import Discovery
from fer_batch.ledger import join, pieces
from fer_batch.mend import LOST
from fer_batch.object_path import AnyPath
from fer_batch.path_names import names_of
from fer_batch.probe import VideoInfo, fingerprint
from fer_batch.purged import PURGED, Purged
from fer_batch.schema import VIDEOS
from fer_batch.store import Run
from fer_batch.tables import file_columns

COPIES_AT_ONCE = 10_000
"""Copies whose ledger rows are written together."""


class ToDo:
    """Iterates over the files that are not in the ledger yet, as they are now.

    Of the ledger it keeps hashes of files and the ids of videos, some 250 bytes a video.

    Attributes:
        counts: of the ledger before this start, without what is tried again.
        done_ids: the videos in it that have rows, or had some before they were removed on purpose.
        purged: what was removed on purpose: such files are passed over.
        found, kept, withheld: files seen so far, those of them that are done, and those that a person was removed from.
    """

    def __init__(self, discovery: Discovery, run: Run, retry_failed: bool) -> None:
        self._discovery = discovery
        self._names = names_of(run.info)
        self._done: set[int] = set()
        self.purged = Purged.of(run.path)
        self.done_ids: set[str] = set(self.purged.withheld)
        self._withheld_sizes = {about.size_bytes for about in self.purged.withheld.values()}
        self.counts = Counts()
        self.found = self.kept = self.withheld = 0
        seen: set[int] = set()
        withheld = pa.array(sorted(self.purged.withheld), pa.string())
        for table in pieces(run, VIDEOS.names):
            again = pc.equal(table["status"], "failed") if retry_failed else pc.equal(table["error_code"], LOST)
            removed = pc.or_(
                pc.fill_null(pc.equal(table["error_code"], PURGED), False), pc.is_in(table["video_id"], withheld)
            )
            stays = pc.or_(pc.invert(pc.fill_null(again, False)), removed)
            kept = table.filter(stays)
            keys = (kept[name].to_pylist() for name in ("path", "size_bytes", "mtime_ns"))
            self._done.update(map(hash, zip(*keys, strict=True)))
            has_rows = pc.or_(pc.is_valid(table["part"]), removed)
            self.done_ids.update(table.filter(pc.and_(has_rows, stays))["video_id"].to_pylist())
            self.counts += Counts.of(kept, seen)

    def __iter__(self) -> Iterator[AnyPath]:
        for path in self._discovery:
            self.found += 1
            try:
                status = getattr(path, "listed", None) or path.stat()
                key = (self._names.text(path), status.st_size, status.st_mtime_ns)
            except OSError:
                key = (self._names.text(path), None, None)
            if hash(key) in self._done:
                self.kept += 1
            elif self._is_withheld(path, key[1]):
                self.withheld += 1
            else:
                yield path

    def _is_withheld(self, path: AnyPath, size: int | None) -> bool:
        """Whether a person was removed from this file, whatever its name is by now."""
        if size not in self._withheld_sizes:
            return False
        try:
            return size is not None and fingerprint(path, size) in self.purged.withheld
        except OSError:
            return False  # probing it says what is wrong

    def snapshot(self) -> dict[str, Any]:
        """For :class:`fer_batch.progress.Progress`."""
        passed_over = self._discovery.passed_over
        return {"found": self.found, "kept": self.kept, "withheld": self.withheld, "passed_over": passed_over}


def enter_copies(run: Run, copies: Sequence[VideoInfo], metadata: dict[str, str]) -> None:
    """A file with the content of another has a ledger row of its own and shares the other's rows in the tables.

    Args:
        run: with its ledger joined; it is joined again with the copies.
        copies: probed files whose content is in the ledger under another path.
        metadata: for the ledger.
    """
    names = names_of(run.info)
    for first in range(0, len(copies), COPIES_AT_ONCE):
        some = copies[first : first + COPIES_AT_ONCE]
        ids = pa.array({video.video_id for video in some}, pa.string())
        originals: dict[str, dict[str, Any]] = {}
        for table in pieces(run, VIDEOS.names):
            found = table.filter(pc.is_in(table["video_id"], ids))
            originals |= {row["video_id"]: row for row in found.to_pylist()}
        rows = [names.row({**originals[video.video_id], **file_columns(video), "wall_s": 0.0}) for video in some]
        commit_rows(run.path, "copies", rows, metadata)
    join(run, metadata)
