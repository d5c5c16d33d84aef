"""Figures show what the tables hold, and nothing where the tables hold nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fer_batch import page
from fer_batch.palette import COLOURS
from fer_batch.schema import EMOTIONS
from reports import figures, measures
from reports.load import RunTables, VideoTables
from tests.reports.synthetic import HAPPY, SAD, Sample, SyntheticRun

DAY = 86_400_000


def video_of(folder: Path, samples: list[Sample], step_ms: int = 500) -> VideoTables:
    (video,) = RunTables(SyntheticRun(folder).video("/v/a.mp4", samples, step_ms=step_ms).write()).videos()
    return video


def timeline_of(folder: Path, samples: list[Sample]) -> figures.Figure:
    video = video_of(folder, samples)
    view = figures.TimelineView("all/raw", video.frames, measures.conditions(video.frames))
    ribbon = measures.lanes(measures.presence(video.faces))
    return figures.timeline([view], ribbon, len(samples) * 500)


def trace(figure: figures.Figure, name: str) -> dict[str, Any]:
    found: dict[str, Any]
    (found,) = [trace for trace in figure["data"] if trace["name"] == name]
    return found


def times(found: dict[str, Any]) -> list[int]:
    return [int(x) - DAY for x in found["x"]]


def known(values: Any) -> list[float | None]:
    return [None if np.isnan(y) else round(float(y), 3) for y in values]


def test_seven_areas_in_their_colours(tmp_path: Path) -> None:
    figure = timeline_of(tmp_path, [[(1, HAPPY)], [(1, SAD)]])
    areas = [trace for trace in figure["data"] if trace["meta"] == "emotion"]
    assert [area["name"] for area in areas] == list(EMOTIONS)
    assert [area["fillcolor"] for area in areas] == [COLOURS[name] for name in EMOTIONS]
    assert len({area["stackgroup"] for area in areas}) == 1


def test_areas_hold_the_samples(tmp_path: Path) -> None:
    figure = timeline_of(tmp_path, [[(1, HAPPY)], [(1, SAD)]])
    happy = trace(figure, "happy")
    # The last sample lasts until its duration is over; then nothing is known.
    assert times(happy) == [0, 500, 999, 1000]
    assert known(happy["y"]) == [0.8, 0, 0, 0]
    assert known(trace(figure, "sad")["y"]) == [0, 0.6, 0.6, 0]


def test_an_area_stops_where_there_is_no_face(tmp_path: Path) -> None:
    face: Sample = [(1, HAPPY)]
    figure = timeline_of(tmp_path, [face, face, "no_face", "no_face", face])
    happy = trace(figure, "happy")
    assert dict(zip(times(happy), known(happy["y"]), strict=True)) == {
        0: 0.8, 500: 0.8, 999: 0.8, 1000: 0, 1999: 0, 2000: 0.8, 2499: 0.8, 2500: 0,
    }  # fmt: skip
    band = trace(figure, "No face")
    assert times(band) == [1000, 1000, 2000, 2000, 2000]
    assert known(band["y"]) == [0, 1, 1, 0, None]


def test_damage_has_its_own_name_and_no_number_of_faces(tmp_path: Path) -> None:
    figure = timeline_of(tmp_path, [[(1, HAPPY), (2, SAD)], "decode_error", "no_face"])
    shapes = [trace(figure, name)["fillpattern"]["shape"] for name in ("Picture damaged", "No face")]
    assert len(set(shapes)) == 2
    counts = trace(figure, "faces")
    assert times(counts) == [0, 500, 500, 1000, 1500, 1500]
    assert known(counts["y"]) == [2, 2, None, 0, 0, None]


def test_number_of_faces_steps_without_a_break(tmp_path: Path) -> None:
    counts = trace(timeline_of(tmp_path, [[(1, HAPPY)], "no_face", [(1, HAPPY), (2, SAD)]]), "faces")
    assert times(counts) == [0, 500, 500, 1000, 1000, 1500, 1500]
    assert known(counts["y"])[:6] == [1, 1, 0, 0, 2, 2]


def test_the_pointer_reads_every_sample_once(tmp_path: Path) -> None:
    figure = timeline_of(tmp_path, [[(1, HAPPY)], "decode_error", "no_face", [(1, SAD), (2, HAPPY)]])
    found = trace(figure, "readings")
    assert times(found) == [0, 500, 1000, 1500]
    assert found["customdata"].tolist() == [
        [0, 0, 0, 80, 0, 0, 20, 1, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 3],
        [0, 0, 0, 0, 0, 0, 0, 0, 1],
        [5, 0, 0, 40, 30, 0, 25, 2, 0],
    ]


def test_ribbon_shows_who_is_on_screen_when(tmp_path: Path) -> None:
    figure = timeline_of(tmp_path, [[(1, HAPPY)], [(1, HAPPY), (2, SAD)], "no_face", [(1, HAPPY)]])
    ribbon = trace(figure, "on screen")
    assert times(ribbon) == [0, 1000, 1000, 500, 1000, 1000, 1500, 2000, 2000]
    assert known(ribbon["y"]) == [0, 0, None, 1, 1, None, 0, 0, None]
    axis = figure["layout"]["yaxis4"]
    assert (axis["tickvals"], axis["ticktext"]) == ([0, 1], ["1", "2"])


def test_tracks_that_share_a_lane_have_their_numbers_at_the_bars(tmp_path: Path) -> None:
    figure = timeline_of(tmp_path, [[(1, HAPPY)], "no_face", [(2, SAD)]])
    numbers = trace(figure, "track numbers")
    assert (numbers["text"], times(numbers)) == (["1", "2"], [0, 1000])
    assert figure["layout"]["yaxis4"]["tickvals"] == []


def test_a_persons_view_replaces_the_areas_and_marks_the_ribbon(tmp_path: Path) -> None:
    video = video_of(tmp_path, [[(1, HAPPY), (2, SAD)], [(1, HAPPY)], "no_face"])
    own = measures.of_track(video.frames, video.faces, 2)
    views = [
        figures.TimelineView("all/raw", video.frames, measures.conditions(video.frames)),
        figures.TimelineView("2/raw", own, measures.conditions(own)),
    ]
    figure = figures.timeline(views, measures.lanes(measures.presence(video.faces)), 1500)
    (frame,) = figure["frames"]
    assert frame["name"] == "2/raw"
    shown = {figure["data"][at]["name"]: change for at, change in zip(frame["traces"], frame["data"], strict=True)}
    assert known(shown["sad"]["y"]) == [0.6, 0.6, 0]
    assert times(shown["This track not seen"])[:3] == [500, 500, 1000]
    assert times(shown["No face"])[:3] == [1000, 1000, 1500]
    assert times(shown["chosen"]) == [0, 500, 500]
    assert "faces" not in shown


def test_axis_is_titled_and_has_units(tmp_path: Path) -> None:
    layout = timeline_of(tmp_path, [[(1, HAPPY)]])["layout"]
    assert layout["xaxis"]["title"]["text"] == "Time in the video (m:ss)"
    assert layout["xaxis"]["range"][0].startswith("1970-01-02T00:00:00")
    assert [note["text"] for note in layout["annotations"]][:3] == ["Mean probability", "Coverage", "Number of faces"]


def test_hours_are_named_from_an_hour_on(tmp_path: Path) -> None:
    video = video_of(tmp_path, ["no_face"], step_ms=3_600_000)
    view = figures.TimelineView("all/raw", video.frames, measures.conditions(video.frames))
    figure = figures.timeline([view], measures.lanes(measures.presence(video.faces)), 3_600_000)
    assert "h:mm:ss" in figure["layout"]["xaxis"]["title"]["text"]


def test_nothing_sampled_makes_an_empty_figure(tmp_path: Path) -> None:
    assert sum(len(trace["x"]) for trace in timeline_of(tmp_path, [])["data"]) == 0


def test_heat_map_is_empty_where_no_face_is(tmp_path: Path) -> None:
    video = video_of(tmp_path, [[(1, HAPPY)], "no_face"])
    heat = measures.heat(video.frames, 1000)
    figure = figures.heatmap({"all": heat, "1": heat}, measures.conditions(video.frames), 1000)
    cells = trace(figure, "mean probability")
    assert cells["z"].shape == (7, heat.num_rows)
    assert len(cells["x"]) == heat.num_rows + 1
    assert known(cells["z"][EMOTIONS.index("happy")]) == [0.8] * 8 + [None] * 8
    assert [frame["name"] for frame in figure["frames"]] == ["1"]


def test_valence_breaks_off_where_no_face_is(tmp_path: Path) -> None:
    face: Sample = [(1, HAPPY)]
    video = video_of(tmp_path, [face, face, "no_face", [(1, SAD)], [(1, SAD)]])
    spread = measures.spread(video.faces, measures.slots(video.frames, 2500), 400, figures.AFFECT)
    figure = figures.affect({"all": spread}, measures.conditions(video.frames), 2500, 400)
    assert known(trace(figure, "valence")["y"]) == [0.8, 0.8, None, -0.6, -0.6, None]
    assert known(trace(figure, "expressiveness")["y"]) == [0.8, 0.8, None, 0.7, 0.7, None]


def test_a_bar_a_track(tmp_path: Path) -> None:
    video = video_of(tmp_path, [[(1, HAPPY), (2, SAD)]])
    figure = figures.people(dict.fromkeys(EMOTIONS, 0.1), measures.tracks(video.faces, 500))
    happy = trace(figure, "happy")
    assert happy["y"] == ["All tracks", "Track 1", "Track 2"]
    assert known(happy["x"]) == [0.1, 0.8, 0]


def test_distribution_holds_quantiles_means_and_intervals() -> None:
    names = ("by_video", "by_video_low", "by_video_high", "by_face", "by_face_low", "by_face_high", "q05", "q25",
             "median", "q75", "q95")  # fmt: skip
    row = dict(zip(names, (0.4, 0.3, 0.5, 0.2, 0.1, 0.6, 0, 0.1, 0.2, 0.3, 0.9), strict=True))
    figure = figures.distribution(pa.Table.from_pylist([{"emotion": "happy", **row}]))
    box = trace(figure, "happy")
    assert [box[name] for name in ("lowerfence", "q1", "median", "q3", "upperfence")] == [
        [0],
        [0.1],
        [0.2],
        [0.3],
        [0.9],
    ]
    faces = trace(figure, "each face counts equally")
    assert faces["x"] == [0.2]
    assert (faces["error_x"]["array"], faces["error_x"]["arrayminus"]) == ([pytest.approx(0.4)], [pytest.approx(0.1)])


def test_every_figure_is_one_that_plotly_accepts(tmp_path: Path) -> None:
    import plotly.graph_objects as go

    video = video_of(tmp_path, [[(1, HAPPY), (2, SAD)], "no_face", "decode_error", [(2, SAD)]])
    stretches, slots = measures.conditions(video.frames), measures.slots(video.frames, 2000)
    heat = measures.heat(video.frames, 2000)
    summaries = pa.concat_tables([measures.summary(video.frames, video.faces)] * 2)
    made = [
        timeline_of(tmp_path / "t", [[(1, HAPPY)], "no_face"]),
        figures.heatmap({"all": heat}, stretches, 2000),
        figures.affect({"all": measures.spread(video.faces, slots, 900, figures.AFFECT)}, stretches, 2000, 900),
        figures.quality({"all": measures.spread(video.faces, slots, 900, figures.QUALITY)}, stretches, 2000, 900),
        figures.people(dict.fromkeys(EMOTIONS, 0.1), measures.tracks(video.faces, 2000)),
        figures.distribution(measures.distribution(summaries)),
    ]
    for figure in made:
        assert len(go.Figure(figure).data) == len(figure["data"])
        text = str(page.embedded(figure))
        assert json.loads(text)["layout"]["height"] == figure["layout"]["height"]


# The small picture


def strip_of(**columns: list[float]) -> pa.Table:
    width = len(next(iter(columns.values())))
    return pa.table({name: columns.get(name, [0.0] * width) for name in figures.LAYERS})


def test_strip_layers_pile_up() -> None:
    text = figures.levels(strip_of(happy=[0.2, 0.0], no_face=[0.8, 0.6]))
    assert figures.strip_layers(text) == [
        ("no_face", "0 100%,0 0%,50% 0%,50% 40%,100% 40%,100% 100%"),
        ("happy", "0 100%,0 80%,50% 80%,50% 100%,100% 100%,100% 100%"),
    ]


def test_strip_text_leaves_out_what_nobody_shows() -> None:
    assert figures.levels(strip_of(angry=[1.0, 0.0])) == "1z0"
    assert figures.levels(strip_of(angry=[0.0])) == "10"
    assert figures.strip_layers("10") == []
