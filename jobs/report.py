"""``fer-batch report``: the pages of a run, from its tables alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console


def report(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="The --out of a run.")],
    pages: Annotated[Literal["full", "index"], typer.Option("--pages", help="Which pages to build.")] = "full",
    single_file: Annotated[
        bool, typer.Option("--single-file", help="Put all that a page needs into it (5 MB each), to pass it on alone.")
    ] = False,
    thumbnails: Annotated[
        bool,
        typer.Option(
            "--thumbnails", help="Show the face at each peak, from the video; the pages then hold faces."
        ),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the pages.", show_default="report/ in the run's folder")
    ] = None,
) -> None:
    """Build the pages of a run again, from its tables alone; also while it goes on."""
    from fer_batch.store import Run
    from reports import build

    index = build(Run(path), out, pages=pages, single_file=single_file, thumbnails=thumbnails)
    Console().print(f"report: {index}", markup=False, highlight=False, soft_wrap=True)
