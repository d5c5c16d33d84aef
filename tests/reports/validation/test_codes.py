"""Codes files as people hand them in, good and bad."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from fer_batch.errors import RefusedError
from reports.validation.codes import ANSWERS, Codes, gather, read_lines
from reports.validation.key import Key

ITEMS = [f"s0123abcd-{number:04d}" for number in range(1, 5)]
KEY = Key("s0123abcd", pa.table({"item": ITEMS}), (0,) * 7, {})


def read(folder: Path, **files: str) -> Codes:
    paths = []
    for name, text in files.items():
        path = folder / f"{name.replace('_', '-')}.csv"
        path.write_bytes(text.encode())
        paths.append(path)
    return gather(read_lines(paths), KEY)


def refusal(folder: Path, **files: str) -> str:
    with pytest.raises(RefusedError) as caught:
        read(folder, **files)
    return str(caught.value)


def test_two_coders_partly_done(tmp_path: Path) -> None:
    anna = f"item,code,coder\r\n{ITEMS[1]},happy,Anna\r\n{ITEMS[0]},cannot_tell,Anna\r\n{ITEMS[2]},,Anna\r\n"
    ben = f"item,code\n{ITEMS[3]},no_face\n{ITEMS[0]},angry\n"
    codes = read(tmp_path, codes_anna=anna, codes_ben=ben)
    assert codes.coders == ("Anna", "ben")
    happy, cannot_tell, no_face, angry = map(ANSWERS.index, ("happy", "cannot_tell", "no_face", "angry"))
    assert codes.answers.tolist() == [[cannot_tell, happy, -1, -1], [angry, -1, -1, no_face]]


@pytest.mark.parametrize("separator", [";", "\t", ","])
def test_what_spreadsheets_make_of_it(tmp_path: Path, separator: str) -> None:
    rows = [
        ["\ufeffCode", " Item ", "remark"],
        ["Happy", ITEMS[2], "a, b; c"],
        [" Cannot tell ", ITEMS[0], ""],
        ["", "", ""],
    ]
    text = "\r\n".join(separator.join(f'"{cell}"' if ", " in cell else cell for cell in row) for row in rows)
    codes = read(tmp_path, mine=text)
    assert codes.coders == ("mine",)
    assert codes.answers.tolist() == [[ANSWERS.index("cannot_tell"), -1, ANSWERS.index("happy"), -1]]


def test_one_file_may_hold_several_coders_and_one_coder_several_files(tmp_path: Path) -> None:
    both = f"item,code,coder\n{ITEMS[0]},sad,A\n{ITEMS[0]},sad,B\n"
    rest = f"item,code,coder\n{ITEMS[1]},fear,A\n"
    codes = read(tmp_path, both=both, rest=rest)
    assert codes.coders == ("A", "B")
    assert (codes.answers >= 0).sum(axis=1).tolist() == [2, 1]


def test_all_that_is_wrong_is_said_at_once_with_file_and_line(tmp_path: Path) -> None:
    text = f"item,code\n{ITEMS[0]},joyful\n{ITEMS[1]},4\ns0123abcd-0099,happy\n{ITEMS[2]},sad\n{ITEMS[2]},fear\n"
    message = refusal(tmp_path, codes_a=text)
    assert f"{tmp_path}/codes-a.csv, line 2: code 'joyful' is none of angry, disgust" in message
    assert "line 3: code '4' is none of" in message  # class index or key? nobody knows
    assert "line 4: item 's0123abcd-0099' is not in sample s0123abcd" in message
    assert f"line 6: 'a' has coded {ITEMS[2]} already ({tmp_path}/codes-a.csv, line 5)" in message


def test_a_coder_is_neither_the_model_nor_the_majority(tmp_path: Path) -> None:
    assert "a coder cannot be called 'model'" in refusal(tmp_path, codes_model=f"item,code\n{ITEMS[0]},sad\n")


def test_many_errors_are_counted(tmp_path: Path) -> None:
    text = "item,code\n" + "".join(f"x{number},happy\n" for number in range(30))
    assert refusal(tmp_path, a=text).endswith("and 22 more")


def test_the_same_file_twice_is_refused(tmp_path: Path) -> None:
    text = f"item,code,coder\n{ITEMS[0]},sad,A\n"
    assert "has coded" in refusal(tmp_path, one=text, two=text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs the columns item and code"),
        ("face,label\n1,happy\n", "needs the columns item and code"),
        (f"item,code\n{ITEMS[0]},\n", "no face has a code yet"),
        ("item,code\n", "no face has a code yet"),
        (f'item,code\n{ITEMS[0]},"{"x" * 200_000}"\n', "line 2, is no CSV"),
    ],
)
def test_files_that_are_no_codes(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(tmp_path, a=text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes("item,code,coder\n1,sad,André\n".encode("latin-1"))
    with pytest.raises(RefusedError, match="save it as 'CSV UTF-8'"):
        read_lines([tmp_path / "latin.csv"])
    with pytest.raises(RefusedError, match="cannot be read: No such file"):
        read_lines([tmp_path / "nowhere.csv"])
