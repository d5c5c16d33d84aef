from __future__ import annotations

import os
from pathlib import Path

import pytest

from fer_batch.discover import Discovery
from fer_batch.errors import RefusedError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b/2.mp4", "b/10.MOV", "a.mkv", "b/notes.txt", "b/._2.mp4", "c/deep/er/x.webm", "c/y.jpg", "noname"):
        file = tmp_path / "in" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    return tmp_path / "in"


def names(discovery: Discovery, root: Path) -> list[str]:
    return [os.fspath(path.relative_to(root)) for path in discovery if isinstance(path, Path)]


def test_searches_folders_in_a_stable_order_and_counts_what_it_passes_over(tree: Path) -> None:
    discovery = Discovery([str(tree)])
    assert names(discovery, tree) == ["a.mkv", "b/10.MOV", "b/2.mp4", "c/deep/er/x.webm"]
    assert discovery.passed_over == 4
    assert names(discovery, tree) == ["a.mkv", "b/10.MOV", "b/2.mp4", "c/deep/er/x.webm"]
    assert discovery.passed_over == 4


def test_a_file_that_is_named_is_taken_whatever_its_suffix(tree: Path) -> None:
    assert names(Discovery([str(tree / "b" / "notes.txt")]), tree) == ["b/notes.txt"]


def test_globs(tree: Path) -> None:
    assert names(Discovery([str(tree / "**" / "*.mp4")]), tree) == ["b/2.mp4"]


def test_a_name_with_brackets_is_a_name_before_it_is_a_pattern(tree: Path) -> None:
    (tree / "take[1].mp4").write_bytes(b"x")
    assert names(Discovery([str(tree / "take[1].mp4")]), tree) == ["take[1].mp4"]


def test_the_same_file_given_twice_is_taken_once(tree: Path) -> None:
    assert names(Discovery([str(tree / "a.mkv"), str(tree), f"{tree}/./b/../a.mkv"]), tree).count("a.mkv") == 1


@pytest.mark.parametrize(
    ("include", "exclude", "found"),
    [
        (["*.mp4"], [], ["b/2.mp4"]),
        (["b/*"], [], ["b/10.MOV", "b/2.mp4"]),
        ([], ["b/*"], ["a.mkv", "c/deep/er/x.webm"]),
        (["b/*", "*.mkv"], ["*.MOV"], ["a.mkv", "b/2.mp4"]),
    ],
)
def test_include_and_exclude(tree: Path, include: list[str], exclude: list[str], found: list[str]) -> None:
    assert names(Discovery([str(tree)], include, exclude), tree) == found


def test_links_that_lead_back_up_end(tree: Path) -> None:
    (tree / "c" / "loop").symlink_to(tree)
    (tree / "c" / "self").symlink_to(tree / "c")
    assert len(names(Discovery([str(tree)]), tree)) == 4


def test_a_link_to_another_folder_is_followed(tree: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "z.mp4").write_bytes(b"x")
    (tree / "link").symlink_to(other)
    assert "link/z.mp4" in names(Discovery([str(tree)]), tree)


def test_a_folder_that_cannot_be_listed_is_handed_on_and_the_rest_is_found(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def forbidden(path: Path) -> object:
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    assert names(Discovery([str(tree)]), tree) == ["a.mkv", "b", "c/deep/er/x.webm"]


def test_the_runs_own_folder_is_left_out(tree: Path) -> None:
    assert names(Discovery([str(tree)], leave_out=tree / "c"), tree) == ["a.mkv", "b/10.MOV", "b/2.mp4"]


@pytest.mark.parametrize("missing", ["nowhere", "nothing*.mp4", "s3://bucket/videos"])
def test_what_is_not_there_is_refused_by_name(tree: Path, missing: str) -> None:
    given = missing if "://" in missing else str(tree / missing)
    with pytest.raises(RefusedError, match=missing.replace("*", r"\*")):
        Discovery([given])


def test_names_that_are_not_utf8(tree: Path) -> None:
    odd = os.fsdecode(b"caf\xe9.mp4")
    (tree / odd).write_bytes(b"x")
    assert odd in names(Discovery([str(tree)]), tree)
