"""The page of a run at privacy level `aggregate`: what it measures, and the bins of each video."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from fer_batch import page
from fer_batch.schema import PROBABILITIES
from fer_batch.store import Run
from reports import wording
from reports.assets import prepare, write_page
from reports.classroom import figures
from reports.load import RunTables

VIDEOS_A_PAGE: Final = 50

TITLES: Final = {"classroom": "Classroom engagement report"}
"""By the job's kind, in the words of those who ask for it; the page says what it does not mean by them."""


def build_bins(run: Run, out: Path | None = None, *, single_file: bool = False) -> Path:
    """Write the pages, and remove those that an earlier build of this run left; works while the run goes on.

    Args:
        run: the run.
        out: folder of the report, by default ``report/`` in the run's folder.
        single_file: each page holds its scripts.

    Returns:
        The path of ``index.html``.

    Raises:
        RefusedError: the run keeps no bins, or its folder is damaged.
        StoppedError: the pages cannot be written.
    """
    run.check_holds("bins")
    tables = RunTables(run)
    info = tables.info
    folder = Path(out) if out is not None else Path(run.report_dir)
    environment = prepare(folder, [], [], single_file=single_file)
    rows = sorted(tables.rows(), key=lambda row: (row["status"] == "ok", row["path"]))
    starts = range(0, max(1, len(rows)), VIDEOS_A_PAGE)
    names = ["index.html", *(f"index-{number}.html" for number in range(2, len(starts) + 1))]
    bins = run.bins()
    by_video: dict[str, list[dict[str, Any]]] = {}
    for row in bins.to_pylist():
        by_video.setdefault(row["video_id"], []).append(row)
    root = wording.common_folder([row["path"] for row in rows])
    privacy = info["config"]["privacy"]
    common = {
        "info": info,
        "title": TITLES.get(str((info.get("job") or {}).get("kind")), "Apparent expression of groups of people"),
        "purpose": wording.purpose(info),
        "declared": _declared(info),
        "state_note": wording.STATES.get(str(info["state"])),
        "base": "",
        "root": root,
        "names": names,
        "privacy": privacy,
        "why": _why(privacy),
        "proxies": figures.PROXIES,
        "totals": _totals(rows, by_video),
        "config": info["config"],
        "limits": wording.limits(info["model"]),
    }
    for number, (name, start) in enumerate(zip(names, starts, strict=True), 1):
        videos = [_video(row, by_video.get(row["video_id"], []), root, _why(privacy)) for row in
                  rows[start : start + VIDEOS_A_PAGE]]  # fmt: skip
        html = environment.get_template("classroom.html").render(**common, number=number, videos=videos)
        write_page(folder / name, html)
    if out is None:
        for old in (*folder.glob("videos/*.html"), *folder.glob("index-*.html")):
            if old.name not in names:
                old.unlink()
    return folder / "index.html"


def _why(privacy: dict[str, Any]) -> dict[str, str]:
    """What a gap says."""
    return {
        "too_few": f"suppressed: fewer than {privacy['min_people']} people in any one frame, or nobody",
        "damaged": "not shown: less than half a minute of it could be decoded",
        "not_sampled": "not shown: no frame was sampled in it",
    }


def _totals(rows: list[dict[str, Any]], by_video: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Sums over files and over bins that are shown; none over people, of whom suppressed bins hold some."""
    once = {row["video_id"]: row for row in rows if row["video_id"] in by_video}
    bins = [one for found in by_video.values() for one in found]
    shown_ms = sum(one["duration_ms"] for one in bins if one["status"] == "shown")
    length_ms = sum(row["duration_ms"] or 0 for row in once.values())
    n_sampled = sum(one["n_sampled"] for one in bins)
    return {
        **{status: sum(row["status"] == status for row in rows) for status in ("ok", "partial", "failed")},
        "files": len(rows),
        "bins": len(bins),
        "shown": sum(one["status"] == "shown" for one in bins),
        "too_few": sum(one["status"] == "too_few" for one in bins),
        "coverage": shown_ms / length_ms if length_ms else None,
        "looked_at": 1 - sum(one["n_lost"] for one in bins) / n_sampled if n_sampled else None,
    }


def _video(row: dict[str, Any], bins: list[dict[str, Any]], root: str, why: dict[str, str]) -> dict[str, Any]:
    shown = [one for one in bins if one["status"] == "shown"]
    kept_ms = sum(one["duration_ms"] for one in bins)
    return {
        "row": row,
        "name": row["path"][len(root) :],
        "reason": wording.reason(row),
        "bins": bins,
        "shown": len(shown),
        "coverage": sum(one["duration_ms"] for one in shown) / row["duration_ms"] if row["duration_ms"] else None,
        "left_over_ms": (row["duration_ms"] or 0) - kept_ms,
        "means": {name: _spread([one[name] for one in shown]) for name in (*figures.PROXIES, *PROBABILITIES)},
        "figure": page.embedded(figures.course(bins, row["duration_ms"], why)) if shown else None,
    }


def _spread(values: list[float]) -> tuple[float, float, float] | None:
    """Mean over bins, each counting the same, with the lowest and the highest."""
    return (sum(values) / len(values), min(values), max(values)) if values else None


def _declared(info: dict[str, Any]) -> list[tuple[str, str]]:
    """The purpose declaration, line by line, with its exception."""
    declared = info.get("purpose")
    if not isinstance(declared, dict):
        return []
    lines = [(name, value) for name, value in declared.items() if name not in {"exception", "groups_only"}]
    exception = declared.get("exception")
    if isinstance(exception, dict):
        lines += [(f"exception: {name}", value) for name, value in exception.items()]
    return [(name.replace("_", " "), _plain(value)) for name, value in lines if value is not None]


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value).replace("_", " ")
