"""``fer-batch report``: the pages of a run, from its tables alone, and those that compare people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from fer_batch.errors import RefusedError
from fer_batch.object_path import as_path
from jobs.shown import refuse_without_faces, refuse_without_people

if TYPE_CHECKING:
    from fer_batch.store import Run

_PANEL = "With --groups"


def report(
    context: typer.Context,
    path: Annotated[Any, typer.Argument(parser=as_path, metavar="RUN", help="The --out of a run.")],
    pages: Annotated[
        Literal["full", "index", "none"],
        typer.Option("--pages", help="Which pages to build; none goes with --groups."),
    ] = "full",
    single_file: Annotated[
        bool, typer.Option("--single-file", help="Put all that a page needs into it (5 MB each), to pass it on alone.")
    ] = False,
    thumbnails: Annotated[
        bool,
        typer.Option("--thumbnails", help="Show the face at each peak, from the video; the pages then hold faces."),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the pages.", show_default="report/ in the run's folder")
    ] = None,
    job: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Build what this job file asks for, the report of its kind among it."),
    ] = None,
    groups: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="Compare people, conditions and stimuli by this participants table."),
    ] = None,
    stimuli: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", rich_help_panel=_PANEL, help="Show pictures of the stimuli: videos named like them."
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="STIMULUS", rich_help_panel=_PANEL, help="Subtract each person's mean over these rows."),
    ] = None,
    positive_above: Annotated[
        float, typer.Option(rich_help_panel=_PANEL, help="Valence above which a sample counts as positive.")
    ] = 0.0,
    min_group: Annotated[
        int, typer.Option(rich_help_panel=_PANEL, help="Smaller groups are in no figure, nor in totals.")
    ] = 5,
    min_coverage: Annotated[
        float, typer.Option(rich_help_panel=_PANEL, help="Leave out trials with a smaller share of time with the face.")
    ] = 0.0,
    resamples: Annotated[int, typer.Option(rich_help_panel=_PANEL, help="Bootstrap resamples.")] = 9_999,
    seed: Annotated[int, typer.Option(rich_help_panel=_PANEL, min=0, help="Seed of the resamples.")] = 0,
) -> None:
    """Build the pages of a run again, from its tables alone; also while it goes on.

    With --groups also those that compare people, conditions and stimuli: **fer-batch participants** starts the table.
    """
    from fer_batch.local_copy import on_disk
    from fer_batch.store import Run
    from jobs.purpose import settle

    if job is not None:
        sources = {name: context.get_parameter_source(name) for name in context.params if name not in {"path", "job"}}
        if given := [f"--{name.replace('_', '-')}" for name, source in sources.items()
                     if source is not None and source.name == "COMMANDLINE"]:  # fmt: skip
            raise RefusedError(f"{job} says itself which pages there are and how; leave {', '.join(given)} out")
        _of_job(Run(path), job)
        return
    if groups is None and pages == "none":
        raise RefusedError("--pages none builds nothing; leave it out, or add --groups TABLE")
    if groups is None and (stimuli is not None or baseline is not None):
        raise RefusedError("--stimuli and --baseline belong to --groups TABLE; add it")
    run = Run(path)
    settle(run.path, None)
    if out is not None:
        _check_place(out, run)
    if thumbnails:
        refuse_without_faces(run.info, "--thumbnails")
    if groups is not None:
        refuse_without_people(run.info, "--groups")
    console = Console(soft_wrap=True)
    if groups is not None:
        from reports.groups import Settings, build_groups, compare

        asked = Settings(
            baseline=baseline, positive_above=positive_above, min_coverage=min_coverage, min_group=min_group,
            resamples=resamples, seed=seed,
        )  # fmt: skip
        with on_disk(run) as (here, will_be):
            first = build_groups(
                here, compare(here, groups, asked), out, stimuli=stimuli, single_file=single_file,
                has_index=None if pages == "none" else True,
            )  # fmt: skip
        console.print(f"groups: {first if out else will_be(first)}", markup=False, highlight=False)
    if pages != "none":
        from reports import build

        with on_disk(run) as (here, will_be):
            index = build(here, out, pages=pages, single_file=single_file, thumbnails=thumbnails)
        console.print(f"report: {index if out else will_be(index)}", markup=False, highlight=False)


def _of_job(run: Run, file: Path) -> None:
    from dataclasses import replace

    from fer_batch.local_copy import on_disk
    from jobs.job_file import Job
    from jobs.pages import build_pages
    from jobs.purpose import settle

    settings = replace(Job(file).settings(), out=run.path)
    settle(run.path, settings.purpose)
    with on_disk(run) as (here, will_be):
        made = build_pages(here, settings)
    console = Console(soft_wrap=True)
    for name, page in (("people", made.people), ("report", made.index)):
        if page is not None:
            console.print(f"{name}: {will_be(page)}", markup=False, highlight=False)
    if made.note:
        console.print(made.note.replace(str(here.path), str(run.path)), markup=False, highlight=False)


def _check_place(out: Path, run: Run) -> None:
    """Pages must not land among a run's tables, nor replace what is not theirs."""
    target = out.resolve()
    is_inside = isinstance(run.path, Path) and target.is_relative_to(run.path.resolve())
    if is_inside and not target.is_relative_to(Path(run.report_dir).resolve()):
        raise RefusedError(f"--out {out} lies among the run's own files; leave it out, or name a folder elsewhere")
    if out.exists() and not out.is_dir():
        raise RefusedError(f"--out {out} is a file; name a folder")
    index = out / "index.html"
    if index.exists() and b"fer-batch" not in index.read_bytes():
        raise RefusedError(f"{index} is there already and no report of fer-batch; name another folder")
