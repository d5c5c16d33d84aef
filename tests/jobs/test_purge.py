"""``fer-batch purge``: a person taken out of a run, and rows whose time is up, from the command to every byte."""

from __future__ import annotations

import csv
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest

from fer_batch import Run
from fer_batch.bundle import ModelBundle
from fer_batch.purged import READY, Purged
from fer_batch.schema import PROBABILITIES
from tests.clips import Clips
from tests.faults.inline import Killed
from tests.jobs.command import fer_batch
from tests.jobs.purging import PERSON, naming, run_command, study, without_ray


@pytest.fixture(scope="module")
def made(clips: Clips, tiny: ModelBundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("purge") / "study"
    study(folder, clips, tiny)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of the study, in the same place for each test, as paths stand in its ledger."""
    kept = made.with_name("kept")
    if not kept.exists():
        shutil.copytree(made, kept)
    shutil.rmtree(made)
    shutil.copytree(kept, made)
    return made


def purge_person(monkeypatch: pytest.MonkeyPatch, folder: Path, *more: str | Path) -> int:
    return fer_batch(monkeypatch, "purge", folder / "out", "--participant", PERSON, "--groups", folder / "people.csv",
                     *more)  # fmt: skip


def rows_by_name(run: Run) -> dict[str, dict[str, Any]]:
    return {Path(row["path"]).name: row for row in run.videos().to_pylist()}


def test_a_person_leaves_every_file_of_the_run(
    folder: Path, tiny: ModelBundle, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    run = Run(folder / "out")
    before, shared = rows_by_name(run), rows_by_name(run)["with-anna77.mp4"]
    faces, frames = run.faces(shared["video_id"]), run.frames(shared["video_id"])
    others = run.faces(before["carl.mp4"]["video_id"])
    assert len(naming(run.path, PERSON)) > 5
    pictures = set((folder / "coding" / "images").iterdir())
    assert purge_person(monkeypatch, folder, "--also", folder / "coding") == 0
    assert "still named" not in capsys.readouterr().out
    assert naming(run.path, PERSON) == []
    after = rows_by_name(run)
    assert set(after) == {"carl.mp4", f"{shared['video_id']}-1.mp4", f"{shared['video_id']}-2.mp4"}
    # Of the shared video the other person is left, with means that are theirs alone.
    left = run.faces(shared["video_id"])
    assert set(faces["track_id"].to_pylist()) == {1, 2}
    mine = faces.filter(pc.equal(faces["track_id"], 2))
    same = [name for name in faces.column_names if name != "face_index"]
    assert left.select(same).equals(mine.select(same))
    assert set(left["face_index"].to_pylist()) == {0}
    kept = run.frames(shared["video_id"])
    assert kept["frame_index"].to_pylist() == left["frame_index"].to_pylist()
    for name in PROBABILITIES:
        np.testing.assert_array_equal(kept[name].to_numpy(), left[name].to_numpy())
        assert not np.array_equal(kept[name].to_numpy(), frames[name].to_numpy())
    assert run.faces(before["carl.mp4"]["video_id"]).equals(others)
    row = after[f"{shared['video_id']}-1.mp4"]
    assert (row["n_faces"], row["n_tracks"], row["n_sampled"]) == (len(left), 1, len(kept))
    counts = run.info["counts"]
    assert (counts["files"], counts["ok"], counts["failed"]) == (3, 3, 0)
    assert counts["faces"] == len(left) + len(others) == len(run.faces())
    # The table keeps its form and the others' rows, which still fit the run.
    data = (folder / "people.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbfparticipant,video")
    rows = list(csv.DictReader(data.decode("utf-8-sig").splitlines()))
    assert [(row["participant"], row["video"]) for row in rows] == [("ben", shared["video_id"]), ("carl", "carl.mp4")]
    assert data.count(b"\r\n") == data.count(b"\n") == 3
    # Pages and exports are of the others.
    assert {page.stem for page in (run.report_dir / "videos").iterdir()} == {row["video_id"] for row in after.values()}
    exported = list(csv.DictReader((run.path / "export" / "faces.csv").read_text("utf-8-sig").splitlines()))
    assert len(exported) == len(run.faces())
    assert (run.path / "export" / "participants.csv").read_text("utf-8-sig").count("ben") == 1
    # What coders were given of them is gone, and so is the sample.
    assert 0 < len(set((folder / "coding" / "images").iterdir())) < len(pictures)
    assert not list((run.path / "validation").iterdir())
    assert not (run.path / "damaged").exists()
    assert not run.work_dir.exists()
    (record,) = Purged.of(run.path).records
    assert record["why"] == "person"
    assert record["rows"] == {
        "faces": before["anna77.mp4"]["n_faces"] + len(faces) - len(left),
        "frames": before["anna77.mp4"]["n_sampled"] + len(frames) - len(kept),
        "videos": 2,
    }


def test_the_same_command_does_not_bring_them_back(
    folder: Path, tiny: ModelBundle, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert purge_person(monkeypatch, folder) == 0
    run = Run(folder / "out")
    faces = run.faces()
    os.utime(folder / "recordings" / "anna77.mp4")  # touched, renamed or copied: it is still the same recording
    shutil.copy(folder / "recordings" / "with-anna77.mp4", folder / "recordings" / "anna77-again.mp4")
    (folder / "recordings" / "anna77-torn.mp4").unlink()
    with without_ray(tiny) as patch:
        for more in ([], ["--retry-failed"]):
            assert fer_batch(patch, *run_command(folder, tiny, *more)) == 0
            assert naming(run.path, PERSON) == []
            assert run.faces().equals(faces)
        # A part that is lost is not made anew with them in it, nor is all of it with other settings.
        shared = next(row for row in run.videos().to_pylist() if Path(row["path"]).name != "carl.mp4")
        (run.path / "faces" / shared["part"]).unlink()
        assert fer_batch(patch, *run_command(folder, tiny)) in (0, 3)
        assert set(run.faces()["video_id"].to_pylist()) <= {rows_by_name(run)["carl.mp4"]["video_id"]}
        assert fer_batch(patch, *run_command(folder, tiny, "--redo", "--fps", "1")) == 0
        assert list(rows_by_name(run)) == ["carl.mp4"]
        assert naming(run.path, PERSON) == []


@pytest.mark.parametrize("number", [0, 5, 8, 10, 14, 26, 35])
def test_a_kill_leaves_all_or_nothing_and_the_same_command_completes_it(
    number: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(folder / "out")
    faces = run.faces()
    with killed_at(number) as died, suppress(Killed):
        purge_person(monkeypatch, folder)
    assert died
    if not (run.path / READY).exists():
        assert run.faces().equals(faces)
        assert Purged.of(run.path).records == ()
    (run.path / "work" / "lease.json").unlink(missing_ok=True)
    assert purge_person(monkeypatch, folder) == 0
    assert naming(run.path, PERSON) == []
    assert len(Purged.of(run.path).records) == 1


class killed_at:  # noqa: N801 - used as a function
    """Inside, the process dies before or after its nth rename or removal; tells whether it did."""

    def __init__(self, number: int) -> None:
        self._number, self._count, self._patch = number, -1, pytest.MonkeyPatch()

    def __enter__(self) -> list[bool]:
        died: list[bool] = []
        for name in ("replace", "unlink"):
            real = getattr(os, name)

            def act(*arguments: Any, name: str = name, real: Any = real, **more: Any) -> Any:
                if died:
                    raise Killed
                self._count += name == "replace" or ".tmp" not in str(arguments[0])
                if self._count == self._number:
                    died.append(True)
                    if self._number % 2:
                        real(*arguments, **more)
                    raise Killed
                return real(*arguments, **more)

            self._patch.setattr(os, name, act)
        return died

    def __exit__(self, *_: object) -> None:
        self._patch.undo()
