"""Changes to many files of a run of which all happen or none, whatever interrupts them.

New files are first written under ``work/purge/``; then ``ready.json`` is, which says where each belongs and what goes.
From that moment the change is decided: :func:`apply` may be begun again as often as need be, and goes on where it
stopped. Before that moment nothing was changed, and what was prepared is thrown away.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from fer_batch.errors import RefusedError, StoppedError
from fer_batch.purged import READY
from fer_batch.store import atomic_write, write_json, write_table


class Rewrite:
    """Prepares changes. The caller holds the run's lease.

    Attributes:
        path: the run's folder.
        changed, removed: files that will be replaced and that will go.
    """

    def __init__(self, path: Path) -> None:
        """
        Raises:
            StoppedError: the folder cannot be written.
        """
        self.path = Path(os.path.abspath(path))
        self._folder = (self.path / READY).parent
        self.changed: dict[Path, str] = {}
        self.removed: list[Path] = []
        try:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True)
        except OSError as error:
            raise StoppedError(f"cannot write {self._folder}: {error.strerror}") from error

    def staged(self, target: Path) -> Path:
        """Where to write what `target` is to hold."""
        name = self.changed.setdefault(Path(os.path.abspath(target)), f"{len(self.changed):06d}")
        return self._folder / name

    def table(self, target: Path, table: pa.Table) -> None:
        """`target` will hold this table."""
        write_table(self.staged(target), table)

    def json(self, target: Path, value: dict[str, Any]) -> None:
        """`target` will hold this as JSON."""
        write_json(self.staged(target), value)

    def bytes(self, target: Path, data: bytes) -> None:
        """`target` will hold these bytes."""
        with atomic_write(self.staged(target)) as file:
            file.write(data)

    def remove(self, target: Path) -> None:
        """`target`, a file or a folder with all in it, will go."""
        self.removed.append(Path(os.path.abspath(target)))

    def decide(self, then: dict[str, Any]) -> None:
        """From here on the change happens.

        Args:
            then: what the caller has to do afterwards; :func:`decided` gives it back.
        """
        moves = [[name, os.fspath(target)] for target, name in self.changed.items()]
        removed = [os.fspath(target) for target in self.removed]
        write_json(self.path / READY, {"moves": moves, "removed": removed, "then": then})

    def abandon(self) -> None:
        """Change nothing."""
        shutil.rmtree(self._folder, ignore_errors=True)


def decided(path: Path) -> dict[str, Any] | None:
    """What is to be done after a change that was decided and is not complete; None if there is none."""
    try:
        return dict(json.loads((path / READY).read_bytes())["then"])
    except FileNotFoundError:
        return None


def apply(path: Path, also: Sequence[Path] = ()) -> None:
    """Carry out what was decided.

    Args:
        path: the run's folder.
        also: files and folders elsewhere that may be changed. What a folder says that somebody was given is not obeyed
            any further than its user says.

    Raises:
        RefusedError: a file elsewhere is among them that is not named.
        StoppedError: a file cannot be replaced or removed; call it again to go on.
    """
    folder = (path / READY).parent
    ready = json.loads((path / READY).read_bytes())
    inside = os.path.abspath(path)
    targets = [*(target for _, target in ready["moves"]), *ready["removed"]]
    check_named(path, targets, also)
    for name, target in ready["moves"]:
        try:
            if not (folder / name).exists():
                continue  # an earlier start was here
            if Path(target).is_relative_to(inside):
                os.replace(folder / name, target)
            else:  # perhaps on another disk
                with atomic_write(Path(target)) as file:
                    file.write((folder / name).read_bytes())
                (folder / name).unlink()
        except OSError as error:
            raise _cannot("replace", Path(target), error) from error
    for target in map(Path, ready["removed"]):
        try:
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise _cannot("remove", target, error) from error
    for parent in {os.path.dirname(target) for target in targets}:
        _flush(parent)


def check_named(path: Path, targets: Iterable[str], also: Sequence[Path]) -> None:
    """
    Raises:
        RefusedError: a target lies neither in the run's folder nor in what is named.
    """
    allowed = [os.path.abspath(place) for place in (path, *also)]
    for target in targets:
        plain = os.path.abspath(target)
        if not any(plain == place or plain.startswith(f"{place}{os.sep}") for place in allowed):
            raise RefusedError(
                f"a purge of {path} broke off that changes {target!a} too: give the same command again, with --groups "
                "or --job and with --also, to complete it"
            )


def _flush(folder: str) -> None:
    """Let renames and removals in a folder reach the disk before the change is forgotten."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def complete(path: Path) -> None:
    """All is done: forget the change."""
    (path / READY).unlink(missing_ok=True)
    shutil.rmtree((path / READY).parent, ignore_errors=True)


def _cannot(what: str, target: Path, error: OSError) -> StoppedError:
    return StoppedError(
        f"cannot {what} {target}: {error.strerror}; mend that and purge again, which goes on from there"
    )
