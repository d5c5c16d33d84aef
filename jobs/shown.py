"""What commands may show of a run: of people at work or in education nothing about a single person."""

from __future__ import annotations

from typing import Any

from fer_batch.errors import RefusedError


def refuse_single_people(info: dict[str, Any], what: str) -> None:
    """For commands that show faces or single people of a run.

    Args:
        info: the run's ``run.json``.
        what: what is asked for, for the message.

    Raises:
        RefusedError: the run is about people at work or in education.
    """
    record = info.get("purpose")
    if isinstance(record, dict) and record.get("groups_only"):
        raise RefusedError(
            f"{what} shows single people, and this run is declared to be about people at work or in education "
            f"(observed {record.get('observed')}, setting {record.get('setting')}): its reports are about groups only. "
            "fer-batch report RUN --groups TABLE makes them"
        )
