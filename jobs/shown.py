"""What commands may show of a run: of people at work or in education nothing about single people; nothing finer than
the run's privacy level keeps.
"""

from __future__ import annotations

from typing import Any

from fer_batch.errors import RefusedError


def refuse_single_people(info: dict[str, Any], what: str) -> None:
    """For commands that show single people of a run.

    Args:
        info: the run's ``run.json``.
        what: what is asked for, for the message.

    Raises:
        RefusedError: the run is about people at work or in education.
    """
    record = info.get("purpose")
    if isinstance(record, dict) and record.get("groups_only"):
        raise RefusedError(
            f"{what} shows single people, and the declared purpose is about people at work or in education (observed "
            f"{record.get('observed')}, setting {record.get('setting')}): reports on them are about groups only. "
            "fer-batch report RUN --groups TABLE makes them"
        )


def refuse_without_people(info: dict[str, Any], what: str) -> None:
    """For commands that tell people apart, by faces or by means of tracks.

    Args:
        info: the run's ``run.json``.
        what: what is asked for, for the message.

    Raises:
        RefusedError: the run's privacy level keeps nobody apart.
    """
    if _level(info) == "aggregate":
        raise RefusedError(
            f"{what} tells people apart, and this run keeps nobody apart: its privacy.level is 'aggregate', so it has "
            "bins of time over everybody only. fer-batch report RUN builds the page that there is"
        )


def refuse_without_faces(info: dict[str, Any], what: str) -> None:
    """For commands that read rows of faces.

    Args:
        info: the run's ``run.json``.
        what: what is asked for, for the message.

    Raises:
        RefusedError: the run's privacy level keeps none.
    """
    level = _level(info)
    if level != "faces":
        kept = {"tracks": "means of tracks", "aggregate": "bins of time over everybody"}[level]
        raise RefusedError(
            f"{what} needs rows of faces, and this run keeps none: its privacy.level is {level!r}, so it has {kept} "
            "only. fer-batch report RUN builds the pages that there are"
        )


def _level(info: dict[str, Any]) -> str:
    return str(info.get("config", {}).get("privacy", {}).get("level", "faces"))
