"""``fer-batch status``: look at a run, also while it goes on."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fer_batch.object_path import as_path
from jobs.values import clock

ROWS = 40
"""Videos shown at a terminal without --all: failures come first."""


def status(
    path: Annotated[Any, typer.Argument(parser=as_path, metavar="RUN", help="The --out of a run.")],
    everything: Annotated[bool, typer.Option("--all", help="Show every video, not only the first few.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the state and the ledger of a run, also while it goes on."""
    from fer_batch.names import printable
    from fer_batch.object_lease import lease_of
    from fer_batch.store import Run
    from reports.wording import common_folder

    run = Run(path)
    ledger = run.videos().select(
        ["path", "video_id", "status", "error_code", "error", "duration_ms", "n_sampled", "n_faces", "n_tracks"]
    )
    rows: list[dict[str, Any]] = sorted(
        ledger.to_pylist(), key=lambda row: (("failed", "partial", "ok").index(row["status"]), row["path"])
    )
    info = run.info
    if info["state"] == "running" and lease_of(run.path / "work" / "lease.json").holder() is None:
        info = {**info, "state": "broken off"}  # killed: it had no time to say so
    if as_json:
        counts = {name: sum(row["status"] == name for row in rows) for name in ("ok", "partial", "failed")}
        print(json.dumps({"state": info["state"], "updated": info.get("updated"), "counts": counts, "videos": rows}))
        return
    console = Console()
    console.print(_summary(info, rows), markup=False, highlight=False, soft_wrap=True)
    root = common_folder([row["path"] for row in rows])
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("video", "status", "length", "samples", "faces", "tracks"):
        table.add_column(name, justify="left" if name in ("video", "status") else "right", overflow="fold")
    for row in rows if everything else rows[:ROWS]:
        reason = f": {row['error_code']}. {row['error']}" if row["error_code"] else ""
        table.add_row(
            escape(printable(row["path"][len(root) :])),
            escape(row["status"] + printable(reason)),
            clock(row["duration_ms"]),
            *("-" if row[name] is None else str(row[name]) for name in ("n_sampled", "n_faces", "n_tracks")),
        )
    console.print(table)
    if len(rows) > ROWS and not everything:
        console.print(f"... and {len(rows) - ROWS} more; --all shows them", markup=False)


def _summary(info: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    from fer_batch.page import counted

    statuses = ", ".join(f"{sum(row['status'] == name for row in rows)} {name}" for name in ("ok", "partial", "failed"))
    found = info.get("counts", {}).get("files", 0)
    more = "" if info.get("all_found", True) else " or more"
    total = counted(len(rows), "video")
    if info["state"] != "complete" and found:
        total = f"{len(rows)} of {found}{more} video{'s' * (found != 1 or bool(more))}"
    advice = "; the same command goes on" if info["state"] in ("broken off", "interrupted", "stopped") else ""
    config, name = info.get("config", {}), info.get("model", {}).get("name", "?")
    model = f"\nmodel {name} in {config['precision']} ({config.get('backend')})" if "precision" in config else ""
    state = f"{info['state']} (updated {info.get('updated', '?')})"
    return f"{state}: {total} in the ledger, {statuses}{advice}{model}"
