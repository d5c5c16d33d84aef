"""What a submitted job uploads, and what is refused before anything leaves this machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from fer_batch import RefusedError
from fer_batch.bundle import ModelBundle
from jobs import upload
from jobs.remote import RemoteRun, prepare
from tests.conftest import ROOT

RUN = ["/shared/videos", "--out", "/shared/out"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with what people have in one."""
    folder = tmp_path / "here"
    for name in (".git/HEAD", ".venv/pyvenv.cfg", "env/pyvenv.cfg", "env/lib/x.py", "a/__pycache__/b.pyc", ".env",
                 "study.egg-info/PKG-INFO", "notes.txt", "a/weights.bin"):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    monkeypatch.chdir(folder)
    return folder


def prepared(tmp_path: Path, *arguments: str, working_dir: Path | None = None) -> tuple[RemoteRun, set[str]]:
    """What would be sent, and the names of all files that would be uploaded."""
    target = tmp_path / "sent"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    run = prepare(arguments, working_dir, target)
    sent = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert sent == {str(file) for file in run.files}
    return run, sent


def test_nothing_is_uploaded_that_is_not_needed(here: Path, tmp_path: Path) -> None:
    run, sent = prepared(tmp_path, *RUN, "--fps", "5")
    assert run.command == "fer-batch run /shared/videos --out /shared/out --fps 5"
    assert sent == set()


def test_a_model_of_ones_own_ships_whole_whatever_is_ignored(here: Path, tmp_path: Path, tiny: ModelBundle) -> None:
    shutil.copytree(tiny.path, here / "model")
    (here / ".gitignore").write_text("model/\n")
    _, sent = prepared(tmp_path, *RUN, "--model", "model")
    assert sent == {f"model/{file.name}" for file in tiny.path.iterdir()}
    (next((here / "model").glob("*.safetensors"))).write_bytes(b"torn")
    with pytest.raises(RefusedError, match="model"):
        prepared(tmp_path, *RUN, "--model", "model")


def test_a_whole_folder_goes_without_environments_history_and_hidden_files(here: Path, tmp_path: Path) -> None:
    _, sent = prepared(tmp_path, *RUN, working_dir=here)
    assert sent == {"notes.txt", "a/weights.bin"}


def test_a_checkout_goes_with_its_models(tmp_path: Path) -> None:
    """As who works on fer-batch itself submits it."""
    _, sent = prepared(tmp_path, *RUN, working_dir=_copy_of_checkout(tmp_path))
    for name in ("compact", "resnet50"):
        for file in (ROOT / "fer_batch" / "models" / name).iterdir():
            assert f"fer_batch/models/{name}/{file.name}" in sent
    assert "jobs/cli.py" in sent


def test_a_checkout_without_its_models_is_refused(tmp_path: Path) -> None:
    checkout = _copy_of_checkout(tmp_path)
    shutil.rmtree(checkout / "fer_batch" / "models")
    with pytest.raises(RefusedError, match="without its models"):
        prepared(tmp_path, *RUN, working_dir=checkout)


def _copy_of_checkout(tmp_path: Path) -> Path:
    for package in ("fer_batch", "jobs"):
        shutil.copytree(ROOT / package, tmp_path / "checkout" / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "checkout"


def test_videos_and_results_never_leave(here: Path, tmp_path: Path) -> None:
    (here / "talk.MP4").write_text("x")
    with pytest.raises(RefusedError, match=r"talk\.MP4 is a video, and videos are not uploaded"):
        prepared(tmp_path, *RUN, working_dir=here)
    (here / "talk.MP4").unlink()
    (here / "results").mkdir()
    (here / "results" / "run.json").write_text("{}")
    with pytest.raises(RefusedError, match="holds a run, with rows about people"):
        prepared(tmp_path, *RUN, working_dir=here)


def test_links_lead_nowhere_else(here: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (here / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(RefusedError, match="is a link to"):
        prepared(tmp_path, *RUN, working_dir=here)


def test_too_much_is_refused_by_naming_what_is_large(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "MOST_BYTES", 2_000_000)
    (here / "huge.bin").write_bytes(b"x" * 3_000_000)
    with pytest.raises(
        RefusedError, match=r"would upload 3 MB, of at most 2; its largest files are huge\.bin \(3 MB\)"
    ):
        prepared(tmp_path, *RUN, working_dir=here)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["videos", "--out", "/shared/out"], "INPUT is videos, a path on this machine"),
        (["/shared/videos", "--out", "out"], "--out is out, a path on this machine"),
        (["/shared/videos"], "--out is missing"),
        ([*RUN, "--dry-run"], "--dry-run does not go with submit"),
        ([*RUN, "--address", "head:6379"], "--address does not go with submit"),
        ([*RUN, "--purpose", "none.toml"], "--purpose is none.toml: there is no such file here"),
    ],
)
def test_what_cannot_work_there_is_refused_here(here: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        prepared(tmp_path, *arguments)


JOB = """
[inputs]
paths = ["/shared/videos"]

[output]
folder = "/shared/out"
"""


def test_a_job_file_goes_with_what_it_names(here: Path, tmp_path: Path, tiny: ModelBundle) -> None:
    study = here / "study"
    shutil.copytree(tiny.path, study / "own model")
    (study / "job.toml").write_text(JOB + '\n[model]\nname = "own model"\n')
    run, sent = prepared(tmp_path, "study/job.toml", "--cpus", "8")
    assert run.command == "fer-batch run job.toml --cpus 8"
    assert sent == {"job.toml", *(f"own model/{file.name}" for file in tiny.path.iterdir())}
    again, _ = prepared(tmp_path, "study/job.toml", "--cpus", "8")
    assert again.key == run.key  # so that the same command follows the same job
    (study / "job.toml").write_text(JOB + "\n[sampling]\nfps = 5\n")
    changed, _ = prepared(tmp_path, "study/job.toml", "--cpus", "8")
    assert changed.key != run.key


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"/shared/videos"', '"videos"', "inputs.paths is videos, a path on this machine"),
        ('"/shared/out"', '"out"', "output.folder is out, a path on this machine"),
        ("[output]", '[detector]\nmodel = "../yunet.onnx"\n[output]', r"detector.model is .*lies outside"),
    ],
)
def test_a_job_file_that_names_what_the_cluster_has_not_got_is_refused(
    here: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    (here / "yunet.onnx").write_text("x")
    (here / "study").mkdir()
    (here / "study" / "job.toml").write_text(JOB.replace(old, new))
    with pytest.raises(RefusedError, match=message):
        prepared(tmp_path, "study/job.toml")
    assert os.listdir(tmp_path / "sent") == []


def test_a_job_that_the_purpose_gate_refuses_is_not_sent(here: Path, tmp_path: Path) -> None:
    purpose = (
        '\n[purpose]\ntitle = "Calls"\nobserved = "employees"\nsetting = "workplace"\njurisdiction = ["DE"]\n'
        'legal_basis = "consent"\ninformed = true\n'
    )
    (here / "job.toml").write_text(JOB + purpose)
    for arguments in (["job.toml"], [*RUN, "--purpose", "job.toml"]):
        with pytest.raises(RefusedError, match="2024/1689"):
            prepared(tmp_path, *arguments)
