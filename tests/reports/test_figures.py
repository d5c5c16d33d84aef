"""Figures show what the tables hold, and nothing where the tables hold nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fer_batch.palette import COLOURS
from fer_batch.schema import EMOTIONS
from reports import figures, measures
from reports.load import RunTables
from tests.reports.synthetic import HAPPY, SAD, Sample, SyntheticRun

DAY = 86_400_000


def timeline_of(folder: Path, samples: list[Sample], **options: Any) -> Any:
    frames = RunTables(SyntheticRun(folder).video("/v/a.mp4", samples).write()).frames("v0000")
    assert frames is not None
    return figures.timeline(frames, measures.conditions(frames), len(samples) * 500, **options)


def trace(figure: Any, name: str) -> Any:
    (found,) = [trace for trace in figure.data if trace.name == name]
    return found


def test_seven_areas_in_their_colours(tmp_path: Path) -> None:
    figure = timeline_of(tmp_path, [[(1, HAPPY)], [(1, SAD)]])
    areas = [trace for trace in figure.data if trace.meta == "emotion"]
    assert [area.name for area in areas] == list(EMOTIONS)
    assert [area.fillcolor for area in areas] == [COLOURS[name] for name in EMOTIONS]
    assert len({area.stackgroup for area in areas}) == 1


def test_areas_hold_the_samples(tmp_path: Path) -> None:
    figure = timeline_of(tmp_path, [[(1, HAPPY)], [(1, SAD)]])
    happy = trace(figure, "happy")
    # The last sample lasts until its duration is over; then nothing is known.
    assert [int(x) - DAY for x in happy.x] == [0, 500, 999, 1000]
    assert happy.y.tolist() == pytest.approx([0.8, 0, 0, 0])
    assert trace(figure, "sad").y.tolist() == pytest.approx([0, 0.6, 0.6, 0])


def test_an_area_stops_where_there_is_no_face(tmp_path: Path) -> None:
    face: Sample = [(1, HAPPY)]
    figure = timeline_of(tmp_path, [face, face, "no_face", "no_face", face])
    happy = trace(figure, "happy")
    points = dict(zip((int(x) - DAY for x in happy.x), happy.y.tolist(), strict=True))
    assert {at: round(y, 3) for at, y in points.items()} == {
        0: 0.8, 500: 0.8, 999: 0.8, 1000: 0, 1999: 0, 2000: 0.8, 2499: 0.8, 2500: 0,
    }  # fmt: skip
    band = trace(figure, "No face")
    assert [int(x) - DAY for x in band.x] == [1000, 1000, 2000, 2000]
    assert band.y.tolist() == [0, 1, 1, 0]


def test_damage_has_its_own_name_and_no_number_of_faces(tmp_path: Path) -> None:
    figure = timeline_of(tmp_path, [[(1, HAPPY), (2, SAD)], "decode_error", "no_face"])
    assert trace(figure, "Picture damaged").fillpattern.shape != trace(figure, "No face").fillpattern.shape
    counts = trace(figure, "faces")
    assert [int(x) - DAY for x in counts.x] == [0, 500, 500, 1000, 1500, 1500]
    assert [None if np.isnan(y) else y for y in counts.y.tolist()] == [2, 2, None, 0, 0, None]


def test_number_of_faces_steps_without_a_break(tmp_path: Path) -> None:
    counts = trace(timeline_of(tmp_path, [[(1, HAPPY)], "no_face", [(1, HAPPY), (2, SAD)]]), "faces")
    assert [int(x) - DAY for x in counts.x] == [0, 500, 500, 1000, 1000, 1500, 1500]
    assert counts.y.tolist()[:6] == [1, 1, 0, 0, 2, 2]


def test_the_pointer_reads_every_sample_once(tmp_path: Path) -> None:
    label = trace(timeline_of(tmp_path, [[(1, HAPPY)], "decode_error", "no_face", [(1, SAD), (2, HAPPY)]]), "label")
    assert [int(x) - DAY for x in label.x] == [0, 500, 1000, 1500]
    assert list(label.text) == [
        "happy 80%<br>neutral 20%",
        "Picture damaged",
        "No face",
        "happy 40%<br>sad 30%<br>neutral 25%<br>angry 5%<br>mean of 2 faces",
    ]


def test_axis_is_titled_and_has_units(tmp_path: Path) -> None:
    layout = timeline_of(tmp_path, [[(1, HAPPY)]]).layout
    assert layout.xaxis.title.text == "Time in the video (m:ss)"
    assert layout.xaxis.range[0].startswith("1970-01-02T00:00:00")
    assert layout.yaxis.title.text
    assert layout.yaxis2.title.text == "Faces"
    assert "yaxis2" not in timeline_of(tmp_path / "compact", [[(1, HAPPY)]], compact=True).layout.to_plotly_json()


def test_hours_are_named_from_an_hour_on(tmp_path: Path) -> None:
    frames = RunTables(SyntheticRun(tmp_path).video("/v/a.mp4", ["no_face"], step_ms=3_600_000).write()).frames("v0000")
    assert frames is not None
    figure = figures.timeline(frames, measures.conditions(frames), 3_600_000)
    assert "h:mm:ss" in figure.layout.xaxis.title.text


def test_nothing_sampled_makes_an_empty_figure(tmp_path: Path) -> None:
    figure = timeline_of(tmp_path, [])
    assert sum(len(trace.x) for trace in figure.data) == 0


def test_strip_paths_pile_up(tmp_path: Path) -> None:
    table = pa.table({name: [0.0, 0.0] for name in (*EMOTIONS, "no_face", "too_small", "decode_error")})
    table = table.set_column(table.column_names.index("happy"), "happy", pa.array([0.25, 0.0]))
    table = table.set_column(table.column_names.index("no_face"), "no_face", pa.array([0.75, 0.5]))
    assert figures.strip_paths(table) == [("no_face", "M0 100V0h4V50h4V100z"), ("happy", "M0 100V75h4V100h4V100z")]
