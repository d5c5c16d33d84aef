"""What coders get: the right pictures, and nothing that tells the model's answer."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from fer_batch.errors import RefusedError, StoppedError
from fer_batch.probe import fingerprint
from fer_batch.schema import EMOTIONS, PROBABILITIES
from fer_batch.store import Run
from reports.validation.draw import Sample, draw
from reports.validation.material import check_coders, prepare_folder, write_page
from reports.validation.pictures import CONTEXT, LARGEST, Show, cut_out, write_pictures
from tests.clips import Clips, Person, build, constant_times, still
from tests.reports.synthetic import HAPPY, SAD, SyntheticRun
from tests.reports.validation.population import probabilities

HOSTILE = "<script>alert(1)<script> & \"co\" '{{7*7}}'.mp4"


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 frames a second, so that two samples a second are every 15th frame; one sitter, one wall."""
    people = [Person("astronaut", still(150, 95, 80))]
    return build(tmp_path_factory.mktemp("videos") / HOSTILE, constant_times(30, 8), people, gop=30).path


def a_run(folder: Path, *videos: Path) -> Run:
    made = SyntheticRun(folder)
    faces = [[(1, HAPPY if i % 3 else SAD), (2, probabilities(i % 7, 0.6789))] for i in range(16)]
    for path in videos:
        content = path if path.exists() else videos[0]
        made.video(
            str(path), faces, video_id=fingerprint(content, content.stat().st_size) + ("" if path.exists() else "x")
        )
    for face in made.faces:
        second = face["face_index"] == 1
        face |= {"x": 230.0 if second else 110.0, "y": 60.0, "w": 60.0, "h": 70.0}
    return made.write()


def no_news(_done: int, _of: int) -> None:
    """Nobody watches."""


def write_all(run: Run, sample: Sample, out: Path, show: Show = "strip") -> tuple[dict[str, str], dict[str, str]]:
    prepare_folder(out)
    lost, unread = write_pictures(run, sample, out, show, no_news)
    items = sorted(set(sample.faces["item"].to_pylist()) - set(lost))
    write_page(sample.sample_id, items, out, show, ["Anna", "Ben K"])
    return lost, unread


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_pictures_are_of_the_very_frames(video: Path, tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", video)
    sample = draw(run, 20, 0)
    assert write_all(run, sample, tmp_path / "out") == ({}, {})
    capture = cv2.VideoCapture(str(video))
    frames = []
    while (read := capture.read())[0]:
        frames.append(np.asarray(read[1], np.uint8))
    for row in sample.faces.to_pylist():
        written = cv2.imread(str(tmp_path / "out" / "images" / f"{row['item']}.jpg"))
        assert written is not None
        expected = cut_out(frames[row["frame_index"]], (row["x"], row["y"], row["w"], row["h"]))
        assert written.shape == expected.shape
        assert np.abs(written.astype(int) - expected).mean() < 4
    strips = sorted((tmp_path / "out" / "images").glob("*-strip.jpg"))
    assert len(strips) == len(sample.faces)


def test_a_strip_shows_the_track_before_and_after(video: Path, tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", video)
    sample = draw(run, 20, 0)
    write_all(run, sample, tmp_path / "out")
    for row in sample.faces.to_pylist():
        strip = cv2.imread(str(tmp_path / "out" / "images" / f"{row['item']}-strip.jpg"))
        assert strip is not None
        assert strip.shape == (160, 5 * 160 + 4 * 4, 3)
        at = row["timestamp_ms"] // 500
        for place, offset in enumerate((-2, -1, 0, 1, 2)):
            cell = strip[20:140, 164 * place + 20 : 164 * place + 140]
            is_blank = bool(cell.std() < 3)
            assert is_blank == (not 0 <= at + offset < 16), (row["item"], offset)


def test_coders_files_do_not_depend_on_the_models_answers(video: Path, tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", video)
    sample = draw(run, 20, 0)
    faces = sample.faces
    for name in (*PROBABILITIES, "confidence", "inclusion"):
        values = pa.array(np.random.default_rng(1).random(len(faces)), faces.schema.field(name).type)
        faces = faces.set_column(faces.schema.get_field_index(name), name, values)
    shifted = [EMOTIONS[(EMOTIONS.index(e) + 3) % 7] for e in faces["emotion"].to_pylist()]
    faces = faces.set_column(faces.schema.get_field_index("emotion"), "emotion", pa.array(shifted))
    for name, drawn in (("as drawn", sample), ("other answers", replace(sample, faces=faces))):
        write_all(run, drawn, tmp_path / name)
    assert files(tmp_path / "as drawn") == files(tmp_path / "other answers")


def test_coders_files_hold_no_name_time_or_probability(video: Path, tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", video)
    sample = draw(run, 20, 0)
    write_all(run, sample, tmp_path / "out")
    found = files(tmp_path / "out")
    assert {name for name in found if "/" not in name} == {
        "README.txt", "codes-Anna.csv", "codes-Ben-K.csv", "index.html"
    }  # fmt: skip
    secrets = {HOSTILE.encode(), b"alert(1)", b"0.6789", b"67.89"}
    secrets |= {row[name].encode() for row in sample.faces.to_pylist() for name in ("video_id",)}
    for name, content in found.items():
        for secret in secrets:
            assert secret not in content, name
            assert secret not in name.encode()
    text = (tmp_path / "out" / "index.html").read_text()
    for emotion in EMOTIONS:
        assert text.count(f'data-code="{emotion}"') == 1  # the button, and no mark on any face
    assert not any(b"Exif" in content[:200] for name, content in found.items() if name.endswith(".jpg"))


def test_the_empty_table_lists_all_items(video: Path, tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", video)
    sample = draw(run, 20, 0)
    write_all(run, sample, tmp_path / "out", "face")
    rows = list(csv.reader((tmp_path / "out" / "codes-Anna.csv").read_text().splitlines()))
    assert rows == [["item", "code"], *([item, ""] for item in sample.faces["item"].to_pylist())]
    assert not list((tmp_path / "out" / "images").glob("*-strip.jpg"))


def test_a_video_that_is_gone_costs_its_faces_only(video: Path, tmp_path: Path) -> None:
    gone = tmp_path / HOSTILE
    run = a_run(tmp_path / "run", video, gone)
    sample = draw(run, 40, 0)
    lost, unread = write_all(run, sample, tmp_path / "out")
    assert set(unread) == {str(gone)}
    assert "put it back" in unread[str(gone)]
    rows = sample.faces.to_pylist()
    assert lost == {row["item"]: "vanished" for row in rows if row["video_id"].endswith("x")}
    pictures = {path.stem for path in (tmp_path / "out" / "images").glob("*[0-9].jpg")}
    assert pictures == {row["item"] for row in rows} - set(lost)
    assert 0 < len(lost) < len(rows)
    assert not any(item in (tmp_path / "out" / "index.html").read_text() for item in lost)


def test_a_damaged_frame_is_lost_alone(clips: Clips, tmp_path: Path) -> None:
    path = clips.overwritten.path
    made = SyntheticRun(tmp_path / "run", config=every_frame_config())
    made.video(str(path), [[(1, HAPPY)]] * 60, step_ms=40, video_id=fingerprint(path, path.stat().st_size))
    for index, face in enumerate(made.faces):
        face |= {"frame_index": index}
    run = made.write()
    sample = draw(run, 20, 0)
    faces = sample.faces.to_pylist()
    faces[0] |= {"frame_index": 35, "timestamp_ms": 1400}
    sample = replace(sample, faces=pa.Table.from_pylist(faces, schema=sample.faces.schema))
    lost, unread = write_all(run, sample, tmp_path / "out", "face")
    assert lost[faces[0]["item"]] == "decode_error"
    assert len(lost) < len(faces)
    assert unread == {}


def every_frame_config() -> dict[str, object]:
    from fer_batch.config import RunConfig, Sampling

    return RunConfig(sampling=Sampling(mode="every", every=1)).to_json()


def test_a_square_with_surroundings() -> None:
    image = np.random.default_rng(0).integers(0, 256, (100, 200, 3), np.uint8)
    inside = cut_out(image, (80, 30, 20, 30))
    assert inside.shape == (51, 51, 3)  # CONTEXT times the longer side
    assert round(30 * CONTEXT) == 51
    np.testing.assert_array_equal(inside, image[20:71, 64:115])
    corner = cut_out(image, (-20, -20, 40, 40))
    assert corner.shape == (68, 68, 3)
    np.testing.assert_array_equal(corner[34:, 34:], image[:34, :34])
    assert (corner[:34] == 127).all()
    assert (cut_out(image, (1000, 1000, 40, 40)) == 127).all()
    assert cut_out(image, (-500, -500, 900, 900)).shape == (LARGEST, LARGEST, 3)


@pytest.mark.parametrize("names", [["../x"], ["a/b"], [""], ["x" * 41], ["=1+1"], ["Anna", "anna"], ["A B", "A-B"]])
def test_names_that_no_file_can_have(names: list[str]) -> None:
    with pytest.raises(RefusedError, match="--coders"):
        check_coders(names)


def test_names_of_all_tongues() -> None:
    check_coders(["Élise B.", "李", "coder-2", "Łukasz"])


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "codes.csv").write_text("mine")
    with pytest.raises(RefusedError, match="is not empty"):
        prepare_folder(tmp_path)
    with pytest.raises(RefusedError, match="is a file"):
        prepare_folder(tmp_path / "codes.csv")
    with pytest.raises(StoppedError, match="cannot make"):
        prepare_folder(Path("/proc/nothing"))
