"""``fer-batch purge``: a person taken out of a run, and rows whose time is up, from the command to every byte."""

from __future__ import annotations

import csv
import json
import os
import shutil
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from fer_batch import Run
from fer_batch.bundle import ModelBundle
from fer_batch.driver import Probe
from fer_batch.lease import Lease
from fer_batch.path_names import PathNames
from fer_batch.purged import READY, Purged
from fer_batch.removal import without_faces
from fer_batch.schema import PROBABILITIES
from tests.clips import Clips
from tests.faults.inline import Killed
from tests.jobs.command import fer_batch
from tests.jobs.purging import (
    PERSON,
    dated,
    days_ago,
    edit_info,
    naming,
    run_command,
    study,
    without_ray,
    write_recordings,
)


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
    with without_ray(tiny) as patch:
        for more in ([], ["--retry-failed"]):
            capsys.readouterr()
            assert fer_batch(patch, *run_command(folder, tiny, *more)) == 0
            said = capsys.readouterr()
            # All but Carl's: theirs, one made of it above, the shared one twice, and the file that is no video.
            assert "5 files left out, as a person in each was removed from this run" in said.out
            assert "6/6 videos, 1 kept, 5 left out" in said.err
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


def test_what_a_folder_says_is_obeyed_in_that_folder_only(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    (tmp_path / "mine").mkdir()
    ready = folder / "out" / READY
    ready.parent.mkdir(parents=True)
    then: dict[str, Any] = {"participant": None, "exports": [], "table": None, "pages": None, "job": None}
    ready.write_text(json.dumps({"moves": [], "removed": [str(tmp_path / "mine")], "then": then}))
    assert fer_batch(monkeypatch, "purge", folder / "out") == 2
    assert "give the same command again" in capsys.readouterr().err
    assert (tmp_path / "mine").is_dir()


def test_watching_goes_on_while_a_run_is_purged(
    folder: Path, tiny: ModelBundle, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def stop_waiting(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("jobs.watch.time.sleep", stop_waiting)
    command = run_command(folder, tiny)
    with without_ray(tiny) as patch, Lease(folder / "out" / "work" / "lease.json"):
        assert fer_batch(patch, "watch", command[1], "--out", command[3], "--", *command[4:]) == 130
    assert "looking again later" in capsys.readouterr().err


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


def test_tracks_go_with_the_frames_that_they_were_seen_in(
    clips: Clips, tiny: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    (tmp_path / "job.toml").write_text(
        f'[inputs]\npaths = ["{clips.coming_and_going.path}"]\n[output]\nfolder = "out"\n[model]\n'
        f'name = "{tiny.path}"\n[privacy]\nlevel = "tracks"\nbin_seconds = 30\n'
    )
    run, table = Path(tmp_path / "out"), tmp_path / "people.csv"
    head = "participant,video,person,stimulus,start_ms,end_ms,run\n"
    with without_ray(tiny) as patch:
        assert fer_batch(patch, "run", tmp_path / "job.toml") == 0
        before = Run(run).videos().to_pylist()[0]
        stays, visitor = Run(run).tracks().to_pylist()
        rows = f"a,{before['video_id']},track:1,x,0,,{Run(run).id}\nb,{before['video_id']},{{}},x,0,,{Run(run).id}\n"
        table.write_text(head + rows.format("largest"))
        assert fer_batch(patch, "purge", run, "--participant", "b", "--groups", table) == 2
        assert "Write the tracks" in capsys.readouterr().err
        table.write_text(head + rows.format("track:2"))
        frames = Run(run).frames()
        assert fer_batch(patch, "purge", run, "--participant", "b", "--groups", table) == 0
        assert Run(run).tracks().to_pylist() == [stays]
        assert set(Run(run).track_bins()["track_id"].to_pylist()) == {1}
        times = frames["timestamp_ms"]
        outside = pc.or_(pc.less(times, visitor["start_ms"]), pc.greater_equal(times, visitor["end_ms"]))
        assert Run(run).frames().equals(frames.filter(outside))
        after = Run(run).videos().to_pylist()[0]
        assert (after["n_tracks"], after["n_sampled"]) == (1, pc.sum(outside).as_py())
        assert after["n_faces"] == pc.sum(Run(run).frames()["n_faces"]).as_py()
        assert fer_batch(patch, "run", tmp_path / "job.toml") == 0
        assert Run(run).tracks().to_pylist() == [stays]


def test_frames_that_showed_nobody_else_go_and_the_others_have_new_means() -> None:
    p = np.array([[0.7, 0.3], [0.1, 0.9], [0.2, 0.8], [0.5, 0.5]], np.float32)
    faces = pa.table({"frame_index": [0, 0, 5, 9], "face_index": pa.array([0, 1, 0, 0], pa.int16()),
                      "track_id": [1, 2, 1, 2], "timestamp_ms": [0, 0, 500, 900], "duration_ms": [500, 500, 400, 100],
                      **{name: p[:, i % 2] / 3.5 for i, name in enumerate(PROBABILITIES)}})  # fmt: skip
    frames = pa.table({"frame_index": [0, 5, 7, 9], "n_faces": pa.array([2, 1, 0, 1], pa.int16()),
                       **{name: pa.array([9.0, 9.0, None, 9.0], pa.float32()) for name in PROBABILITIES}})  # fmt: skip
    left = without_faces(faces, frames, np.array([[0, 0], [5, 0]]))
    assert left["faces"]["face_index"].to_pylist() == [0, 0]
    assert left["frames"]["frame_index"].to_pylist() == [0, 7, 9]
    assert left["frames"]["n_faces"].to_pylist() == [1, 0, 1]
    # Only the frame that lost a face has another mean; one without a face still has none.
    assert left["frames"]["p_angry"].to_pylist() == [pytest.approx(0.1 / 3.5), None, 9.0]
    assert left["frames"]["p_disgust"].to_pylist() == [pytest.approx(0.9 / 3.5), None, 9.0]


def test_rows_go_when_their_time_is_up_and_the_same_command_leaves_them_out(
    folder: Path, tiny: ModelBundle, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    out = folder / "out"
    run = Run(out)
    assert fer_batch(monkeypatch, "purge", out) == 2
    assert "says nothing of retention" in capsys.readouterr().err
    edit_info(out, job={"kind": None, "retention": {"faces": 90, "aggregates": 730, "pages": 365}})
    assert fer_batch(monkeypatch, "purge", out) == 0
    soon = datetime.now(UTC) + timedelta(days=90)
    assert f"nothing is due before {soon:%Y-%m-%d}" in capsys.readouterr().out
    rows = rows_by_name(run)
    old, young = rows["carl.mp4"], rows["anna77.mp4"]
    assert old["part"] != young["part"]
    dated(out, f"faces/{old['part']}", 91)
    dated(out, f"faces/{young['part']}", 89)
    dated(out, f"damaged/faces/{old['part']}", 91)
    # Pages, also those that report --out built in the report's folder, and a comparison, which holds means only.
    copy = out / "report" / "mine" / "videos" / f"{old['video_id']}.html"
    copy.parent.mkdir(parents=True)
    shutil.copy(out / "report" / "videos" / copy.name, copy)
    (out / "report" / "groups").mkdir()
    (out / "report" / "groups" / "index.html").write_text("means")
    pages = sorted((out / "report" / "videos").iterdir())
    assert {f"{row['video_id']}.html" for row in (old, young)} < {page.name for page in pages}
    before, faces = everything(out), run.faces()
    with Lease(out / "work" / "lease.json"):
        assert fer_batch(monkeypatch, "purge", out) == 2
    assert "another fer-batch works on" in capsys.readouterr().err
    assert fer_batch(monkeypatch, "purge", out, "--dry-run", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert everything(out) == before
    assert told["rows"] == {"faces": old["n_faces"], "frames": old["n_sampled"], "videos": 0}
    # All of an export but its text on methods, which holds no rows.
    tables = [file for file in before if file.parent == out / "export" and file.suffix in {".csv", ".json"}]
    n_pages, n_exported = len(pages) + 2, len(tables)
    assert told["files"][-2:] == [
        f"{n_pages} pages of such rows in report/, built again from what is left",
        f"{n_exported} files of the export in export/, made again from what is left",
    ]
    assert fer_batch(monkeypatch, "purge", out) == 0
    assert not copy.exists()
    assert sorted((out / "report" / "videos").iterdir()) == [page for page in pages if page.name != copy.name]
    index = (out / "report" / "index.html").read_text()
    assert f"{young['video_id']}.html" in index
    assert f"{old['video_id']}.html" not in index
    assert (out / "report" / "groups" / "index.html").read_text() == "means"
    left = faces.filter(pc.not_equal(faces["video_id"], old["video_id"]))
    assert run.faces().equals(left)
    assert not (out / "frames" / old["part"]).exists()
    assert not (out / "damaged" / "faces" / old["part"]).exists()
    row = rows_by_name(run)["carl.mp4"]
    assert (row["status"], row["part"], row["error_code"], row["n_faces"]) == ("ok", None, "purged", old["n_faces"])
    exported = list(csv.DictReader((out / "export" / "faces.csv").read_text("utf-8-sig").splitlines()))
    assert len(exported) == len(left)
    (record,) = Purged.of(out).records
    assert (record["why"], record["kind"], record["days"]) == ("retention", "faces", 90)
    assert record["rows"] == told["rows"]
    assert (record["pages"], record["exports"], record["bytes"]) == (n_pages, n_exported, told["bytes"])
    shutil.copy(folder / "recordings" / "carl.mp4", folder / "recordings" / "again.mp4")
    with without_ray(tiny) as patch:
        capsys.readouterr()
        assert fer_batch(patch, *run_command(folder, tiny, "--retry-failed")) == 3
    said = capsys.readouterr().out
    assert f"the rows of 2 videos ({old['n_faces']} faces) were removed since" in said  # the copy has the same
    assert f"faces:  {out / 'faces'}" in said
    assert run.faces().equals(left)
    assert len(run.videos()) == len(rows) + 1
    # When the last rows go, no page of a video is left.
    kept = everything(out)
    for part in (out / "faces").iterdir():
        dated(out, f"faces/{part.name}", 91)
    assert fer_batch(monkeypatch, "purge", out) == 0
    assert not list((out / "report").glob("**/videos/*"))
    assert (out / "report" / "index.html").is_file()
    with without_ray(tiny) as patch:
        capsys.readouterr()
        assert fer_batch(patch, *run_command(folder, tiny)) == 3
    assert "faces:  none is left\nframes: none is left" in capsys.readouterr().out
    put_back(out, kept)
    # Nor when all of it goes, though pages may stay longer.
    edit_info(out, completed=days_ago(731))
    assert fer_batch(monkeypatch, "purge", out) == 0
    assert [file.parent.name for file in (out / "report").rglob("*.html")] == ["groups"]
    assert [record["pages"] for record in Purged.of(out).records if record["kind"] == "aggregates"] == [len(pages)]
    put_back(out, kept)
    # Pages a year after the run was begun, and all of it two years after it was complete.
    edit_info(out, created=days_ago(366))
    assert fer_batch(monkeypatch, "purge", out) == 0
    assert not (out / "report").exists()
    assert run.faces().equals(left)
    edit_info(out, completed=days_ago(731))
    assert fer_batch(monkeypatch, "purge", out) == 0
    assert {item.name for item in out.iterdir()} - {"export"} == {"run.json", "purged.json"}
    assert naming(out, "carl") == naming(out, PERSON) == []
    with without_ray(tiny) as patch:
        assert fer_batch(patch, *run_command(folder, tiny)) == 2
    assert "choose another --out" in capsys.readouterr().err


def everything(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def put_back(folder: Path, kept: dict[Path, bytes]) -> None:
    shutil.rmtree(folder)
    for path, data in kept.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def test_paths_are_pseudonyms_in_all_that_is_written(
    clips: Clips, tiny: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("FER_BATCH_PATH_KEY", str(tmp_path / "key" / "paths.key"))
    write_recordings(tmp_path / "recordings" / PERSON, clips)
    shutil.copy(clips.cut_short.path, tmp_path / "recordings" / PERSON / "anna77-cut.mp4")
    (tmp_path / "job.toml").write_text(
        f'[inputs]\npaths = ["recordings"]\n[output]\nfolder = "out"\n[model]\nname = "{tiny.path}"\n'
        "[privacy]\npseudonymise_paths = true\n"
    )
    out = tmp_path / "out"
    with without_ray(tiny, dies_of_the_copy) as patch:
        assert fer_batch(patch, "run", tmp_path / "job.toml") == 3
        run = Run(out)
        rows = run.videos().to_pylist()
        assert len(rows) == 6
        assert naming(out, PERSON) == naming(out, "recordings") == []
        log = (out / "run.log").read_text()
        assert all(row["path"] in log for row in rows if row["status"] == "failed")
        key = (tmp_path / "key" / "paths.key").read_text().strip()
        assert (tmp_path / "key" / "paths.key").stat().st_mode & 0o777 == 0o600
        assert naming(out, key) == []
        # What some library says in the log may name a file too.
        names = PathNames(bytes.fromhex(key))
        said = names.scrubbed(f"cannot read {tmp_path}/recordings/{PERSON}/x.mp4: why\nnext", [str(tmp_path)])
        assert said.startswith("cannot read /p")
        assert PERSON not in said
        assert said.endswith("\nnext")
        # The same command knows its files again, and a table may name them as they are called.
        assert fer_batch(patch, "run", tmp_path / "job.toml") == 3
        assert run.videos().to_pylist() == rows
        table = tmp_path / "people.csv"
        table.write_text(f"participant,video,person,stimulus,start_ms,end_ms\nanna,{PERSON}/anna77.mp4,largest,a,0,\n")
        assert fer_batch(patch, "export", out, "--out", out / "export", "--groups", table) == 0
        assert naming(out, PERSON) == []
        assert fer_batch(patch, "purge", out, "--participant", "anna", "--groups", table) == 0
        assert len(run.videos()) == 5
        # Another key is another run's.
        monkeypatch.setenv("FER_BATCH_PATH_KEY", str(tmp_path / "other.key"))
        capsys.readouterr()
        assert fer_batch(patch, "run", tmp_path / "job.toml") == 2
        assert "it is gone, and the run that is there has one" in capsys.readouterr().err
        (tmp_path / "other.key").write_text("00" * 32)
        assert fer_batch(patch, "run", tmp_path / "job.toml") == 2
        assert "privacy.path_key" in capsys.readouterr().err
        monkeypatch.setenv("FER_BATCH_PATH_KEY", str(out / "paths.key"))
        assert fer_batch(patch, "run", tmp_path / "job.toml") == 2
        assert "lies in the run's own folder" in capsys.readouterr().err


def dies_of_the_copy(task: Any) -> bool:
    """The copy is what workers die of."""
    return isinstance(task, Probe) and any("copy-with" in str(path) for path in task.paths)
