"""What a purge removes and makes anew from the tables that are left: pages, and exports wherever they are known."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from fer_batch.rewrite import Rewrite
from fer_batch.store import Run

FORMATS: Final = {"csv": ".csv", "tsv": ".tsv", "sav": ".sav", "elan": ".eaf"}
"""How an export's formats are known by its files."""


def pages_of(run: Run) -> dict[str, Any] | None:
    """Which pages a run has, so that they are built again alike; None where it has none."""
    folder = run.report_dir
    if not (folder / "index.html").is_file():
        return None
    full = any((folder / "videos").glob("*.html"))
    return {"pages": "full" if full else "index", "single_file": not (folder / "assets").is_dir()}


def pages_with_samples(run: Run) -> list[Path]:
    """Files of the report that tell what single rows say, or draw it: pages of videos, and the lists beside them.

    Reports on people, sessions and feedback are not among them: they hold means and stay until pages are over.
    """
    from reports.index_page import MORE_PAGES

    folder = run.report_dir
    found = [*folder.rglob("videos/*.html"), *folder.rglob("index.html"), *folder.rglob("index-*.html")]
    kinds = {Path(name).parts[0] for name, _ in MORE_PAGES}
    return sorted(file for file in found if kinds.isdisjoint(file.relative_to(folder).parts))


def export_folders(within: list[Path]) -> list[Path]:
    """Folders that exports wrote."""
    from reports.export.earlier import LIST

    found = {file.parent for folder in within for file in folder.rglob(LIST) if "work" not in file.parts[-3:-1]}
    return sorted(found)


def exported(folder: Path) -> list[Path]:
    """Files that exports wrote into a folder, and the list of them."""
    from reports.export.earlier import LIST, listed

    return [folder / LIST, *(folder / name for name in listed(folder))]


def removed_exports(within: list[Path], rewrite: Rewrite) -> list[dict[str, Any]]:
    """The exports in some folders, whose files go; what has to be known to make them anew."""
    from reports.export.earlier import listed

    found = []
    for folder in export_folders(within):
        names = listed(folder)
        suffixes = {Path(name).suffix for name in names}
        formats = [kind for kind, suffix in FORMATS.items() if suffix in suffixes]
        for file in exported(folder):
            rewrite.remove(file)
        with_trials = any(name.startswith("trials.") for name in names)
        found.append({"folder": os.path.abspath(folder), "formats": formats, "with_trials": with_trials})
    return found


def export_again(run: Run, made: dict[str, Any], table: str | None) -> None:
    """Make an export of :func:`removed_exports` anew.

    Args:
        run: the run.
        made: what is known of the export.
        table: the participants table, where it had trials; None leaves them out.

    Raises:
        RefusedError: it cannot be made any more.
        StoppedError: it cannot be written.
    """
    from reports.export import export

    groups = Path(table) if made["with_trials"] and table is not None else None
    export(run, Path(made["folder"]), made["formats"], groups=groups, overwrite=True)


def pages_again(run: Run, then: dict[str, Any]) -> None:
    """Build the pages again: those that a job file, ``job``, asks for, or else those that there were, ``pages``.

    Raises:
        RefusedError: they cannot be built any more.
        StoppedError: they cannot be written, or those of the job's kind not be built.
    """
    if then["job"] is not None:
        from dataclasses import replace

        from jobs.job_file import Job
        from jobs.pages import build_pages

        build_pages(run, replace(Job(Path(then["job"])).settings(), out=run.path))
    elif then["pages"] is not None:
        from reports import build

        build(run, **then["pages"])
