"""Where a project is grown and run: other disks, a strange home, locale and umask, line ends, a user without a name."""

import runpy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from workshop import TEMPLATE, WHO, Project, environment

OUTS = ("data/processed", "embeddings", "models/onnx")


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Path]:
    """A folder on another disk."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, elsewhere: Path) -> Project:
    """A project of a small model, grown and used under all of them at once: if one does harm, a command fails."""
    folder = tmp_path_factory.mktemp("surroundings")
    env = environment(folder / "no" / "home") | {"LC_ALL": "C", "LANG": "C", "TMPDIR": str(elsewhere)}
    env = {name: value for name, value in env.items() if name not in WHO}
    command = [Path(sys.executable).with_name("cookiecutter"), "--no-input", "--default-config", "-o", folder, TEMPLATE]
    grown = subprocess.run([*command, "data_source=files", "author_name=Zoë"], env=env, umask=0o077, check=False)
    assert grown.returncode == 0
    project = Project(folder / "review-sentiment", folder / "no" / "home")
    project.env = env | {"PYTHONPATH": str(project.path / "src")}
    make = runpy.run_path(str(project.path / "tests/small_project.py"))
    make["write_base_model"](folder / "model")
    make["write_params"](project.path / "params.yaml", folder / "model", compute__threads=1)
    make["write_table"](project.path / "data/raw/table.csv", make["sentences"](300, seed=1))
    project.run("dvc", "add", "data/raw")
    for out in OUTS:
        (elsewhere / out).mkdir(parents=True)
        (project.path / out).parent.mkdir(exist_ok=True)
        (project.path / out).symlink_to(elsewhere / out)
    return project


@pytest.mark.slow
def test_outs_may_be_links_to_another_disk(project: Project, elsewhere: Path) -> None:
    project.run("git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "--allow-empty", "-m", "a")
    project.run("sh", "-c", "umask 077; make repro")
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
    for file in (name, "params.yaml"):
        path = clone.path / file
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    clone.run("make", "params")
    said = clone.try_to("make", "owners").stderr
    assert f"{name} has the line ends of Windows here" in said
    for line in said.splitlines():
        if "fix:" in line:
            clone.run("sh", "-c", line.split("`")[1])
    clone.run("make", "owners")
    assert (clone.path / name).read_bytes() == (project.path / name).read_bytes()
