"""What a submitted job uploads: the few files that the cluster has not got, and nothing else.

Videos, results, version control, environments and hidden files never leave this machine. Files are copied into a
folder of their own first, so that no rule of another tool (Ray leaves out what ``.gitignore`` names) decides.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from fer_batch.discover import VIDEO_SUFFIXES
from fer_batch.errors import RefusedError

MOST_BYTES = 250 * 1000**2
"""Most that is uploaded: Ray keeps it in the memory of the cluster's head."""

LEFT_OUT = frozenset(["__pycache__", "node_modules", "build", "dist"])
"""Folders that are left out, beside hidden ones, environments by whatever name, and ``*.egg-info``."""


def below(path: str, root: Path, what: str) -> Path:
    """`path`, relative to `root`, as it will be in the upload.

    Raises:
        RefusedError: there is no such file, or it lies elsewhere.
    """
    full = Path(os.path.abspath(root / path))
    if not full.exists():
        raise RefusedError(f"{what} is {path}: there is no such file here; give a path below {root} to upload it, or "
                           "the absolute path at which every node of the cluster sees it")  # fmt: skip
    if not full.is_relative_to(os.path.abspath(root)):
        raise RefusedError(f"{what} is {path}, which lies outside {root}: only what lies below it is uploaded. Move it "
                           "there, or give the absolute path at which every node of the cluster sees it")  # fmt: skip
    return full.relative_to(os.path.abspath(root))


def stage(root: Path, names: Sequence[Path], target: Path) -> list[Path]:
    """Copy files and folders of `root` to `target`; gives what was copied, relative to either, in order.

    Raises:
        RefusedError: among them is what must not be uploaded, or it is too much.
    """
    found = sorted({file for name in names for file in _files(root / name, root)})
    sizes = {file: (root / file).stat().st_size for file in found}
    if (total := sum(sizes.values())) > MOST_BYTES:
        largest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:3]
        named = ", ".join(f"{file} ({sizes[file] / 1e6:.0f} MB)" for file in largest)
        raise RefusedError(f"{root} would upload {total / 1e6:.0f} MB, of at most {MOST_BYTES / 1e6:.0f}; its largest "
                           f"files are {named}. Put them where every node sees them")  # fmt: skip
    for file in found:
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / file, target / file)
    return found


def digest(command: str, folder: Path, files: Sequence[Path]) -> str:
    """A hash of a command, and of the names and contents of the files it comes with."""
    found = hashlib.sha256(command.encode())
    for file in files:
        found.update(os.fsencode(file) + b"\0" + hashlib.sha256((folder / file).read_bytes()).digest())
    return found.hexdigest()


def _files(path: Path, root: Path) -> Iterator[Path]:
    if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
        raise RefusedError(f"{path} is a link to {path.resolve()}, outside {root}: only what lies below it is uploaded")
    if path.is_dir():
        if (path / "run.json").exists():
            raise RefusedError(f"{path} holds a run, with rows about people: results are not uploaded. Keep them "
                               "outside the folder that is uploaded")  # fmt: skip
        for entry in sorted(path.iterdir()):
            if not _is_left_out(entry):
                yield from _files(entry, root)
    elif path.suffix.lower() in VIDEO_SUFFIXES:
        raise RefusedError(f"{path} is a video, and videos are not uploaded: put them where every node of the cluster "
                           "sees them, and name that place in the job")  # fmt: skip
    else:
        yield path.relative_to(root)


def _is_left_out(entry: Path) -> bool:
    if entry.name.startswith("."):
        return True
    if not entry.is_dir():
        return entry.suffix == ".pyc"
    return entry.name in LEFT_OUT or entry.suffix == ".egg-info" or (entry / "pyvenv.cfg").exists()
