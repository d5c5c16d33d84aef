"""Job files: what they become, what is refused and how, and that init's own are right."""

from __future__ import annotations

import csv
import tomllib
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from fer_batch.config import Privacy, Resources, RunConfig, Sampling
from fer_batch.errors import RefusedError
from jobs import run as run_module
from jobs.init import JOB, KIND_DEFAULTS, NOTICE, PARTICIPANTS
from jobs.job_file import Job
from jobs.job_tables import KINDS, JobTables
from jobs.settings import Settings
from jobs.toml_file import table_of
from tests.jobs.command import fer_batch
from tests.jobs.filled import job_toml, purpose_toml


def written(folder: Path, text: str) -> Path:
    file = folder / "job.toml"
    file.write_text(text)
    return file


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Settings, dict[str, Any]]]:
    """What `run` was asked to carry out; nothing is."""
    found: list[tuple[Settings, dict[str, Any]]] = []
    monkeypatch.setattr(run_module, "carry_out", lambda settings, **options: found.append((settings, options)))
    return found


ALL = """
[sampling]
every = 5
start = 1.5
end = "1:00:00"
[detector]
detect_size = 320
min_face = 30
min_score = 0.5
model = "yunet.onnx"
[model]
name = "resnet50"
[resources]
cpus = 2
gpus = 0.5
memory = "4GB"
stall = 60
[output]
folder = "out"
[privacy]
bin_seconds = 30
[report]
pages = "index"
[retention]
faces = "3 months"
"""


def test_a_job_file_and_flags_become_the_same_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[tuple[Settings, dict[str, Any]]]
) -> None:
    text = job_toml(more=ALL).replace('["in"]', '["in", "*.mp4"]\ninclude = ["*.mov"]')
    file = written(tmp_path, text)
    (tmp_path / "purpose.toml").write_text(purpose_toml())
    flags = (
        "--every 5 --start 1.5 --end 1:00:00 --detect-size 320 --min-face 30 --min-score 0.5 --model resnet50 --cpus 2 "
        "--gpus 0.5 --memory 4GB --stall 60 --report index --include *.mov"
    )
    assert fer_batch(monkeypatch, "run", file) == 0
    fer_batch(
        monkeypatch, "run", tmp_path / "in", tmp_path / "*.mp4", "--out", tmp_path / "out", "--detector-model",
        tmp_path / "yunet.onnx", "--purpose", tmp_path / "purpose.toml", *flags.split(),
    )  # fmt: skip
    (of_job, _), (of_flags, _) = asked
    same = {name: getattr(of_flags, name) for name in Settings.__dataclass_fields__ if name not in {"job", "config"}}
    assert {name: getattr(of_job, name) for name in same} == same
    assert of_job.config == RunConfig(of_flags.config.sampling, of_flags.config.detection, privacy=Privacy(bin_s=30))
    assert of_job.job is not None
    assert of_job.job.record() == {"kind": "customer_feedback", "retention": {"faces": 90}}


def test_what_a_job_leaves_out_is_as_without_flags(tmp_path: Path) -> None:
    made = Job(written(tmp_path, '[inputs]\npaths = ["in"]\n')).settings()
    assert made.config == RunConfig()
    assert made.resources == Resources()
    assert (made.out, made.pages, made.purpose) == (tmp_path / "results", "full", None)


def test_customers_are_sampled_ten_times_a_second(tmp_path: Path) -> None:
    assert Job(written(tmp_path, job_toml())).settings().config.sampling == Sampling(fps=Fraction(10))
    slower = Job(written(tmp_path, job_toml(more='[sampling]\nfps = "30000/1001"\n'))).settings()
    assert slower.config.sampling.fps == Fraction(30000, 1001)
    assert Job(written(tmp_path, job_toml(more="[sampling]\nfps = 0.1\n"))).settings().config.sampling.fps == (
        Fraction(1, 10)
    )


def test_paths_are_relative_to_the_file_also_in_a_folder_with_brackets(tmp_path: Path) -> None:
    folder = tmp_path / "study [2026]"
    (folder / "a[1]").mkdir(parents=True)
    job = Job(written(folder, job_toml()))
    assert job.path("in") == str(folder / "in")
    assert job.path("a[1]") == str(folder / "a[1]")
    assert job.path("*.mp4") == str(tmp_path / "study [[]2026]" / "*.mp4")
    assert job.path("s3://bucket/x") == "s3://bucket/x"
    assert job.path("/abs") == "/abs"
    assert job.participants == folder / "people.csv"


def test_a_job_file_is_told_where_its_inputs_were_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    folder = tmp_path / "study [2026]"
    (folder / "in").mkdir(parents=True)
    file = written(folder, job_toml().replace('["in"]', '["in", "nothere"]'))
    monkeypatch.chdir(tmp_path)
    assert fer_batch(monkeypatch, "run", file.relative_to(tmp_path)) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert f"job.toml: line 3: inputs.paths names 'nothere': in {folder}, the job file's own folder," in told
    (folder / "nothere").touch()
    Job(file).check_inputs()
    elsewhere = ["in/*", f"{tmp_path}/none", "s3://nowhere/x"]
    file = written(folder, job_toml().replace('["in"]', str(elsewhere).replace("'", '"')))
    with pytest.raises(RefusedError, match=r"names 'in/\*'"):
        Job(file).check_inputs()
    (folder / "in" / "a.mp4").touch()
    with pytest.raises(RefusedError, match=r"none': there is no such file"):
        Job(file).check_inputs()
    (tmp_path / "none").touch()
    Job(file).check_inputs()


def test_flags_say_how_it_runs_this_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[tuple[Settings, dict[str, Any]]]
) -> None:
    file = written(tmp_path, job_toml(more='[resources]\ncpus = 2\nworkers = 1\naddress = "ray://a:1"\n'))
    monkeypatch.setenv("RAY_ADDRESS", "ray://env:1")
    fer_batch(monkeypatch, "run", file, "--cpus", "4", "--out", "there", "--report", "none", "--redo", "--json")
    settings, options = asked[0]
    assert settings.resources == Resources(workers=1, cpus=4, address="ray://a:1")
    assert (settings.out, settings.pages) == (Path("there"), "none")
    assert options == {"redo": True, "retry_failed": False, "verify": False, "dry_run": False, "as_json": True}
    fer_batch(monkeypatch, "run", written(tmp_path, job_toml()))
    assert asked[1][0].resources.address == "ray://env:1"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--fps", "2"], "--fps does not go with"),
        (["--detect-size", "640"], "Change detector.detect_size there, or leave --detect-size out"),
        (["--purpose", "p.toml"], "Change [purpose] there"),
        (["other"], "is a job file and stands alone"),
    ],
)
def test_flags_that_say_what_a_job_is_are_refused(
    flags: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert fer_batch(monkeypatch, "run", written(tmp_path, job_toml()), *flags) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[inputs", r"job\.toml: is no valid TOML: Expected '\]'"),
        ('kind = "session"\n' + job_toml(), r"no valid TOML: Cannot overwrite a value \(at line 2"),
        (job_toml("lessons"), r"line 1: kind is 'lessons'; allowed is one of sessions, customer_feedback, classroom"),
        (job_toml(more="[sampling]\nfps = true\n"), r"line 14: sampling\.fps is True"),
        (job_toml(more='[sampling]\nfps = "fast"\n'), r"sampling\.fps is 'fast' .*allowed is a number or a fraction"),
        (job_toml(more="[sampling]\nfps = 0\n"), r"line 14: sampling\.fps is '0'; allowed is a rate above 0"),
        (job_toml(more="[sampling]\nfps = 2\nevery = 3\n"), r"give one of sampling\.fps, sampling\.every"),
        (job_toml(more="[sampling]\nstart = 9\nend = 8\n"), r"line 15: sampling\.end is 8000; allowed is a time after"),
        (job_toml(more="[detector]\ndetect_size = 10\n"), r"line 14: detector\.detect_size is 10; allowed is 64"),
        (job_toml(more='[detector]\nmin_face = "24"\n'), r"detector\.min_face is '24'; allowed is a whole number"),
        (job_toml(more='[resources]\nmemory = "lots"\n'), r"resources\.memory is 'lots' .*no size"),
        (job_toml(more="[resources]\nworkers = 0\n"), r"line 14: resources\.workers is 0"),
        (job_toml(more="[privacy]\nbin_seconds = 29\n"), r"line 14: privacy\.bin_seconds is 29; allowed is .*30"),
        (job_toml(more="[privacy]\nmin_people = 4\n"), r"privacy\.min_people is 4; allowed is .*from 5"),
        (job_toml(more="[privacy]\nround_to = 1\n"), r"privacy\.round_to is 1"),
        (job_toml(more='[privacy]\nlevel = "aggregate"\n'), r"line 14: privacy\.level is 'aggregate', which keeps"),
        (job_toml(more='[retention]\nfaces = "soon"\n'), r"retention\.faces is 'soon' .*allowed is a length of time"),
        (job_toml(more="[report]\nshare_above = 2\n"), r"report\.share_above is 2; allowed is from -1"),
        (job_toml(more="[sampling]\nfsp = 2\n"), r"line 14: sampling\.fsp is no key of \[sampling\]; did you mean fps"),
        (job_toml(more="[samplign]\n"), r"line 13: samplign is no key of the file; did you mean sampling\?"),
        (job_toml(purpose=""), r"purpose is missing: a job of kind customer_feedback says what it is for"),
        (job_toml().replace('[participants]\ntable = "people.csv"\n', ""), r"participants is missing"),
        (job_toml("sessions", purpose=purpose_toml(exception=True, setting="workplace")), r"line 1: kind is 'sess"),
        (job_toml("classroom", more='[privacy]\nlevel = "faces"\n'), r"privacy\.level is 'faces'; kind classroom"),
        (job_toml("classroom", more='[participants]\ntable = "x"\n'), r"line 11: participants is no table of kind"),
        (job_toml(purpose=purpose_toml(exception=True, setting="workplace"), more="[report]\nthumbnails = true\n"),
         r"report\.thumbnails is true; about people at work"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=message):
        Job(written(tmp_path, text)).settings()


def test_all_problems_are_listed_at_once(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="3 problems:"):
        Job(written(tmp_path, job_toml(more="[sampling]\na = 1\nb = 2\nkeyframes = 3\n")))


@pytest.mark.parametrize("file", ["nowhere.toml", "latin.toml"])
def test_a_file_that_is_none(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    (tmp_path / "latin.toml").write_bytes('title = "Zürich"'.encode("latin-1"))
    assert fer_batch(monkeypatch, "run", tmp_path / file) == 2
    assert "refused" in capsys.readouterr().err


def test_a_wrong_participants_table_is_refused_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "people.csv").write_text("participant,video\n")
    assert fer_batch(monkeypatch, "run", written(tmp_path, job_toml())) == 2
    assert "row 1: there is no column person, stimulus, start_ms, end_ms" in capsys.readouterr().err


@pytest.mark.parametrize("kind", KINDS)
def test_init_writes_a_job_that_lacks_only_what_its_user_knows(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert fer_batch(monkeypatch, "init", kind, "--out", tmp_path / "new") == 0
    file = tmp_path / "new" / JOB
    with pytest.raises(RefusedError) as caught:
        Job(file)
    for name in ("title", "jurisdiction", "legal_basis"):
        assert f"purpose.{name} is" in str(caught.value)
    assert "3 problems" in str(caught.value)
    text = file.read_text()
    for empty, full in (('title = ""', 'title = "x"'), ("jurisdiction = []", 'jurisdiction = ["US"]'),
                        ('legal_basis = ""', 'legal_basis = "consent"')):  # fmt: skip
        text = text.replace(empty, full)
    file.write_text(text)
    made = Job(file).settings()
    assert made.config.sampling.fps == {"sessions": 2, "customer_feedback": 10, "classroom": 1}[kind]
    assert made.config.privacy.level == ("aggregate" if kind == "classroom" else "faces")
    # Whatever stands behind a # is right as well.
    more = "\n".join(line[1:] if line.startswith("#") and line[1:2].strip() else line for line in text.splitlines())
    file.write_text(more.replace("every = 15\n", ""))
    Job(file).settings()
    capsys.readouterr()
    assert fer_batch(monkeypatch, "init", kind, "--out", tmp_path / "new") == 2
    assert "is there already" in capsys.readouterr().err
    assert file.read_text() != text
    assert fer_batch(monkeypatch, "init", kind, "--out", tmp_path / "new", "--overwrite") == 0
    assert 'title = ""' in file.read_text()


def test_init_names_every_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fer_batch(monkeypatch, "init", "sessions", "--out", tmp_path)
    text = (tmp_path / JOB).read_text()
    for name, field in JobTables.model_fields.items():
        for key in () if (schema := table_of(field)) is None else schema.model_fields:
            assert f"\n{key} = " in text or f"\n#{key} = " in text or f"#[{name}.{key}]" in text, f"{name}.{key}"


def test_what_init_takes_from_a_kind_are_keys(tmp_path: Path) -> None:
    for defaults in KIND_DEFAULTS.values():
        for path, value in defaults.items():
            table, _, key = path.rpartition(".")
            schema = table_of(JobTables.model_fields[table]) if table else JobTables
            assert schema is not None
            assert key in schema.model_fields, path
            tomllib.loads(f"x = {value}")


def test_init_brings_a_table_and_a_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in KINDS:
        fer_batch(monkeypatch, "init", kind, "--out", tmp_path / kind)
        notice = (tmp_path / kind / NOTICE).read_text()
        assert "Art. 50(3)" in notice
        assert "no legal advice" in notice
    assert "Art. 5(1)(f)" in (tmp_path / "classroom" / NOTICE).read_text()
    assert not (tmp_path / "classroom" / PARTICIPANTS).exists()
    with (tmp_path / "customer_feedback" / PARTICIPANTS).open(encoding="utf-8-sig") as file:
        assert {"participant", "stimulus", "order", "age_group"} <= set(next(csv.reader(file)))
