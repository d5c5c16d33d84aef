"""Odd names are found, opened and written down: nothing in them is obeyed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from fer_batch.discover import Discovery
from fer_batch.errors import VideoError
from fer_batch.names import printable
from fer_batch.tables import failed_row, ledger_table
from tests.clips import build
from tests.hostile.catalogue import SIZE, TIMES
from tests.hostile.names import LONG, NAMES
from tests.hostile.stages import look


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same clip under each name; its content differs in nothing."""
    target = tmp_path_factory.mktemp("names")
    clip = build(target / "source.mp4", TIMES[:3], size=SIZE).path
    for name in NAMES:
        shutil.copy(clip, target / name)
    clip.unlink()
    return target


def test_names_are_as_nasty_as_they_should_be() -> None:
    assert len(os.fsencode(LONG)) == 255
    assert len(set(NAMES)) == len(NAMES)
    assert not any("/" in name or "\0" in name for name in NAMES)


def test_all_are_found_once(folder: Path) -> None:
    assert sorted(path.name for path in Discovery([str(folder)])) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_each_is_opened_and_written_down(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / name
    monkeypatch.chdir(folder)
    for given in (path, Path(name)):  # as it is found, and as it is typed
        seen = look(given)
        assert seen.status == ("ok", None), seen.row
        assert seen.numbers == [0, 1, 2]
    assert [found.name for found in Discovery([str(path)])] == [name]
    rows = ledger_table([failed_row(path, VideoError("empty", "nothing"))]).to_pylist()
    (row,) = rows
    raw = os.fsencode(path)
    assert os.fsencode(row["path"]) == raw if row["path_bytes"] is None else row["path_bytes"] == raw
    assert row["path"].encode().decode() == row["path"]
    assert sorted(os.listdir(folder)) == sorted(NAMES), "a name was obeyed"


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_what_is_printed_cannot_act(name: str) -> None:
    shown = printable(name)
    assert shown.encode() == shown.encode("utf-8", "strict")
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u2028\u2029" for c in shown)
    if name.isprintable():
        assert shown == name


def test_what_people_write_is_left_alone() -> None:
    for name in ("Aufnahme 10.00\u202fAM, 漢字.mov", "👩\u200d🔬 naïve.mov"):
        assert printable(name) == name
    assert printable("a\nb\x1b[2J\u202ec") == r"a\nb\x1b[2J\u202ec"
