"""``fer-batch validate``: check a run on one's own footage, by people who code its faces blindly."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fer_batch.errors import RefusedError
from jobs.shown import refuse_single_people, refuse_without_faces

if TYPE_CHECKING:
    from fer_batch.store import Run

LEAST = 20
"""Smallest --n: with fewer there are not two or three faces a class."""


def validate(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="The --out of a run.")],
    more: Annotated[list[Path] | None, typer.Argument(metavar="FILE", help="More files after --codes.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Draw faces and make this folder for the coders.")
    ] = None,
    codes: Annotated[
        list[Path] | None, typer.Option(metavar="FILE...", help="Read the coders' CSV files and report agreement.")
    ] = None,
    n: Annotated[
        int, typer.Option("--n", min=LEAST, max=20_000, help="Faces to draw, about equally of each class.")
    ] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other faces.")] = 0,
    coders: Annotated[str, typer.Option(metavar="NAMES", help="Names that the page offers, with commas between.")] = "",
    show: Annotated[
        Literal["face", "strip"], typer.Option(help="strip adds the track's samples just before and after each face.")
    ] = "face",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check a run against human coders: first --out FOLDER, then --codes FILE...

    With --out, faces are drawn at random from all classes and videos and written as pictures, with a page on which
    people code them without seeing the model's answers. With --codes, the answers are read back: agreement (kappa),
    each class's precision and recall, calibration, all with 95 % intervals.
    """
    from fer_batch.store import Run

    if (out is None) == (codes is None):
        raise RefusedError(
            "validate goes in two steps: --out FOLDER draws faces for coding, then --codes FILE... reads the codes"
        )
    if more and codes is None:
        raise RefusedError(f"{more[0]}: files of codes are given after --codes")
    run = Run(path)
    refuse_without_faces(run.info, "validate")
    refuse_single_people(run.info, "validate")
    if out is not None:
        _prepare(run, out, n, seed, [name.strip() for name in coders.split(",") if name.strip()], show, as_json)
    else:
        _evaluate(run, [*(codes or []), *(more or [])], as_json)


def _prepare(
    run: Run, out: Path, n: int, seed: int, coders: list[str], show: Literal["face", "strip"], as_json: bool
) -> None:
    from fer_batch.schema import EMOTIONS
    from reports.validation.draw import draw
    from reports.validation.key import make_key, write_key
    from reports.validation.material import check_coders, prepare_folder, write_page
    from reports.validation.pictures import write_pictures

    console, errors = Console(), Console(stderr=True)
    check_coders(coders)
    if run.info.get("state") != "complete":
        errors.print(f"{run.path} is not complete: figures will speak of the videos that are finished now", **_PLAIN)
    sample = draw(run, n, seed)
    prepare_folder(out)
    if not as_json:
        console.print(f"Writing pictures of {len(sample.faces)} faces from your videos to {out}", **_PLAIN)
    with nullcontext() if as_json else errors.status("reading videos") as status:

        def on_video(done: int, of: int) -> None:
            if status is not None:
                status.update(f"reading videos: {done} of {of}")

        lost, unread = write_pictures(run, sample, out, show, on_video)
    items = sorted(item for item in sample.faces["item"].to_pylist() if item not in lost)
    if not items:
        (out / "images").rmdir()
        out.rmdir()
        reasons = [f"{video}: {reason}" for video, reason in list(unread.items())[:10]] or ["the frames are damaged"]
        raise RefusedError("no face could be shown:\n  " + "\n  ".join(reasons))
    key = write_key(run, make_key(run, sample, lost, asked=n, seed=seed, show=show))
    page = write_page(sample.sample_id, items, out, show, coders)
    drawn = sample.faces["emotion"].to_pylist()
    counts = {e: {"in_run": sample.n_faces[i], "drawn": drawn.count(e)} for i, e in enumerate(EMOTIONS)}
    if as_json:
        outcome = {
            "sample_id": sample.sample_id,
            "asked": n,
            "drawn": len(drawn),
            "shown": len(items),
            "classes": counts,
        }
        print(json.dumps({**outcome, "unread": unread, "page": str(page), "key": str(key)}))
        return
    for video, reason in unread.items():
        errors.print(f"{video}: {reason}", **_PLAIN)
    if lost:
        console.print(f"{len(lost)} of them cannot be shown; the weights of the others make up for them", **_PLAIN)
    if len(drawn) < n:
        console.print(
            f"{len(drawn)} instead of {n}: no two faces are taken from the same two seconds of a track", **_PLAIN
        )
    table = _table("class named by the model", "faces in the run", "drawn")
    for emotion, count in counts.items():
        table.add_row(emotion, f"{count['in_run']:,}", str(count["drawn"]))
    console.print(table)
    names = coders or ["NAME"]
    files = " ".join(f"codes-{name.replace(' ', '-')}.csv" for name in names)
    console.print(
        f"page:   {page} (or fill in {'the tables' if coders else 'codes.csv'} beside it)\n"
        f"key:    {key} (with the model's answers: not for coders)\n"
        f"then:   fer-batch validate {run.path} --codes {files}\n"
        f"The folder holds pictures of people's faces. Delete {out} when coding is done.",
        **_PLAIN,
    )


def _evaluate(run: Run, files: list[Path], as_json: bool) -> None:
    from reports.validation.codes import gather, read_lines
    from reports.validation.findings import findings
    from reports.validation.key import read_key
    from reports.validation.page import write_findings

    lines = read_lines(files)
    key = read_key(run, [line.item for line in lines])
    found = findings(key, gather(lines, key))
    page = write_findings(run, found)
    if as_json:
        print(json.dumps({**found, "page": str(page)}))
        return
    console = Console()
    console.print(_headline(found), **_PLAIN)
    console.print(_agreement(found))
    console.print(_classes(found))
    calibration = found["calibration"]
    if calibration is not None:
        console.print(
            f"calibration error {_figure(calibration['error'])}, where true probabilities would show about "
            f"{calibration['by_chance']:.2f}; confidence minus accuracy {_figure(calibration['excess'], '+.2f')}",
            **_PLAIN,
        )
    for caution in found["cautions"]:
        console.print(f"- {caution}", **_PLAIN)
    console.print(f"page: {page}", **_PLAIN)


_PLAIN: dict[str, Any] = {"markup": False, "highlight": False, "soft_wrap": True}


def _headline(found: dict[str, Any]) -> str:
    clusters = found["clusters"]
    who = ", ".join(f"{coder['name']} {coder['coded']}" for coder in found["coders"])
    reference = "the majority" if found["reference"] == "majority" else found["reference"]
    return (
        f"{found['coded']} of {found['drawn']} faces coded ({who}); 95 % intervals over {clusters['n']} "
        f"{clusters['by']}s\n"
        f"on the run's {found['faces_in_run']:,} faces the model agrees with {reference} on "
        f"{_figure(found['accuracy'])} (n = {found['accuracy']['n']}); "
        f"cannot tell {_figure(found['cannot_tell'])}, no face {_figure(found['no_face'])}"
    )


def _agreement(found: dict[str, Any]) -> Table:
    table = _table("agreement", "n", "in the run", "kappa", "kappa in the sample")
    for pair in found["pairs"]:
        cells = (pair["run"]["agreement"], pair["run"]["kappa"], pair["sample"]["kappa"])
        table.add_row(escape(f"{pair['first']} - {pair['second']}"), str(pair["n"]), *map(_figure, cells))
    if found["alpha"] is not None:
        table.add_row("all coders (alpha)", str(found["alpha"]["n"]), "", "", _figure(found["alpha"]))
    return table


def _classes(found: dict[str, Any]) -> Table:
    table = _table("class", "n", "precision", "n", "recall", "by model", "by people")
    table.caption = "by model, by people: share of the run's faces that they call so"
    for emotion, row in found["classes"].items():
        table.add_row(
            emotion,
            str(row["precision"]["n"]),
            _figure(row["precision"]),
            str(row["recall"]["n"]),
            _figure(row["recall"]),
            f"{row['share_model']:.2f}",
            _figure(row["share_coded"]),
        )
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _figure(estimate: dict[str, Any], form: str = ".2f") -> str:
    """``0.71 [.60, .80]``; a dash where it cannot be said."""
    if estimate["value"] is None:
        return "-"
    if estimate["low"] is None:
        return f"{estimate['value']:{form}}"
    low, high = (f"{estimate[end]:{form}}".replace("0.", ".", 1) for end in ("low", "high"))
    return f"{estimate['value']:{form}} [{low}, {high}]"
