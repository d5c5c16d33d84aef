"""``fer-batch submit``: the same run on a Ray cluster, through Ray's job server.

The run lives on the cluster and does not need this process: it follows the log, and if it dies or the line breaks, the
same command, or ``--attach``, follows on. Only here and in the engine is Ray imported.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from fer_batch.errors import RefusedError, StoppedError
from jobs.interrupt import INTERRUPTED
from jobs.remote import RemoteRun, prepare

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

MARK = "fer-batch"
"""Metadata of a job by which it is known again; also how its id begins."""

_CHATTY = ("dashboard.modules.dashboard_sdk", "dashboard.modules.job.sdk", "_private.runtime_env.packaging")
"""Modules of Ray's that tell of each step."""

PATIENCE_S = 300.0
"""How long a broken line to the job server is mended for before this process gives up; the job goes on."""


def submit(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="JOB", help="A job file; or, after --, all that fer-batch run takes."),
    ] = None,
    address: Annotated[
        str,
        typer.Option(envvar="RAY_API_SERVER_ADDRESS", metavar="URL", help="Ray's job server."),
    ] = "http://127.0.0.1:8265",
    working_dir: Annotated[
        Path | None,
        typer.Option(help="Upload this whole folder, not only the files that the job names."),
    ] = None,
    attach: Annotated[str | None, typer.Option(metavar="ID", help="Follow a job that was submitted before.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for the job.")] = False,
) -> None:
    """Run a job on a Ray cluster, follow its log, and end with its exit code.

    **fer-batch submit job.toml --address http://head:8265**, or **fer-batch submit -- /shared/videos --out
    /shared/results --fps 5**. Videos and results stay where every node sees them; the job file and what it names are
    uploaded. Ctrl-C lets go of the job, which goes on; the same command again follows it.
    """
    console = Console(stderr=True)
    if (attach is None) == (not arguments):
        raise typer.BadParameter("give a job, or --attach and the id of one")
    try:
        if attach is not None:
            client = _client(address)
            name = attach
        else:
            with tempfile.TemporaryDirectory(prefix="fer-batch-") as folder:
                run = prepare(arguments or [], working_dir, Path(folder))
                client = _client(address)
                name = _submitted(client, run, folder, console)
        again = f"fer-batch submit --attach {name} --address {address}"
        if detach:
            _say(console, f"follow it with: {again}")
            return
        code = _followed(client, name, again)
    except KeyboardInterrupt:
        _say(console, f"let go; a job that was submitted goes on. Follow it with the same command, or stop it with: "
             f"ray job stop ID --address {address}")  # fmt: skip
        sys.exit(INTERRUPTED)
    sys.exit(code)


def _client(address: str) -> JobSubmissionClient:
    """A connection to the job server.

    Raises:
        RefusedError: there is none, or it does not let us in.
    """
    if not address.startswith(("http://", "https://")):
        raise RefusedError(f"--address {address} is no job server; give its address, such as http://head:8265")
    os.environ["RAY_API_SERVER_ADDRESS"] = address  # Ray puts this and RAY_ADDRESS above what it is asked
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    for name in _CHATTY:
        logging.getLogger(f"ray.{name}").setLevel(logging.WARNING)
    try:
        return JobSubmissionClient(address)
    except AuthenticationError as error:
        raise RefusedError(f"the job server at {address} wants a token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to "
                           "the cluster's") from error  # fmt: skip
    except RuntimeError as error:
        if "ray[default]" in str(error):
            raise RefusedError("submit needs more of Ray: pip install 'fer-batch[cluster]'") from error
        raise RefusedError(f"the job server at {address} cannot be used: {error}") from error
    except (ConnectionError, OSError, ValueError) as error:
        raise RefusedError(f"no job server answers at {address}: {error}. Ray's dashboard is one; on Kubernetes: "
                           "kubectl port-forward service/NAME-head-svc 8265") from error  # fmt: skip


def _submitted(client: JobSubmissionClient, run: RemoteRun, folder: str, console: Console) -> str:
    """The id of the job, which may run already."""
    known = [job for job in client.list_jobs() if (job.metadata or {}).get(MARK) == run.key]
    for job in known:
        if not job.status.is_terminal() and job.submission_id is not None:
            _say(console, f"{job.submission_id} runs already: following it")
            return job.submission_id
    wanted = f"{MARK}-{run.key}-{len(known) + 1}"
    environment = {"working_dir": folder} if run.files else {}
    os.environ["RAY_RUNTIME_ENV_IGNORE_GITIGNORE"] = "1"  # what is in the folder was chosen
    try:
        name = client.submit_job(
            entrypoint=run.command, submission_id=wanted, runtime_env=environment, metadata={MARK: run.key}
        )
    except RuntimeError as error:
        raise RefusedError(f"the job server did not take the job: {error}") from error
    size = sum((Path(folder) / file).stat().st_size for file in run.files)
    _say(console, f"submitted {name}: {run.command} (uploaded {len(run.files)} files, {size / 1e6:.1f} MB)")
    return name


def _followed(client: JobSubmissionClient, name: str, again: str) -> int:
    """Print the job's log until it ends; the exit code of its run.

    Raises:
        RefusedError: the job server knows no such job.
        StoppedError: the job server no longer answers, or the job could not be run.
    """
    import aiohttp

    log = _Log()
    broken_since: float | None = None
    while True:
        try:
            details = client.get_job_info(name)
            asyncio.run(log.follow(client, name))
            broken_since = None
            if details.status.is_terminal():
                break
            time.sleep(0.5)
        except (RuntimeError, OSError, aiohttp.ClientError) as error:
            if "status code 404" in str(error):
                raise RefusedError(f"the job server knows no job {name}; ray job list shows those it knows") from error
            broken_since = broken_since or time.monotonic()
            if time.monotonic() - broken_since > PATIENCE_S:
                raise StoppedError(f"the line to the job server broke: {error}. The job goes on: {again}") from error
            time.sleep(2)
    if details.status == "SUCCEEDED":
        return 0
    if details.status == "STOPPED":
        return INTERRUPTED
    if details.driver_exit_code is not None and details.driver_exit_code >= 0:
        return int(details.driver_exit_code)
    raise StoppedError(f"{name} failed: {details.message}. The same command again goes on")


class _Log:
    """A job's log. Asked again, the server tells it from its beginning: what was printed is skipped."""

    def __init__(self) -> None:
        self._printed = 0

    async def follow(self, client: JobSubmissionClient, name: str) -> None:
        """Print what is new until the job, or the line to the server, ends."""
        position = 0
        async for text in client.tail_job_logs(name):
            position += len(text)
            if position > self._printed:
                sys.stdout.write(text[self._printed - position :])
                sys.stdout.flush()
                self._printed = position


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
