"""The pages of participants over their sessions: one over all, and one a participant."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np

from fer_batch import page
from fer_batch.errors import RefusedError
from fer_batch.store import Run
from reports import wording
from reports.assets import prepare, write_page
from reports.groups.estimate import LEAST_PEOPLE
from reports.groups.figures import LABELS, titles
from reports.load import RunTables
from reports.sessions import figures
from reports.sessions.change import LEAST_SESSIONS, Sessions
from reports.sessions.visits import BLOCK_MS, BLOCKS, LEAST_BLOCKS, MEASURES, Visit

FOLDER: Final = "sessions"
"""Of these pages, in the report's folder."""

SHOWN: Final = MEASURES[:3]
"""Measures in the tables; the figures have all."""


def build_sessions(run: Run, found: Sessions, out: Path | None = None, *, single_file: bool = False) -> Path:
    """Write the pages.

    Args:
        run: the run.
        found: from :func:`reports.sessions.follow`.
        out: folder of the report, by default ``report/`` in the run's folder.
        single_file: each page holds its scripts.

    Returns:
        The first page.

    Raises:
        RefusedError: the run is about people at work or in education.
        StoppedError: the pages cannot be written.
    """
    info = RunTables(run).info
    if wording.groups_only(info):
        raise RefusedError("pages of participants over their sessions show single people. " + wording.GROUPS_ONLY)
    folder = Path(out) if out is not None else Path(run.report_dir)
    environment = prepare(folder, [FOLDER], ["groups.js"], single_file=single_file)
    files = {who: f"participant-{number:03d}.html" for number, who in enumerate(found.people, 1)}
    common = {
        "info": info, "purpose": wording.purpose(info), "base": "../", "found": found, "files": files,
        "settings": found.settings, "labels": LABELS, "measures": found.measures, "bin_ms": found.bin_ms,
        "shown": [name for name in SHOWN if name in found.measures], "least": LEAST_PEOPLE,
        "least_sessions": LEAST_SESSIONS, "least_blocks": LEAST_BLOCKS, "blocks": BLOCKS,
        "block_s": BLOCK_MS // 1000, "table": found.participants.path.name, "unit": found.unit,
    }  # fmt: skip
    for who, file in files.items():
        html = environment.get_template("sessions_person.html").render(**common, who=who, **_person(found, who))
        write_page(folder / FOLDER / file, html)
    html = environment.get_template("sessions.html").render(**common, **_overview(found))
    write_page(folder / FOLDER / "index.html", html)
    written = {"index.html", *files.values()}
    for old in (folder / FOLDER).glob("participant-*.html"):
        if old.name not in written:
            old.unlink()  # it would show what this table no longer holds
    return folder / FOLDER / "index.html"


def _person(found: Sessions, who: str) -> dict[str, Any]:
    visits = [visit for visit in found.visits if visit.participant == who]
    slopes = {row["measure"]: row for row in found.tables["slopes"].to_pylist() if row["participant"] == who}
    rows = found.tables["visits"].to_pylist()
    lines: dict[str, tuple[float, float] | None] = {}
    for k, name in enumerate(MEASURES):
        if name not in found.measures:
            continue
        slope, at = slopes[name]["slope"], np.array([visit.at for visit in visits])
        middle = float(np.mean([visit.mean.values[k] for visit in visits]))
        lines[name] = None if slope is None else (middle + slope * (at[0] - at.mean()), middle + slope
                                                  * (at[-1] - at.mean()))  # fmt: skip
    reasons = found.left_out
    return {
        "visits": visits,
        "numbers": {(row["session"], row["measure"]): row for row in rows if row["participant"] == who},
        "slopes": slopes,
        "figure": page.embedded(figures.one_person(visits, found.unit, lines, titles(found.settings))),
        "without": [(one, reasons[one.row]) for one in found.participants.trials if one.participant == who and
                    one.row in reasons],
    }  # fmt: skip


def _overview(found: Sessions) -> dict[str, Any]:
    visits: dict[str, list[Visit]] = {}
    for visit in found.visits:
        visits.setdefault(visit.participant, []).append(visit)
    changes: dict[str, list[dict[str, Any]]] = {}
    for row in found.tables["changes"].to_pylist():
        changes.setdefault(row["kind"], []).append(row)
    return {
        "sessions": {who: len(mine) for who, mine in visits.items()},
        "several": sum(len(mine) > 1 for mine in visits.values()),
        "coverage": {who: sum(one.seen_ms for one in mine) / sum(one.sampled_ms for one in mine)
                     for who, mine in visits.items()},
        "slopes": {(row["participant"], row["measure"]): row for row in found.tables["slopes"].to_pylist()},
        "kinds": changes,
        "course": [row for row in found.tables["course"].to_pylist() if row["measure"] in SHOWN],
        "figure": page.embedded(figures.everybody(found, titles(found.settings))),
        "reasons": Counter(found.left_out.values()).most_common(),
        "excluded": sum(trial.excluded is not None for trial in found.participants.trials),
    }  # fmt: skip
