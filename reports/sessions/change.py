"""How participants change over their sessions: each one's line with its interval, and the mean change over people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_batch.store import Run
from reports.groups.estimate import Estimate, draw, holm, one_group
from reports.groups.participants import Participants, read_participants
from reports.groups.samples import OF_SAMPLES, read_samples
from reports.groups.settings import Settings
from reports.measures.columns import Floats
from reports.sessions.visits import MEASURES, Visit, is_dated, make_visits

LEAST_SESSIONS: Final = 4
"""A line through fewer sessions has no interval: with three, one degree of freedom is left."""

_TEXT, _INT, _FLOAT = pa.string(), pa.int64(), pa.float64()

SCHEMAS: Final = {
    "visits": pa.schema({"participant": _TEXT, "session": _TEXT, "at": _FLOAT, "trials": _INT, "samples": _INT,
                         "seen_ms": _INT, "sampled_ms": _INT, "coverage": _FLOAT, "measure": _TEXT, "mean": _FLOAT,
                         "low": _FLOAT, "high": _FLOAT, "baseline": _FLOAT}),
    "slopes": pa.schema({"participant": _TEXT, "measure": _TEXT, "sessions": _INT, "slope": _FLOAT, "low": _FLOAT,
                         "high": _FLOAT, "first": _FLOAT, "last": _FLOAT, "change": _FLOAT}),
    "changes": pa.schema({"kind": _TEXT, "measure": _TEXT, "people": _INT, "mean": _FLOAT, "low": _FLOAT,
                          "high": _FLOAT, "p": _FLOAT, "p_holm": _FLOAT}),
    "course": pa.schema({"number": _INT, "measure": _TEXT, "people": _INT, "mean": _FLOAT, "low": _FLOAT,
                         "high": _FLOAT}),
}  # fmt: skip
"""The tables of :class:`Sessions`. `at` is in weeks or session numbers, a slope is per week or session; intervals 95 %.
`changes` has the kinds ``last - first`` and ``slope``; `number` counts a participant's sessions from 1."""


@dataclass(frozen=True)
class Sessions:
    """What was found.

    Attributes:
        participants, settings: what it was made from.
        visits: the sessions, by participant and time.
        left_out: why a row is not analysed though the table does not exclude it, by row.
        unit: of the axis, ``week`` or ``session``.
        tables: a table for each of :data:`SCHEMAS`.
        bin_ms: length of the bins of time that all is made of, at privacy level `tracks`; None where there are samples.
    """

    participants: Participants
    settings: Settings
    visits: tuple[Visit, ...]
    left_out: Mapping[int, str]
    unit: str
    tables: dict[str, pa.Table]
    bin_ms: int | None = None

    @property
    def measures(self) -> tuple[str, ...]:
        """Those of :data:`reports.sessions.visits.MEASURES` that there can be."""
        return tuple(name for name in MEASURES if self.bin_ms is None or name not in OF_SAMPLES)

    @property
    def people(self) -> list[str]:
        """Participants with a session that could be analysed, in order."""
        return list(dict.fromkeys(visit.participant for visit in self.visits))


def follow(run: Run, table: Path, settings: Settings | None = None) -> Sessions:
    """Follow the participants of a run over their sessions.

    Args:
        run: the run.
        table: its participants table; the column session holds dates (2026-03-01) or numbers.
        settings: what is asked: baseline, positive_above, min_coverage, min_group, resamples and seed are used.

    Raises:
        RefusedError: the table is wrong or nothing of it can be analysed.
    """
    asked = settings or Settings()
    participants = read_participants(table, run)
    samples = read_samples(run, participants.trials, table)
    visits, left_out = make_visits(participants.trials, samples, asked)
    bin_ms = next((one.bin_ms for one in samples.values()), None)
    unit = "week" if all(is_dated(visit.session) for visit in visits) else "session"
    by_person: dict[str, list[Visit]] = {}
    for visit in visits:
        by_person.setdefault(visit.participant, []).append(visit)
    slopes = {who: _line(mine) for who, mine in by_person.items()}
    drawn = draw([0] * len(by_person), asked.resamples, asked.seed)
    found = {
        "visits": [row for visit in visits for row in _visit_rows(visit)],
        "slopes": [row for who, mine in by_person.items() for row in _slope_rows(who, mine, slopes[who])],
        "changes": _changes(by_person, slopes, drawn, asked),
        "course": _course(by_person, drawn, asked),
    }
    if bin_ms is not None:
        found = {name: [row for row in rows if row["measure"] not in OF_SAMPLES] for name, rows in found.items()}
    tables = {name: pa.Table.from_pylist(found[name], schema=schema) for name, schema in SCHEMAS.items()}
    return Sessions(participants, asked, tuple(visits), left_out, unit, tables, bin_ms)


def _line(visits: list[Visit]) -> tuple[Floats, Floats, Floats]:
    """Least squares through a participant's sessions, each counting once: slope, low, high (measures,)."""
    nothing = np.full(len(MEASURES), np.nan)
    at = np.array([visit.at for visit in visits])
    values = np.stack([visit.mean.values for visit in visits])
    centred = at - at.mean()
    if len(visits) < 2 or not (centred**2).sum():
        return nothing, nothing, nothing
    slope = centred @ values / (centred**2).sum()
    if len(visits) < LEAST_SESSIONS:
        return slope, nothing, nothing
    from scipy import stats

    apart = values - values.mean(axis=0) - centred[:, None] * slope
    error = np.sqrt((apart**2).sum(axis=0) / (len(visits) - 2) / (centred**2).sum())
    # Where all sessions lie on the line, as where all are 0, their scatter says nothing.
    reach = np.where(error > 1e-9, stats.t.ppf(0.975, len(visits) - 2) * error, np.nan)
    return slope, slope - reach, slope + reach


def _visit_rows(visit: Visit) -> list[dict[str, Any]]:
    return [
        {"participant": visit.participant, "session": visit.session, "at": visit.at, "trials": visit.trials,
         "samples": visit.samples, "seen_ms": visit.seen_ms, "sampled_ms": visit.sampled_ms,
         "coverage": visit.seen_ms / visit.sampled_ms, "measure": name, "mean": float(visit.mean.values[k]),
         "low": _known(visit.low[k]), "high": _known(visit.high[k]),
         "baseline": None if visit.baseline is None else float(visit.baseline.values[k])}
        for k, name in enumerate(MEASURES)
    ]  # fmt: skip


def _slope_rows(who: str, visits: list[Visit], line: tuple[Floats, Floats, Floats]) -> list[dict[str, Any]]:
    first, last = visits[0].mean.values, visits[-1].mean.values
    return [
        {"participant": who, "measure": name, "sessions": len(visits), "slope": _known(line[0][k]),
         "low": _known(line[1][k]), "high": _known(line[2][k]), "first": float(first[k]), "last": float(last[k]),
         "change": float(last[k] - first[k]) if len(visits) > 1 else None}
        for k, name in enumerate(MEASURES)
    ]  # fmt: skip


def _changes(
    by_person: Mapping[str, list[Visit]],
    slopes: Mapping[str, tuple[Floats, Floats, Floats]],
    drawn: NDArray[np.float32],
    asked: Settings,
) -> list[dict[str, Any]]:
    """The mean change over people, whole people resampled; one family a kind, corrected by Holm."""
    nothing = np.full(len(MEASURES), np.nan)
    change = [v[-1].mean.values - v[0].mean.values if len(v) > 1 else nothing for v in by_person.values()]
    slope = [slopes[who][0] for who in by_person]
    rows: list[dict[str, Any]] = []
    for kind, values in (("last - first", np.stack(change)), ("slope", np.stack(slope))):
        if np.isfinite(values[:, 0]).sum() < asked.min_group:
            continue
        found = one_group(values, drawn)
        corrected = holm(found.p)
        rows += [{"kind": kind, "measure": name, **_numbers(found, k), "p": _known(found.p[k]),
                  "p_holm": _known(corrected[k])} for k, name in enumerate(MEASURES)]  # fmt: skip
    return rows


def _course(by_person: Mapping[str, list[Visit]], drawn: NDArray[np.float32], asked: Settings) -> list[dict[str, Any]]:
    """The mean over people in their first, second, ... session, as far as enough people have one."""
    most = max(len(visits) for visits in by_person.values())
    values = np.full((len(by_person), most, len(MEASURES)), np.nan)
    for i, visits in enumerate(by_person.values()):
        values[i, : len(visits)] = [visit.mean.values for visit in visits]
    rows: list[dict[str, Any]] = []
    for k, name in enumerate(MEASURES):
        found = one_group(values[:, :, k], drawn[:2_000], at_once=True)
        rows += [{"number": n + 1, "measure": name, **_numbers(found, n)} for n in range(most)
                 if found.people[n] >= asked.min_group]  # fmt: skip
    return rows


def _numbers(found: Estimate, place: int) -> dict[str, Any]:
    return {"people": int(found.people[place]), "mean": _known(found.value[place]), "low": _known(found.low[place]),
            "high": _known(found.high[place])}  # fmt: skip


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
