"""Runs from an object store to an object store, without Ray: tables, what is put, what is told, how it goes on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import fer_batch
from fer_batch import Run, staging
from fer_batch.bundle import ModelBundle
from fer_batch.errors import RefusedError, StoppedError
from fer_batch.local_copy import on_disk
from fer_batch.object_path import remove_all
from fer_batch.schema import VIDEOS
from tests.clips import Clips
from tests.faults.inline import Inline, Scores, on
from tests.jobs.command import fer_batch as command
from tests.object_store import CREDENTIALS, Store
from tests.same import assert_same_tables
from tests.storage.test_object_path import at

NAMES = ("ntsc", "one_face")

OF_THE_FILE = ("path", "path_bytes", "mtime_ns", "wall_s", "part")


def bright(crops: np.ndarray) -> np.ndarray:
    """Scores that depend on the crop alone."""
    parts = crops.reshape(len(crops), -1)[:, :2100].reshape(len(crops), 7, 300).mean(axis=2) + 1.0
    return np.asarray(parts / parts.sum(axis=1, keepdims=True), np.float32)


@pytest.fixture(scope="module")
def folder(clips: Clips, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("stored")
    for name in NAMES:
        clip = getattr(clips, name)
        (made / clip.path.name).write_bytes(clip.path.read_bytes())
    (made / "cut.mp4").write_bytes((made / "ntsc.mp4").read_bytes()[:2000])
    return made


@pytest.fixture(scope="module")
def expected(folder: Path, tiny: ModelBundle, tmp_path_factory: pytest.TempPathFactory) -> Run:
    with on(Inline(Scores(bright))):
        return fer_batch.run(folder, tmp_path_factory.mktemp("local") / "run", model=tiny.path)


@pytest.fixture
def stored(store: Store, folder: Path) -> Iterator[str]:
    for name in ("in", "out"):
        remove_all(at(name))
    for path in folder.iterdir():
        (at("in") / path.name).write_bytes(path.read_bytes())
    store.reset()
    yield "s3://bucket/in"
    staging._copies.held.clear()


def run(inputs: str, tiny: ModelBundle, out: str = "s3://bucket/out") -> Run:
    with on(Inline(Scores(bright), size=8)) as patch:
        patch.setattr("fer_batch.unit_size.MIN_UNIT_COST_S", 0.05)  # even short clips are cut
        return fer_batch.run(inputs, out, model=tiny.path)


def assert_same(found: Run, expected: Run) -> None:
    assert_same_tables(found, expected)
    told = [name for name in VIDEOS.names if name not in OF_THE_FILE]
    assert found.videos().select(told).equals(expected.videos().select(told))


def test_tables_are_those_of_a_disk_and_each_object_is_put_once(
    store: Store, stored: str, tiny: ModelBundle, expected: Run
) -> None:
    found = run(stored, tiny)
    assert_same(found, expected)
    assert len(found.faces()) > 0
    assert any(part.startswith("part-v") for part in found.videos()["part"].drop_null().to_pylist())  # was cut
    assert found.videos()["path"].to_pylist()[0] == "s3://bucket/in/cut.mp4"
    assert {path.name for path in at("out").iterdir()} == {"faces", "frames", "run.json", "run.log", "videos.parquet"}
    again = {"run.json", "run.log", "lease.json", "videos.parquet"}
    puts = Counter(path for path in store.puts if path.rpartition("/")[2] not in again)
    assert set(puts.values()) == {1}
    for path in at("out").files():
        assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"].encode() not in path.read_bytes()
    store.reset()
    run(stored, tiny)
    assert not [path for path in store.puts if "/faces/" in path or "/frames/" in path]


def test_it_goes_on_after_the_store_said_no(store: Store, stored: str, tiny: ModelBundle, expected: Run) -> None:
    parts = [0]

    def second_part(method: str, path: str) -> int | None:
        is_part = method == "PUT" and "/faces/part-" in path
        parts[0] += is_part
        return 403 if is_part and parts[0] == 2 else None

    store.fail = second_part
    with pytest.raises(StoppedError, match=r"cannot write s3://bucket/out/faces/part-.*denies access.*committed stays"):
        run(stored, tiny)
    assert json.loads((at("out") / "run.json").read_text())["state"] == "stopped"
    committed = [path.name for path in (at("out") / "faces").iterdir()]
    assert len(committed) == 1
    store.reset()
    assert_same(run(stored, tiny), expected)
    assert not [path for path in store.puts if path.endswith(f"/faces/{committed[0]}")]


def test_a_part_that_is_gone_is_made_again(store: Store, stored: str, tiny: ModelBundle, expected: Run) -> None:
    run(stored, tiny)
    part = next((at("out") / "faces").iterdir())
    part.unlink()
    found = run(stored, tiny)
    assert found.info["mended"] == [f"faces/{part.name} is gone: the videos in it are done again"]
    assert_same(found, expected)


def test_a_signed_address_is_read_and_its_signature_written_nowhere(
    store: Store, stored: str, tiny: ModelBundle, tmp_path: Path
) -> None:
    signed = f"{store.url}/bucket/in/one_face.mp4?X-Amz-Credential=x&X-Amz-Signature=5ecre7"
    found = run(signed, tiny, out=str(tmp_path / "run"))
    row = found.videos().to_pylist()[0]
    assert (row["status"], row["path"]) == ("ok", f"{store.url}/bucket/in/one_face.mp4?...")
    assert found.info["inputs"] == [row["path"]]
    for path in (tmp_path / "run").rglob("*"):
        assert path.is_dir() or b"5ecre7" not in path.read_bytes()


def test_pages_and_exports_come_from_a_copy_that_is_gone_after(
    store: Store, stored: str, tiny: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    found = run(stored, tiny)
    (at("out") / "report" / "videos" / "old.html").write_bytes(b"of a video that is no longer there")
    with on_disk(found) as (here, _):
        copy = here.path
        assert_same_tables(here, found)
    assert not copy.exists()
    assert command(monkeypatch, "report", "s3://bucket/out") == 0
    assert "report: s3://bucket/out/report/index.html" in capsys.readouterr().out
    pages = {path.name for path in (at("out") / "report" / "videos").iterdir()}
    ids = found.videos()["video_id"].drop_null().to_pylist()
    assert pages == {f"{video_id}.html" for video_id in ids}
    assert store.puts[-1].endswith("/report/index.html")
    assert command(monkeypatch, "status", "s3://bucket/out", "--json") == 0
    assert json.loads(capsys.readouterr().out)["counts"] == {"ok": 2, "partial": 0, "failed": 1}
    assert command(monkeypatch, "export", "s3://bucket/out", "--out", tmp_path / "csv") == 0
    assert len((tmp_path / "csv" / "faces.csv").read_text().splitlines()) == 1 + len(found.faces())


def test_what_cannot_be_is_refused_before_any_work(
    store: Store, stored: str, tiny: ModelBundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (
        ["s3://nowhere/in", "--out", "s3://bucket/out"],
        [stored, "--out", "s3://nowhere/out"],
        [f"{stored}/none", "--out", "s3://bucket/out"],
    ):
        assert command(monkeypatch, "run", *arguments, "--model", tiny.path) == 2
    store.fail = lambda _method, _path: 403
    assert command(monkeypatch, "run", stored, "--out", "s3://bucket/out", "--model", tiny.path) == 2
    store.fail = lambda _method, _path: None
    assert store.puts == []
    told = capsys.readouterr().err
    assert "the store denies access" in told
    assert told.count("there is no bucket 'nowhere'") == 2
    assert "there is no such object" in told
    with pytest.raises(RefusedError, match="holds no run"):
        Run("s3://bucket/out")
