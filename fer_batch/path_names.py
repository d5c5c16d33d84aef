"""How a run writes paths down: as they are, or as keyed pseudonyms that tell nobody who is recorded where.

A pseudonym is made part by part with HMAC-SHA256 (RFC 2104), so that two files in one folder still are, and a table
that names ``anna/week1.mp4`` can be matched by whoever has the key. The same key gives the same pseudonyms in each run.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fer_batch.discover import VIDEO_SUFFIXES
from fer_batch.errors import RefusedError, StoppedError

KEY_FILE: Final = "FER_BATCH_PATH_KEY"
"""Environment variable that names the key's file."""

SHORTEST: Final = 16
"""Bytes of a key: with fewer all keys could be tried."""

_PSEUDONYM: Final = re.compile(r"p[0-9a-f]{12}(\.\w{2,4})?")


@dataclass(frozen=True)
class PathNames:
    """Writes paths down.

    Attributes:
        key: of the pseudonyms; empty where paths stand as they are.
    """

    key: bytes = field(default=b"", repr=False)

    @property
    def fingerprint(self) -> str:
        """Tells keys apart in ``run.json``; nothing of the key can be learned from it. Empty without a key."""
        return hashlib.sha256(b"fer-batch path key " + self.key).hexdigest()[:12] if self.key else ""

    def text(self, path: object) -> str:
        """A path, or a part of one, as it is written down. A pseudonym stays what it is."""
        plain = os.fsencode(str(path)).decode("utf-8", "backslashreplace")
        if not self.key:
            return plain
        return "/".join(map(self._part, plain.split("/")))

    def row(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row of the ledger as it is written down."""
        if not self.key:
            return row
        error = row.get("error")
        named = {"path": self.text(row["path"]), "path_bytes": None}
        return {**row, **named, "error": error if error is None else self.hidden(error, row["path"])}

    def hidden(self, text: str, path: object) -> str:
        """A text in which a path, or its last part, may occur."""
        plain = str(path)
        name = plain.rpartition("/")[2]
        return text.replace(plain, self.text(plain)).replace(name, self.text(name)) if self.key else text

    def scrubbed(self, text: str, roots: Sequence[str]) -> str:
        """A text in which any path below some folders may occur; what follows it in its line goes with it."""
        if not self.key:
            return text
        for root in sorted(roots, key=len, reverse=True):
            text = re.sub(re.escape(root) + r"[^\n]*", lambda found: self.text(found[0]), text)
        return text

    def _part(self, part: str) -> str:
        if part in {"", ".", ".."} or part.endswith(":") or _PSEUDONYM.fullmatch(part):
            return part
        suffix = Path(part).suffix
        digest = hmac.new(self.key, part.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()[:12]
        return f"p{digest}{suffix if suffix.lower() in VIDEO_SUFFIXES else ''}"


def is_pseudonym(path: str) -> bool:
    """Whether a path of the ledger is one."""
    return _PSEUDONYM.fullmatch(path.rpartition("/")[2]) is not None


def key_file() -> Path:
    """Where the key is: where the environment variable ``FER_BATCH_PATH_KEY`` says, or among the user's settings."""
    if named := os.environ.get(KEY_FILE):
        return Path(named)
    settings = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(settings).expanduser() / "fer-batch" / "paths.key"


def names_of(run_info: dict[str, Any]) -> PathNames:
    """How a run that is there writes paths.

    Args:
        run_info: its ``run.json``.

    Raises:
        RefusedError: they are pseudonyms, and their key is not here.
    """
    privacy = (run_info.get("config") or {}).get("privacy") or {}
    if not privacy.get("pseudonymise_paths"):
        return PathNames()
    names = _read(key_file())
    if names is None or names.fingerprint != privacy.get("path_key"):
        raise RefusedError(
            f"the paths of this run are pseudonyms, and {key_file()} does not hold their key "
            f"({privacy.get('path_key')}). Put the key there, or say by the environment variable {KEY_FILE} where it is"
        )
    return names


def made_names(out: Any) -> PathNames:
    """The names of a run with pseudonyms that is to be started or gone on with; a key is made if there is none.

    Args:
        out: the run's folder, or its address.

    Raises:
        RefusedError: the key is not that of the run, or lies in its folder.
        StoppedError: the key cannot be written.
    """
    file = key_file()
    if Path(os.path.abspath(file)).is_relative_to(os.path.abspath(str(out))):
        raise RefusedError(f"{KEY_FILE}: {file} lies in the run's own folder, where the key would undo the pseudonyms")
    if (found := _read(file)) is not None:
        return found  # whether it is the run's own is seen by its fingerprint
    if (out / "run.json").exists():
        raise _no_key(file, "it is gone, and the run that is there has one")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as new:
            new.write(secrets.token_hex(32) + "\n")
    except OSError as error:
        raise StoppedError(
            f"cannot write the key of the pseudonyms, {file}: {error.strerror}; name another place by {KEY_FILE}"
        ) from error
    return made_names(out)


def _read(file: Path) -> PathNames | None:
    """The names by the key in a file; None if there is no such file.

    Raises:
        RefusedError: it holds no key.
    """
    try:
        key = bytes.fromhex(file.read_text(encoding="ascii").strip())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _no_key(file, str(error)) from error
    if len(key) < SHORTEST:
        raise _no_key(file, "it is too short")
    return PathNames(key)


def _no_key(file: Path, why: str) -> RefusedError:
    return RefusedError(
        f"{file} holds no key for pseudonyms ({why}); restore it, or name another file by the environment variable "
        f"{KEY_FILE}"
    )
