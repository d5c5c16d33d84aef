"""``fer-batch watch``: keep processing recordings as they arrive."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from fer_batch.errors import RefusedError
from jobs.arrivals import Complete
from jobs.interrupt import resumable

if TYPE_CHECKING:
    from fer_batch.config import Resources
    from fer_batch.store import Run
    from jobs.settings import Settings


def watch(
    arguments: Annotated[
        list[str],
        typer.Argument(metavar="DIR", help="Folders to watch, or a job file; after --, more options of fer-batch run."),
    ],
    out: Annotated[
        str | None, typer.Option(help="Folder for the tables and the report.", show_default="what the job file says")
    ] = None,
    interval: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="How often to look for files.")] = 10.0,
    settle: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.0, help="A file is complete when unchanged for so long.")
    ] = 30.0,
    once: Annotated[bool, typer.Option("--once", help="Process what is complete now, then end.")] = False,
) -> None:
    """Process the recordings in DIR and go on as more arrive, until Ctrl-C or SIGTERM.

    **fer-batch watch recordings/ --out results**. A file is taken once it is complete: unchanged for some time, and not
    open for writing. One that cannot be read yet (`unfinished`) is tried again when it has changed. The list of videos
    in the report follows; **fer-batch report** builds all pages.
    """
    from fer_batch.api import session
    from jobs.run import UNCLEAN, settings_of

    settings = settings_of([*arguments, *([] if out is None else ["--out", out])])
    console = Console(stderr=True)
    settings.for_run()  # the purpose gate, before Ray starts
    run: Run | None = None
    with resumable(console), session(_sized(settings)):
        while True:
            run = (_look(settings, settle, console) if once or _is_free(settings, console) else None) or run
            if once:
                break
            time.sleep(interval)
    if run is not None and run.info["counts"]["failed"] + run.info["counts"]["partial"]:
        sys.exit(UNCLEAN)


def _sized(settings: Settings) -> Resources:
    """What may be used, with what the model takes."""
    from fer_batch.bundle import ModelBundle
    from fer_batch.precision import sized

    return sized(settings.resources, settings.config.precision, ModelBundle.load(settings.model))


def _look(settings: Settings, settle_s: float, console: Console) -> Run | None:
    """Process what is new and complete; None if there is nothing.

    Nothing is kept from one look to the next but the run's folder itself, however long this goes on.
    """
    from fer_batch.api import run as run_videos
    from jobs.progress import Display

    if not _is_anything_new(settings, settle_s):
        return None
    with Display(console) as display:
        run = run_videos(**settings.for_run(), is_ready=Complete(settle_s), on_progress=display)
    counts = run.info["counts"]
    if settings.pages != "none":
        from fer_batch.local_copy import on_disk
        from reports import build

        with on_disk(run) as (here, _):
            build(here, pages="index")
    text = f"{counts['files']} in the ledger: {counts['ok']} ok, {counts['partial']} partial, {counts['failed']} failed"
    console.print(text, markup=False, highlight=False)
    return run


def _is_free(settings: Settings, console: Console) -> bool:
    """Whether nobody else works on the run, as a purge does for a moment: that is no reason to stop watching."""
    from fer_batch.object_lease import lease_of
    from fer_batch.object_path import as_path

    holder = lease_of(as_path(settings.out) / "work" / "lease.json").holder()
    if holder is not None:
        console.print(f"{holder} works on {settings.out}; looking again later", markup=False, highlight=False)
    return holder is None


def _is_anything_new(settings: Settings, settle_s: float) -> bool:
    from fer_batch.discover import Discovery
    from fer_batch.store import Run
    from fer_batch.todo import ToDo

    discovery = Discovery(settings.inputs, settings.include, settings.exclude, leave_out=settings.out)
    complete = Complete(settle_s)
    try:
        run = Run(settings.out)
    except RefusedError:  # the first look
        return any(complete(path) for path in discovery)
    if run.info["state"] != "complete":
        return True  # an earlier start broke off
    return any(complete(path) for path in ToDo(discovery, run, retry_failed=False))
