"""File names that people, cameras and attackers give."""

from __future__ import annotations

import os

LONG = "n" * 251 + ".mp4"

NAMES = [
    "with spaces  and more.mp4",
    " leading and trailing .mp4",
    "quote'single.mp4",
    'quote"double.mp4',
    "new\nline.mp4",
    "tab\tand\rreturn.mp4",
    "<script>alert(1)<\\script>.mp4",
    '"><img src=x onerror=alert(1)>.mp4',
    "<svg onload=alert(1)><style>*{display:none}.mp4",
    "$(touch hacked).mp4",
    "`touch hacked`.mp4",
    ";touch hacked;.mp4",
    "| cat & .mp4",
    "-dash.mp4",
    "--out=elsewhere.mp4",
    "[bold red]markup[reset][link=x].mp4",
    "{{ 7*7 }}{% raw %}.mp4",
    "%s%n%(name)s.mp4",
    "back\\slash.mp4",
    "question?star*[a-z].mp4",
    "\x1b[31mcolour\x1b[2J.mp4",
    "\u202egpj.exe.mp4",
    "emoji 😀 ünïcode 漢字.mp4",
    "file:etc.mp4",
    "http:example.mp4",
    "=HYPERLINK(1).mp4",
    "NUL.mp4",
    "#hash%20percent.mp4",
    "back\\nslash.mp4",
    os.fsdecode(b"latin-caf\xe9.mp4"),
    os.fsdecode(b"\xff\xfe\x80.mp4"),
    LONG,
]
