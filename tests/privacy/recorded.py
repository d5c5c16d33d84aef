"""Every byte that a program and all that it starts write to files, as strace records it."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.conftest import ROOT

_CALLS: Final = "write,pwrite64,writev,pwritev,pwritev2,sendfile,copy_file_range,mmap,io_uring_setup"

_WRITE: Final = re.compile(r"^p?writev?2?(?:64)?\(\d+<([^>]*)>, (.*)\) += \d+")
_MAP: Final = re.compile(r"^mmap\(.*PROT_WRITE.*MAP_SHARED.*, \d+<([^>]*)>")
_OTHER: Final = re.compile(r"^(sendfile|copy_file_range|io_uring_setup)\(.*\) += \d+")
_TEXT: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')


@dataclass(frozen=True)
class Recorded:
    """What was written.

    Attributes:
        files: bytes by file, in the order in which each process wrote them.
        mapped: files that were mapped into memory so that they can be written.
        others: calls that write in other ways.
        code: the program's exit code.
    """

    files: dict[str, bytes]
    mapped: set[str]
    others: list[str]
    code: int


def record(strace: str, command: Sequence[str], logs: Path) -> Recorded:
    """Run a command to its end, and that of all it started."""
    logs.mkdir()
    traced = [strace, "-ff", "--seccomp-bpf", "-y", "-xx", "-s", "10000000", "-e", f"trace={_CALLS}", "-e",
              "signal=none", "-o", str(logs / "of")]  # fmt: skip
    done = subprocess.run(
        [*traced, *command], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    )
    files: dict[str, bytearray] = defaultdict(bytearray)
    mapped, others = set(), []
    for log in sorted(logs.iterdir()):
        with log.open() as lines:
            for line in lines:
                if call := _WRITE.match(line):
                    name = _name(call[1])
                    if name.startswith("/") and not name.startswith(("/dev/", "/proc/", "/sys/")):
                        for text, is_cut in _TEXT.findall(call[2]):
                            assert not is_cut
                            files[name] += bytes.fromhex(text.replace("\\x", ""))
                elif call := _MAP.match(line):
                    mapped.add(_name(call[1]))
                elif _OTHER.match(line):
                    others.append(line[:300])
        log.unlink()
    return Recorded({name: bytes(data) for name, data in files.items()}, mapped, others, done.returncode)


def _name(text: str) -> str:
    return bytes.fromhex(text.replace("\\x", "")).decode() if text.startswith("\\x") else text
