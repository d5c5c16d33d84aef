"""ELAN files hold each track's expressions by the stated rule, and pympi reads them back."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree as ET

import numpy as np
import pympi

from fer_batch.schema import EMOTIONS
from reports.export import export
from reports.export.elan import eaf_names, media_urls, segments
from reports.export.tables import Content
from tests.reports.synthetic import HAPPY, SAD, Sample, SyntheticRun

Synthetic = Callable[..., SyntheticRun]


def content(path: str, video_id: str = "v1", path_bytes: bytes | None = None) -> Content:
    return Content(video_id, path, path_bytes, "part", None, None, None)


def found(samples: list[tuple[int, int, str]], *, shortest: int = 0, gap: int = 0) -> list[tuple[int, int, str]]:
    """The segments of samples (start, duration, label) as (start, end, label)."""
    start, length = (np.array([sample[i] for sample in samples], dtype=np.int64) for i in (0, 1))
    labels = [sample[2] for sample in samples]
    made = segments(start, length, labels, min_segment_ms=shortest, max_gap_ms=gap)
    return [(segment.start_ms, segment.end_ms, segment.label) for segment in made]


def test_equal_samples_in_a_row_are_one_segment() -> None:
    samples = [(0, 500, "sad"), (500, 500, "sad"), (1000, 500, "happy"), (1500, 500, "sad")]
    assert found(samples) == [(0, 1000, "sad"), (1000, 1500, "happy"), (1500, 2000, "sad")]


def test_a_frame_that_comes_late_or_early_leaves_neither_slit_nor_overlap() -> None:
    samples = [(0, 500, "sad"), (533, 500, "sad"), (1033, 500, "happy"), (1500, 500, "fear"), (2040, 500, "fear")]
    assert found(samples) == [(0, 1033, "sad"), (1033, 1500, "happy"), (1500, 2540, "fear")]


def test_time_unseen_ends_a_segment_unless_it_is_bridged() -> None:
    samples = [(0, 500, "sad"), (1000, 500, "sad"), (2600, 500, "sad"), (4000, 500, "happy")]
    assert found(samples) == [(0, 500, "sad"), (1000, 1500, "sad"), (2600, 3100, "sad"), (4000, 4500, "happy")]
    assert found(samples, gap=500) == [(0, 1500, "sad"), (2600, 3100, "sad"), (4000, 4500, "happy")]
    assert found(samples, gap=1100) == [(0, 3100, "sad"), (4000, 4500, "happy")]


def test_short_segments_are_left_out_and_those_about_them_joined() -> None:
    samples = [(0, 300, "sad"), (300, 100, "fear"), (400, 300, "sad"), (700, 100, "happy"), (800, 300, "sad")]
    assert found(samples, shortest=200) == [(0, 300, "sad"), (400, 700, "sad"), (800, 1100, "sad")]
    assert found(samples, shortest=200, gap=100) == [(0, 1100, "sad")]
    assert found(samples, shortest=400, gap=100) == []
    # What is bridged first is as long as it looks.
    pieces = [(0, 150, "sad"), (300, 150, "sad")]
    assert found(pieces, shortest=200, gap=100) == []
    assert found(pieces, shortest=200, gap=150) == [(0, 450, "sad")]


def test_samples_without_time_make_no_segment() -> None:
    assert found([(0, 0, "sad"), (0, 0, "sad")]) == []
    assert found([]) == []


def test_a_file_is_read_back(synthetic: Synthetic, tmp_path: Path) -> None:
    made = synthetic(updated="2026-11-23T12:00:00+00:00", fer_batch_version="0.1.0")
    rows: list[Sample] = [
        [(1, HAPPY)],
        [(1, HAPPY), (2, SAD)],
        [(1, SAD), (2, SAD)],
        "no_face",
        "too_small",
        "too_small",
        [(1, SAD)],
    ]
    made.video("/films/a b.mp4", rows, duration_ms=3400)
    outcome = export(made.write(), tmp_path / "out", ["elan"])
    path = tmp_path / "out" / "elan" / "a_b.eaf"
    assert path in outcome.files
    assert outcome.segments == 4
    back = pympi.Eaf(str(path))
    tiers = {name: sorted(back.get_annotation_data_for_tier(name)) for name in back.get_tier_names()}
    assert tiers == {
        # The last sample would last to 3500 ms, the video does not.
        "track_1": [(0, 1000, "happy"), (1000, 1500, "sad"), (3000, 3400, "sad")],
        "track_2": [(500, 1500, "sad")],
        "no_face": [(1500, 2000, "no_face"), (2000, 3000, "too_small")],
    }
    (media,) = back.get_linked_files()
    assert media["MEDIA_URL"] == "file:///films/a%20b.mp4"
    assert media["MIME_TYPE"] == "video/mp4"
    relative = (tmp_path / "out" / "elan" / media["RELATIVE_MEDIA_URL"].replace("%20", " ")).resolve()
    assert relative == Path("/films/a b.mp4")
    entries = back.get_cv_entries("apparent_expression")
    assert [values[0][0] for values, _ in entries.values()] == list(EMOTIONS)
    assert back.get_parameters_for_linguistic_type("reason")["CONTROLLED_VOCABULARY_REF"] == "reason"
    assert back.header["TIME_UNITS"] == "milliseconds"
    assert ("fer-batch.rule", "segments from 200 ms, gaps up to 500 ms bridged") in back.get_properties()


def test_the_rule_can_be_set_and_the_same_tables_make_the_same_file(synthetic: Synthetic, tmp_path: Path) -> None:
    made = synthetic(updated="2026-11-23T12:00:00+00:00")
    made.video("a.mp4", [[(1, HAPPY)], [(1, SAD)], [(1, HAPPY)], [(1, HAPPY)]])
    run = made.write()
    texts = []
    for name, shortest in (("one", 0), ("two", 0), ("three", 600)):
        export(run, tmp_path / name, ["elan"], min_segment_ms=shortest, max_gap_ms=0)
        texts.append((tmp_path / name / "elan" / "a.eaf").read_bytes())
    assert texts[0] == texts[1]
    assert pympi.Eaf(str(tmp_path / "three" / "elan" / "a.eaf")).get_annotation_data_for_tier("track_1") == [
        (1000, 2000, "happy")
    ]


def test_a_video_without_rows_has_no_file(synthetic: Synthetic, tmp_path: Path) -> None:
    made = synthetic()
    made.video("a.mp4", ["no_face"]).failed("b.mp4")
    export(made.write(), tmp_path / "out", ["elan"])
    assert [path.name for path in (tmp_path / "out" / "elan").iterdir()] == ["a.eaf"]
    assert list(pympi.Eaf(str(tmp_path / "out" / "elan" / "a.eaf")).get_tier_names()) == ["no_face"]


def test_hostile_names_become_names_of_files_inside_the_folder(synthetic: Synthetic, tmp_path: Path) -> None:
    names = [
        "x/..mp4", "../../etc/passwd", "a/<b>&'\".mp4", "b/clip.mp4", "c/CLIP.mov", "CON.mp4", "-rf.mp4", "\n.mp4",
        "\u00fc" * 200 + ".mp4", "d/u\u0308ber.mp4", r"odd\xff.mp4", ".hidden.mp4", "a:b|c?*.mp4",
    ]  # fmt: skip
    made = synthetic()
    for name in names:
        made.video(name, [[(1, HAPPY)]], path_bytes=b"odd\xff.mp4" if "xff" in name else None)
    outcome = export(made.write(), tmp_path / "out", ["elan"])
    files = [path for path in outcome.files if path.suffix == ".eaf"]
    assert len(files) == len(names) == len({path.name.casefold() for path in files})
    for path in files:
        assert path.parent == tmp_path / "out" / "elan"
        assert path.is_file()
        assert path.name[0] not in ".-"
        assert len(os.fsencode(path.name)) < 200
        assert not set(path.name) & set("<>:\"/\\|?*\n&'")
        assert ET.fromstring(path.read_bytes()).tag == "ANNOTATION_DOCUMENT"  # noqa: S314
    found = {path.name for path in files}
    assert {"clip-v0003.eaf", "CLIP-v0004.eaf", "_CON.eaf", "rf.eaf", "passwd.eaf", "\u00fcber.eaf"} <= found
    odd = next(path for path in files if path.name.startswith("odd"))
    url = pympi.Eaf(str(odd)).get_linked_files()[0]["MEDIA_URL"]
    assert url.endswith("/odd%FF.mp4")
    assert unquote_to_bytes(url.removeprefix("file://")) == os.getcwdb() + b"/odd\xff.mp4"


def test_names_that_collide_with_names_that_were_made_unique() -> None:
    of = [content("a/x.mp4", "v1"), content("b/x.mp4", "v2"), content("x-v1.mp4", "v3")]
    found = eaf_names(of)
    assert len({name.casefold() for name in found.values()}) == 3
    assert found["v2"] == "x-v2.eaf"


def test_objects_keep_their_url(tmp_path: Path) -> None:
    assert media_urls(content("s3://bucket/a b.mp4"), tmp_path) == ("s3://bucket/a b.mp4", None)
