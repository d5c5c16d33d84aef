"""What goes wrong with object stores, in words: each library there has errors of its own, few of which say what to do.

What concerns one object becomes an :class:`OSError` with its number and reason, as a local disk would raise it. What
concerns all of them, credentials that do not hold or a store that does not answer, becomes a :class:`StoppedError`: a
run stops there and goes on later, where it would else find each video unreadable.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from fer_batch.errors import RefusedError, StoppedError

AGAIN: Final = "then run the same command again: what is committed stays"

_CREDENTIALS: Final = {"ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken",
                       "TokenRefreshRequired", "RequestTimeTooSkewed", "AuthorizationHeaderMalformed",
                       "401"}  # fmt: skip
"""Codes of S3 and Google that tell of credentials, not of one object."""

_BUSY: Final = {"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "Throttling", "429", "500", "502",
                "503", "504"}  # fmt: skip

_FOREIGN: Final = (
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("gcsfs.retry", "HttpError"),
    ("aiohttp", "ClientError"),
    ("requests", "RequestException"),
)
"""Errors that are no OSError, of libraries that may not be installed."""

_UNREACHABLE: Final = {"ClientConnectionError", "ConnectionError", "TimeoutError", "Timeout", "gaierror"}
"""Errors of connections, with what is derived from them: of aiohttp, requests and Python; nearly all are OSErrors."""

_SIGNATURE = re.compile(r"[?&](?:[^=&#]*(?:sig|token|credential|key|secret|policy)[^=&#]*)=", re.IGNORECASE)
"""A query that lets whoever has it in: of AWS, Google and Azure."""


@contextmanager
def explained(path: object) -> Iterator[None]:
    """Inside, what the libraries raise becomes an :class:`OSError` about `path`.

    Raises:
        StoppedError: the store does not answer, there is no such bucket, or the credentials do not hold.
    """
    try:
        yield
    except (OSError, *_foreign()) as error:
        is_signed = getattr(path, "is_signed", False)  # then what the library says may hold the whole address
        raise _explain(error, str(path)) from (None if is_signed else error)


def _foreign() -> Any:
    """Asked for when there is an error: only libraries that were imported can have raised it."""
    return tuple(getattr(sys.modules[module], name) for module, name in _FOREIGN if module in sys.modules)


def redacted(text: str) -> str:
    """`text` without the queries of signed addresses in it."""
    return re.sub(r"\?[^\s'\")]*", lambda query: "?..." if _SIGNATURE.search(query[0]) else query[0], text)


@contextmanager
def at_once() -> Iterator[None]:
    """Inside, nothing was begun yet: what would stop a run is refused, and so is what may not be touched."""
    try:
        yield
    except PermissionError as error:
        raise RefusedError(f"{error.filename}: {error.strerror}") from error
    except StoppedError as error:
        raise RefusedError(str(error).removesuffix(f", {AGAIN}").removesuffix(f"; {AGAIN}")) from error


def _explain(error: Exception, path: str) -> Exception:
    code, said = _code(error)
    bucket = path.partition("://")[2].partition("/")[0]
    if code == "NoSuchBucket":
        return StoppedError(f"{path}: there is no bucket {bucket!r} at {_server(path)}")
    if code in _CREDENTIALS or _is(error, "NoCredentials", "PartialCredentials", "ProfileNotFound", "TokenRetrieval",
                                   "UnauthorizedSSO", "DefaultCredentials", "RefreshError"):  # fmt: skip
        return StoppedError(
            f"{path}: the store does not take the credentials ({said}). Put them where the store's own tools look for "
            f"them (docs/storage.md), {AGAIN}"
        )
    if (broken := _unreachable(error)) is not None:
        return _stopped(path, "cannot be reached", _code(broken)[1])
    if isinstance(error, PermissionError) or code in {"AccessDenied", "403"} or "Forbidden" in said:
        return PermissionError(errno.EACCES, "the store denies access with these credentials", path)
    if isinstance(error, FileNotFoundError) or code in {"NoSuchKey", "404"}:
        return FileNotFoundError(errno.ENOENT, "there is no such object", path)
    if isinstance(error, FileExistsError) or code in {"PreconditionFailed", "412", "ConditionalRequestConflict"}:
        return FileExistsError(errno.EEXIST, "somebody else has written it", path)
    if code in {"NotImplemented", "501"}:
        return OSError(errno.ENOSYS, "the store does not know how", path)
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EMFILE}:
        return error  # of this machine
    if code in _BUSY or not isinstance(error, OSError):
        return _stopped(path, "is too busy" if code in _BUSY else "cannot be reached", said)
    return OSError(error.errno or errno.EIO, said, path)


def _stopped(path: str, why: str, said: str) -> StoppedError:
    times = "" if path.startswith("http") else ", tried several times"  # those are asked once
    return StoppedError(f"{path}: {_server(path)} {why}{times} ({said}); wait or mend that, {AGAIN}")


def _unreachable(error: BaseException) -> BaseException | None:
    """The error of a connection that is behind `error`: fsspec calls it a file that is not there for ``https://``."""
    link: BaseException | None = error
    while link is not None and not _UNREACHABLE & {kind.__name__ for kind in type(link).__mro__}:
        link = link.__cause__
    return link


def _code(error: BaseException) -> tuple[str, str]:
    """The store's own code of an error, empty if there is none, and what it says on one line."""
    said = redacted(" ".join(str(getattr(error, "strerror", None) or error).split())) or type(error).__name__
    link: BaseException | None = error
    while link is not None:
        response: Any = getattr(link, "response", None)
        if isinstance(response, dict) and "Error" in response:
            return str(response["Error"].get("Code", "")), said
        if type(link).__module__.startswith("gcsfs") and getattr(link, "code", None):
            return str(link.code), said  # type: ignore[attr-defined]
        link = link.__cause__ or link.__context__
    return "", said


def _is(error: BaseException, *names: str) -> bool:
    link: BaseException | None = error
    while link is not None:
        if type(link).__name__.startswith(names):
            return True
        link = link.__cause__
    return False


def _server(path: str) -> str:
    """Whom a path is asked of."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if path.startswith("s3") and endpoint:
        return endpoint.rpartition("@")[2]
    protocol, _, rest = path.partition("://")
    if protocol in {"http", "https"}:
        return rest.partition("/")[0]
    return {"s3": "S3", "gs": "Google Cloud Storage"}.get(protocol, "the store")
