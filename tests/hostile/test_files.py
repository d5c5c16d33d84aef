"""Files that cannot be read, that lead in circles, that vanish or change while they are read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fer_batch.config import Sampling
from fer_batch.decode import SegmentReader
from fer_batch.discover import Discovery
from fer_batch.errors import VideoError
from fer_batch.plan import whole
from fer_batch.probe import probe
from tests.clips import Clips, build
from tests.hostile.catalogue import SIZE, TIMES
from tests.hostile.stages import look

NOBODY = 65_534

ALL = Sampling(mode="every")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return build(tmp_path / "clip.ts", TIMES, size=SIZE).path


@contextmanager
def as_nobody() -> Iterator[None]:
    """What is inside is done by a user without rights; root may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_no_permission(clip: Path) -> None:
    clip.chmod(0)
    with as_nobody():
        seen = look(clip)
    assert seen.status == ("failed", "unreadable")
    assert "check the file and its permissions" in seen.row["error"]


def test_a_folder_without_permission_is_named_and_the_rest_is_found(clip: Path) -> None:
    closed = clip.parent / "closed"
    closed.mkdir()
    shutil.copy(clip, closed)
    for folder in [*clip.parents][:3]:  # pytest's own are closed to others
        folder.chmod(0o755)
    closed.chmod(0)
    try:
        with as_nobody():
            found = list(Discovery([str(clip.parent)]))
            seen = look(closed)
    finally:
        closed.chmod(0o755)
    assert [path.name for path in found] == ["clip.ts", "closed"]
    assert seen.status == ("failed", "unreadable")
    assert "permissions" in seen.row["error"]


def test_links_in_circles(tmp_path: Path) -> None:
    folder = tmp_path / "above" / "folder"
    folder.mkdir(parents=True)
    clip = build(folder / "clip.ts", TIMES, size=SIZE).path
    (folder / "self.mp4").symlink_to("self.mp4")
    (folder / "there.mp4").symlink_to("back.mp4")
    (folder / "back.mp4").symlink_to("there.mp4")
    (folder / "nowhere.mp4").symlink_to("gone.mp4")
    (folder / "again.ts").symlink_to(clip)
    (folder / "up").symlink_to("..")
    (folder / "here").symlink_to(".")
    (folder / "deep").mkdir()
    (folder / "deep" / "up").symlink_to(folder)
    paths = [path for path in Discovery([str(folder)]) if isinstance(path, Path)]
    found = {os.fspath(path.relative_to(folder)): look(path).status for path in paths}
    assert found == {
        "again.ts": ("ok", None),
        "back.mp4": ("failed", "unreadable"),
        "clip.ts": ("ok", None),
        "nowhere.mp4": ("failed", "vanished"),
        "self.mp4": ("failed", "unreadable"),
        "there.mp4": ("failed", "unreadable"),
    }


def test_what_is_neither_file_nor_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (tmp_path / "pipe.mp4", Path("/dev/null"), Path("/dev/zero")):
        assert look(path).status == ("failed", "unreadable")


def replace_by_another(path: Path) -> None:
    build(path.with_name("other.ts"), TIMES, size=SIZE, gop=3).path.replace(path)


def grow(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(path.read_bytes()[: 188 * 40])


def shrink(path: Path) -> None:
    os.truncate(path, 188 * 20)


def rewrite_last_byte(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


CHANGES: list[tuple[Callable[[Path], None], str, str]] = [
    (lambda path: path.unlink(), "vanished", "no longer there"),
    (grow, "changed", "grew while it was processed"),
    (shrink, "changed", "changed while"),
    (replace_by_another, "changed", "while it was processed"),
    (rewrite_last_byte, "changed", "changed while"),
    (lambda path: os.truncate(path, 0), "empty", "0 bytes"),
]


@pytest.mark.parametrize(
    ("change", "code", "said"), CHANGES, ids=["gone", "grows", "shrinks", "other", "byte", "empty"]
)
@pytest.mark.parametrize("when", ["before", "during", "at the end"])
def test_a_file_that_changes_is_noticed(
    clip: Path, change: Callable[[Path], None], code: str, said: str, when: str
) -> None:
    segment = whole(probe(clip))

    def read() -> None:
        if when == "before":
            change(clip)
        for i, _sample in enumerate(SegmentReader(segment, ALL)):
            if i == (3 if when == "during" else len(TIMES) - 1):
                change(clip)

    with pytest.raises(VideoError, match=said) as caught:
        read()
    assert caught.value.code == code


def test_a_touched_or_moved_file_is_the_same(clip: Path) -> None:
    segment = whole(probe(clip))
    os.utime(clip)
    samples = iter(SegmentReader(segment, ALL))
    next(samples)
    shutil.copy(clip, clip.with_name("copy.ts"))
    clip.with_name("copy.ts").replace(clip)  # the same content in another file of the same name
    assert len(list(samples)) == len(TIMES) - 1


def test_the_same_content_has_one_id_whatever_its_name(clip: Path, clips: Clips) -> None:
    copies = [clip.with_name(name) for name in ("copy.ts", "other.mp4", "third.mkv")]
    for copy in copies:
        shutil.copy(clip, copy)
    assert len({probe(path).video_id for path in (clip, *copies)}) == 1
    assert probe(clips.constant.path).video_id != probe(clip).video_id
