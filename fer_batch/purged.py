"""What was removed from a run on purpose, so that it does not come back: ``purged.json`` in the run's folder.

It holds no personal data: fingerprints of contents that are never looked at again, and what was removed when, in
numbers. It outlives ``--redo``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from fer_batch.errors import RefusedError, StoppedError
from fer_batch.object_path import AnyPath

FILE: Final = "purged.json"

PURGED: Final = "purged"
"""Error code of a ledger row whose rows in the tables were removed because their time was up."""

STARTED: Final = "started"
"""Metadata of every table: when the start of the run began that wrote it. Its rows are no older."""

READY: Final = "work/purge/ready.json"
"""Says that a purge has prepared all its changes, and which; see :mod:`fer_batch.rewrite`."""

INPUTS_NOT_KEPT: Final = "(not kept, as a person was removed from this run)"
"""What ``run.json`` says in the place of its inputs: they may name the person."""


@dataclass(frozen=True)
class Withheld:
    """A content that is not looked at again.

    Attributes:
        size_bytes: of its file: others need not be read to know that they are not it. None if that is not known.
        tracks: how many tracks were taken out of a video that stays; 0 where nothing stays.
    """

    size_bytes: int | None
    tracks: int = 0


@dataclass(frozen=True)
class Purged:
    """The content of ``purged.json``.

    Attributes:
        withheld: contents that are not looked at again in this folder, as a person in them was removed, by fingerprint.
        records: what was removed: ``when`` (ISO 8601), ``why`` (``retention`` or ``person``), ``kind``, ``rows`` by
            table, ``files``, ``bytes``.
        closed: the day on which the whole run was removed; None for a run that can go on.
    """

    withheld: Mapping[str, Withheld] = field(default_factory=dict)
    records: tuple[dict[str, Any], ...] = ()
    closed: str | None = None

    @classmethod
    def of(cls, path: AnyPath) -> Purged:
        """What was removed from the run in a folder.

        Raises:
            RefusedError: the file is damaged: who was removed might come back.
        """
        try:
            found = json.loads((path / FILE).read_bytes())
            withheld = {video_id: Withheld(**about) for video_id, about in found["withheld"].items()}
            return cls(withheld, tuple(found["records"]), found["closed"])
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise StoppedError(f"cannot read {path / FILE}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RefusedError(
                f"{path / FILE} is damaged ({error}): it says which recordings must not be looked at again. Restore it "
                "from a backup, or choose another --out and leave those recordings out"
            ) from error

    def to_json(self) -> dict[str, Any]:
        """Plain values for the file."""
        withheld = {video_id: asdict(about) for video_id, about in self.withheld.items()}
        return {"withheld": withheld, "records": list(self.records), "closed": self.closed}

    @property
    def has_no_inputs(self) -> bool:
        """Whether ``run.json`` must not name what the run was started with."""
        return any(record["why"] == "person" for record in self.records)


def now() -> str:
    """The time as records have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def check_goes_on(path: AnyPath) -> None:
    """
    Raises:
        RefusedError: a purge of the run in this folder broke off, or has closed it.
    """
    if (path / READY).exists():
        raise RefusedError(f"a purge of {path} broke off half-way; fer-batch purge {path} completes it")
    if (closed := Purged.of(path).closed) is not None:
        raise RefusedError(
            f"{path} held a run that was removed on {closed}, as its retention asks for; choose another --out"
        )
