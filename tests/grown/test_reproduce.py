"""What `make reproduce` checks before any work, and whose keys the stranger has. Run in a grown project."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from review_sentiment.errors import UserError
from safetensors.numpy import save_file
from tools import reproduce


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a commit, and no run of the pipeline."""
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    for command in (("init", "--quiet"), (*who, "commit", "--quiet", "--allow-empty", "--message", "Begin")):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("here")
def test_a_commit_without_a_run_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reproduce, "make_again", None)
    monkeypatch.setattr("sys.argv", ["reproduce"])
    with pytest.raises(UserError, match=r"HEAD has no dvc\.lock"):
        reproduce.main()


def test_what_differs_is_named(tmp_path: Path) -> None:
    for folder in ("here", "there"):
        (tmp_path / folder / "model").mkdir(parents=True)
        (tmp_path / folder / "model/a.txt").write_text("the same", encoding="utf-8")
        (tmp_path / folder / "model/manifest.json").write_text(folder, encoding="utf-8")
    ours, theirs = tmp_path / "here/model", tmp_path / "there/model"
    weights = np.zeros((2, 3), np.float32)
    save_file({"w": weights}, ours / "z.safetensors")
    weights[1, 2] = 0.5
    save_file({"w": weights}, theirs / "z.safetensors")
    shown = "model/z.safetensors differs: largest difference 0.5, in tensor w"
    assert reproduce.first_difference(ours, theirs) == shown
    (theirs / "b.txt").touch()
    assert reproduce.first_difference(ours, theirs) == "model/b.txt is only there"
    both = (ours / "manifest.json", theirs / "manifest.json")
    assert reproduce.first_difference(*both) == (
        "manifest.json differs: 4 bytes here, 5 there, the first difference at byte 0"
    )


def test_a_checkout_without_a_remote_has_none_to_give(here: Path, tmp_path: Path) -> None:
    subprocess.run(["dvc", "init", "--quiet"], cwd=here, check=True)
    reproduce.take_remote_of(tmp_path / "there")


def test_the_stranger_has_the_keys_of_who_asks(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "mine"))
    (tmp_path / "mine/.aws").mkdir(parents=True)
    (tmp_path / "mine/.ssh").mkdir()
    (tmp_path / "mine/.aws/config").write_text("[profile team]", encoding="utf-8")
    environments: list[dict[str, str]] = []

    def ran(command: list[str], **more: Any) -> Any:
        if "umask" in more:
            environments.append(more["env"])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(reproduce.subprocess, "run", ran)
    assert reproduce.make_again("HEAD", here / "there", tmp_path / "home")
    assert len(environments) == 2
    for environment in environments:
        assert environment["HOME"] == str(tmp_path / "home")
        assert Path(environment["HOME"], ".aws/config").exists()
        assert Path(environment["HOME"], ".ssh").exists()
        assert environment["HF_TOKEN_PATH"] == reproduce.HF_TOKEN_PATH
