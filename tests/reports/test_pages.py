"""The pages of whole runs: finished, going on, failed, empty, hostile."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import reports
from fer_batch import page
from fer_batch.errors import RefusedError, StoppedError
from fer_batch.lease import Lease
from fer_batch.probe import fingerprint
from fer_batch.store import Run
from jobs import values
from reports import load, wording
from tests.clips import Clips
from tests.reports.synthetic import HAPPY, SAD, Sample, SyntheticRun

NOTICE = "No purpose declared. Not for use on people at work or in education in the EU."
HOSTILE = "<script>alert(1)</script>.mp4"
QUOTED = "\"><img src=x onerror='alert(2)'> & co \u202egnp.mp4"

Start = Callable[..., SyntheticRun]


def flipped(content: bytes) -> bytes:
    """With one bit turned over, in the data of the time of the first row."""
    start = pq.ParquetFile(pa.BufferReader(content)).metadata.row_group(0).column(2)
    position = start.data_page_offset + start.total_compressed_size - 2
    return content[:position] + bytes([content[position] ^ 8]) + content[position + 1 :]


class Page(HTMLParser):
    """What a page holds: its text as a reader sees it, its elements, its scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._text: list[str] = []
        self._inside = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.text = re.sub(r"\s+", " ", " ".join(self._text))  # also non-breaking spaces

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(data)
        elif self._inside != "style":
            self._text.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def figures_of(page: Page) -> list[dict[str, Any]]:
    data = [json.loads(text) for text in page.scripts if text.lstrip().startswith("{")]
    return [figure for figure in data if "layout" in figure]


def ledger_of(page: Page) -> list[dict[str, Any]]:
    """The rows that the index gives to its script."""
    (data,) = [found for text in page.scripts if "columns" in (found := json.loads(text))]
    return [dict(zip(data["columns"], row, strict=True)) for row in data["rows"]]


def test_a_run_gives_an_index_a_page_a_video_and_the_scripts(synthetic: Start) -> None:
    run = synthetic().video("/v/a.mp4", [[(1, HAPPY)]]).video("/v/b.mp4", ["no_face"]).write()
    index = reports.build(run)
    made = sorted(str(path.relative_to(index.parent)) for path in index.parent.rglob("*") if path.is_file())
    assert index == run.path / "report" / "index.html"
    assert made == [
        "assets/page.js", "assets/plotly.min.js", "assets/report.js", "index.html", "videos/v0000.html",
        "videos/v0001.html",
    ]  # fmt: skip


def test_every_link_leads_to_a_file(synthetic: Start, tmp_path: Path) -> None:
    run = synthetic().video("/v/a.mp4", [[(1, HAPPY)]]).write()
    for out in (None, tmp_path / "else where"):
        index = reports.build(run, out)
        for path in index.parent.rglob("*.html"):
            page = Page(path)
            for link in [a["href"] for a in page.named("a")] + [s["src"] for s in page.named("script") if "src" in s]:
                assert link
                assert "://" not in link
                target = (path.parent / link.partition("#")[0].replace("%20", " ")).resolve()
                assert target.exists(), link


def test_numbers_of_the_index(synthetic: Start) -> None:
    samples: list[Sample] = [[(1, HAPPY)], [(1, HAPPY), (2, SAD)], "no_face", "no_face"]
    page = Page(reports.build(synthetic().video("/v/a.mp4", samples, step_ms=30_000).write()))
    assert "coverage: a face in 1:00" in page.text
    assert "2:00" in page.text
    assert "50 %" in page.text
    assert "happy 60 %" in page.text.replace("  ", " ")


def test_what_was_asked(synthetic: Start) -> None:
    figures = {"split": "PublicTest", "n": 3589, "accuracy": 0.6641, "accuracy_95": [0.65, 0.68]}
    limits = {"limits": ["Where a class is rare, most calls of it are false."]}
    model = {"name": "resnet50", "sha256": "ab" * 32, "figures": figures, "provenance": limits}
    page = Page(reports.build(synthetic(inputs=["/data/films"], model=model, state="complete").write()))
    for words in (
        "/data/films",
        "2 a second",
        "YuNet",
        "resnet50",
        "abababababab",
        "66.4 % (95 % interval 65.0 to 68.0) of FER2013 PublicTest, n = 3,589",
        "Where a class is rare, most calls of it are false.",
    ):
        assert words in page.text


def test_notice_without_a_purpose_on_every_page(synthetic: Start) -> None:
    index = reports.build(synthetic(purpose=None).video("/v/a.mp4", [[(1, HAPPY)]]).write())
    assert all(NOTICE in Page(path).text for path in (index, index.parent / "videos" / "v0000.html"))


def test_declared_purpose_stands_instead_of_the_notice(synthetic: Start) -> None:
    index = reports.build(synthetic(purpose="usability study").video("/v/a.mp4", [[(1, HAPPY)]]).write())
    for path in (index, index.parent / "videos" / "v0000.html"):
        page = Page(path)
        assert NOTICE not in page.text
        assert "usability study" in page.text


def test_a_run_that_goes_on(synthetic: Start) -> None:
    made = (
        synthetic(state="running", counts={"files": 40})
        .video("/v/a.mp4", [[(1, HAPPY)]])
        .video("/v/b.mp4", ["no_face"])
    )
    run = made.write(going_on=True)
    with Lease(run.work_dir / "lease.json"):
        page = Page(reports.build(run))
    assert "still going on" in page.text
    assert "broke off" in Page(reports.build(run)).text
    assert "2 of 40 files are finished" in page.text
    assert "a.mp4" in page.text
    assert "videos/v0000.html" in [a["href"] for a in page.named("a")]


def test_failures_stand_first_with_code_reason_and_remedy(synthetic: Start) -> None:
    made = synthetic().video("/v/a.mp4", [[(1, HAPPY)]])
    made.video("/v/b.mp4", [[(1, SAD)], "decode_error"], status="partial", error_code="damaged", error="ends early",
               broken_at_ms=500)  # fmt: skip
    made.failed("/v/z.mp4", "not_a_video", "z.mp4 is no video; take it out")
    page = Page(reports.build(made.write()))
    assert [row["status"] for row in ledger_of(page)] == [0, 1, 2]
    assert [row.get("class") for row in page.named("tr") if row.get("class")] == ["failed", "partial", "ok"]
    assert "not_a_video Z.mp4 is no video; take it out. If it is a video, convert it" in page.text
    assert "damaged Ends early. For the rest, copy or export" in page.text
    assert "--retry-failed" in page.text
    video = Page(made.folder / "report" / "videos" / "v0001.html")
    assert video.text.count("Ends early") == 1


def test_an_empty_run(synthetic: Start) -> None:
    page = Page(reports.build(synthetic(state="running").write()))
    assert "No video is in the ledger yet" in page.text
    assert not figures_of(page)


def test_run_json_with_the_least(synthetic: Start) -> None:
    made = synthetic().video("/v/a.mp4", [[(1, HAPPY)]])
    made.info = {"state": "complete", "config": {}}
    assert "name not recorded" in Page(reports.build(made.write())).text


def test_names_from_files_are_text_and_nothing_else(synthetic: Start) -> None:
    made = synthetic(inputs=[f"/v/{HOSTILE}"], purpose="<b>bold</b>", model={"name": HOSTILE, "card": "</pre><script>"})
    made.video(f"/v/{HOSTILE}", [[(1, HAPPY)]]).video(f"/v/{QUOTED}", [[(1, SAD)]])
    made.failed(f"/v/x/{HOSTILE}", "<i>", f"cannot read {HOSTILE}")
    index = reports.build(made.write())
    for path in (index, *index.parent.glob("videos/*.html")):
        page = Page(path)
        allowed = ("assets/plotly.min.js", "assets/report.js", "assets/page.js")
        for script in page.named("script"):
            assert script.get("type") == "application/json" or (script.get("src") or "").endswith(allowed)
        assert not page.named("img")
        assert all(i.get("class") or i.get("style") for i in page.named("i"))
        assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert "alert(1)" in Page(index).text
    assert QUOTED in Page(index.parent / "videos" / "v0001.html").text


def test_json_cannot_close_its_script_element() -> None:
    import plotly.graph_objects as go

    from fer_batch.page import embedded

    figure = go.Figure(layout_title_text="</script><!--\u2028&<br>")
    text = str(embedded(figure))
    assert not set("<&\u2028") & set(text.replace("<br>", ""))
    assert json.loads(text)["layout"]["title"]["text"] == "</script><!--\u2028&<br>"


def test_ids_and_parts_that_are_paths_are_refused(tmp_path: Path) -> None:
    rows: tuple[dict[str, Any], ...] = ({"video_id": "../../evil"}, {"part": "../x.parquet"})
    for number, row in enumerate(rows):
        run = SyntheticRun(tmp_path / str(number)).video("/v/a.mp4", [[(1, HAPPY)]], **row).write()
        with pytest.raises(RefusedError, match="damaged"):
            reports.build(run)


def test_the_same_content_twice_shares_a_page(synthetic: Start) -> None:
    made = synthetic().video("/v/a.mp4", [[(1, HAPPY)]])
    made.ledger.append({**made.ledger[0], "path": "/v/b.mp4"})
    index = reports.build(made.write())
    links = [a["href"] for a in Page(index).named("a")]
    assert len(list(index.parent.glob("videos/*.html"))) == 1
    assert links.count("videos/v0000.html") == 2
    assert "1 file is a copy" in Page(index).text
    assert "same content as a.mp4" in Page(index).text
    video = Page(index.parent / "videos" / "v0000.html")
    assert "The same content, and so this page, is also that of /v/b.mp4" in video.text


def test_a_missing_part_is_said(synthetic: Start) -> None:
    run = synthetic().video("/v/a.mp4", [[(1, HAPPY)]]).write()
    (run.path / "faces" / "part-00000.parquet").unlink()
    with pytest.raises(StoppedError, match=r"faces/part-00000.parquet\) is missing: run the same command again"):
        reports.build(run)
    assert "part-00000.parquet) is missing" in Page(run.report_dir / "index.html").text


def test_pages_of_videos_that_are_gone_go_too(synthetic: Start) -> None:
    run = synthetic().video("/v/a.mp4", [[(1, HAPPY)]]).write()
    old = run.path / "report" / "videos" / "vold.html"
    old.parent.mkdir(parents=True)
    old.write_text("x")
    reports.build(run)
    assert not old.exists()


def test_a_folder_that_cannot_be_written(synthetic: Start, tmp_path: Path) -> None:
    run = synthetic().write()
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoppedError, match="cannot write"):
        reports.build(run, tmp_path / "file" / "report")


def test_the_index_alone(synthetic: Start) -> None:
    run = synthetic().video("/v/a.mp4", [[(1, HAPPY)]]).write()
    reports.build(run)
    index = reports.build(run, pages="index")
    assert not list(index.parent.glob("videos/*.html"))
    page = Page(index)
    assert not any("videos/" in (a["href"] or "") for a in page.named("a"))
    assert len(figures_of(page)) == 1


def test_a_long_ledger_has_pages_that_need_no_script(synthetic: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.index_page.ROWS_A_PAGE", 10)
    made = synthetic()
    for number in range(25):
        made.video(f"/v/{number:02d}.mp4", [[(1, HAPPY)]])
    run = made.failed("/v/zz.mp4").write()
    index = reports.build(run, pages="index")
    pages = [Page(index.with_name(name)) for name in ("index.html", "index-2.html", "index-3.html")]
    assert [sum(row.get("class") is not None for row in page.named("tr")) for page in pages] == [10, 10, 6]
    assert len(ledger_of(pages[0])) == 26
    assert "zz.mp4" in pages[0].text
    assert [a["href"] for a in pages[1].named("a") if a.get("rel")] == ["index.html", "index-3.html"]
    made.ledger = made.ledger[:5]
    reports.build(made.write(), pages="index")
    assert not list(index.parent.glob("index-*.html"))  # no page of the longer list is left


def test_a_single_file_holds_all_it_needs(synthetic: Start) -> None:
    index = reports.build(synthetic().video("/v/a.mp4", [[(1, HAPPY)]]).write(), single_file=True)
    assert not (index.parent / "assets").exists()
    for path in (index, index.parent / "videos" / "v0000.html"):
        page = Page(path)
        assert not any("src" in script for script in page.named("script"))
        (policy,) = [m["content"] for m in page.named("meta") if m.get("http-equiv") == "Content-Security-Policy"]
        assert policy
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in page.scripts]
        assert sum(f"'sha256-{digest}'" in policy for digest in digests) == 3
        assert "'self'" not in policy


def test_a_rare_class_carries_its_warning(synthetic: Start) -> None:
    disgust = (0.0, 0.9, 0.0, 0.0, 0.0, 0.0, 0.1)
    calm = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    figures = {"classes": {"disgust": {"n": 56}, "happy": {"n": 3533}}}
    samples: list[Sample] = [[(1, calm)]] * 100
    samples[20:28] = [[(1, disgust)] for _ in range(8)]
    samples[60:75] = [[(1, HAPPY)] for _ in range(15)]
    index = reports.build(synthetic(model={"figures": figures}).video("/v/a.mp4", samples).write())
    page = Page(index.parent / "videos" / "v0000.html")
    assert "disgust is 1.6 % of the pictures that the model was tested on" in page.text
    assert page.text.count("Rare class") == 1
    jumps = [(b["data-at"], b["data-track"]) for b in page.named("button") if "data-at" in b]
    assert [10_000 <= int(at or 0) < 14_000 for at, _ in jumps] == [True, False]


def test_warnings_name_the_classes_that_the_models_figures_make_doubtful(synthetic: Start) -> None:
    fear, surprise = (0.0, 0.0, 0.9, 0.0, 0.0, 0.0, 0.1), (0.0, 0.0, 0.0, 0.0, 0.0, 0.9, 0.1)
    classes = {
        "disgust": {"n": 56, "precision": 0.61},
        "fear": {"n": 496, "precision": 0.51},
        "surprise": {"n": 415, "precision": 0.77},
        "happy": {"n": 2622, "precision": 0.86},
    }
    samples: list[Sample] = [*[[(1, surprise)]] * 20, *[[(1, fear)]] * 20, *[[(1, surprise)]] * 20]
    made = synthetic(model={"figures": {"classes": classes}}).video("/v/a.mp4", samples)
    index = reports.build(made.write())
    page = Page(index.parent / "videos" / "v0000.html")
    warned = [cell for cell in page.named("tr") if cell.get("class") == "warning"]
    assert len([b for b in page.named("button") if "data-at" in b]) == 3
    assert len(warned) == 1
    assert "of the test pictures that the model called fear, 51 % were labelled so" in page.text
    for path in (index, index.parent / "videos" / "v0000.html"):
        words = "often called wrongly: disgust (1.6 % of the test pictures); fear (51 % of its calls right)."
        assert words in Page(path).text
    assert wording.caution("surprise", {"figures": {"classes": classes}}, 0.5) is None
    assert wording.doubtful({}) == []


def test_a_peaks_span_and_duration_agree(synthetic: Start) -> None:
    calm = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    samples: list[Sample] = [*[[(1, calm)]] * 21, *[[(1, HAPPY)]] * 13, *[[(1, calm)]] * 20]
    index = reports.build(synthetic().video("/v/a.mp4", samples, step_ms=366).write())
    page = Page(index.parent / "videos" / "v0000.html")
    span = re.search(r"0:(\d+\.\d) *\u2013 *0:(\d+\.\d) +(\d+\.\d) ", page.text)
    assert span
    start, end, duration = map(float, span.groups())
    assert duration == pytest.approx(end - start)
    (jump,) = [b for b in page.named("button") if "data-at" in b]
    # Rounded by itself, the duration would be another one.
    assert round((int(jump["data-to"] or 0) - int(jump["data-from"] or 0)) / 1000, 1) != duration


def test_a_video_without_a_face_has_nothing_to_switch(synthetic: Start) -> None:
    index = reports.build(synthetic().video("/v/a.mp4", ["no_face", "no_face"]).write())
    page = Page(index.parent / "videos" / "v0000.html")
    assert not [b for b in page.named("button") if "data-emotion" in b]
    assert "share of those" not in page.text
    assert "No face was scored" in page.text


def test_thumbnails_are_asked_for_and_decoded_from_the_video(synthetic: Start, clips: Clips) -> None:
    source = clips.one_face.path
    calm = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    samples: list[Sample] = [[(1, calm)]] * 12
    samples[4:8] = [[(1, HAPPY)]] * 4
    made = synthetic().video(str(source), samples, video_id=fingerprint(source, source.stat().st_size))
    for rows in (made.frames, made.faces):
        for number, row in enumerate(rows):  # 25 frames a second: the first frame at or after each half second
            row["frame_index"] = -(-number * 25 // 2)
            row["timestamp_ms"] = row["frame_index"] * 40
    for row in made.faces:
        row |= {"x": 105.0, "y": 55.0, "w": 90.0, "h": 90.0}
    run = made.write()
    page = run.path / "report" / "videos" / f"{made.ledger[0]['video_id']}.html"
    reports.build(run)
    assert not Page(page).named("img")
    assert "holds no picture of a face" in Page(page).text
    reports.build(run, thumbnails=True)
    (picture,) = Page(page).named("img")
    assert "holds pictures of faces" in Page(page).text
    head, _, data = (picture["src"] or "").partition(",")
    assert head == "data:image/jpeg;base64"
    found = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert found is not None
    assert found.shape[0] == 96
    at = int((picture["alt"] or "").rpartition("0:0")[2][:1]) * 1000
    assert 2000 <= at < 4000
    assert found.std() > 20  # a face, not a blank


def test_thumbnails_of_a_video_that_is_gone_are_said_to_be_missing(synthetic: Start) -> None:
    samples: list[Sample] = [*[[(1, SAD)]] * 6, *[[(1, HAPPY)]] * 6]
    index = reports.build(synthetic().video("/nowhere/a.mp4", samples).write(), thumbnails=True)
    page = Page(index.parent / "videos" / "v0000.html")
    assert "Pictures of peaks are missing: the file is not where it was" in page.text
    assert not page.named("img")


def test_the_script_library_is_written_once(synthetic: Start) -> None:
    run = synthetic().write()
    library = reports.build(run).parent / "assets" / "plotly.min.js"
    before = library.stat().st_mtime_ns
    reports.build(run)
    assert library.stat().st_mtime_ns == before


def test_the_ledger_is_read_once(synthetic: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    made = synthetic()
    for number in range(5):
        made.video(f"/v/{number}.mp4", [[(1, HAPPY)]])
    calls = []
    read = Run.videos

    def counted(run: Run) -> pa.Table:
        calls.append(run)
        return read(run)

    monkeypatch.setattr(Run, "videos", counted)
    reports.build(made.write())
    assert len(calls) == 1


def test_an_hour_with_five_people_stays_light(synthetic: Start) -> None:
    values = np.random.default_rng(2).dirichlet(np.ones(7), size=(7200, 5)).tolist()
    samples: list[Sample] = [[(k + 1, p) for k, p in enumerate(faces)] for faces in values]
    index = reports.build(synthetic().video("/v/hour.mp4", samples).write())
    path = index.parent / "videos" / "v0000.html"
    assert path.stat().st_size < 1_500_000
    page = Page(path)
    assert "of 7,200 samples" in page.text
    timeline = figures_of(page)[0]
    assert {frame["name"] for frame in timeline["frames"]} == {
        "all/raw", *(f"{track}/{mode}" for track in range(1, 6) for mode in ("smooth", "raw"))
    }  # fmt: skip


def test_a_face_that_flickers_is_drawn_and_said(synthetic: Start) -> None:
    samples: list[Sample] = [[(1, HAPPY)] if k % 2 else "no_face" for k in range(4000)]
    index = reports.build(synthetic().video("/v/flicker.mp4", samples).write())
    page = index.parent / "videos" / "v0000.html"
    assert "are not drawn" in Page(page).text
    assert "50 % of the sampled time" in Page(page).text


@pytest.mark.parametrize(
    "samples",
    [[], ["decode_error"], ["too_small"] * 3, [[(1, HAPPY)]], [[(k, SAD)] for k in range(1, 60)]],
    ids=["nothing sampled", "damaged", "too small", "one sample", "many people"],
)
def test_a_page_for_whatever_was_found(synthetic: Start, samples: list[Sample]) -> None:
    index = reports.build(synthetic().video("/v/a.mp4", samples).write())
    page = Page(index.parent / "videos" / "v0000.html")
    faces = sum(not isinstance(sample, str) for sample in samples)
    assert len(figures_of(page)) == (5 if faces else 1 if samples else 0)
    assert [option["value"] for option in page.named("option")][1:] == [str(k) for k in range(1, min(faces, 12) + 1)][
        : 12 if faces > 1 else 0
    ]


def test_importing_is_cheap() -> None:
    heavy = ("plotly", "jinja2", "tensorflow", "ray")
    code = f"import sys, reports; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", done.stdout


@pytest.mark.parametrize(
    ("ms", "tenths", "text"),
    [
        (0, False, "0:00"),
        (59_600, False, "0:59"),
        (61_000, False, "1:01"),
        (3_600_000, False, "1:00:00"),
        (1_500, True, "0:01.5"),
        (59_960, True, "0:59.9"),
        (None, False, "\u2013"),
    ],
)
def test_clock(ms: float | None, tenths: bool, text: str) -> None:
    assert wording.clock(ms, tenths=tenths) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0 %"), (0.001, "<1 %"), (0.5, "50 %"), (0.999, ">99 %"), (1, "100 %"), (None, "\u2013")]
)
def test_percent(share: float | None, text: str) -> None:
    assert page.percent(share) == text.replace(" ", "\u00a0")


@pytest.mark.parametrize(
    ("paths", "folder"),
    [
        (["/a/b/1.mp4", "/a/b/c/2.mp4"], "/a/b/"),
        (["/a/bb/1.mp4", "/a/bc/1.mp4"], "/a/"),
        (["1.mp4", "x/2.mp4"], ""),
        (["/1.mp4", "/2.mp4"], "/"),
        (["s3://bucket/x/1.mp4", "s3://bucket/y/2.mp4"], "s3://bucket/"),
        ([], ""),
    ],
)
def test_common_folder(paths: list[str], folder: str) -> None:
    assert wording.common_folder(paths) == folder


def test_lengths_read_alike_in_the_report_and_in_status() -> None:
    for ms in (0, 999, 59_999, 61_500, 3_599_999, 3_600_000):
        assert wording.clock(ms) == values.clock(ms)


def test_each_video_is_read_with_its_own_rows(synthetic: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "BATCH_ROWS", 2)  # rows of a video then come in several batches
    made = synthetic().video("/v/a.mp4", [[(1, HAPPY)]] * 5).video("/v/b.mp4", ["no_face"])
    tables = load.RunTables(made.video("/v/c.mp4", [[(4, SAD)], [(4, SAD), (5, SAD)]]).write())
    found = [
        (video.faces, video.frames) for video in tables.videos() if video.faces is not None and video.frames is not None
    ]
    assert [faces["track_id"].to_pylist() for faces, _ in found] == [[1] * 5, [], [4, 4, 5]]
    assert [frames.num_rows for _, frames in found] == [5, 1, 2]


def test_one_video_at_a_time_is_in_memory(synthetic: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "BATCH_ROWS", 2000)
    samples: list[Sample] = [[(track, HAPPY) for track in range(8)] for _ in range(500)]
    made = synthetic()
    for number in range(12):
        made.video(f"/v/{number:02d}.mp4", samples)
    tables = load.RunTables(made.write())
    before, most, sizes = pa.total_allocated_bytes(), 0, []
    for video in tables.videos():
        assert video.faces is not None
        assert video.frames is not None
        most = max(most, pa.total_allocated_bytes() - before)
        sizes.append(video.faces.nbytes + video.frames.nbytes)
    assert len(sizes) == 12
    # Far less than all: this video's rows, and a batch of its neighbours' while they are cut.
    assert most < 0.6 * sum(sizes)


def test_a_part_that_is_not_sorted_is_refused(synthetic: Start) -> None:
    made = synthetic().video("/v/a.mp4", [[(1, HAPPY)]], video_id="vb").video("/v/b.mp4", [[(1, SAD)]], video_id="va")
    made.keep_order = True
    with pytest.raises(RefusedError, match="not sorted"):
        list(load.RunTables(made.write()).videos())


@pytest.mark.parametrize("table", ["frames", "faces"])
@pytest.mark.parametrize("harm", [lambda _: b"PAR1 no more", flipped])
def test_a_damaged_part_is_said(synthetic: Start, table: str, harm: Callable[[bytes], bytes]) -> None:
    run = synthetic().video("/v/a.mp4", [[(1, HAPPY)]]).video("/v/b.mp4", [[(1, SAD)]]).write()
    file = run.path / table / "part-00000.parquet"
    file.write_bytes(harm(file.read_bytes()))
    said = rf"index.html is built, but 2 of .*{table}/part-00000.parquet\) is damaged: run the same .* with --verify"
    with pytest.raises(StoppedError, match=said):
        reports.build(run)
    assert "part-00000.parquet) is damaged" in Page(run.report_dir / "index.html").text
