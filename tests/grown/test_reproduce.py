"""What `make reproduce` checks before any work, and whose keys the stranger has. Run in a grown project."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from review_sentiment.errors import UserError
from tools import reproduce


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> reproduce.Place:
    """A repository with a commit, and no run of the pipeline."""
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    for command in (("init", "--quiet"), (*who, "commit", "--quiet", "--allow-empty", "--message", "Begin")):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    return reproduce.Place(tmp_path, "HEAD")


def test_a_commit_without_a_run_is_refused_before_any_work(
    here: reproduce.Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reproduce, "make_again", None)
    with pytest.raises(UserError, match=r"HEAD has no dvc\.lock"):
        reproduce.reproduce(here)


def test_a_list_of_files_that_is_not_here_is_no_empty_list(here: reproduce.Place, tmp_path: Path) -> None:
    there = reproduce.Place(tmp_path / "there", "")
    found = reproduce.first_difference(here, there, "models/base", "a.dir", "b.dir")
    assert found == "it differs (its list of files is not in DVC's cache here: dvc pull)"


def test_the_cache_is_where_dvc_keeps_it(here: reproduce.Place, tmp_path: Path) -> None:
    subprocess.run(["dvc", "init", "--quiet"], cwd=tmp_path, check=True)
    subprocess.run(["dvc", "cache", "dir", "--local", str(tmp_path / "shared")], cwd=tmp_path, check=True)
    assert here.caches == [tmp_path / ".dvc/cache", tmp_path / "shared"]


def test_the_stranger_has_the_keys_of_who_asks(
    here: reproduce.Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "mine"))
    (tmp_path / "mine/.aws").mkdir(parents=True)
    (tmp_path / "mine/.aws/config").write_text("[profile team]", encoding="utf-8")
    environments: list[dict[str, str]] = []

    def ran(command: list[str], **more: Any) -> Any:
        if "umask" in more:
            environments.append(more["env"])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(reproduce.subprocess, "run", ran)
    assert reproduce.make_again(here, reproduce.Place(tmp_path / "there", ""), tmp_path / "home")
    assert len(environments) == 2
    for environment in environments:
        assert environment["HOME"] == str(tmp_path / "home")
        assert Path(environment["HOME"], ".aws/config").exists()
        assert environment["HF_TOKEN_PATH"] == reproduce.HF_TOKEN_PATH
