"""``fer-batch participants``: a participants table to fill in, with what a run knows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from fer_batch.errors import RefusedError
from fer_batch.object_path import as_path
from jobs.shown import refuse_single_people, refuse_without_faces, refuse_without_people


def participants(
    path: Annotated[Any, typer.Argument(parser=as_path, metavar="RUN", help="The --out of a run.")],
    out: Annotated[Path, typer.Option(metavar="TABLE", help="The new table: .csv, or .tsv for tabs.")],
    rows: Annotated[
        Literal["video", "track"],
        typer.Option(help="A row a video, with its largest face, or a row a track where several people are filmed."),
    ] = "video",
    contact_sheet: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also write a page with a thumbnail of each track. It holds faces."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace TABLE if it is there.")] = False,
) -> None:
    """Start a participants table: who is who in a run, what they watched and when.

    Fill in participant, stimulus and condition in a spreadsheet, repeat a row for each trial, and give the table to
    **fer-batch report RUN --groups TABLE**; for a job of a kind to **fer-batch report RUN --job FILE**, in which it is
    participants.table.
    """
    from fer_batch.local_copy import on_disk
    from fer_batch.store import Run
    from reports.groups import prefilled, write_contact_sheet, write_prefilled

    if out.suffix.lower() not in {".csv", ".tsv"}:
        raise RefusedError(f"--out {out}: give a name that ends in .csv or .tsv")
    if out.exists() and not overwrite:
        raise RefusedError(f"{out} is there already and may be filled in; give another --out, or --overwrite")
    if not out.parent.is_dir():
        raise RefusedError(f"--out {out}: there is no folder {out.parent}; make it first")
    run = Run(path)
    refuse_without_people(run.info, "participants")
    if contact_sheet is not None:
        refuse_without_faces(run.info, "--contact-sheet")
        refuse_single_people(run.info, "--contact-sheet")
    with on_disk(run) as (here, _):
        made = prefilled(here, rows)
        write_prefilled(out, made)
        sheet = None if contact_sheet is None else write_contact_sheet(contact_sheet, here)
    console = Console(soft_wrap=True)

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False)

    of_kind = (run.info.get("job") or {}).get("kind")
    columns = "participant, session, stimulus" if of_kind == "sessions" else "participant, stimulus"
    say(f"table: {out} ({len(made)} rows); fill in {columns} and condition, then:")
    if of_kind is None:
        say(f"fer-batch report {path} --groups {out}")
    else:
        say(f"fer-batch report {path} --job FILE")
        say(f"FILE is the job file of kind {of_kind}, whose participants.table names {out}")
    if sheet is not None:
        say(f"contact sheet: {sheet[0]}")
        say(f"FACE IMAGES WERE WRITTEN: {sheet[1]}, into that page. Delete it when the table is filled in.")
