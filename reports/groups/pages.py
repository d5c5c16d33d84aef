"""The pages of a comparison: one over all, and one a stimulus."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from fer_batch import page
from fer_batch.store import Run
from reports import wording
from reports.assets import prepare, write_page
from reports.groups import figures
from reports.groups.cells import AFFECT, EVERYBODY
from reports.groups.compare import EFFECT_RESAMPLES, MOST_PAIRED_OFF, Factor
from reports.groups.estimate import LEAST_PEOPLE
from reports.groups.figures import LABELS
from reports.groups.over_time import Curve
from reports.groups.small import check_size, shown_groups
from reports.groups.stimuli import find_stimuli, pictures
from reports.groups.study import BAND_RESAMPLES, Study, mean_order
from reports.load import RunTables

if TYPE_CHECKING:
    import jinja2

FOLDER: Final = "groups"
"""Of these pages, in the report's folder."""

ROWS_OF_CURVE: Final = 24
"""Rows of a curve's table; the tables in Python have every step."""


def build_groups(
    run: Run,
    study: Study,
    out: Path | None = None,
    *,
    stimuli: Path | None = None,
    single_file: bool = False,
    has_index: bool | None = None,
) -> Path:
    """Write the pages of a comparison.

    Args:
        run: the run.
        study: from :func:`reports.groups.compare`.
        out: folder of the report, by default ``report/`` in the run's folder.
        stimuli: folder with the stimuli's own videos, each named like its stimulus.
        single_file: each page holds its scripts.
        has_index: whether the report's own index is linked to; None if it is there already.

    Returns:
        The first page.

    Raises:
        RefusedError: `stimuli` is no such folder.
        StoppedError: the pages cannot be written.
    """
    info = RunTables(run).info
    check_size(info, study.settings.min_group)
    videos = {} if stimuli is None else find_stimuli(stimuli, study.cells.stimuli)
    folder = Path(out) if out is not None else Path(run.report_dir)
    environment = prepare(folder, [FOLDER], ["groups.js"], single_file=single_file)
    shown = study.factors[-1].shown
    names = {
        name: f"stimulus-{number:02d}.html"
        for number, name in enumerate((name for name, s in zip(study.cells.stimuli, shown, strict=True) if s), 1)
    }
    common = {
        "info": info, "purpose": wording.purpose(info), "base": "../", "study": study, "settings": study.settings,
        "cells": study.cells, "labels": LABELS, "names": names, "measures": study.cells.measures,
        "affect": [name for name in AFFECT if name in study.cells.measures], "bin_ms": study.cells.bin_ms,
        "least": LEAST_PEOPLE, "everybody": EVERYBODY, "band_resamples": BAND_RESAMPLES,
        "effect_resamples": EFFECT_RESAMPLES, "most_paired": MOST_PAIRED_OFF, "n_people": len(study.cells.people),
        "run_id": run.id, "has_index": (folder / "index.html").is_file() if has_index is None else has_index,
    }  # fmt: skip
    for name, file in names.items():
        length = study.cells.cells[study.cells.stimuli.index(name)].length_ms
        found, problem = pictures(videos[name], length) if name in videos else ([], None)
        html = _stimulus(environment, common, study, name, found, problem)
        write_page(folder / FOLDER / file, html)
    write_page(folder / FOLDER / "index.html", _overview(environment, common, study))
    written = {"index.html", *names.values()}
    for old in (folder / FOLDER).glob("stimulus-*.html"):
        if old.name not in written:
            old.unlink()  # it would show what this table no longer holds
    return folder / FOLDER / "index.html"


def _overview(environment: jinja2.Environment, common: dict[str, Any], study: Study) -> str:
    with_points = not wording.groups_only(common["info"])
    factors = [_factor(study, factor, with_points=with_points) for factor in study.factors]
    over_time = []
    for key, title in (("condition", "conditions"), ("stimulus", "stimuli")):
        if found := study.curves.get((key,)):
            over_time.append({"name": key, "title": title, **_curves(found, study)})
    return environment.get_template("groups.html").render(
        **common,
        factors=factors,
        over_time=over_time,
        flow=_flow(study),
        order=mean_order([one for one in study.participants.trials if study.cells.counts(one)], study.cells.left_out),
        incomplete=_incomplete(study),
        table=study.participants.path.name,
        unused=study.participants.unused,
        persons=sorted({trial.person.kind for trial in study.participants.trials}),
    )


def _stimulus(
    environment: jinja2.Environment, common: dict[str, Any], study: Study, name: str, found: list[Any],
    problem: str | None,
) -> str:  # fmt: skip
    number = study.cells.stimuli.index(name)
    one = study.cells.cells[number]
    groups = []
    shown = shown_groups(_present(study, number), study.settings.min_group)
    for c, condition in enumerate(study.cells.conditions):
        mine = one.conditions == c
        people = int(mine.sum())
        coverage = one.seen_ms[mine].sum(axis=1) / one.sampled_ms[mine].sum(axis=1)
        groups.append({"name": condition, "people": people, "shown": bool(shown[c]),
                       "small": people < study.settings.min_group,
                       "coverage": float(coverage.mean()) if people else None,
                       "lowest": float(coverage.min()) if people else None})  # fmt: skip
    curves = study.curves.get(name, [])
    return environment.get_template("groups_stimulus.html").render(
        **common, name=name, length_ms=one.length_ms, groups=groups, pictures=found, problem=problem,
        curves=_curves(curves, study) if curves else None, steps=_steps(curves),
    )  # fmt: skip


def _present(study: Study, stimulus: int) -> NDArray[np.bool_]:
    """Bool (people, conditions), who is analysed in a stimulus."""
    one = study.cells.cells[stimulus]
    found = np.zeros((len(study.cells.people), len(study.cells.conditions)), bool)
    found[one.people, one.conditions] = True
    return found


def _incomplete(study: Study) -> int:
    """How many people lack some stimuli though most people watched several."""
    stimuli = study.factors[-1]
    known = np.isfinite(stimuli.values[:, stimuli.shown, 0])
    return int((known.any(axis=1) & ~known.all(axis=1)).sum()) if stimuli.within else 0


def _curves(found: list[Curve], study: Study) -> dict[str, Any]:
    step_ms, titles = study.cells.step_ms, figures.titles(study.settings)
    own, gaps = [one for one in found if one.b is None], [one for one in found if one.b is not None]
    pairs = list(dict.fromkeys((one.a, one.b, one.design, one.people) for one in gaps if one.measure == "valence"))
    people = {one.a: one.people for one in own if one.measure == "valence"}
    return {
        "courses": page.embedded(figures.courses(own, step_ms, titles)) if own else None,
        "gaps": page.embedded(figures.gaps(gaps, step_ms)) if gaps else None,
        "pairs": pairs,
        "legend": [(name, n, figures.COLOURS[i % 6], figures.DASHES[i % 6]) for i, (name, n) in enumerate(
            people.items())],
        "few": [one.a for one in own if one.measure == "valence" and one.points is not None],
        "apart": _apart(gaps),
    }  # fmt: skip


def _apart(gaps: list[Curve]) -> list[dict[str, Any]]:
    """For each pair and measure the stretches of time in which the band of the difference leaves out 0."""
    rows = []
    for one in gaps:
        low, high = one.estimate.low, one.estimate.high
        if np.isfinite(low).any():
            outside = np.flatnonzero((low > 0) | (high < 0))
            runs = [run for run in np.split(outside, np.flatnonzero(np.diff(outside) > 1) + 1) if len(run)]
            step = int(one.at_ms[1] - one.at_ms[0]) if len(one.at_ms) > 1 else 0
            rows.append(
                {
                    "a": one.a,
                    "b": one.b,
                    "measure": one.measure,
                    "times": [
                        (int(one.at_ms[run[0]]), int(one.at_ms[run[-1]]) + step, bool(low[run[0]] > 0)) for run in runs
                    ],
                }
            )
    return rows  # fmt: skip


def _steps(found: list[Curve]) -> list[dict[str, Any]]:
    """Rows of the table of a stimulus' valence and expressiveness: at most :data:`ROWS_OF_CURVE` of its steps."""
    own = {(one.a, one.measure): one for one in found if one.b is None and one.measure in AFFECT[:2]}
    rows = []
    for name in dict.fromkeys(name for name, _ in own):
        valence, other = own[name, "valence"], own[name, "expressiveness"]
        every = -(-len(valence.at_ms) // ROWS_OF_CURVE)
        rows += [
            {"group": name, "at_ms": int(valence.at_ms[i]), "people": int(valence.estimate.people[i]),
             "valence": _triple(valence, i), "expressiveness": _triple(other, i),
             "coverage": None if np.isnan(valence.coverage[i]) else float(valence.coverage[i])}
            for i in range(0, len(valence.at_ms), every)
        ]  # fmt: skip
    return rows


def _triple(one: Curve, step: int) -> tuple[float | None, float | None, float | None]:
    found = one.estimate
    value, low, high = (None if np.isnan(x[step]) else float(x[step]) for x in (found.value, found.low, found.high))
    return value, low, high


def _factor(study: Study, factor: Factor, *, with_points: bool) -> dict[str, Any]:
    """What the page shows of a factor; `with_points` each person's own mean too."""
    tables = {
        name: study.tables[name].filter(pc.field("factor") == factor.name).to_pylist()
        for name in ("means", "differences", "ranking")
    }
    differences, chances = tables["differences"], [r for r in tables["ranking"] if r["probability"] is not None]
    any_shown, titles = bool(factor.shown.any()), figures.titles(study.settings)
    families = {name: [row for row in differences if row["family"] == name]
                for name in dict.fromkeys(row["family"] for row in differences)}  # fmt: skip
    return {
        "name": factor.name,
        "many": {"condition": "conditions", "stimulus": "stimuli"}[factor.name],
        "hidden": [level for level, shown in zip(factor.levels, factor.shown, strict=True) if not shown],
        "small": {"condition": study.cells.small_conditions, "stimulus": study.cells.small_stimuli}[factor.name],
        "within": factor.within,
        "means": [row for row in tables["means"] if row["measure"] in AFFECT],
        "groups": list(dict.fromkeys(row["level"] for row in tables["means"])),
        "families": families,
        "places": [row for row in tables["ranking"] if row["rank"] == 1 and row["measure"] == "valence"],
        "points": page.embedded(figures.points(factor, tables["means"], titles)) if with_points and any_shown else None,
        "forest": page.embedded(figures.forest(differences)) if differences else None,
        "ranks": page.embedded(figures.ranks(chances)) if chances else None,
        "others": int(factor.shown.sum()) > MOST_PAIRED_OFF and factor.within,
    }


def _flow(study: Study) -> list[dict[str, Any]]:
    """The flow by step, with a column for all and one a condition; small groups have no numbers.

    Trials are not counted where a stimulus in one condition is hidden: a condition's trials minus those of its other
    stimuli would tell how many it has.
    """
    cells = (_present(study, s).sum(axis=0) for s in range(len(study.cells.stimuli)))
    some_hidden = any(((people > 0) & (people < study.settings.min_group)).any() for people in cells)
    rows = study.tables["flow"].to_pylist()
    names = [None, *(name for name in dict.fromkeys(row["condition"] for row in rows) if name is not None)]
    analysed = {row["condition"]: row["people"] for row in rows if row["step"] == "analysed"}
    by: dict[tuple[str, str | None, str | None], dict[str | None, dict[str, Any]]] = {}
    for row in rows:
        by.setdefault((row["step"], row["reason"], row["by"]), {})[row["condition"]] = row
    lines = [
        {"step": step, "reason": reason, "by": by_whom, "cells": [
            {"condition": name, "hidden": analysed[name] < study.settings.min_group,
             "trials": None if some_hidden else found[name]["trials"] if name in found else 0,
             "people": found[name]["people"] if name in found else 0} for name in names]}
        for (step, reason, by_whom), found in by.items()
    ]  # fmt: skip
    order = {"recorded": 0, "excluded": 1, "analysed": 2}
    return sorted(lines, key=lambda line: order[str(line["step"])])
