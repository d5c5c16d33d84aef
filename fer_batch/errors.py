"""The errors a caller may meet. Every message says what was wrong, with which file or value, and what to do."""

from __future__ import annotations


class FerBatchError(Exception):
    """Root of every error this project raises on purpose."""


class RefusedError(FerBatchError):
    """The request cannot be carried out as asked; nothing was started (exit code 2)."""


class BundleError(RefusedError):
    """A model bundle is missing, damaged or not one that this version can use."""


class StoppedError(FerBatchError):
    """The run had to stop, for example because the disk is full (exit code 1). What was committed stays."""


class VideoError(FerBatchError):
    """One video cannot be processed: a row in the ledger, never the end of the run.

    Attributes:
        code: short, stable, machine-readable reason, as written to ``videos.error_code``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message
