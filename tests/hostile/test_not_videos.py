"""Files that are named like videos and are none, or that would have other files or addresses opened: nothing is."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest

from tests.clips import build, build_audio
from tests.hostile.catalogue import SIZE, TIMES, Case, Files
from tests.hostile.edits import edit_box, external_data
from tests.hostile.stages import look

SUFFIXES = ("mp4", "mov", "mkv", "avi", "ts", "webm")

TO_REFERENCE = [b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"]

SCRIPTS: dict[str, Callable[[str], str]] = {
    "hls": lambda target: f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{target}\n#EXT-X-ENDLIST\n",
    "hls_master": lambda target: f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=64x48\n{target}\n",
    "hls_key": lambda target: (
        f'#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXT-X-KEY:METHOD=AES-128,URI="{target}"\n'
        f"#EXTINF:9,\n{target}\n#EXT-X-ENDLIST\n"
    ),
    "dash": lambda target: (
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT2S" profiles="urn:mpeg:dash:profile:isoff-main:2011"><Period><AdaptationSet '
        'mimeType="video/mp4"><Representation id="1" bandwidth="1" width="64" height="48" codecs="avc1.4d401e">'
        f"<BaseURL>{target}</BaseURL><SegmentBase/></Representation></AdaptationSet></Period></MPD>\n"
    ),
    "ffconcat": lambda target: f"ffconcat version 1.0\nfile '{target}'\n",
    "sdp": lambda target: (
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
        f"a=control:{target}\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
    ),
    "asx": lambda target: f'<ASX VERSION="3.0"><ENTRY><REF HREF="{target}"/></ENTRY></ASX>\n',
    "rtsp_text": lambda target: f"RTSPtext\n{target}\n",
    "smil": lambda target: f'<smil><body><video src="{target}"/></body></smil>\n',
    "image_pattern": lambda target: f"{target}/%03d.jpg\n",
    "ffmetadata": lambda target: f";FFMETADATA1\ntitle={target}\n",
    "avisynth": lambda target: f'AVISource("{target}")\n',
}
"""Texts that lead FFmpeg, or a player, to another place."""


@dataclass
class Traps:
    """Places that nobody may touch, and what is known of them."""

    film: Path
    pipe: Path
    port: int
    connections: list[object] = field(default_factory=list)

    @property
    def targets(self) -> list[str]:
        """As a script would name them."""
        return [
            str(self.film),
            self.film.as_uri(),
            self.film.name,
            str(self.pipe),
            f"http://127.0.0.1:{self.port}/a.mp4",
            f"tcp://127.0.0.1:{self.port}",
            f"concat:{self.film}|{self.pipe}",
            f"subfile,,start,0,end,0,,:{self.film}",
        ]

    def arm(self) -> None:
        os.utime(self.film, ns=(0, self.film.stat().st_mtime_ns))  # any reading sets the time of access anew

    def are_untouched(self) -> bool:
        return self.film.stat().st_atime_ns == 0 and not self.connections


@pytest.fixture
def traps(tmp_path: Path) -> Iterator[Traps]:
    """A film, a pipe that holds a byte, and a listener on loopback."""
    film = build(tmp_path / "decoy.mp4", TIMES, size=SIZE, faststart=True).path
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    held = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)  # so that opening it would not wait for ever
    os.write(held, b"untouched")
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as stack:
        stack.callback(os.close, held)
        server.settimeout(0.2)
        found = Traps(film, pipe, server.getsockname()[1])
        ended = threading.Event()

        def listen() -> None:
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    connection, _address = server.accept()
                    found.connections.append(connection.recv(0))
                    connection.close()

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        found.arm()
        yield found
        ended.set()
        thread.join()
        assert os.read(held, 99) == b"untouched"


@pytest.mark.parametrize("kind", SCRIPTS)
def test_scripts_open_nothing_else(tmp_path: Path, traps: Traps, kind: str) -> None:
    for target in traps.targets:
        for suffix in (*SUFFIXES, "m3u8"):
            script = tmp_path / f"script.{suffix}"
            script.write_text(SCRIPTS[kind](target), encoding="utf-8")
            assert look(script).status == ("failed", "not_a_video"), (target, suffix)
    assert traps.are_untouched()


def test_movies_whose_pictures_lie_elsewhere_open_nothing_else(tmp_path: Path, traps: Traps) -> None:
    for target in traps.targets:
        for suffix in ("mov", "mp4"):
            clip = tmp_path / f"reference.{suffix}"
            elsewhere(clip, target)
            assert look(clip).status == ("failed", "external_media")
    assert traps.are_untouched()


def test_names_that_read_as_addresses_open_nothing_else(traps: Traps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(traps.film.parent)
    for name in ("concat:decoy.mp4", "subfile,,start,0,end,0,,:decoy.mp4", "data:x", "pipe:0", "cache:decoy.mp4"):
        assert look(Path(name)).status == ("failed", "vanished")
        Path(name).write_bytes(b"no film")
        assert look(Path(name)).status == ("failed", "not_a_video")
    assert traps.are_untouched()


def test_a_pipe_is_refused_unopened(traps: Traps) -> None:
    assert look(traps.pipe).status == ("failed", "unreadable")


def test_the_traps_work(tmp_path: Path, traps: Traps) -> None:
    """FFmpeg without our limits walks into them: else the other tests could not fail."""
    script = tmp_path / "script.ffconcat"
    script.write_text(SCRIPTS["ffconcat"](traps.film.name), encoding="utf-8")
    with av.open(script):
        pass
    assert traps.film.stat().st_atime_ns != 0
    traps.arm()
    with contextlib.suppress(av.FFmpegError):  # it is no film, but it was asked for
        av.open(f"tcp://127.0.0.1:{traps.port}")
    assert traps.connections


def picture(path: Path, encoder: str, muxer: str, pixels: str = "rgb24", update: str = "") -> None:
    image = np.random.default_rng(4).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    with av.open(path, "w", format=muxer, options={"update": update} if update else {}) as container:
        stream = container.add_stream(encoder, rate=1)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def text(path: Path) -> None:
    path.write_text("1\n00:00:01,000 --> 00:00:02,000\nA subtitle and no film.\n" * 30, encoding="utf-8")


def script(path: Path, kind: str) -> None:
    path.write_text(SCRIPTS[kind](f"{path.parent}/h264.mp4"), encoding="utf-8")


def elsewhere(path: Path, target: str = "file:///h264.mp4") -> None:
    build(path, TIMES, size=SIZE)
    edit_box(path, TO_REFERENCE, lambda _old: external_data(target))


def written(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def sound(path: Path) -> None:
    build_audio(path)


def headless(path: Path) -> None:
    """An MP4 whose index is missing: the recording never ended."""
    data = build(path, TIMES, size=SIZE).path.read_bytes()
    path.write_bytes(data[: data.rindex(b"moov") - 4])


NOT_VIDEOS = [
    Case("empty.mp4", partial(written, content=b""), "failed", "empty", "0 bytes"),
    Case("one_byte.mp4", partial(written, content=b"x"), "failed", "not_a_video"),
    Case("zeros.mkv", partial(written, content=bytes(50_000)), "failed", "not_a_video"),
    Case("subtitles.mp4", text, "failed", "not_a_video", "supported containers"),
    Case("jpeg.mp4", partial(picture, encoder="mjpeg", muxer="image2", pixels="yuvj420p", update="1"), "failed",
         "not_a_video"),
    Case("png.mkv", partial(picture, encoder="png", muxer="image2", update="1"), "failed", "not_a_video"),
    Case("gif.mov", partial(picture, encoder="gif", muxer="gif", pixels="rgb8"), "failed", "not_a_video"),
    Case("avif.mp4", partial(picture, encoder="libsvtav1", muxer="avif", pixels="yuv420p"), "failed", "not_a_video",
         "a picture"),
    *(Case(f"{kind}.mp4", partial(script, kind=kind), "failed", "not_a_video") for kind in SCRIPTS),
    Case("elsewhere.mov", elsewhere, "failed", "external_media", "self-contained"),
    Case("sound.mp4", sound, "failed", "no_video_stream", "sound only"),
    Case("sound.mkv", sound, "failed", "no_video_stream"),
    Case("no_index.mp4", headless, "failed", "unfinished", "never ended"),
]  # fmt: skip


@pytest.mark.parametrize("case", NOT_VIDEOS, ids=str)
def test_what_is_no_video_is_said_to_be_none(files: Files, case: Case) -> None:
    seen = look(files(case).path)
    assert seen.status == (case.status, case.code), seen.row
    assert case.said in seen.row["error"]


def test_the_suffix_does_not_matter(files: Files, tmp_path: Path) -> None:
    for case in NOT_VIDEOS:
        for suffix in SUFFIXES:
            path = tmp_path / f"file.{suffix}"
            shutil.copy(files(case).path, path)
            assert look(path).row["status"] == "failed", (case.name, suffix)
