"""The participants table: what is read, and what is refused with row, column and remedy."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fer_batch.errors import RefusedError
from fer_batch.store import Run
from jobs.cli import app
from reports.groups import Person, prefilled, read_participants, write_prefilled
from reports.groups.trials import COLUMNS
from tests.reports.synthetic import HAPPY, SAD, Sample, SyntheticRun

PAIR: list[Sample] = [[(1, HAPPY), (2, SAD)]] * 20
"""Two faces for ten seconds."""


@pytest.fixture
def run(synthetic: Callable[..., SyntheticRun]) -> Run:
    made = synthetic(id="r1").video("/v/a/one.mp4", PAIR).video("/v/b/two.mp4", PAIR).video("/v/c/two.mp4", PAIR[:10])
    made.video("/v/copy.mp4", PAIR, video_id="v0000")
    return made.failed("/v/broken.mp4").write()


def row(participant: str = "P1", **cells: str) -> dict[str, str]:
    given = {"participant": participant, "video": "one.mp4", "person": "largest", "stimulus": "ad", "start_ms": "0",
             "end_ms": "5000"}  # fmt: skip
    return given | cells


def written(path: Path, rows: list[dict[str, str]], separator: str = ",", encoding: str = "utf-8") -> Path:
    text = io.StringIO()
    columns = list(dict.fromkeys(name for one in rows for name in one))
    writer = csv.DictWriter(text, columns, delimiter=separator)
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(text.getvalue().encode(encoding))
    return path


def test_trials_are_read_as_they_stand(run: Run, tmp_path: Path) -> None:
    rows = [
        row(session="2", person="track:1+2", condition="x", order="1", run="r1", age="31"),
        row(start_ms="5000", end_ms="10900", stimulus="b", condition="x"),
        row("P2", video="a/one.mp4", person="region:0.5,0,0.5,1", start_ms="", end_ms="", condition="x"),
        row("P3", video="v0002", condition="x", exclude="Yes", exclude_reason="asleep"),
        row("P3", video="broken.mp4", condition="x"),
    ]
    found = read_participants(written(tmp_path / "t.csv", rows), run)
    first, second, third, fourth, fifth = found.trials
    assert (first.row, first.session, first.person, first.order, first.condition) == (
        2, "2", Person("track", (1, 2)), 1, "x",
    )  # fmt: skip
    assert (second.video, second.video_id, second.start_ms, second.end_ms, second.session) == (
        "/v/a/one.mp4", "v0000", 5000, 10_000, "1",
    )  # fmt: skip
    assert (third.start_ms, third.end_ms, third.person.region) == (0, 10_000, (0.5, 0, 0.5, 1))
    assert (fourth.excluded, fourth.unread, fourth.video) == ("asleep", None, "/v/c/two.mp4")
    assert fifth.unread == "video failed: not_a_video"
    assert found.unused == ("age",)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_every_way_in_which_excel_saves_a_table(run: Run, tmp_path: Path, encoding: str, separator: str) -> None:
    rows = [row("Zoë", stimulus="süß, sauer; salzig"), row("P2", start_ms="5000,0", end_ms="9000,00")]
    first, second = read_participants(written(tmp_path / "t.csv", rows, separator, encoding), run).trials
    assert (first.participant, first.stimulus) == ("Zoë", "süß, sauer; salzig")
    assert (second.row, second.start_ms, second.end_ms) == (3, 5000, 9000)


def test_hints_blank_rows_and_capitals_of_spreadsheets(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "sep=;\r\nParticipant; VIDEO ;person;stimulus;start_ms;end_ms;;\r\n;;;;;;;\r\nP1;one.mp4;;ad;;5000;;\r\n"
    )
    (trial,) = read_participants(path, run).trials
    assert (trial.row, trial.person, trial.start_ms) == (3, Person("largest"), 0)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"video": "three.mp4"}, "row 2, column video: the run has no video 'three.mp4'"),
        ({"video": "onee.mp4"}, "is it 'one.mp4'?"),
        ({"video": "two.mp4"}, "row 2, column video: 2 videos are named 'two.mp4'"),
        ({"video": ""}, "row 2, column video: is empty"),
        ({"participant": ""}, "row 2, column participant: is empty"),
        ({"stimulus": ""}, "row 2, column stimulus: is empty"),
        ({"start_ms": "-5"}, "row 2, column start_ms: -5 is negative"),
        ({"start_ms": "soon"}, "row 2, column start_ms: 'soon' is no whole number of milliseconds"),
        ({"start_ms": "0.5"}, "row 2, column start_ms: '0.5' is no whole number"),
        ({"end_ms": "1.500"}, "row 2, column end_ms: '1.500' is no whole number"),
        ({"end_ms": "1,000"}, "row 2, column end_ms: '1,000' is no whole number"),
        ({"end_ms": "1E+05"}, "row 2, column end_ms: '1E+05' is no whole number"),
        ({"start_ms": "4000", "end_ms": "3000"}, "row 2, column end_ms: 3000 is not after start_ms (4000)"),
        ({"end_ms": "11500"}, "row 2, column end_ms: 11500 lies after the video's end (10000 ms)"),
        ({"start_ms": "10000", "end_ms": "10500"}, "row 2, column start_ms: 10000 lies after the video's end"),
        ({"person": "left"}, "row 2, column person: 'left' is no person selector. Write track:3"),
        ({"person": "track:0", "run": "r1"}, "row 2, column person: 'track:0': tracks are numbered from 1"),
        ({"person": "track:x", "run": "r1"}, "names no track"),
        (
            {"person": "track:3", "run": "r1"},
            "row 2, column person: track:3 is not in the video: its tracks are 1 to 2",
        ),
        ({"person": "region:0.5,0,0.6,1"}, "row 2, column person: 'region:0.5,0,0.6,1' does not lie in the picture"),
        ({"person": "region:0.5,0"}, "a region has four numbers"),
        ({"person": "region:nan,0,1,1"}, "does not lie in the picture"),
        ({"person": "track:1"}, "row 2, column run: is empty, but column person names a track"),
        ({"person": "track:1", "run": "r2"}, "row 2, column run: the table was made for the run r2, not for"),
        ({"run": "r2"}, "row 2, column run: the table was made for the run r2"),
        ({"order": "0"}, "row 2, column order: '0' is no position"),
        ({"exclude": "perhaps"}, "row 2, column exclude: 'perhaps' is neither yes nor no"),
        ({"exclude_reason": "late"}, "row 2, column exclude_reason: is given, but column exclude is not 'yes'"),
    ],
)
def test_a_wrong_cell_is_refused_by_row_and_column(
    run: Run, tmp_path: Path, cells: dict[str, str], message: str
) -> None:
    with pytest.raises(RefusedError) as caught:
        read_participants(written(tmp_path / "t.csv", [row(**cells)]), run)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path}/t.csv: 1 problem in the table:\n  row 2, column")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(), row()], "row 3, columns video, person, start_ms and end_ms: the same as row 2"),
        ([row(), row(video="copy.mp4")], "row 3, columns video, person, start_ms and end_ms: the same as row 2"),
        ([row(), row(video="v0001")], "row 3, columns participant, session, stimulus and order: the same as row 2"),
        ([row(), row(start_ms="4999", stimulus="b")], "row 3, columns start_ms and end_ms: overlaps row 2"),
        (
            [row(start_ms="4999"), row(end_ms="9000", stimulus="b", person="region:0,0,1,1")],
            "row 3, columns start_ms and end_ms: overlaps row 2 (4999 to 5000 and 0 to 9000 ms",
        ),
        ([row(), row("P2", start_ms="1")], "row 3, columns start_ms and end_ms: overlaps row 2"),
        (
            [row(person="track:1+2", run="r1"), row("P2", start_ms="9", person="track:2", run="r1")],
            "both take the face track:2",
        ),
        (
            [*[row(f"P{i}", video="v0001" if i else "v0000", start_ms=str(i * 100), end_ms=str(i * 100 + 100),
                   condition="control") for i in range(3)], row("P9", video="v0002", condition="contrl")],
            "row 5, column condition: 'contrl' has one participant only (P9) (is it 'control'?)",
        ),
        (
            [row(condition="a"), row("P2", video="v0001", condition="a"), row("P3", video="v0002")],
            "row 4, column condition: is empty, but other rows have one",
        ),
    ],
)  # fmt: skip
def test_rows_that_cannot_both_be_right_are_refused(
    run: Run, tmp_path: Path, rows: list[dict[str, str]], message: str
) -> None:
    with pytest.raises(RefusedError) as caught:
        read_participants(written(tmp_path / "t.csv", rows), run)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the table is empty"),
        (b"participant,video\nP1,one.mp4\n", "row 1: the columns person, stimulus, start_ms, end_ms are missing"),
        (",".join(COLUMNS).encode(), "the table has no rows"),
        (",".join(COLUMNS).replace("exclude,", "exlude,").encode() + b"\n1", "no column 'exlude'; did you mean 'excl"),
        (b"participant,person,participant\n", "row 1: two columns are named 'participant'"),
        (b"participant,video,person,stimulus,start_ms,end_ms\nP1,one.mp4,region:0,0,1,1,ad,0,9", "row 2 has 9 cells"),
        (b"PK\x03\x04rest", "is an Excel workbook; save it as 'CSV UTF-8'"),
        (b"participant\0video\n", "is no text in UTF-8"),
        (b'participant,video\n"P1,one.mp4', "is no table"),
    ],
)
def test_what_is_no_such_table_is_refused(run: Run, tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(RefusedError, match=r"t\.csv") as caught:
        read_participants(path, run)
    assert message in str(caught.value)


def test_excluded_rows_may_repeat_others_and_repeats_are_numbered(run: Run, tmp_path: Path) -> None:
    rows = [row(order="1"), row(exclude="x"), row(order="2", start_ms="5000", end_ms="9000")]
    trials = read_participants(written(tmp_path / "t.csv", rows), run).trials
    assert [trial.excluded for trial in trials] == [None, "no reason given", None]


def test_all_problems_are_told_at_once_in_order(run: Run, tmp_path: Path) -> None:
    rows = [row(f"P{i}", start_ms="-1") for i in range(25)] + [row("Q", order="x", exclude="?")]
    with pytest.raises(RefusedError) as caught:
        read_participants(written(tmp_path / "t.csv", rows), run)
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("27 problems in the table:")
    assert [line.split(",")[0] for line in lines[1:4]] == ["  row 2", "  row 3", "  row 4"]
    assert lines[-1] == "  and 7 more"


def test_an_overlap_is_told_once_though_person_and_face_both_overlap(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="1 problem in the table"):
        read_participants(written(tmp_path / "t.csv", [row(), row(start_ms="4000", end_ms="9000", stimulus="b")]), run)


def faces_of(run: Run, person: str) -> list[tuple[int, int]]:
    faces = run.faces("v0000")
    rows = Person.parse(person).choose(faces, 1280, 720)
    return [(faces["timestamp_ms"][int(i)].as_py(), faces["track_id"][int(i)].as_py()) for i in rows]


def test_a_selector_takes_one_face_a_frame(synthetic: Callable[..., SyntheticRun]) -> None:
    made = synthetic().video("/v/a.mp4", [[(1, HAPPY), (2, SAD)], [(2, SAD)], "no_face", [(3, HAPPY), (2, SAD)]])
    places = {1: (0.0, 100.0), 2: (800.0, 90.0), 3: (900.0, 95.0)}
    for face in made.faces:
        face["x"], face["w"] = places[face["track_id"]]
    run = made.write()
    assert faces_of(run, "largest") == [(0, 1), (500, 2), (1500, 3)]
    assert faces_of(run, "track:2") == [(0, 2), (500, 2), (1500, 2)]
    assert faces_of(run, "track:1+3") == [(0, 1), (1500, 3)]
    assert faces_of(run, "region:0,0,0.5,1") == [(0, 1)]
    assert faces_of(run, "region: 0,5; 0; 0,5; 1") == [(0, 2), (500, 2), (1500, 3)]
    assert faces_of(run, "region:0 0.5 1 0.5") == []
    with pytest.raises(ValueError, match="in the picture at 1500 ms, so they are two people"):
        faces_of(run, "track:2+3")


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_a_prefilled_table_is_read_back_once_people_are_named(
    synthetic: Callable[..., SyntheticRun], tmp_path: Path, suffix: str
) -> None:
    made = synthetic(id="r1").video("=cmd|x!A1.mp4", PAIR).video("/v/empty.mp4", ["no_face"] * 4)
    run = made.failed("/v/broken.mp4").write()
    for kind, people in (("video", ["largest"] * 2), ("track", ["largest", "track:1", "track:2"])):
        rows = prefilled(run, kind)  # type: ignore[arg-type]
        assert [one["person"] for one in rows] == people
        for number, one in enumerate(rows):
            one |= {"participant": f"P{number}", "stimulus": "film"}
        path = tmp_path / f"{kind}{suffix}"
        write_prefilled(path, rows)
        assert ",=" not in path.read_text(encoding="utf-8-sig")
        trials = read_participants(path, run).trials
        assert [str(trial.person) for trial in trials] == people
        assert {(trial.start_ms, trial.end_ms) for trial in trials} <= {(0, 10_000), (0, 2_000)}
    assert [one["seen"] for one in rows] == ["no face", *["0:00 to 0:10, 100\u00a0% of the time"] * 2]


def command(*arguments: Any) -> Any:
    return CliRunner().invoke(app, ["participants", *map(str, arguments)])


def test_the_command_says_what_comes_next(synthetic: Callable[..., SyntheticRun], tmp_path: Path) -> None:
    plain = synthetic(id="r1").video("a.mp4", PAIR).write()
    assert f"fer-batch report {plain.path} --groups" in command(plain.path, "--out", tmp_path / "a.csv").stdout
    of_kind = SyntheticRun(tmp_path / "sessions", id="r2", job={"kind": "sessions"}).video("a.mp4", PAIR).write()
    said = command(of_kind.path, "--out", tmp_path / "b.csv").stdout
    assert "fill in participant, session, stimulus and condition" in said
    assert f"fer-batch report {of_kind.path} --job FILE" in said
    assert "--groups" not in said


def test_the_command_does_not_write_over_a_table(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "table.csv"
    first = command(run.path, "--out", out)
    assert (first.exit_code, "3 rows" in first.stdout) == (0, True)
    assert isinstance(command(run.path, "--out", out).exception, RefusedError)
    assert command(run.path, "--out", out, "--overwrite", "--rows", "track").exit_code == 0
    assert len(out.read_text(encoding="utf-8-sig").splitlines()) == 7
    assert isinstance(command(run.path, "--out", tmp_path / "x.xlsx").exception, RefusedError)
