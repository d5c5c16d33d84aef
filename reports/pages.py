"""Puts a run's pages together and writes them: an index and a page for each video, in one pass over the videos."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote

import pyarrow as pa

from fer_batch import page
from fer_batch.errors import StoppedError
from fer_batch.palette import CONDITIONS
from fer_batch.store import Run, atomic_write
from reports import figures, measures, wording
from reports.load import RunTables

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

Pages = Literal["index", "full"]
"""Which pages to build."""

TIMELINES_ON_INDEX: Final = 20
"""So many videos have their timeline on the index too; every video has it on its own page."""

STRIP_COLUMNS: Final = 40
"""Slices of the small picture in each row of the ledger; 12 in a long ledger, to keep its page light."""

LONG_LEDGER: Final = 500
"""A ledger with more rows than this is a long one."""

TRACKS_SHOWN: Final = 200
"""A video page lists so many tracks, those seen longest; the rest are counted."""

_MOST_STRETCHES: Final = 600
_SLICES: Final = 20
_ORDER: Final = {"failed": 0, "partial": 1, "ok": 2}
_TEMPLATES: Final = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Entry:
    """A row of the ledger with what its video's tables say.

    Attributes:
        row: the ledger's row.
        name: the file's name; `folder` is the part of its path that not all videos share.
        summary: :func:`reports.measures.summary` of its rows; None where it has none.
        strip: the small picture's layers; empty where there is none.
        figure: the compact timeline as JSON, for the first few videos.
    """

    row: dict[str, Any]
    name: str
    folder: str
    summary: dict[str, Any] | None = None
    strip: tuple[tuple[str, str], ...] = ()
    figure: Markup | None = None


def build(run: Run, out: Path | None = None, *, pages: Pages = "full") -> Path:
    """Write the pages of `run`; they are replaced where they exist. Works while the run is still going on.

    Args:
        run: the run's folder.
        out: folder to write into, by default ``report/`` in the run's folder.
        pages: ``full`` for the index and a page a video, ``index`` for the index alone.

    Returns:
        The path of ``index.html``.

    Raises:
        RefusedError: the run's folder is damaged.
        StoppedError: the disk is full or `out` cannot be written.
    """
    tables = RunTables(run)
    folder = Path(out) if out is not None else Path(run.report_dir)
    try:
        for name in ("videos", "assets"):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoppedError(f"cannot write {folder}: {error.strerror}. Choose a folder that can be written.") from error
    _write_assets(folder / "assets")
    environment = _environment()
    common = {
        "info": tables.info,
        "purpose": wording.purpose(tables.info),
        "state_note": wording.STATES.get(str(tables.info["state"])),
        "conditions": CONDITIONS,
        "full": pages == "full",
    }
    paths = tables.ledger["path"].to_pylist()
    root = wording.common_folder(paths)
    columns = STRIP_COLUMNS if len(paths) <= LONG_LEDGER else 12
    entries: list[Entry] = []
    done: dict[str, Entry] = {}
    for row in tables.rows():
        head, _, name = row["path"][len(root) :].rpartition("/")
        entry = Entry(row, name, f"{head}/" if head else "")
        video_id = row["video_id"]
        if video_id in done:
            first = done[video_id]
            entry = replace(entry, summary=first.summary, strip=first.strip)
        elif tables.has_rows(video_id):
            frames, faces = tables.frames(video_id), tables.faces(video_id)
            if frames is not None and faces is not None:
                timeline = _timeline(frames, row["duration_ms"])
                entry = _filled(entry, frames, faces, timeline, columns, len(done) < TIMELINES_ON_INDEX)
                if pages == "full":
                    html = _video_page(environment, common, entry, frames, faces, timeline)
                    _write(folder / "videos" / f"{video_id}.html", html)
                done[video_id] = entry
        entries.append(entry)
    if out is None:
        # A page left from an earlier build of this run would show what its tables no longer hold.
        for old in (folder / "videos").glob("*.html"):
            if old.stem not in done or pages == "index":
                old.unlink()
    entries.sort(key=lambda entry: _ORDER.get(entry.row["status"], 0))
    return _index(environment, folder, tables, entries, list(done.values()), root, common)


@dataclass(frozen=True)
class _Timeline:
    """What a video's timelines are drawn from; `bridge_ms` is the longest gap that is not drawn, 0 for none."""

    points: pa.Table
    stretches: pa.Table
    extent_ms: int
    bridge_ms: float


def _timeline(frames: pa.Table, duration_ms: int | None) -> _Timeline:
    stretches = measures.conditions(frames)
    extent = max(duration_ms or 0, stretches["end_ms"][-1].as_py() if stretches.num_rows else 0)
    bridge_ms = extent / (2 * _MOST_STRETCHES) if stretches.num_rows > _MOST_STRETCHES else 0.0
    if bridge_ms:
        stretches = measures.bridged(stretches, bridge_ms)
    return _Timeline(measures.thinned(frames, stretches), stretches, extent, bridge_ms)


def _filled(entry: Entry, frames: pa.Table, faces: pa.Table, timeline: _Timeline, columns: int, drawn: bool) -> Entry:
    """The entry with what the index shows of the video's tables, and its compact timeline where it is to be drawn."""
    figure = None
    if drawn and timeline.points.num_rows:
        few = measures.thinned(timeline.points, timeline.stretches, measures.LONGEST_FIGURE // 4)
        figure = page.embedded(figures.timeline(few, timeline.stretches, timeline.extent_ms, compact=True))
    return replace(
        entry,
        summary=measures.summary(frames, faces).to_pylist()[0],
        strip=tuple(figures.strip_paths(measures.strip(frames, timeline.extent_ms, columns))),
        figure=figure,
    )


def _video_page(
    environment: jinja2.Environment,
    common: dict[str, Any],
    entry: Entry,
    frames: pa.Table,
    faces: pa.Table,
    timeline: _Timeline,
) -> str:
    points, extent = timeline.points, timeline.extent_ms
    figure = page.embedded(figures.timeline(points, timeline.stretches, extent)) if points.num_rows else None
    tracks = measures.tracks(faces, entry.summary["sampled_ms"] if entry.summary else None).to_pylist()
    longest = sorted(tracks, key=lambda track: -track["seen_ms"])[:TRACKS_SHOWN]
    return environment.get_template("video.html").render(
        **common,
        entry=entry,
        row=entry.row,
        summary=entry.summary,
        figure=figure,
        drawn_points=points.num_rows,
        bridge_ms=timeline.bridge_ms,
        expressions=measures.expressions(frames).to_pylist(),
        tracks=sorted(longest, key=lambda track: int(track["track_id"])),
        tracks_left=len(tracks) - len(longest),
        slices=measures.strip(frames, extent, _SLICES).to_pylist() if extent >= 1000 else [],
        base="../",
    )


def _index(
    environment: jinja2.Environment,
    folder: Path,
    tables: RunTables,
    entries: list[Entry],
    videos: list[Entry],
    root: str,
    common: dict[str, Any],
) -> Path:
    summaries = pa.Table.from_pylist([entry.summary for entry in videos]) if videos else None
    info = tables.info
    html = environment.get_template("index.html").render(
        **common,
        entries=entries,
        root=root,
        totals=measures.totals(tables.ledger).to_pylist()[0],
        distribution=measures.distribution(summaries).to_pylist() if summaries is not None else [],
        seen=sum(1 for entry in videos if entry.summary and entry.summary["emotion"]),
        timelines=[entry for entry in videos if entry.figure is not None],
        more_videos=max(0, len(videos) - TIMELINES_ON_INDEX),
        strip_columns=STRIP_COLUMNS if len(entries) <= LONG_LEDGER else 12,
        config=info["config"],
        model=info["model"],
        counts=info["counts"],
        versions=info["versions"],
        links=_links(folder, tables.path),
        base="",
    )
    return _write(folder / "index.html", html)


def _links(folder: Path, run: Path) -> list[tuple[str, str, str]]:
    """Name, address and meaning of the run's files that are there."""
    up = quote(os.path.relpath(run.resolve(), folder.resolve()).replace(os.sep, "/"))
    files = (
        ("videos.parquet", "the ledger, a row a file"),
        ("faces/", "a row a face, in Parquet files"),
        ("frames/", "a row a sampled frame, in Parquet files"),
        ("run.json", "settings, versions and counts"),
    )
    return [(name, f"{up}/{name}", meaning) for name, meaning in files if (run / name).exists()]


def _environment() -> jinja2.Environment:
    environment = page.environment(_TEMPLATES)
    environment.filters.update(clock=wording.clock, signed=wording.signed, moment=wording.moment)
    environment.globals.update(
        sampling=wording.sampling,
        detector=wording.detector,
        accuracy=wording.accuracy,
        not_declared=wording.NOT_DECLARED,
        # Pages of a run share their scripts; some browsers do not count a file beside the page as its own.
        script_source="'self' file:",
    )
    return environment


def _write_assets(folder: Path) -> None:
    """The scripts that all pages share; Plotly's is large and only written where it differs."""
    import plotly.offline

    library = plotly.offline.get_plotlyjs().encode()
    own = (page.TEMPLATES / "page.js").read_bytes()
    for name, content in (("plotly.min.js", library), ("page.js", own)):
        path = folder / name
        if not path.is_file() or path.stat().st_size != len(content) or path.read_bytes() != content:
            with atomic_write(path) as file:
                file.write(content)


def _write(path: Path, html: str) -> Path:
    with atomic_write(path) as file:
        file.write(html.encode("utf-8", "backslashreplace"))
    return path
