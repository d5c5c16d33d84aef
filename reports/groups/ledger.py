"""Finds a run's video by what people write of it."""

from __future__ import annotations

import difflib
from collections import defaultdict
from typing import Any

from fer_batch.errors import RefusedError
from fer_batch.path_names import PathNames, names_of
from fer_batch.purged import Purged
from fer_batch.store import Run


class Ledger:
    """The videos of a run by path, by the end of a path and by content."""

    def __init__(self, run: Run) -> None:
        wanted = ("video_id", "path", "status", "error_code", "duration_ms", "part", "n_tracks")
        self._rows: list[dict[str, Any]] = run.videos().select(wanted).to_pylist()
        try:
            self._names = names_of(run.info)
        except RefusedError:
            self._names = PathNames()  # whoever has no key writes pseudonyms or ids
        withheld = Purged.of(run.path).withheld
        for row in self._rows:  # the highest number of a track, not how many are left of them
            if row["n_tracks"] is not None and row["video_id"] in withheld:
                row["n_tracks"] += withheld[row["video_id"]].tracks
        self._by: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in self._rows:
            parts = row["path"].split("/")
            for start in range(len(parts)):
                self._by["/".join(parts[start:])].append(row)
            if row["video_id"] is not None:
                self._by[row["video_id"]].append(row)

    def find(self, text: str) -> dict[str, Any]:
        """The ledger's row.

        Raises:
            ValueError: there is none, or several with different content.
        """
        asked = text.replace("\\", "/") if text not in self._by else text
        asked = asked.removeprefix("./")
        hidden = self._names.text(asked)
        found = self._by.get(text) or self._by.get(asked) or self._by.get(hidden) or []
        whole = [row for row in found if row["path"] in (asked, hidden)]
        found = whole or found
        if not found:
            names = {row["path"].rpartition("/")[2] for row in self._rows}
            near = difflib.get_close_matches(asked.rpartition("/")[2], names, 1)
            hint = f"; is it {near[0]!r}?" if near else "; status RUN lists its videos"
            raise ValueError(f"the run has no video {text!r}{hint}")
        contents = {row["video_id"] or row["path"] for row in found}
        if len(contents) > 1:
            paths = sorted(row["path"] for row in found)[:3]
            raise ValueError(f"{len(found)} videos are named {text!r} ({', '.join(paths)}); write the whole path")
        return max(found, key=lambda row: row["part"] is not None)
