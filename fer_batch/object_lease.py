"""The lease of a run's folder on an object store: held and taken over by puts that fail if somebody was quicker.

S3 has them (``If-None-Match``, ``If-Match``), and so have most servers that speak its protocol; Google Cloud Storage
has generations. A store that has none still keeps a second driver out, but for the moment between a look and a put; the
log says so.
"""

from __future__ import annotations

import json
import logging
import time
from typing import Final

from fer_batch.errors import StoppedError
from fer_batch.lease import EXPIRE_S, Lease, check_lease, not_writable, read_lease
from fer_batch.object_path import UNSAFE, AnyPath, ObjectPath

log = logging.getLogger("fer_batch")

JUDGED: Final = ("s3", "gs", "gcs", "memory")
"""Kinds of stores that say themselves whether somebody was quicker; of S3 most servers, and it is tried out."""


def lease_of(file: AnyPath) -> Lease:
    """The lease that a file stands for, on a disk or on a store."""
    return ObjectLease(file) if isinstance(file, ObjectPath) else Lease(file)


class ObjectLease(Lease):
    """As :class:`fer_batch.lease.Lease`; its age is told by the store's own clock."""

    def __init__(self, file: ObjectPath) -> None:
        super().__init__(file)  # type: ignore[arg-type]
        self._tag = ""

    def _create(self) -> bool:
        draft = self.file.with_name(f"{self.file.name}.{self.token.replace(':', '-')}.tmp")
        try:
            draft.write_bytes(b"")
            self._now_s = draft.stat().st_mtime_ns / 1e9 or time.time()
            draft.unlink()
            created = self._put(None)
        except OSError as error:
            raise not_writable(self.file, error) from error
        if created and (not self.file.url.startswith(JUDGED) or self._put(None)):  # this second one must fail
            log.warning(UNSAFE, self.file)
        return created

    def _end_of(self, holder: dict[str, str]) -> bool:
        try:
            tag = self.file.stat().tag
            if read_lease(self.file) != holder or self.file.stat().tag != tag:
                return False  # somebody has just taken it over, or renewed it
            return self._put(tag)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise not_writable(self.file, error) from error

    def _touch(self) -> None:
        tag = self.file.stat().tag
        check_lease(self.file, self.token)
        if not self._put(tag):
            raise StoppedError(f"{self.file} was taken over")

    def _is_young(self) -> bool:
        try:
            written_s = self.file.stat().st_mtime_ns / 1e9
        except FileNotFoundError:
            return False
        return bool(self._now_s - written_s < EXPIRE_S)

    def _put(self, tag: str | None) -> bool:
        """Write the lease if none is there, or if the one there has this tag; whether that was so."""
        # The time makes each renewal another content, and so another tag.
        data = json.dumps({**self._content(), "renewed": time.time_ns()}).encode()
        try:
            self.file.put_if(data, tag)
        except FileExistsError:
            return False
        return True
