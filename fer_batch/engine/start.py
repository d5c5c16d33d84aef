"""Ray for the time of a run: an embedded one, on loopback only, which leaves nothing behind, or that of a cluster."""

from __future__ import annotations

import logging
import math
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import ray
from ray._private import ray_constants
from ray.exceptions import RayError

from fer_batch.engine import idle_agent
from fer_batch.errors import RefusedError, StoppedError
from fer_batch.resources import Placement
from fer_batch.scratch import overflow_folder, scratch_folder

log = logging.getLogger("fer_batch")

START_TRIES = 3
"""How often an embedded Ray is started before the run stops."""


def is_up() -> bool:
    """Whether this process has a Ray already, which then stays when a run ends."""
    return bool(ray.is_initialized())


@contextmanager
def ray_for(address: str | None, placement: Placement | None) -> Iterator[None]:
    """Ray for the time of the `with` block: the one that runs already, that at `address`, or an embedded one.

    Args:
        address: of a cluster; None for this process' own.
        placement: how large the embedded Ray must be; only used without an address.

    Raises:
        RefusedError: there is no cluster at `address`.
        StoppedError: Ray does not start.
    """
    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": logging.CRITICAL,
    }  # what matters is in our own log
    if address is not None or placement is None:
        _check_reachable(address or "auto")
        try:
            with _own_signals():
                ray.init(address=address, **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise RefusedError(f"cannot reach a Ray cluster at {address}: {error}") from error
        try:
            yield
        finally:
            shut_down()
        return
    with scratch_folder() as folder, overflow_folder() as overflow:
        _stay_on_loopback()
        try:
            start_embedded(
                address="local",
                num_cpus=placement.cpus,
                num_gpus=math.ceil(placement.actors * placement.actor_gpus),
                object_store_memory=placement.store_bytes,
                include_dashboard=False,
                _node_ip_address="127.0.0.1",
                _temp_dir=str(folder),
                _system_config={
                    "automatic_object_spilling_enabled": False,  # crops never reach a disk
                    "task_events_report_interval_ms": 0,  # for Ray's dashboard only, and 10 MB of the driver's memory
                    "enable_worker_prestart": True,  # processes start while Ray itself does
                },
                object_spilling_directory=None if overflow is None else str(overflow),  # not when it is full either
                **quiet,
            )
            yield
        except (RayError, TimeoutError, ConnectionError) as error:
            raise StoppedError(f"Ray did not start or broke down: {error}. See run.log in the run's folder") from error
        finally:
            shut_down()


def shut_down() -> None:
    """End Ray, all of it: a KeyboardInterrupt that is raised on a signal meanwhile comes afterwards.

    Were it left half done, Ray would try again as the process exits, and end it with code 1.
    """
    is_main = threading.current_thread() is threading.main_thread()  # no other hears signals
    numbers = (signal.SIGINT, signal.SIGTERM) if is_main else ()
    handlers = {int(number): handler for number in numbers if callable(handler := signal.getsignal(number))}
    held: list[KeyboardInterrupt] = []

    def hold(number: int, frame: FrameType | None) -> None:
        try:
            handlers[number](number, frame)
        except KeyboardInterrupt as error:
            held.append(error)

    for number in handlers:
        signal.signal(number, hold)
    try:
        ray.shutdown()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if held:
        raise held[0]


def _stay_on_loopback() -> None:
    """Keep every socket of an embedded Ray on loopback, and strangers out of it.

    An address alone does not, in Ray 2.60. Ray reads these settings when it is imported, which a program may have done
    before it imported this module; its processes read them from the environment. They stay: Ray keeps the first secret.
    """
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    ray._private.ray_constants.ENABLE_RAY_CLUSTER = False
    # A secret of this process' own, or Ray would leave one in the user's home folder.
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    ray._raylet.Config.initialize("")  # type: ignore[attr-defined]


def start_embedded(**options: Any) -> None:
    """Start an embedded Ray; again, where a busy machine took longer than the 30 s for which Ray waits.

    Raises:
        StoppedError: it does not start.
    """
    there = psutil.Process().children()
    for tries_left in reversed(range(START_TRIES)):
        try:
            with _own_signals(), _only_what_is_needed():
                ray.init(**options)
        except Exception as error:  # Ray's own are bare ones
            for child in psutil.Process().children():
                if child not in there:
                    child.kill()  # what was started of it
            ray.shutdown()
            log.warning("Ray did not start: %s", error)
            if not tries_left:
                reason = str(error) or type(error).__name__
                raise StoppedError(f"Ray did not start, {START_TRIES} times: {reason} See run.log") from error
        else:
            return


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray, as it starts, would have SIGTERM end the process at once, with a trace; ours stays in force.

    It sets two handlers: one in Python, which is kept from it, and one beneath, in C++, in whose place Python's is put
    again.
    """
    theirs = ray._private.utils.set_sigterm_handler
    ray._private.utils.set_sigterm_handler = lambda _handler: None
    try:
        yield
    finally:
        ray._private.utils.set_sigterm_handler = theirs
        if threading.current_thread() is threading.main_thread():  # no other may
            signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))


@contextmanager
def _only_what_is_needed() -> Iterator[None]:
    """Keep Ray, as it starts in the `with` block, from starting processes that an embedded one has no use for.

    The dashboard's is started even where none is asked for, and asks the metadata services of three clouds whether it
    is with them (169.254.169.254 and, by the name server, metadata.google.internal), even where use is not to be
    reported. The autoscaler and the one that gathers workers' logs cost half a second at the start, more than a second
    at the end, and half of that of a core. The two agents of a node, for whom stand-ins come
    (:mod:`fer_batch.engine.idle_agent`), take a second of a core, without which no worker starts, and stay for a minute
    after a kill -9. One of them makes environments of tasks, which Ray asks for by itself under ``uv run`` and within a
    job that was submitted: not here, where workers run with the Python and the packages of this process.
    """
    services: Any = ray._private.services
    instead = (
        (services, "start_api_server", lambda *_args, **_options: ("", None)),
        (ray._private.node.Node, "start_monitor", lambda _node: None),
        (ray._private.node.Node, "start_log_monitor", lambda _node: None),
        (services, "_build_python_executable_command_memory_profileable", _idle_agent),
        (ray._private.worker, "_maybe_modify_runtime_env", lambda *_args: None),
        # It imports all that the dashboard would need, a fifth of a second where it is there, to tell an agent of it.
        (ray._private.utils, "get_dashboard_dependency_error", lambda: ImportError("not looked for")),
    )
    before = [getattr(owner, name) for owner, name, _ in instead]
    for owner, name, ours in instead:
        setattr(owner, name, ours)
    try:
        yield
    finally:
        for (owner, name, _), theirs in zip(instead, before, strict=True):
            setattr(owner, name, theirs)


def _idle_agent(component: str, *_args: Any, **_options: Any) -> list[str]:
    """The command in the place of Ray's Python, to which Ray adds its agent's path and options."""
    names: Any = ray._raylet
    ports = {
        ray_constants.PROCESS_TYPE_DASHBOARD_AGENT: (
            names.METRICS_AGENT_PORT_NAME,
            names.METRICS_EXPORT_PORT_NAME,
            names.DASHBOARD_AGENT_LISTEN_PORT_NAME,
        ),
        ray_constants.PROCESS_TYPE_RUNTIME_ENV_AGENT: (names.RUNTIME_ENV_AGENT_PORT_NAME,),
    }
    return [sys.executable, "-PS", str(Path(idle_agent.__file__)), f"--ports={','.join(ports[component])}"]


def _check_reachable(address: str) -> None:
    """Ray itself would try for many minutes.

    Raises:
        RefusedError: nothing answers at ``host:port``, or it is the address of another service.
    """
    if "://" in address:
        raise RefusedError(
            f"{address} is no address that a run can join: on a machine of the cluster give host:6379 or auto; from "
            "elsewhere use fer-batch submit with the address of Ray's job server, http://host:8265"
        )
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        return  # not host:port, such as "auto"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        raise RefusedError(f"cannot reach a Ray cluster at {address}: {error.strerror or error}") from error
