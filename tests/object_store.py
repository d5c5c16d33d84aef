"""A server on loopback that speaks S3 (moto's), in a process' thread; it counts requests, and can be made to fail."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from fer_batch import object_system, staging

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "a-secret-that-must-not-be-written",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass
class Store:
    """The server and what it was asked.

    Attributes:
        url: where it listens.
        delay_s: before each answer.
        requests: by method.
        sent: bytes of objects that it has sent.
        puts: the paths of objects that were put, in order.
        ignores_conditions, refuses_conditions: of puts, as older servers do.
        fail: given method and path, the status of an error to answer with; None to serve.
    """

    url: str = ""
    delay_s: float = 0.0
    requests: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    puts: list[str] = field(default_factory=list)
    ignores_conditions: bool = False
    refuses_conditions: bool = False
    fail: Callable[[str, str], int | None] = lambda _method, _path: None

    def reset(self) -> None:
        self.requests.clear()
        self.puts.clear()
        self.sent, self.delay_s, self.fail = 0, 0.0, lambda _method, _path: None
        self.ignores_conditions = self.refuses_conditions = False


ERRORS = {403: "AccessDenied", 503: "SlowDown", 501: "NotImplemented"}


@contextmanager
def serving() -> Iterator[Store]:
    """Inside, the server runs, the environment leads to it, and a bucket named ``bucket`` is there."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    store = Store()
    moto = DomainDispatcherApplication(create_backend_app)

    def serve(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        store.requests[method] += 1
        time.sleep(store.delay_s)
        status = store.fail(method, path)
        if store.refuses_conditions and method == "PUT" and {"HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH"} & environ.keys():
            status = 501
        if status is not None:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            body = f"<Error><Code>{ERRORS[status]}</Code><Message>{ERRORS[status]}</Message></Error>".encode()
            start_response(f"{status} {ERRORS[status]}", [("Content-Type", "application/xml"),
                                                          ("Content-Length", str(len(body)))])  # fmt: skip
            return [b"" if method == "HEAD" else body]
        if store.ignores_conditions:
            environ.pop("HTTP_IF_NONE_MATCH", None)
        if method == "PUT":
            store.puts.append(path)
        found: Iterable[bytes] = moto(environ, start_response)
        if method == "GET":
            found = list(found)
            store.sent += sum(map(len, found))
        return found

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, serve, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    store.url = f"http://127.0.0.1:{server.server_port}"
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("AWS_"):
                patch.delenv(name)
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": store.url}.items():
            patch.setenv(name, value)
        object_system.system_at.cache_clear()
        import fsspec

        s3 = fsspec.filesystem("s3", skip_instance_cache=True)
        s3.call_s3("create_bucket", Bucket="bucket")
        try:
            yield store
        finally:
            server.shutdown()
            object_system.system_at.cache_clear()
            staging._copies.held.clear()
