"""A participants table to fill in, and a page of thumbnails that helps to tell who is who."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa

from fer_batch import page
from fer_batch.errors import StoppedError
from fer_batch.store import Run, atomic_write
from reports import wording
from reports.groups.trials import COLUMNS
from reports.load import RunTables, TrackTables, VideoTables
from reports.measures.columns import column

Rows = Literal["video", "track"]

SEEN: Final = "seen"
"""An extra column, for whoever fills the table in: when the track is seen."""


def prefilled(run: Run, rows: Rows = "video") -> list[dict[str, str]]:
    """Rows of a participants table with what the run knows; who, what and in which condition is left empty.

    Args:
        run: the run.
        rows: one a video, with its largest face, or one a track; a video without a face has a row all the same, so
            that its participant is counted. Copies of a video have one row; videos that failed have none.
    """
    tables = RunTables(run)
    found: dict[str, list[dict[str, str]]] = {}
    ledger = _first_of_content(tables)
    for video in tables.tracks() if run.level == "tracks" else tables.videos():
        row = ledger[video.video_id]
        times = {"start_ms": "0", "end_ms": str(row["duration_ms"])}
        same = dict.fromkeys(COLUMNS, "") | {"video": _plain(row["path"]), **times, "session": "1", "run": run.id}
        if rows == "video":
            found[row["path"]] = [{**same, "person": "largest", SEEN: ""}]
        else:
            there = _tracks(video) if isinstance(video, VideoTables) else _known_tracks(video)
            tracks = [{**same, "person": f"track:{n}", SEEN: seen} for n, seen in there]
            found[row["path"]] = tracks or [{**same, "person": "largest", SEEN: "no face"}]
    return [row for path in sorted(found) for row in found[path]]


def write_prefilled(path: Path, rows: list[dict[str, str]]) -> None:
    """Write the rows as CSV, or with tabs where the name ends in .tsv; in UTF-8 with the mark by which Excel knows it.

    Raises:
        StoppedError: it cannot be written.
    """
    text = io.StringIO()
    mark = "\t" if path.suffix.lower() == ".tsv" else ","
    writer = csv.DictWriter(text, [*COLUMNS, SEEN], delimiter=mark)
    writer.writeheader()
    writer.writerows(rows)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode("utf-8-sig"))


def write_contact_sheet(folder: Path, run: Run) -> tuple[Path, int]:
    """Write a page with a thumbnail of each track, decoded again from the videos. The page holds faces.

    Returns:
        The page, and how many thumbnails it has.

    Raises:
        StoppedError: it cannot be written.
    """
    from reports.thumbnails import peak_pictures

    tables = RunTables(run)
    ledger = list(tables.rows())
    videos = []
    for video in tables.videos():
        if video.faces is None or not video.faces.num_rows:
            continue
        mine = [row for row in ledger if row["video_id"] == video.video_id]
        best = _best(video.faces)
        pictures, problem = peak_pictures(mine, tables.info["config"], video.faces, best)
        seen = dict(_tracks(video))
        tracks = [(n, seen[n], pictures.get((n, at))) for n, at in zip(*best.to_pydict().values(), strict=True)]
        videos.append({"path": mine[0]["path"], "tracks": tracks, "problem": problem})
    videos.sort(key=lambda one: str(one["path"]))
    html = page.environment(Path(__file__).parents[1] / "templates").get_template("contact_sheet.html").render(
        videos=videos, run=str(run.path), run_id=run.id, purpose=wording.purpose(tables.info),
        not_declared=wording.NOT_DECLARED, script_source="'none'",
    )  # fmt: skip
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoppedError(f"cannot write {folder}: {error.strerror}. Choose a folder that can be written.") from error
    with atomic_write(folder / "contact_sheet.html") as file:
        file.write(html.encode("utf-8", "backslashreplace"))
    return folder / "contact_sheet.html", sum(bool(track[2]) for one in videos for track in one["tracks"])


def _first_of_content(tables: RunTables) -> dict[str, dict[str, Any]]:
    """The ledger's row of each content; of copies the file that was worked on."""
    of_content: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in tables.rows():
        if row["video_id"] is not None:
            of_content[row["video_id"]].append(row)
    return {name: min(rows, key=lambda row: (row["n_sampled"] is None, row["path"])) for name, rows in
            of_content.items()}  # fmt: skip


def _plain(path: str) -> str:
    """A path that no spreadsheet takes for a formula."""
    return f"./{path}" if path[:1] in tuple("=+-@\t\r") else path


def _tracks(video: VideoTables) -> list[tuple[int, str]]:
    """Each track with when it is seen."""
    if video.faces is None or video.frames is None:
        return []
    ids, start = video.faces["track_id"].to_numpy(), column(video.faces, "timestamp_ms")
    length = column(video.faces, "duration_ms")
    sampled = column(video.frames, "duration_ms").sum()
    made = []
    for track in np.unique(ids):
        mine = ids == track
        last = start[mine][-1] + length[mine][-1]
        made.append((int(track), _when(start[mine][0], last, length[mine].sum(), sampled)))
    return made


def _known_tracks(video: TrackTables) -> list[tuple[int, str]]:
    """As :func:`_tracks`, at privacy level `tracks`."""
    sampled = column(video.frames, "duration_ms").sum()
    return [(row["track_id"], _when(row["start_ms"], row["end_ms"], row["seen_ms"], sampled)) for row in
            video.tracks.to_pylist()]  # fmt: skip


def _when(first_ms: float, last_ms: float, seen_ms: float, sampled_ms: float) -> str:
    share = page.percent(seen_ms / sampled_ms if sampled_ms else None)
    return f"{wording.clock(first_ms)} to {wording.clock(last_ms)}, {share} of the time"


def _best(faces: pa.Table) -> pa.Table:
    """For each track the time of its largest, surest face."""
    ids = faces["track_id"].to_numpy()
    merit = column(faces, "face_size") * column(faces, "det_score")
    order = np.lexsort((-merit, ids))
    first = order[np.r_[True, np.diff(ids[order]) != 0]]
    return pa.table({"track_id": faces["track_id"].to_numpy()[first], "at_ms": faces["timestamp_ms"].to_numpy()[first]})
