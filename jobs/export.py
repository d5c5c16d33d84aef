"""``fer-batch export``: a run's tables for statistics packages, spreadsheets and annotation tools."""

from __future__ import annotations

import json
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from fer_batch.object_path import as_path
from jobs.shown import refuse_single_people, refuse_without_faces, refuse_without_people

MIN_SEGMENT_MS, MAX_GAP_MS = 200, 500
"""As in :mod:`reports.export.elan`, which is not imported for ``--help``; a test holds them together."""


class Kind(StrEnum):
    """What --format takes."""

    CSV = "csv"
    TSV = "tsv"
    SAV = "sav"
    ELAN = "elan"


def export(
    path: Annotated[Any, typer.Argument(parser=as_path, metavar="RUN", help="The --out of a run.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files; made if need be.")],
    formats: Annotated[
        list[Kind] | None,
        typer.Option(
            "--format",
            help="csv; tsv with a JSON sidecar that describes the columns; sav for SPSS; elan, a file a video. "
            "May be repeated.",
            show_default="csv",
        ),
    ] = None,
    groups: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="A participants table (see fer-batch participants): adds a row a trial, and the wide table with a row "
            "a participant.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that an earlier export wrote.")] = False,
    min_segment: Annotated[
        int, typer.Option(metavar="MS", min=0, help="With elan: shorter segments are left out.")
    ] = MIN_SEGMENT_MS,
    max_gap: Annotated[
        int, typer.Option(metavar="MS", min=0, help="With elan: segments of one emotion up to this far apart are one.")
    ] = MAX_GAP_MS,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON object.")] = False,
) -> None:
    """Write a run's tables for SPSS, R, Excel or ELAN, and a methods paragraph; also while the run goes on.

    The tables are videos (a row a file, with means over time), frames and faces; at privacy level tracks frames,
    tracks and their bins of time. methods.md says how they were made,
    with versions, settings, figures and references, ready to paste.
    """
    from fer_batch.local_copy import on_disk
    from fer_batch.store import Run
    from reports.export import Format
    from reports.export import export as write

    run = Run(path)
    refuse_without_people(run.info, "export")
    if Kind.ELAN in (formats or []):
        refuse_without_faces(run.info, "--format elan")
    refuse_single_people(run.info, "export")
    console, errors = Console(), Console(stderr=True)
    chosen: list[Format] = [kind.value for kind in dict.fromkeys(formats or [Kind.CSV])]
    with nullcontext() if as_json else errors.status("reading the ledger") as status:

        def on_file(name: str, done: int, of: int) -> None:
            if status is not None:
                status.update(f"writing {done + 1} of {of}: {name!a}")

        with on_disk(run) as (here, _):
            made = write(
                here, out, chosen, groups=groups, overwrite=overwrite, min_segment_ms=min_segment, max_gap_ms=max_gap,
                on_file=on_file,
            )  # fmt: skip
    if as_json:
        outcome = {"state": made.state, "rows": made.rows, "segments": made.segments}
        print(json.dumps({**outcome, "files": [str(file) for file in made.files]}))
        return
    counted = ", ".join(f"{count:,} {name}" for name, count in made.rows.items())
    segments = "" if made.segments is None else f", {made.segments:,} ELAN segments"
    note = "" if made.state == "complete" else f" (the run is {made.state}: what it has finished so far)"
    console.print(f"{counted}{segments}{note}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"{len(made.files)} files in {out}", markup=False, highlight=False, soft_wrap=True)
    if made.removed:
        listed = ", ".join(f"{name!a}"[1:-1] for name in made.removed)
        console.print(f"removed of an earlier export: {listed}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"methods: {out / 'methods.md'}", markup=False, highlight=False, soft_wrap=True)
