"""The page of a survey: stimuli ranked, the share of respondents over a threshold through time, breakdowns."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.compute as pc

from fer_batch import page
from fer_batch.store import Run
from reports import wording
from reports.assets import prepare, write_page
from reports.feedback import figures
from reports.feedback.attributes import Breakdown
from reports.feedback.shares import Shares
from reports.feedback.survey import Feedback
from reports.groups.compare import MOST_PAIRED_OFF
from reports.groups.estimate import LEAST_PEOPLE
from reports.groups.figures import LABELS, ranks
from reports.groups.small import check_size
from reports.groups.stimuli import find_stimuli, pictures
from reports.load import RunTables

FOLDER: Final = "feedback"
"""Of this page, in the report's folder."""

SHOWN: Final = ("valence", "expressiveness", "time_positive", "p_happy")
"""Measures in the tables."""

_ROWS: Final = 24


def build_feedback(
    run: Run, found: Feedback, out: Path | None = None, *, stimuli: Path | None = None, single_file: bool = False
) -> Path:
    """Write the page.

    Args:
        run: the run.
        found: from :func:`reports.feedback.survey`.
        out: folder of the report, by default ``report/`` in the run's folder.
        stimuli: folder with the stimuli's own videos, each named like its stimulus, shown below the curves.
        single_file: the page holds its scripts.

    Returns:
        The page.

    Raises:
        RefusedError: `stimuli` is no such folder, or groups may be too small.
        StoppedError: the page cannot be written.
    """
    info = RunTables(run).info
    check_size(info, found.study.settings.min_group)
    videos = {} if stimuli is None else find_stimuli(stimuli, found.study.cells.stimuli)
    folder = Path(out) if out is not None else Path(run.report_dir)
    environment = prepare(folder, [FOLDER], [], single_file=single_file)
    study = found.study
    ranking = study.tables["ranking"].filter(pc.field("factor") == "stimulus").to_pylist()
    chances = [row for row in ranking if row["probability"] is not None]
    highest = max((100 * float(np.nanmax(one.high)) for one in found.shares if np.isfinite(one.high).any()), default=0)
    html = environment.get_template("feedback.html").render(
        info=info, purpose=wording.purpose(info), base="../", found=found, settings=study.settings, labels=LABELS,
        measures=list(study.cells.measures), bin_ms=study.cells.bin_ms,
        shown=[name for name in SHOWN if name in study.cells.measures], least=LEAST_PEOPLE, most_paired=MOST_PAIRED_OFF,
        n_people=len(study.cells.people), table=study.participants.path.name, step_s=study.cells.step_ms / 1000,
        stimuli=_ranked(found, ranking), ranks=page.embedded(ranks(chances)) if chances else None,
        left_out=sorted(set(study.cells.left_out.values())), n_left_out=len(study.cells.left_out),
        n_excluded=sum(one.excluded is not None for one in study.participants.trials),
        shares=[_share(one, study.cells.step_ms, min(100, max(10, 1.05 * highest)), videos) for one in found.shares],
        breakdowns=[_breakdown(one) for one in found.breakdowns], has_pictures=False,
        small=[*study.cells.small_conditions, *study.cells.small_stimuli],
    )  # fmt: skip
    write_page(folder / FOLDER / "index.html", html)
    return folder / FOLDER / "index.html"


def _ranked(found: Feedback, ranking: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a stimulus, by mean valence."""
    means: dict[str, dict[str, dict[str, Any]]] = {}
    for row in found.study.tables["means"].to_pylist():
        if row["factor"] == "stimulus":
            means.setdefault(row["level"], {})[row["measure"]] = row
    shares = {one.stimulus: one for one in found.shares}
    first = {row["level"]: row["probability"] for row in ranking if row["rank"] == 1 and row["measure"] == "valence"}
    return [
        {"name": name, "means": mine, "share": shares.get(name), "first": first.get(name),
         "position": found.positions.get(name)}
        for name, mine in sorted(means.items(), key=lambda one: -(one[1]["valence"]["mean"] or 0))
    ]  # fmt: skip


def _share(one: Shares, step_ms: int, highest: float, videos: dict[str, Path]) -> dict[str, Any]:
    film, problem = pictures(videos[one.stimulus], one.length_ms) if one.stimulus in videos else ([], None)
    every = -(-len(one.at_ms) // _ROWS)
    best = one.highest
    return {
        "name": one.stimulus,
        "figure": page.embedded(figures.share_course(one, step_ms, highest)),
        "pictures": film,
        "problem": problem,
        "ever": one.ever,
        "best": None if best is None else _step(one, best),
        "steps": [_step(one, i) for i in range(0, len(one.at_ms), every)],
    }


def _step(one: Shares, i: int) -> dict[str, Any]:
    known = bool(np.isfinite(one.share[i]))
    numbers = {name: float(getattr(one, name)[i]) if known else None for name in ("share", "low", "high")}
    return {"at_ms": int(one.at_ms[i]), "people": int(one.people[i]) if known else None, **numbers}


def _breakdown(one: Breakdown) -> dict[str, Any]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in one.means:
        if row["measure"] in SHOWN:
            groups.setdefault(row["level"], []).append(row)
    affect = [row for row in one.differences if row["family"].endswith("affect")]
    few = any(row["people"] < LEAST_PEOPLE for rows in groups.values() for row in rows)
    return {
        "name": one.attribute,
        "few": few,
        "groups": groups,
        "without": one.without,
        "small": one.small,
        "differences": affect,
    }
