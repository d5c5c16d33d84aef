"""What coders get: a folder with pictures of faces in random order, a page to code them on, and an empty table.

Nothing in it tells the model's answers, nor the videos' names: items have numbers, and their key stays with the run.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fer_batch.errors import RefusedError, StoppedError
from fer_batch.page import embedded, environment, inline_source
from fer_batch.schema import EMOTIONS
from reports.validation.codes import CANNOT_TELL, NO_FACE
from reports.validation.pictures import CONTEXT, Show, write_file

HINTS: Final = {
    "angry": "brows drawn together and down, hard stare, lips pressed or teeth bared",
    "disgust": "nose wrinkled, upper lip raised",
    "fear": "brows raised and drawn together, eyes wide, mouth stretched",
    "happy": "corners of the mouth raised, cheeks raised",
    "sad": "inner ends of the brows raised, corners of the mouth down",
    "surprise": "brows raised, eyes wide, jaw dropped",
    "neutral": "no clear expression",
    CANNOT_TELL: "hidden, blurred, too dark, or it could be several",
    NO_FACE: "the frame holds no face",
}
"""What each answer means on the page: the signs that prototypes of these expressions share (Ekman & Friesen 1975)."""

NAME: Final = re.compile(r"[^\W_][\w .-]{0,39}")
"""A coder's name: it becomes part of a file's name."""

_KEYS: Final = {**{emotion: str(i) for i, emotion in enumerate(EMOTIONS, 1)}, CANNOT_TELL: "0", NO_FACE: "9"}
_TEMPLATES: Final = Path(__file__).parents[1] / "templates"

_ABOUT: Final = """\
This folder holds pictures of people's faces, cut out of the videos of a fer-batch run because somebody asked for them
with "fer-batch validate". Treat it as you treat the videos. When coding is done, delete the whole folder; nothing else
of fer-batch needs it.

To code: open index.html in a browser; it works offline and sends nothing anywhere. Or look at images/ and write the
answers into the table (*.csv), one of: {answers}.
Send back the table only.

Whoever codes must not see the run's own tables or reports, which hold the model's answers.
"""


def prepare_folder(out: Path) -> None:
    """Make the coders' folder.

    Raises:
        RefusedError: it exists and is not empty.
        StoppedError: it cannot be made.
    """
    if out.is_dir() and any(out.iterdir()):
        raise RefusedError(f"{out} is not empty; choose another --out, or delete it if its coding is done")
    if out.exists() and not out.is_dir():
        raise RefusedError(f"{out} is a file; choose a folder for --out")
    try:
        (out / "images").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoppedError(f"cannot make {out}: {error.strerror}; choose another --out") from error


def write_page(sample_id: str, items: Sequence[str], out: Path, show: Show, coders: Sequence[str]) -> Path:
    """Write the coding page, the empty tables and a note on what the folder is; returns the page's path.

    Raises:
        RefusedError: a coder's name cannot be part of a file's name.
        StoppedError: a file cannot be written.
    """
    from markupsafe import Markup

    check_coders(coders)
    script = (_TEMPLATES / "coding.js").read_text(encoding="utf-8")
    answers = [{"code": code, "key": key, "label": code.replace("_", " ")} for code, key in _KEYS.items()]
    data = {"sample": sample_id, "items": list(items), "strips": show == "strip", "answers": answers}
    html = (
        environment(_TEMPLATES)
        .get_template("coding.html")
        .render(
            script_source=inline_source([script]),
            image_source="'self' file: data:",
            script=Markup(script),  # noqa: S704
            data=embedded(data),
            answers=[{**answer, "hint": HINTS[answer["code"]]} for answer in answers],
            n=len(items),
            coders=coders,
            show=show,
            face_share=round(100 / CONTEXT, 2),
        )
    )
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerows([("item", "code"), *((item, "") for item in items)])
    for coder in coders or [""]:
        name = f"codes-{coder.replace(' ', '-')}.csv" if coder else "codes.csv"
        write_file(out / name, text.getvalue().encode())
    write_file(out / "README.txt", _ABOUT.format(answers=", ".join(_KEYS)).encode())
    return write_file(out / "index.html", html.encode())


def check_coders(names: Sequence[str]) -> None:
    """
    Raises:
        RefusedError: a name cannot be part of a file's name, or occurs twice.
    """
    for name in names:
        if not NAME.fullmatch(name):
            raise RefusedError(
                f"--coders: {name!r} is no name that a file can have; use letters, digits, spaces, dots and hyphens"
            )
    if len({name.replace(" ", "-").lower() for name in names}) < len(names):
        raise RefusedError(f"--coders: two of the names {', '.join(names)} would share a file")
