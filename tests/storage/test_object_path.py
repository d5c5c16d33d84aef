from __future__ import annotations

import io
import pickle
import random
import socket
from pathlib import Path

import fsspec
import pytest

from fer_batch import object_system
from fer_batch.discover import Discovery
from fer_batch.errors import RefusedError, StoppedError
from fer_batch.object_path import ObjectPath, as_path, each, is_there, remove_all
from tests.jobs.command import fer_batch
from tests.object_store import Store

ODD = "a b/[1]?#%20é'.mp4"


def at(text: str) -> ObjectPath:
    path = as_path(f"s3://bucket/{text}")
    assert isinstance(path, ObjectPath)
    return path


def test_an_object_with_an_odd_name_is_what_pathlib_would_call_it(store: Store) -> None:
    path = at("odd") / ODD
    path.write_bytes(b"0123456789")
    assert (path.name, path.suffix, path.parent) == ("[1]?#%20é'.mp4", ".mp4", at("odd/a b"))
    assert str(path.relative_to(at("odd"))) == ODD
    assert path.is_file()
    assert not path.is_dir()
    assert at("odd").is_dir()
    assert not at("od").exists()
    assert path.stat().st_size == 10
    assert path.read_range(3, 7) == b"3456"
    assert list(at("odd").glob("**/*.mp4")) == list(at("odd").glob("a*/*")) == [path]
    assert [str(found) for found in Discovery(["s3://bucket/odd"])] == [f"s3://bucket/odd/{ODD}"]
    assert pickle.loads(pickle.dumps(path)) == path  # noqa: S301 - as Ray sends it to workers
    other = at("odd/other")
    path.replace(other)
    assert other.read_bytes() == b"0123456789"
    remove_all(at("odd"))
    assert not at("odd").exists()
    with pytest.raises(FileNotFoundError):
        path.read_bytes()


def test_discovery_searches_folders_patterns_and_takes_what_is_named(store: Store) -> None:
    names = ["1.mp4", "deep/2.MOV", "deep/.3.mp4", "deep/4.txt", "deep/er/5.mkv", "mine/out/6.mp4"]
    for name in names:
        (at("videos") / name).write_bytes(b"x")
    at("videos/deep/").write_bytes(b"")  # what some tools leave to show an empty folder

    def found(*inputs: str, **options: object) -> list[str]:
        discovery = Discovery([f"s3://bucket/{name}" for name in inputs], **options)  # type: ignore[arg-type]
        return [str(path).removeprefix("s3://bucket/videos/") for path in discovery]

    assert found("videos", leave_out=at("videos/mine/out")) == ["1.mp4", "deep/2.MOV", "deep/er/5.mkv"]
    assert found("videos/", include=["deep/*"]) == ["deep/2.MOV", "deep/er/5.mkv"]
    assert found("videos/deep/4.txt", "videos/*.mp4", "videos/deep/*/*.mkv") == ["deep/4.txt", "1.mp4", "deep/er/5.mkv"]
    for missing in ("videos/none", "videos/*.avi"):
        with pytest.raises(RefusedError, match="there is no such object"):
            found(missing)
    store.fail = lambda method, path: 403 if method == "GET" and path.endswith("bucket") else None
    with pytest.raises(RefusedError, match="denies access"):
        found("videos")
    store.reset()
    assert all(path.listed.st_size == 1 for path in Discovery(["s3://bucket/videos"]))  # type: ignore[union-attr]


def test_reading_here_and_there_gives_what_a_file_gives(store: Store) -> None:
    random.seed(1)
    content = random.randbytes(1000)
    path = at("read")
    path.write_bytes(content)
    file, true = path.open(block_bytes=64), io.BytesIO(content)
    for _ in range(200):
        if random.random() < 0.5:
            offset, whence = random.choice([(random.randrange(1100), 0), (-random.randrange(1, 900), 2)])
            assert file.seek(offset, whence) == true.seek(offset, whence)
        n = random.randrange(1, 64)
        buffered = io.BufferedReader(file)  # type: ignore[type-var]
        assert buffered.read(n) == true.read(n)
        buffered.detach()
        file.seek(true.tell())


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("s3://AKIA:very-secret@bucket/x", "an address with credentials"),
        ("https://user:very-secret@host/x", "an address with credentials"),
        ("s3:///x", "names no bucket"),
        ("zip://a.mp4::s3://bucket/b.zip", "addresses within addresses"),
        (Path("s3://bucket/x"), "pathlib took a slash"),
    ],
)
def test_refuses_what_is_no_good_address_and_repeats_no_secret(address: str | Path, told: str) -> None:
    with pytest.raises(RefusedError, match=told) as caught:
        as_path(address)
    assert "very-secret" not in str(caught.value)


def test_signatures_are_not_shown() -> None:
    for query in ("X-Amz-Signature=abc&X-Amz-Credential=d", "sig=abc", "Expires=1&token=abc"):
        path = as_path(f"https://host/a/b.mp4?{query}")
        assert str(path) == repr(path) == "https://host/a/b.mp4?..."
        assert path.name == "b.mp4"
    assert str(as_path("s3://bucket/what?.mp4")) == "s3://bucket/what?.mp4"
    assert as_path("file:///a/b") == Path("/a/b")


def test_a_busy_store_is_asked_again_and_one_that_stays_busy_stops_the_run(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = at("busy")
    path.write_bytes(b"here")
    left = [503, 503]
    store.fail = lambda _method, _path: left.pop() if left else None
    assert path.read_bytes() == b"here"
    assert not left
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    object_system.system_at.cache_clear()
    store.fail = lambda _method, _path: 503
    with pytest.raises(StoppedError, match=r"s3://bucket/busy: http://127.*is too busy.*run the same command again"):
        path.read_bytes()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    object_system.system_at.cache_clear()
    with pytest.raises(StoppedError, match="cannot be reached"):
        path.read_bytes()
    object_system.system_at.cache_clear()


def test_what_a_store_refuses_is_told_as_a_disk_would(store: Store) -> None:
    path = at("closed")
    path.write_bytes(b"here")
    store.fail = lambda _method, _path: 403
    with pytest.raises(PermissionError, match="denies access"):
        path.read_bytes()
    store.fail = lambda _method, _path: None
    with pytest.raises(FileNotFoundError):
        at("nothing").read_bytes()
    with pytest.raises(RefusedError, match=r"no bucket 'nowhere' at http://127.*\d$"):
        is_there(as_path("s3://nowhere/x"))


def test_missing_credentials_are_told_before_any_work(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/nonexistent")
    object_system.system_at.cache_clear()
    with pytest.raises(RefusedError, match=r"does not take the credentials.*docs/storage.md\)$"):
        is_there(at("x"))
    object_system.system_at.cache_clear()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("https://host.invalid/a.mp4", "host.invalid cannot be reached (Name"),
        ("gs://bucket/a", "Google Cloud Storage cannot be reached, tried several times (Name"),
    ],
)
def test_a_name_that_no_resolver_knows_is_refused_before_any_work(
    address: str, message: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    pytest.importorskip("gcsfs")
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr("gcsfs.retry.is_retriable", lambda _error: False)  # it would ask for half a minute
    monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon"})
    object_system.system_at.cache_clear()
    assert fer_batch(monkeypatch, "run", address, "--out", tmp_path / "out") == 2
    told = " ".join(capfd.readouterr().err.split())
    assert f"{address}: {message} or service not known)" in told
    assert "Traceback" not in told
    assert not (tmp_path / "out").exists()
    with pytest.raises(StoppedError, match="run the same command again"):
        ObjectPath(address).stat()
    object_system.system_at.cache_clear()


def test_a_missing_package_is_told_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    for address, extra in (("s3://other/x", "s3"), ("gs://other/x", "gs")):
        with pytest.raises(RefusedError, match=rf"pip install 'fer-batch\[{extra}\]'"):
            is_there(as_path(address))


def test_a_put_on_a_condition_fails_where_somebody_was_quicker(store: Store) -> None:
    path = at("once")
    path.put_if(b"1", None)
    first = path.stat().tag
    with pytest.raises(FileExistsError):
        path.put_if(b"2", None)
    path.put_if(b"2", first)
    with pytest.raises(FileExistsError):
        path.put_if(b"3", first)
    assert path.read_bytes() == b"2"


def test_each_keeps_the_order(store: Store) -> None:
    paths = [at(f"each/{i}") for i in range(40)]
    for _ in each(lambda path: path.write_bytes(path.name.encode()), paths):
        pass
    assert list(each(lambda path: path.read_bytes(), paths)) == [str(i).encode() for i in range(40)]
