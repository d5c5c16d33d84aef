"""The index of a run: the ledger as a table, as plain pages without a script and as data for one that sorts it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import pyarrow as pa

from fer_batch import page
from fer_batch.schema import EMOTIONS
from reports import figures, measures, wording
from reports.load import RunTables

if TYPE_CHECKING:
    from collections.abc import Iterator

    import jinja2

ROWS_A_PAGE: Final = 100
"""Rows of the ledger on a page; a longer ledger has more pages, and a script that pages without loading another."""

STRIP_COLUMNS: Final = 24
"""Slices of the small picture in each row of the ledger."""

MORE_PAGES: Final = (
    ("sessions/index.html", "Participants over their sessions"),
    ("feedback/index.html", "Customer feedback"),
    ("groups/index.html", "People, conditions and stimuli"),
)
"""Reports beside the list of videos, linked to where they are there."""

STATUSES: Final = ("failed", "partial", "ok")
"""In the order of the ledger's rows: what needs attention first."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the ledger with what its video's tables say.

    Attributes:
        row: the ledger's row.
        name: the file's name.
        folder: the part of its path that not all videos share, with a closing slash, or empty.
        reason: why it failed or is partial and what to do; or why its rows cannot be read.
        original: name of the file whose copy this is; None for the first file of its content.
        has_page: its video has a page.
        emotion, share: highest mean probability over the time with a face; None without one.
        strip: the small picture (:func:`reports.figures.levels`); empty where there is none.
    """

    row: dict[str, Any]
    name: str
    folder: str
    reason: str
    original: str | None
    has_page: bool
    emotion: str | None
    share: float | None
    strip: str

    @property
    def coverage(self) -> float | None:
        """Share of the sampled time with a face."""
        return self.row["with_face_ms"] / self.row["sampled_ms"] if self.row["sampled_ms"] else None

    @property
    def layers(self) -> list[tuple[str, str]]:
        """The small picture's layers."""
        return figures.strip_layers(self.strip) if self.strip else []


def render(
    environment: jinja2.Environment,
    common: dict[str, Any],
    tables: RunTables,
    entries: list[Entry],
    summaries: list[dict[str, Any]],
    folder: Path,
) -> Iterator[tuple[str, str]]:
    """The pages of the index: file name and HTML of each, ``index.html`` first.

    Args:
        environment: see :func:`reports.pages.build`.
        common: what all pages of the run are given.
        tables: the run.
        entries: a row a file, in the order of the list.
        summaries: :func:`reports.measures.summary` of each content that could be read.
        folder: where the pages will lie.
    """
    info = tables.info
    pages = max(1, -(-len(entries) // ROWS_A_PAGE))
    names = ["index.html", *(f"index-{number}.html" for number in range(2, pages + 1))]
    distribution = measures.distribution(pa.Table.from_pylist(summaries)) if summaries else None
    seen = sum(1 for row in summaries if row["emotion"])
    values = {
        **common,
        "totals": measures.totals(tables.ledger).to_pylist()[0],
        "root": wording.common_folder([entry.row["path"] for entry in entries]),
        "names": names,
        "base": "",
    }
    yield (
        names[0],
        environment.get_template("index.html").render(
            **values,
            number=1,
            entries=entries[:ROWS_A_PAGE],
            data=page.embedded(ledger_data(entries)) if entries else None,
            distribution=distribution.to_pylist() if distribution is not None and seen else [],
            figure=page.embedded(figures.distribution(distribution)) if distribution is not None and seen else None,
            seen=seen,
            seen_faces=sum(row["n_faces"] for row in summaries),
            limits=wording.limits(info["model"]),
            config=info["config"],
            model=info["model"],
            counts=info["counts"],
            versions=info["versions"],
            links=_links(folder, tables.path),
            more_pages=[(address, name) for address, name in MORE_PAGES if (folder / address).is_file()],
        ),
    )
    template = environment.get_template("list.html")
    for number, name in enumerate(names[1:], 2):
        part = entries[(number - 1) * ROWS_A_PAGE : number * ROWS_A_PAGE]
        yield name, template.render(**values, number=number, entries=part)


def ledger_data(entries: list[Entry]) -> dict[str, Any]:
    """All rows of the ledger for ``report.js``, small enough for tens of thousands.

    ``columns`` names the places of each of ``rows``. Folders, reasons and the words for shares are numbers into lists
    of their own; times are in milliseconds. Shares come in per mille, to sort by, and as they are to be read: rounded
    once, here, so that the script shows what the page shows without it. What is unknown is null.
    """
    folders: dict[str, int] = {}
    reasons: dict[str, int] = {}
    percents: dict[str, int] = {}
    rows = []
    for entry in entries:
        row = entry.row
        rows.append(
            [
                entry.name,
                folders.setdefault(entry.folder, len(folders)),
                STATUSES.index(row["status"]),
                row["error_code"],
                reasons.setdefault(entry.reason, len(reasons)) if entry.reason else None,
                entry.original,
                row["video_id"] if entry.has_page else None,
                row["duration_ms"],
                row["n_faces"],
                row["n_tracks"],
                None if entry.coverage is None else round(1000 * entry.coverage),
                None if entry.emotion is None else EMOTIONS.index(entry.emotion),
                None if entry.share is None else round(1000 * entry.share),
                percents.setdefault(page.percent(entry.coverage), len(percents)),
                percents.setdefault(page.percent(entry.share), len(percents)),
                entry.strip or None,
            ]
        )
    columns = ("name", "folder", "status", "code", "reason", "original", "page", "length", "faces", "tracks",
               "coverage", "emotion", "share", "coverage_read", "share_read", "strip")  # fmt: skip
    return {
        "columns": columns,
        "rows": rows,
        "folders": list(folders),
        "reasons": list(reasons),
        "percents": list(percents),
        "statuses": STATUSES,
        "emotions": EMOTIONS,
        "layers": figures.LAYERS,
        "levels": figures.LEVELS,
        "page": ROWS_A_PAGE,
    }


def _links(folder: Path, run: Path) -> list[tuple[str, str, str]]:
    """Name, address and meaning of the run's files that are there."""
    up = quote(os.path.relpath(run.resolve(), folder.resolve()).replace(os.sep, "/"))
    files = (
        ("videos.parquet", "the ledger, a row a file"),
        ("faces/", "a row a face, in Parquet files"),
        ("tracks/", "a row a track, in Parquet files"),
        ("track_bins/", "a row a track and bin of time, in Parquet files"),
        ("frames/", "a row a sampled frame, in Parquet files"),
        ("run.json", "settings, versions and counts"),
        ("run.log", "what went on"),
    )
    return [(name, f"{up}/{name}", meaning) for name, meaning in files if (run / name).exists()]
