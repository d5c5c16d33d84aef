"""What ``fer-batch submit`` sends: the command of a run, checked here before it goes, and the files it needs there."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from fer_batch.errors import RefusedError
from fer_batch.object_path import as_path
from jobs.upload import below, digest, stage

HERE_ONLY = {"address": "submit's own --address says where it runs", "dry_run": "use fer-batch run --dry-run"}
"""Flags of ``fer-batch run`` that make no sense on a cluster."""


@dataclass(frozen=True)
class RemoteRun:
    """A run to be done on a cluster.

    Attributes:
        command: for a shell there.
        files: what is uploaded, relative to the folder in which the command starts.
        key: tells this command with these files from any other.
    """

    command: str
    files: tuple[Path, ...]
    key: str


def prepare(arguments: Sequence[str], working_dir: Path | None, target: Path) -> RemoteRun:
    """Check what ``fer-batch run`` would be asked, and copy what it needs to `target`.

    Args:
        arguments: of ``fer-batch run``: a job file, or inputs and flags.
        working_dir: a folder to upload as a whole; None for just the files that are named.
        target: an empty folder.

    Raises:
        RefusedError: it cannot be done like this; nothing was sent.
    """
    given = _parsed(arguments)
    inputs = [str(item) for item in given["inputs"]]
    is_job = len(inputs) == 1 and inputs[0].endswith(".toml")
    if is_job:
        job_file = Path(inputs[0])
        root = working_dir or job_file.parent
        needed = [below(os.path.abspath(job_file), root, "the job file"), *_of_job(job_file, root)]
        arguments = [str(needed[0]) if item == inputs[0] else item for item in arguments]
    else:
        root = working_dir or Path()
        _check_elsewhere("INPUT", inputs)
        _check_elsewhere("--out", [str(given["out"])])
        _check_purpose(given["purpose"])
        named = [(f"--{name.replace('_', '-')}", given[name]) for name in ("model", "detector_model", "purpose")]
        needed = [below(str(path), root, flag) for flag, path in named if path is not None and _is_here(flag, path)]
    if is_job and given["out"] is not None:
        _check_elsewhere("--out", [str(given["out"])])
    files = stage(root, [Path()] if working_dir else needed, target)
    _check_models(target, files)
    command = shlex.join(["fer-batch", "run", *arguments])
    return RemoteRun(command, tuple(files), digest(command, target, files)[:12])


def _parsed(arguments: Sequence[str]) -> dict[str, Any]:
    """The parameters of ``fer-batch run``; what it would refuse is refused here."""
    from jobs.run import run

    app = typer.Typer()
    app.command()(run)
    context = typer.main.get_command(app).make_context("fer-batch run", list(arguments))
    given = context.params
    for name, why in HERE_ONLY.items():
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise RefusedError(f"--{name.replace('_', '-')} does not go with submit: {why}")
    if given["out"] is None and not str(given["inputs"][0]).endswith(".toml"):
        raise RefusedError("--out is missing: name a folder that every node of the cluster sees")
    return given


def _of_job(file: Path, root: Path) -> list[Path]:
    """The files that a job file names, past its purpose gate."""
    from jobs.job_file import Job

    job = Job(file)
    tables, settings = job.tables, job.settings()
    if settings.purpose is not None:
        settings.purpose.check()
    _check_elsewhere("inputs.paths", tables.inputs.paths)
    _check_elsewhere("output.folder", [tables.output.folder])
    if tables.report.stimuli is not None:
        _check_elsewhere("report.stimuli", [tables.report.stimuli])
    named: list[tuple[str, str | None]] = [("detector.model", tables.detector.model)]
    if job.participants is not None and job.participants.exists():  # it may still be missing
        assert tables.participants is not None  # noqa: S101 - for mypy
        named.append(("participants.table", tables.participants.table))
    if settings.model is not None and settings.model.is_dir():
        named.append(("model.name", tables.model.name))
    return [
        below(os.path.abspath(job.path(path)), root, what)
        for what, path in named
        if path is not None and not os.path.isabs(path)
    ]


def _check_purpose(file: Path | None) -> None:
    """The gate, here already; the run passes it again on the cluster."""
    if file is not None and file.exists():
        from jobs.purpose import read_purpose

        read_purpose(file).check()


def _check_elsewhere(what: str, paths: Sequence[str]) -> None:
    """Videos and results lie where every node sees them."""
    for path in paths:
        if getattr(shown := as_path(path), "is_signed", False):
            raise RefusedError(f"{what} is {shown}: its signature would stand in the cluster's list of jobs; give the "
                               "address alone, and let the nodes have credentials (docs/storage.md)")  # fmt: skip
        if not os.path.isabs(path) and "://" not in path:
            raise RefusedError(
                f"{what} is {path}, a path on this machine: neither videos nor results travel with a job. Give the "
                "absolute path, or the address, at which every node of the cluster sees it"
            )


def _is_here(flag: str, path: Path) -> bool:
    """Whether a path that was given is one of this machine's: relative, and for a model not just a name."""
    return not path.is_absolute() and (flag != "--model" or path.is_dir())


def _check_models(folder: Path, files: Sequence[Path]) -> None:
    """Every model among the files is whole: a rule that left out a large file would only show on the cluster.

    Raises:
        RefusedError: it is not.
    """
    from fer_batch.bundle import ModelBundle

    for file in files:
        if file.name == "model.json":
            ModelBundle.load(os.fspath(folder / file.parent))
    if Path("fer_batch/bundle.py") in files and not any(file.is_relative_to("fer_batch/models") for file in files):
        raise RefusedError("the folder holds fer-batch's code without its models (fer_batch/models); the cluster would "
                           "find none")  # fmt: skip
