"""The key of a coding task: the model's answers and the sampling weights, kept with the run and away from coders."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from fer_batch.errors import RefusedError, StoppedError
from fer_batch.schema import EMOTIONS
from fer_batch.store import Run, write_table
from reports.validation.draw import Sample

FOLDER: Final = "validation"
"""Where in a run's folder keys and results lie."""

_ABOUT: Final = b"validation"
_ITEM: Final = re.compile(r"(s[0-9a-f]{8})-[0-9]{4,}")


@dataclass(frozen=True)
class Key:
    """What the coders must not see.

    Attributes:
        sample_id: of the sample.
        faces: a row a face: see :class:`reports.validation.draw.Sample`, and `lost` (why it could not be shown; null
            where it was).
        n_faces: faces of each class in the run, in the order of ``EMOTIONS``.
        about: how it was drawn and from what: ``seed``, ``asked``, ``show``, ``model``.
    """

    sample_id: str
    faces: pa.Table
    n_faces: tuple[int, ...]
    about: dict[str, Any]


def make_key(run: Run, sample: Sample, lost: dict[str, str], *, asked: int, seed: int, show: str) -> Key:
    """The key of a sample, with the items that could not be shown and why."""
    model = run.info.get("model") or {}
    reasons = pa.array([lost.get(item) for item in sample.faces["item"].to_pylist()], pa.string())
    about = {
        "asked": asked,
        "seed": seed,
        "show": show,
        "model": {"name": model.get("name"), "sha256": model.get("sha256")},
    }
    return Key(sample.sample_id, sample.faces.append_column("lost", reasons), sample.n_faces, about)


def write_key(run: Run, key: Key) -> Path:
    """Write the key into the run's folder.

    Raises:
        StoppedError: it cannot be written.
    """
    folder = run.path / FOLDER
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise StoppedError(f"cannot make {folder}: {error.strerror}. The run's folder must be writable.") from error
    about = {**key.about, "n_faces": dict(zip(EMOTIONS, key.n_faces, strict=True))}
    path = key_path(run, key.sample_id)
    write_table(path, key.faces.replace_schema_metadata({_ABOUT: json.dumps(about).encode()}))
    return path


def key_path(run: Run, sample_id: str) -> Path:
    """The file that holds a sample's key."""
    return Path(run.path) / FOLDER / f"{sample_id}.parquet"


def read_key(run: Run, items: Iterable[str]) -> Key:
    """The key to which coded items belong.

    Raises:
        RefusedError: they belong to none of this run's samples, or to several.
    """
    found = {match[1] for item in items if (match := _ITEM.fullmatch(item))}
    if len(found) != 1:
        what = f"of {len(found)} samples ({', '.join(sorted(found))}); give those of one" if found else "of no sample"
        raise RefusedError(f"these are codes {what}. Items look like s0123abcd-0001; copy them as they are")
    (sample_id,) = found
    path = key_path(run, sample_id)
    if not path.is_file():
        raise RefusedError(
            f"{run.path} has no sample {sample_id}: {path} is not there. Give the run from which the faces were drawn"
        )
    try:
        faces = pq.read_table(path, page_checksum_verification=True)
        about = json.loads(faces.schema.metadata[_ABOUT])
        counts = about.pop("n_faces")
        n_faces = tuple(int(counts[emotion]) for emotion in EMOTIONS)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise RefusedError(
            f"{path} is damaged ({error}); draw the sample again with the same --n and --seed"
        ) from error
    return Key(sample_id, faces, n_faces, about)
