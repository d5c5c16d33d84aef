"""Following a job: its log, its exit code, a line that breaks. The job server is made up; see test_submit for Ray's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.dashboard.modules.job.common import JobStatus
from rich.console import Console

from fer_batch import RefusedError, StoppedError
from jobs import submit
from jobs.remote import RemoteRun

QUIET = Console(quiet=True)

RUN = RemoteRun("fer-batch run job.toml", (Path("job.toml"),), "0123456789ab")


class Server:
    """Answers as Ray's client does, for one job that ends when its log has been told.

    Args:
        parts: of the log, in the order in which they come; None breaks the line.
        status, code, message: how the job ends.
    """

    def __init__(self, parts: list[str | None], status: str, code: int | None = None, message: str = "") -> None:
        self.parts = parts
        self._end = SimpleNamespace(status=JobStatus(status), driver_exit_code=code, message=message)
        self.known: list[Any] = []
        self.submitted: list[dict[str, Any]] = []

    def get_job_info(self, name: str) -> Any:
        if not name.startswith("fer-batch-"):
            raise RuntimeError("Request failed with status code 404: no such job")
        return SimpleNamespace(status=JobStatus.RUNNING) if None in self.parts else self._end

    async def tail_job_logs(self, _name: str) -> AsyncIterator[str]:
        for number, part in enumerate(self.parts):
            if part is None:
                del self.parts[number]
                raise ConnectionResetError("broken")
            yield part

    def list_jobs(self) -> list[Any]:
        return self.known

    def submit_job(self, **asked: Any) -> str:
        self.submitted.append(asked)
        return str(asked["submission_id"])


def followed(server: Server, name: str = "fer-batch-1") -> int:
    return submit._followed(server, name, "again")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        ("SUCCEEDED", 0, 0),
        ("FAILED", 1, 1),
        ("FAILED", 2, 2),
        ("FAILED", 3, 3),
        ("FAILED", 130, 130),
        ("STOPPED", None, 130),
    ],
)
def test_the_exit_code_is_the_runs(status: str, code: int | None, expected: int) -> None:
    assert followed(Server(["done\n"], status, code)) == expected


@pytest.mark.parametrize("code", [None, -9])
def test_a_job_that_never_ran_or_was_killed_says_why(code: int | None) -> None:
    with pytest.raises(StoppedError, match="no such image"):
        followed(Server([], "FAILED", code, "no such image"))


def test_a_log_is_printed_once_however_often_the_line_breaks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    server = Server(["one\n", "two\n", None, "three\nfo", None, None, "ur\n"], "SUCCEEDED", 0)
    assert followed(server) == 0
    assert capsys.readouterr().out == "one\ntwo\nthree\nfour\n"


def test_a_line_that_stays_broken_is_given_up_and_the_job_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 100_000, 100))
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    monkeypatch.setattr("time.monotonic", lambda: float(next(now)))
    with pytest.raises(StoppedError, match=r"The job goes on: again"):
        followed(Server([None] * 50, "SUCCEEDED", 0))


def test_an_unknown_job_is_named() -> None:
    with pytest.raises(RefusedError, match="knows no job other"):
        followed(Server([], "SUCCEEDED", 0), "other")


def job(status: str, name: str, key: str) -> Any:
    return SimpleNamespace(status=JobStatus(status), submission_id=name, metadata={submit.MARK: key})


def test_the_same_job_is_followed_while_it_runs_and_begun_again_after(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text("x")
    server = Server([], "SUCCEEDED", 0)
    assert submit._submitted(server, RUN, str(tmp_path), QUIET) == "fer-batch-0123456789ab-1"  # type: ignore[arg-type]
    assert server.submitted[0]["entrypoint"] == RUN.command
    assert server.submitted[0]["runtime_env"] == {"working_dir": str(tmp_path)}
    server.known = [job("RUNNING", "another", "ba9876543210"), job("FAILED", "fer-batch-0123456789ab-1", RUN.key)]
    assert submit._submitted(server, RUN, str(tmp_path), QUIET) == "fer-batch-0123456789ab-2"  # type: ignore[arg-type]
    server.known.append(job("PENDING", "fer-batch-0123456789ab-2", RUN.key))
    assert submit._submitted(server, RUN, str(tmp_path), QUIET) == "fer-batch-0123456789ab-2"  # type: ignore[arg-type]
    assert len(server.submitted) == 2


def test_no_server_is_said_with_what_to_do() -> None:
    with pytest.raises(RefusedError, match="is no job server"):
        submit._client("head:6379")
