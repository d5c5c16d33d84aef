from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fer_batch import staging
from fer_batch.config import Sampling
from fer_batch.decode import SegmentReader
from fer_batch.errors import VideoError
from fer_batch.object_path import AnyPath, ObjectPath
from fer_batch.plan import whole
from fer_batch.probe import VideoInfo, probe
from tests.clips import Clips
from tests.object_store import Store
from tests.storage.test_object_path import at


@pytest.fixture(autouse=True)
def no_copies() -> Iterator[None]:
    staging._copies.held.clear()
    yield
    staging._copies.held.clear()
    staging._copies.allowed = None


def put(path: Path) -> ObjectPath:
    there = at(f"in/{path.name}")
    there.write_bytes(path.read_bytes())
    return there


def samples(video: VideoInfo) -> list[tuple[int, int, bytes]]:
    found = list(SegmentReader(whole(video), Sampling()))
    return [
        (sample.frame_index, sample.pts, (b"" if sample.image is None else sample.image.tobytes())) for sample in found
    ]


@pytest.mark.parametrize("budget", [10**9, 0], ids=["copied", "part by part"])
def test_a_video_is_the_same_as_on_a_disk(store: Store, clips: Clips, budget: int) -> None:
    here, there = clips.ntsc.path, put(clips.ntsc.path)
    staging.allow_copies(budget, 1)
    expected, found = probe(here), probe(there)
    assert found.path == there
    assert replace(found, path=here, mtime_ns=expected.mtime_ns) == expected
    assert samples(found) == samples(expected)


def test_a_copy_is_fetched_once_and_has_no_name(
    store: Store, clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = put(clips.ntsc.path)
    store.reset()
    staging.allow_copies(10**9, 1)
    samples(probe(path))
    size = clips.ntsc.path.stat().st_size
    assert size <= store.sent < size + 4096
    assert staging._copies.used() == size
    assert list(tmp_path.iterdir()) == []


def test_copies_stay_within_their_budget_and_the_oldest_goes_first(store: Store, clips: Clips) -> None:
    paths = [put(clip.path) for clip in (clips.ntsc, clips.constant, clips.one_face)]
    sizes = [path.stat().st_size for path in paths]
    staging.allow_copies(sum(sizes) - 1, 1)
    first = staging.open_object(paths[0])
    head = first.read(100)
    for path in paths[1:]:
        staging.open_object(path)
        assert staging._copies.used() <= sum(sizes) - 1
    kept = [held.copy is not None for held in staging._copies.held.values()]
    assert kept == [False, True, True]
    first.seek(0)
    assert first.read(100) == head  # what is being read stays until it is closed


def test_a_full_disk_means_part_by_part(store: Store, clips: Clips, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(28, os.strerror(28))

    path = put(clips.constant.path)
    monkeypatch.setattr(os, "posix_fallocate", full)
    staging.allow_copies(10**9, 1)
    assert probe(path).video_id == probe(clips.constant.path).video_id
    assert staging._copies.used() == 0


def test_half_of_what_is_free_at_most_is_taken_and_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    assert staging.share_of_disk(1000, 4) == 250
    free = shutil.disk_usage(tempfile.gettempdir()).free
    assert staging.share_of_disk(None, 4) <= min(free // 2, staging.DEFAULT_BYTES) // 4 + 10**8


@pytest.mark.parametrize("budget", [10**9, 0], ids=["copied", "part by part"])
def test_an_object_that_is_replaced_meanwhile_has_changed(store: Store, clips: Clips, budget: int) -> None:
    path = put(clips.constant.path)
    staging.allow_copies(budget, 1)
    video = probe(path)
    reader = iter(SegmentReader(whole(video), Sampling()))
    next(reader)
    path.write_bytes(clips.ntsc.path.read_bytes())
    with pytest.raises(VideoError, match="while it was processed"):
        list(reader)


def test_what_cannot_be_read_has_the_codes_of_a_disk(store: Store, clips: Clips) -> None:
    def code(path: AnyPath) -> str:
        with pytest.raises(VideoError) as caught:
            probe(path)
        return caught.value.code

    at("in/empty.mp4").write_bytes(b"")
    at("in/text.mp4").write_bytes(b"no video")
    assert code(at("in/empty.mp4")) == "empty"
    assert code(at("in/text.mp4")) == "not_a_video"
    assert code(at("in/none.mp4")) == "vanished"
    path = put(clips.constant.path)
    store.fail = lambda method, _path: 403 if method == "GET" else None
    assert code(path) == "unreadable"
