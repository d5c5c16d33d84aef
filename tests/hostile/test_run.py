"""All hostile and odd files in one folder, through the whole engine: the ledger is known beforehand, row by row."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

import fer_batch
from fer_batch import Resources, Run
from fer_batch.bundle import ModelBundle
from fer_batch.engine import workers
from fer_batch.plan import Unit
from fer_batch.process import RunContext
from fer_batch.schema import FRAMES, VIDEOS
from fer_batch.worker import UnitDone, do_unit
from tests.clips import Clips
from tests.hostile.catalogue import Files, Made
from tests.hostile.edits import box
from tests.hostile.names import LONG, NAMES
from tests.hostile.test_damage import DAMAGED
from tests.hostile.test_formats import FORMATS
from tests.hostile.test_not_videos import NOT_VIDEOS
from tests.hostile.test_shapes import SHAPES
from tests.hostile.test_times import TIMED

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]

CASES = [*FORMATS, *TIMED, *SHAPES, *DAMAGED, *NOT_VIDEOS]

BROKEN = [f"broken {name}" for name in NAMES if name != LONG]
"""Names of files that are no videos: the log and the ledger must name them too."""

OTHERS = {
    "self.mp4": ("failed", "unreadable"),
    "nowhere.mp4": ("failed", "vanished"),
    "pipe.mp4": ("failed", "unreadable"),
    "copy 1.mp4": ("ok", None),
    "copy 2.mp4": ("ok", None),
    "vanishes.ts": ("failed", "vanished"),
    "grows_meanwhile.ts": ("failed", "changed"),
}
"""Files that are made here, and what becomes of them."""


@pytest.fixture(scope="module")
def made(files: Files) -> dict[str, Made]:
    """What the cases describe, by file name."""
    return {case.name: files(case) for case in CASES}


@pytest.fixture(scope="module")
def folder(made: dict[str, Made], clips: Clips, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("all")
    for one in made.values():
        shutil.copy(one.path, target / one.case.name)
    plain = made["h264.mp4"].path.read_bytes()
    for number, name in enumerate(NAMES):  # each of a content of its own: a remark behind the last box
        (target / name).write_bytes(plain + box(b"free", str(number).encode()))
    for name in BROKEN:
        (target / name).write_text(f"no film, though its name is {name!a}")
    (target / "self.mp4").symlink_to("self.mp4")
    (target / "nowhere.mp4").symlink_to("gone.mp4")
    os.mkfifo(target / "pipe.mp4")
    (target / "up").symlink_to(target)
    for name in ("copy 1.mp4", "copy 2.mp4"):
        shutil.copy(clips.two_faces.path, target / name)
    for name, source in (("vanishes.ts", "hevc.ts"), ("grows_meanwhile.ts", "mpeg4.ts")):
        (target / name).write_bytes(made[source].path.read_bytes() + bytes(188))  # of a content of their own
    return target


@pytest.fixture(scope="module")
def run(folder: Path, tiny: ModelBundle, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run over all of them; two of the files change after they were probed."""

    def task(unit: Unit, context: RunContext, actors: list[Any], first: int) -> UnitDone:
        for segment in unit.segments:
            path = segment.video.path
            if path.name == "vanishes.ts":
                path.unlink(missing_ok=True)
            if path.name == "grows_meanwhile.ts":
                with open(str(path), "ab") as file:
                    file.write(bytes(1880))
        return do_unit(unit, context, workers.ActorScores(actors, first))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "_unit_task", task)
        return fer_batch.run(
            folder, tmp_path_factory.mktemp("runs") / "run", model=tiny.path, resources=Resources(cpus=2)
        )


def name_of(row: dict[str, Any]) -> str:
    raw = row["path"].encode() if row["path_bytes"] is None else row["path_bytes"]
    return os.path.basename(os.fsdecode(raw))


def test_the_ledger_has_each_file_once_with_its_status(run: Run, made: dict[str, Made]) -> None:
    ledger = run.videos()
    assert ledger.schema.equals(VIDEOS)
    found = {name_of(row): (row["status"], row["error_code"]) for row in ledger.to_pylist()}
    expected = {name: (one.case.status, one.case.code) for name, one in made.items()}
    expected |= dict.fromkeys(NAMES, ("ok", None)) | dict.fromkeys(BROKEN, ("failed", "not_a_video")) | OTHERS
    assert found == expected
    assert len(ledger) == len(expected)
    counts = run.info["counts"]
    assert {name: counts[name] for name in ("ok", "partial", "failed")} == Counter(s for s, _ in expected.values())
    assert run.info["state"] == "complete"


def test_rows_are_true(run: Run, made: dict[str, Made]) -> None:
    rows = {name_of(row): row for row in run.videos().to_pylist()}
    frames = run.frames()
    assert frames.schema.equals(FRAMES)
    for name, one in made.items():
        row, truth = rows[name], one.truth
        assert one.case.said in (row["error"] or "")
        if row["status"] == "failed":
            assert row["part"] is None
            assert len(row["error"]) > 10
            continue
        mine = frames.filter(pc.field("video_id") == row["video_id"])
        times, lasting = mine["timestamp_ms"].to_pylist(), mine["duration_ms"].to_pylist()
        assert times == sorted(set(times))
        assert row["sampled_ms"] == sum(lasting) <= row["duration_ms"]
        assert (row["n_sampled"], row["n_faces"]) == (len(mine), 0)
        if truth is not None and row["status"] == "ok":
            wanted = truth.sampled()
            assert times == [truth.times_ms[i] for i in wanted], name
            assert mine["frame_index"].to_pylist() == wanted
            assert set(mine["reason"].to_pylist()) == {"no_face"}
            assert (row["width"], row["height"], row["rotation"]) == (*truth.size, truth.rotation)
            assert (row["codec"], row["n_frames"]) == (truth.codec, len(truth.times))
            assert row["duration_ms"] == pytest.approx(truth.duration_ms, abs=1)
            reached_ms = 500 * (math.floor(2 * truth.times[-1]) + 1)  # the next instant after the last frame's time
            assert row["sampled_ms"] == min(row["duration_ms"], reached_ms)
    assert rows["copy 1.mp4"]["video_id"] == rows["copy 2.mp4"]["video_id"]
    assert len(run.faces()) == rows["copy 1.mp4"]["n_faces"] == 16


def test_names_are_shown_and_not_obeyed(run: Run, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from jobs.status import status

    status(run.path, everything=True, as_json=True)
    shown = {row["path"] for row in json.loads(capsys.readouterr().out)["videos"]}
    assert shown == {row["path"] for row in run.videos().to_pylist()}
    status(run.path, everything=True, as_json=False)
    said = capsys.readouterr().out
    control = {c for c in said if ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or ord(c) in range(0x202A, 0x202F)} - {"\n"}
    assert not control, "a name may move the cursor, colour the screen or turn the line round"
    assert len([line for line in said.splitlines() if line.strip()]) >= len(run.videos()) + 2
    written = (run.path / "run.log").read_text(encoding="utf-8")
    assert not {c for c in written if ord(c) < 32} - {"\n"}
    lines = [line for line in written.splitlines() if "broken " in line]
    assert len(lines) == len(BROKEN)
    assert all("WARNING" in line and "not_a_video" in line for line in lines), "a name forged a line of the log"
    assert not list(folder.glob("hacked*"))
    assert not Path("hacked").exists()


class Elements(HTMLParser):
    """Counts a page's elements, and the attributes that run something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.handlers: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def test_pages_show_names_and_do_not_obey_them(run: Run, tmp_path: Path) -> None:
    from reports import build as build_report

    index = build_report(run, tmp_path / "report")
    overview = index.read_text(encoding="utf-8")
    assert "<script>alert" not in overview
    assert "<svg onload" not in overview
    assert "alert(1)" in overview
    page = Elements(overview)
    assert not page.handlers
    rows = {name_of(row): row for row in run.videos().to_pylist()}
    plain = Elements((index.parent / "videos" / f"{rows['h264.mp4']['video_id']}.html").read_text(encoding="utf-8"))
    for name in NAMES:
        text = (index.parent / "videos" / f"{rows[name]['video_id']}.html").read_text(encoding="utf-8")
        elements = Elements(text)
        assert elements.tags == plain.tags, name
        assert not elements.handlers
