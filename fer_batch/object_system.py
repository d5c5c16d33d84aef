"""What speaks with object stores: fsspec's file systems, set up for us, and what each calls by names of its own."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from fer_batch.errors import RefusedError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

EXTRAS: Final = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
"""The extra of this package that brings what a kind of address needs."""

_RETRIES: Final = {"config_kwargs": {"retries": {"mode": "standard", "max_attempts": 5}}}
"""For S3: busy servers are asked again for about a minute in all, each time after a longer wait."""

_CONTENT_TYPE: Final = {"s3": "ContentType", "gs": "content_type", "gcs": "content_type"}
"""What the libraries call it."""


@dataclass(frozen=True, slots=True)
class ObjectStatus:
    """What a store tells of an object; the first two are named as in :class:`os.stat_result`.

    Attributes:
        st_size: in bytes.
        st_mtime_ns: when it was written, in ns since 1970; stores tell it to the second, some not at all (0).
        tag: changes with the content: an S3 ETag, a generation of Google's; empty where the store has none.
    """

    st_size: int
    st_mtime_ns: int
    tag: str


@lru_cache(maxsize=64)
def system_at(base: str) -> AbstractFileSystem:
    """The file system of an address, made once a process.

    Args:
        base: protocol and bucket, or host.

    Raises:
        RefusedError: it is of no kind that is known here, or needs a package that is not installed.
    """
    import fsspec

    protocol = base.partition("://")[0]
    options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}  # others write there too
    if protocol in ("s3", "s3a"):
        options["max_concurrency"] = 1  # else it asks for the size of whatever is read; what is large is read in parts
    if protocol in ("s3", "s3a") and not {"AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE"} & os.environ.keys():
        options |= _RETRIES
    if protocol in ("gs", "gcs"):
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # else it asks by gRPC of what kind each is
        logging.getLogger("gcsfs").addHandler(logging.NullHandler())  # it raises what it would print a page about
    try:
        return fsspec.core.url_to_fs(base, **options)[0]
    except ImportError as error:
        extra = EXTRAS.get(protocol)
        cure = f"pip install 'fer-batch[{extra}]'" if extra else f"install what fsspec asks for: {error}"
        raise RefusedError(f"{protocol}:// needs a package that is not installed: {cure}") from error
    except ValueError as error:
        raise RefusedError(f"{base}: {protocol}:// is no kind of address that fsspec knows ({error})") from error


def content_type_option(url: str, content_type: str | None) -> dict[str, str]:
    """How the library of a store is told as what a browser should take an object."""
    name = next((name for kind, name in _CONTENT_TYPE.items() if url.startswith(kind)), None)
    return {name: content_type} if name and content_type else {}


def put_if(system: AbstractFileSystem, url: str, key: str, data: bytes, tag: str | None) -> None:
    """As :meth:`fer_batch.object_path.ObjectPath.put_if`, with the libraries' own errors."""
    if url.startswith("s3"):
        system.pipe_file(key, data, **({"mode": "create"} if tag is None else {"IfMatch": tag}))
    elif url.startswith("gs") and tag is not None:
        _put_generation(system, key, data, tag)
    elif tag is None:
        system.pipe_file(key, data, mode="create")
    elif status_of(system.info(key)).tag == tag:
        system.pipe_file(key, data)
    else:
        raise FileExistsError


def _put_generation(system: AbstractFileSystem, key: str, data: bytes, generation: str) -> None:
    """Google's put on a condition, which gcsfs has for new objects only (JSON API, objects.insert)."""
    bucket, _, name = key.partition("/")
    where = f"{system._location}/upload/storage/v1/b/{quote(bucket)}/o"
    system.call("POST", where, uploadType="media", name=name, ifGenerationMatch=generation, data=data)


def status_of(info: dict[str, Any]) -> ObjectStatus:
    """The status that a file system tells of an object."""
    tag = info.get("ETag") or info.get("generation") or info.get("etag") or info.get("md5Hash") or ""
    return ObjectStatus(int(info["size"] or 0), _written_ns(info), str(tag))


def _written_ns(info: dict[str, Any]) -> int:
    for name in ("LastModified", "mtime", "updated", "last_modified", "modified", "created"):
        value = info.get(name)
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            return int(value.timestamp()) * 10**9 + value.microsecond * 1000
    return 0
