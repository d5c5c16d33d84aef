"""The command line: one verb a command. Each imports what it needs when it is used, so that --help is quick."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from fer_batch.errors import FerBatchError, RefusedError
from jobs.annotate import annotate
from jobs.doctor import doctor
from jobs.export import export
from jobs.init import init
from jobs.interrupt import INTERRUPTED, SIGNALS
from jobs.participants import participants
from jobs.predict import predict
from jobs.purge import purge
from jobs.report import report
from jobs.run import run
from jobs.status import status
from jobs.submit import submit
from jobs.validate import validate
from jobs.watch import watch
from training.commands import evaluate, export_model, train

REFUSED, STOPPED = 2, 1

app = typer.Typer(
    name="fer-batch",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Which expressions the faces in recorded video show, when, and how sure that is.\n\n"
    "Start with **fer-batch run FOLDER --out RESULTS**.\n\n"
    "Exit codes: 0 every video ok; 1 the run stopped; 2 refused before any work; 3 finished, but the ledger has failed "
    "or partial videos; 130 interrupted.",
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"fer-batch {version('fer-batch')}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """What all commands share."""


for command in (
    run, init, status, report, export, annotate, participants, predict, doctor, validate, submit, watch, purge,
    train, evaluate, export_model,
):  # fmt: skip
    app.command()(command)


def main() -> None:
    """Entry point of ``fer-batch``: turns errors into messages and exit codes."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    is_interrupted = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal is_interrupted
        is_interrupted = True
        raise KeyboardInterrupt

    for number in SIGNALS:  # a scheduler's stop is as orderly as Ctrl-C
        signal.signal(number, interrupt)
    console = Console(stderr=True)
    try:
        app()
    except SystemExit as ended:
        if is_interrupted and ended.code == STOPPED:  # typer's own answer to it
            sys.exit(INTERRUPTED)
        raise
    except FerBatchError as error:
        word = "refused" if isinstance(error, RefusedError) else "stopped"
        console.print(f"fer-batch: {word}: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(REFUSED if isinstance(error, RefusedError) else STOPPED)
