"""Builds a run's report: an index and a page for each video, in one pass over the videos, one at a time."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fer_batch.errors import RefusedError, StoppedError
from fer_batch.palette import CONDITIONS
from fer_batch.store import Run
from reports import figures, index_page, measures, video_page, wording
from reports.assets import prepare, write_page
from reports.load import RunTables, VideoTables

Pages = Literal["index", "full"]
"""Which pages to build."""


def build(
    run: Run,
    out: Path | None = None,
    *,
    pages: Pages = "full",
    single_file: bool = False,
    thumbnails: bool = False,
) -> Path:
    """Write the pages of `run`; they are replaced where they exist. Works while the run is still going on.

    Args:
        run: the run's folder.
        out: folder to write into, by default ``report/`` in the run's folder.
        pages: ``full`` for the index and a page a video, ``index`` for the index alone.
        single_file: each page holds its scripts (5 MB), so that one can be passed on alone; else they share a folder.
        thumbnails: put a picture of the face beside each peak, decoded again from the video. Pages then hold faces.

    Returns:
        The path of ``index.html``.

    Raises:
        RefusedError: the run's folder is damaged, or thumbnails of people who may be shown as groups only.
        StoppedError: the disk is full or `out` cannot be written; or all pages are built but those of videos whose rows
            are damaged.
    """
    if run.level == "aggregate" and not thumbnails:
        from reports.classroom import build_bins

        return build_bins(run, out, single_file=single_file)
    tables = RunTables(run)
    hidden = wording.hidden(tables.info, run.level)
    if hidden and thumbnails:
        raise RefusedError("--thumbnails shows faces. " + hidden)
    if hidden:
        pages = "index"
    folder = Path(out) if out is not None else Path(run.report_dir)
    environment = prepare(folder, ["videos"], ["report.js"], single_file=single_file)
    common = {
        "info": tables.info,
        "purpose": wording.purpose(tables.info),
        "state_note": wording.STATES.get(str(tables.info["state"])),
        "conditions": CONDITIONS,
        "full": pages == "full",
        "groups_only": hidden,
    }
    same: dict[str, list[dict[str, Any]]] = defaultdict(list)
    rows = list(tables.rows())
    for row in rows:
        if row["video_id"] is not None:
            same[row["video_id"]].append(row)
    found: dict[str, _Facts] = {}
    written = {"index.html"}
    for video in tables.videos() if run.level == "faces" else ():
        content = None if hidden else _content(video, same[video.video_id])
        found[video.video_id] = _facts(video, content)
        if content is not None and pages == "full":
            name = f"videos/{video.video_id}.html"
            pictures, problem = _pictures(tables, content) if thumbnails else (None, None)
            write_page(folder / name, video_page.render(environment, common, content, pictures, problem))
            written.add(name)
    entries = _entries(rows, found, pages)
    summaries = [facts.summary for facts in found.values() if facts.summary is not None]
    for name, html in index_page.render(environment, common, tables, entries, summaries, folder):
        write_page(folder / name, html)
        written.add(name)
    if out is None:
        # A page left from an earlier build of this run would show what its tables no longer hold.
        for old in (*folder.glob("videos/*.html"), *folder.glob("index-*.html")):
            if old.relative_to(folder).as_posix() not in written:
                old.unlink()
    _refuse_damage(folder / "index.html", [facts.problem for facts in found.values() if facts.problem is not None])
    return folder / "index.html"


def _refuse_damage(index: Path, problems: list[str]) -> None:
    if problems:
        raise StoppedError(f"{index} is built, but {len(problems)} of its videos cannot be shown. {problems[0]}")


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the index needs of a content once its page is written."""

    summary: dict[str, Any] | None
    strip: str
    problem: str | None


def _content(video: VideoTables, rows: list[dict[str, Any]]) -> video_page.Content | None:
    if video.frames is None or video.faces is None:
        return None
    summary = measures.summary(video.frames, video.faces).to_pylist()[0]
    # The file that was worked on stands before its copies.
    ordered = sorted(rows, key=lambda row: (row["n_sampled"] is None, row["path"]))
    return video_page.Content(ordered, video.frames, video.faces, summary)


def _facts(video: VideoTables, content: video_page.Content | None) -> _Facts:
    if content is None:
        return _Facts(None, "", video.problem)
    strip = measures.strip(content.frames, content.extent_ms, index_page.STRIP_COLUMNS)
    return _Facts(content.summary, figures.levels(strip) if content.frames.num_rows else "", None)


def _entries(rows: list[dict[str, Any]], found: dict[str, _Facts], pages: Pages) -> list[index_page.Entry]:
    """A row a file, failed and partial ones first."""
    root = wording.common_folder([row["path"] for row in rows])
    nothing = _Facts(None, "", None)
    first: dict[str, str] = {}
    entries = []
    for row in sorted(rows, key=lambda row: (index_page.STATUSES.index(row["status"]), row["path"])):
        head, _, name = row["path"][len(root) :].rpartition("/")
        facts = found.get(row["video_id"], nothing)
        entries.append(
            index_page.Entry(
                row=row,
                name=name,
                folder=f"{head}/" if head else "",
                reason=" ".join(text for text in (wording.reason(row), facts.problem) if text),
                original=first.get(row["video_id"]),
                has_page=facts.summary is not None and pages == "full",
                emotion=facts.summary["emotion"] if facts.summary else None,
                share=facts.summary["share"] if facts.summary else None,
                strip=facts.strip,
            )
        )
        if row["video_id"] is not None:
            first.setdefault(row["video_id"], name)
    return entries


def _pictures(tables: RunTables, content: video_page.Content) -> tuple[dict[tuple[int, int], str], str | None]:
    from reports.thumbnails import peak_pictures

    return peak_pictures(content.rows, tables.info["config"], content.faces, video_page.peaks_shown(content)[0])
