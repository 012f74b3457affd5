"""Where a project is grown and run: other disks, a strange home, locale and umask, line ends, a user without a name."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from workshop import NOBODY, PROJECT, STAGES, TEMPLATE, WHO, Project, bake, environment, grow

DOLLAR = "${first_name}"  # to DVC's templates a value of params.yaml, which is not there
OUTS = ("data/processed", "embeddings", "models/onnx")


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Path]:
    """A folder on another disk. Its name is a pattern that does not match itself."""
    if not Path("/dev/shm").is_dir():
        pytest.skip("no other disk is known here (/dev/shm is Linux's)")
    with tempfile.TemporaryDirectory(suffix=" [1]", dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, elsewhere: Path) -> Project:
    """A project of a small model, grown and used under all of them at once: if one does harm, a command fails."""
    folder = tmp_path_factory.mktemp("surroundings")
    env = environment(folder / "no" / "home") | {"LC_ALL": "C", "LANG": "C", "TMPDIR": str(elsewhere)}
    env = {name: value for name, value in env.items() if name not in WHO}
    command = [Path(sys.executable).with_name("cookiecutter"), "--no-input", "--default-config", "-o", folder, TEMPLATE]
    answers = ("data_source=files", f"author_name=Zoë {DOLLAR}", f"description=Sorts {DOLLAR} by $x.")
    grown = subprocess.run([*command, *answers], env=env, umask=0o077, check=False)
    assert grown.returncode == 0
    project = Project(folder / "review-sentiment", folder / "no" / "home")
    project.env = env | {"PYTHONPATH": str(project.path / "src")}
    make = runpy.run_path(str(project.path / "tests/small_project.py"))
    make["write_base_model"](folder / "model")
    make["write_params"](project.path / "params.yaml", folder / "model", compute__threads=1)
    rows = [(text, f"{label} {DOLLAR}") for text, label in make["sentences"](300, seed=1)]
    make["write_table"](project.path / "data/raw/table.csv", rows)
    project.run("dvc", "add", "data/raw")
    for out in OUTS:
        (elsewhere / out).mkdir(parents=True)
        (project.path / out).parent.mkdir(exist_ok=True)
        (project.path / out).symlink_to(elsewhere / out)
    return project


@pytest.fixture(scope="module")
def trained(project: Project) -> Project:
    """The same after a run in one process, of one stage again by DVC, which empties its out first, and `make repro`."""
    project.run("git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "--allow-empty", "-m", "a")
    run = f"python tests/record_reads.py {' '.join(STAGES)} && dvc commit --force"
    project.run("sh", "-c", f"umask 077; {run} && dvc repro --force --single-item prepare && make repro")
    return project


@pytest.mark.slow
def test_outs_may_be_links_to_another_disk(trained: Project, elsewhere: Path) -> None:
    project = trained
    assert all((project.path / out).is_symlink() and any((elsewhere / out).iterdir()) for out in OUTS)
    assert "up to date" in project.run("dvc", "status")
    project.run("dvc", "push")
    for out in OUTS:
        shutil.rmtree(elsewhere / out)
        (elsewhere / out).mkdir()
    project.run("dvc", "pull")
    assert "up to date" in project.run("dvc", "status")
    project.run("make", "params", "owners", "style", "results")
    project.run("make", "predict", "TEXT=a warm film")
    refused = project.try_to("git", "commit", "--allow-empty", "--message", "Nobody")
    assert "Please tell me who you are" in refused.stderr


@pytest.mark.slow
def test_a_dollar_sign_is_kept_in_descriptions_names_and_labels(trained: Project) -> None:
    assert f"Sorts {DOLLAR} by $x." in trained.text("README.md")
    assert f"| good {DOLLAR} |" in trained.text("reports/model_card.md")
    assert f"Zoë {DOLLAR}" in trained.text("pyproject.toml")
    assert "up to date" in trained.run("dvc", "status")
    assert "fine_tune" in trained.run("dvc", "stage", "list")
    trained.run("make", "owners", "results")
    said = json.loads(trained.run("make", "--silent", "predict", "TEXT=a warm tender film"))
    assert said["label"] == f"good {DOLLAR}"
    assert said["probabilities"].keys() == {f"good {DOLLAR}", f"bad {DOLLAR}"}
    assert f"good {DOLLAR}" in trained.run("dvc", "plots", "show", "--json", "reports/evaluation/per_class.csv")


@pytest.mark.slow
@pytest.mark.parametrize("other", ["label", "id", None])
def test_predict_merges_no_rows_of_unpaired_quotes(trained: Project, other: str | None) -> None:
    """Each text is answered with its line where the values of another column show the rows, else its line is named."""
    texts = [f"a warm film {number}" for number in range(360)]
    for number in range(20):
        texts[number * 17 : number * 17] = [f'"I never saw {number}', f'and {number}, she said."']
    others = {"label": [str(number % 2) for number in range(400)], "id": [str(number) for number in range(400)]}
    rows = [("text", other), *zip(texts, others[other], strict=True)] if other else [("text",), *zip(texts)]
    (trained.path / "quotes.tsv").write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    done = trained.try_to("python", "-m", "review_sentiment.predict", "quotes.tsv")
    (trained.path / "quotes.tsv").unlink()
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    named = {int(line) for line in re.findall(r"^line (\d+) is left out: expected quotes", done.stderr, re.MULTILINE)}
    lines = {answer["line"]: answer["text"] for answer in answers}
    if other == "label":
        assert lines == dict(enumerate(texts, start=2))
        assert "(20 lines, first line 2)" in done.stderr
        assert (done.returncode, named) == (0, set())
    else:
        assert lines == {n: text for n, text in enumerate(texts, start=2) if '"' not in text}
        assert named == {n for n, text in enumerate(texts, start=2) if text.startswith('"')}
        assert done.returncode == 1


@pytest.mark.slow
def test_a_checkout_that_is_read_only_predicts_and_says_what_it_cannot(trained: Project, tmp_path: Path) -> None:
    if NOBODY and not shutil.which("setpriv"):
        pytest.skip("nothing takes root's rights away here (setpriv is not installed)")
    copy = Project(tmp_path / "read only", tmp_path / "home")
    shutil.copytree(trained.path, copy.path, ignore=shutil.ignore_patterns("cache"))  # links become folders
    copy.run("chmod", "-R", "a-w", ".")
    said = json.loads(copy.run(*NOBODY, "make", "--silent", "predict", "TEXT=a warm tender film"))
    copy.run(*NOBODY, "make", "params")
    refused = [copy.try_to(*NOBODY, "make", target) for target in ("repro", "results")]
    stage = copy.try_to(*NOBODY, "python", "-m", "review_sentiment", "prepare")
    output = copy.try_to(*NOBODY, "python", "-m", "review_sentiment.predict", "--text", "a film", "--output", "a.csv")
    copy.run("chmod", "-R", "u+w", ".")
    assert said["label"].startswith("good")
    assert all("Permission denied: '" in done.stderr and ".dvc/tmp/lock'" in done.stderr for done in refused)
    for done in (stage, output):
        assert done.returncode == 1
        assert done.stderr.startswith("error: a permission is missing\n")
    assert all("Traceback" not in done.stdout + done.stderr for done in (*refused, stage, output))


@pytest.mark.parametrize(("folder", "stage"), [("data", "prepare"), ("models", "fetch"), ("reports", "evaluate")])
def test_a_folder_of_outs_that_is_a_link_is_refused_before_work_starts(
    project: Project, elsewhere: Path, folder: str, stage: str
) -> None:
    ours, theirs = project.path / folder, elsewhere / "moved"
    ours.mkdir(exist_ok=True)
    shutil.move(ours, theirs)
    ours.symlink_to(theirs)
    said = project.try_to("python", "-m", "review_sentiment", stage).stderr
    assert said.startswith(f"error: {folder} is a link")
    fix = said.split("fix:")[1].strip()
    project.run("sh", "-c", fix)
    assert not ours.is_symlink()
    assert "is a link" not in project.try_to("python", "-m", "review_sentiment", stage).stderr
    shutil.rmtree(theirs)


def test_line_ends_of_windows_are_named_and_autocrlf_changes_nothing(project: Project, tmp_path: Path) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    project.run("git", "add", ".")
    project.run("git", *who, "commit", "--quiet", "--allow-empty", "--message", "All")
    clone = Project(tmp_path / "clone", tmp_path / "home")
    project.run("git", "clone", "--quiet", "--config", "core.autocrlf=true", ".", str(clone.path))
    names = clone.run("git", "ls-files").splitlines()
    assert all((clone.path / name).read_bytes() == (project.path / name).read_bytes() for name in names)
    name = "src/review_sentiment/evaluation/model_card.md"
    edited = ("params.yaml", "dvc.yaml", "data/raw.dvc", ".dvc/config", "pyproject.toml")
    for file in (name, *edited):
        path = clone.path / file
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    clone.run("make", "params", "pin")
    assert "data/raw.dvc" not in clone.run("dvc", "stage", "list")
    assert "storage" in clone.run("dvc", "remote", "list")
    said = clone.try_to("make", "owners").stderr
    assert f"{name} has the line ends of Windows here" in said
    for line in said.splitlines():
        if "fix:" in line:
            clone.run("sh", "-c", line.split("`")[1])
    clone.run("make", "owners")
    assert all((clone.path / file).read_bytes() == (project.path / file).read_bytes() for file in edited)
    assert (clone.path / name).read_bytes() == (project.path / name).read_bytes()


def test_raw_data_that_nobody_keeps_are_named(tmp_path: Path) -> None:
    project = grow(tmp_path, data_source="files")
    (project.path / "data/raw").mkdir(parents=True)
    project.run("make", "owners")
    (project.path / "data/raw/a.csv").write_text("text,label\n", encoding="utf-8")
    said = project.try_to("make", "owners").stderr
    assert "data/raw has no owner: it is in no commit and on no remote" in said
    project.run("sh", "-c", said.partition("fix:")[2].split("`")[1])
    project.run("make", "owners")


# A path of Windows in params.yaml, and words of what comes of it; quoted, YAML takes its backslashes for escapes.
BACKSLASHES = {
    r"..\models\mine": r"cannot fetch ..\models\mine/config.json: no such file",
    r"C:\models\mine": r"cannot fetch C:\models\mine/config.json: no such file",
    r"\\server\mine": r"cannot fetch \\server\mine/config.json: no such file",
    r'"..\models\mine"': "params.yaml is not YAML",
}


@pytest.mark.parametrize("path", BACKSLASHES)
def test_a_path_of_windows_is_named(project: Project, tmp_path: Path, path: str) -> None:
    copy = Project(tmp_path / "copy", tmp_path / "home")
    ignored = shutil.ignore_patterns("cache", ".git")
    shutil.copytree(project.path, copy.path, symlinks=True, ignore=ignored)
    uri = next(line for line in copy.text("params.yaml").splitlines() if line.startswith("    uri: "))
    written = copy.text("params.yaml").replace(uri, f"    uri: {path}")
    (copy.path / "params.yaml").write_text(written, encoding="utf-8")
    for command in (("make", "pin"), ("python", "-m", "review_sentiment", "fetch", "model")):
        done = copy.try_to(*command)
        assert done.returncode != 0
        assert done.stderr.startswith(f"error: {BACKSLASHES[path]}\n")
        assert path in done.stderr
    assert copy.text("params.yaml") == written


def test_setup_installs_only_into_its_own_environment_one_thing_after_the_other(tmp_path: Path) -> None:
    """With a .venv that uv made, another pip and python on the path, and MAKEFLAGS=-j4."""
    project = grow(tmp_path)
    written = tmp_path / "written"
    stubs = {
        "pip": f"echo outer $0 >> {written}",
        **dict.fromkeys(("python3.11", "python3.12", "python3.13"), "exit 1"),
        "python3": f"exec {sys.executable} -c 'import sys; sys.version_info = (3, 15, 0); exec(sys.argv[1])' \"$2\"",
        "python3.14": f'test "$1" = -c || {{ mkdir -p .venv/bin; cp {tmp_path}/inner .venv/bin/pip; }}',
        "dvc": f"echo dvc >> {written}",
    }
    for name, line in stubs.items():
        write_stub(tmp_path / "stubs" / name, line)
    write_stub(tmp_path / "inner", f"sleep 0.2; echo inner >> {written}")
    (project.path / ".venv/bin").mkdir(parents=True)
    path = f"{tmp_path / 'stubs'}:/usr/bin:/bin"
    project.run("make", "setup", "pull", PATH=path, MAKEFLAGS="-j4", TORCH_INDEX="")
    assert written.read_text(encoding="utf-8").split() == ["inner", "inner", "inner", "dvc"]
    write_stub(tmp_path / "stubs/python3.14", "exit 1")
    (project.path / ".venv/bin/pip").unlink()
    refused = project.try_to("make", "setup", PATH=path)
    assert "no Python from 3.11 to 3.14 is found: make setup PYTHON=…" in refused.stderr


def test_the_lock_holds_nothing_that_only_a_build_of_torch_for_linux_needs(tmp_path: Path) -> None:
    project = grow(tmp_path)
    lines = "cuda-bindings==13.1.0\nnumpy==2.4.6\nnvidia-cudnn-cu13==9.20.0\nnvidia-ml-py==13.5\n"
    lines += "torch==2.13.0+cu130\ntriton==3.8.0\n"
    write_stub(tmp_path / "stubs/pip-compile", f"printf '{lines}' > requirements.lock")
    project.run("make", "lock-project", PATH=f"{tmp_path / 'stubs'}:/usr/bin:/bin")
    assert project.text("requirements.lock") == "numpy==2.4.6\nnvidia-ml-py==13.5\ntorch==2.13.0\n"


def test_the_make_of_a_mac_gets_a_shell_that_is_not_its_own() -> None:
    """Only GNU make 3.81 needs it, which no test runs."""
    shell = "\nSHELL := $(shell command -v bash || echo /bin/sh)\n"
    assert all(shell in (folder / "Makefile").read_text(encoding="utf-8") for folder in (TEMPLATE, PROJECT))


def write_stub(path: Path, line: str) -> None:
    """A program that does what this line of shell says."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_a_repository_of_another_user_holds_the_project_all_the_same(tmp_path: Path) -> None:
    outer = Project(tmp_path / "outer", tmp_path / "home")
    outer.path.mkdir()
    outer.run("git", "init", "--quiet")
    shutil.chown(outer.path / ".git", 12345)
    shutil.chown(outer.path, 12345)
    assert outer.try_to("git", "status").returncode != 0
    done = bake(outer.path, env=environment(tmp_path / "home"), scope="lean")
    assert done.returncode == 0, done.stderr
    assert not (outer.path / "review-sentiment/.git").exists()
