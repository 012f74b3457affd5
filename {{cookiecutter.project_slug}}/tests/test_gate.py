"""What `make gate` decides, check by check."""

import shutil
import subprocess
from pathlib import Path

import pytest
from gate import Check, all_checks, differs, last_release, latency, markdown, not_worse, parity, plain, size
from ruamel.yaml import YAML
from small_project import ROOT

from {{ cookiecutter.package_name }}.config import load_params
from {{ cookiecutter.package_name }}.errors import UserError


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([{"changed deps": {"data/raw": "deleted"}}, {"changed outs": {"models/onnx": "not in cache"}}], False),
        ([{"changed deps": {"data/raw": "deleted", "src/a.py": "modified"}}], True),
        ([{"changed deps": {"params.yaml": {"seed": "modified"}}}], True),
        (["changed command"], True),
        ([], False),
    ],
)
def test_what_is_not_here_is_no_change(entries: list, expected: bool) -> None:
    assert differs(entries) == expected


def test_what_cannot_be_checked_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for check in (not_worse(None, 0.05), not_worse("main", 0.05), size(10), latency(1)):
        assert check.passed is None
        assert check.verdict == "not checked"
    assert not_worse(None, 0.05).found == "no release yet"
    assert "make pull" in size(10).found


def test_the_last_release_is_the_highest_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "Begin")
    assert last_release() is None
    name = next(iter(YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["artifacts"]))
    for tag in ("v3.0.0", f"{name}@v1.9.0", f"{name}@v1.10.0", f"{name}#production#3", "other@v9.0.0"):
        git("tag", tag)
    assert last_release() == f"{name}@v1.10.0"
    git("commit", "--quiet", "--allow-empty", "--message", "Go on")
    git("tag", f"{name}@v2.0.0")
    git("checkout", "--quiet", "HEAD~1")
    assert last_release() == f"{name}@v1.10.0"


def git(*arguments: str) -> None:
    who = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
    subprocess.run(["git", *who, *arguments], check=True)


def test_the_table_has_a_line_for_each_check() -> None:
    checks = [Check("size", "at most 1 MB", "2 MB", False), Check("accuracy", "at least 0.5", "0.6", True)]
    assert plain(checks).splitlines() == [
        "check     wanted        found",
        "size      at most 1 MB  2 MB   FAILED",
        "accuracy  at least 0.5  0.6    passed",
    ]
    assert "| size | at most 1 MB | 2 MB | FAILED |\n" in markdown(checks)


@pytest.mark.slow
def test_the_limits_decide(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    params = load_params()
    megabytes = (trained / "models/onnx/model.int8.onnx").stat().st_size / 1e6
    assert size(megabytes + 0.1).passed
    assert not size(megabytes - 0.1).passed
    assert parity(params).passed
    export = params.export_onnx.model_copy(update={"max_logit_difference": 1e-9})
    assert not parity(params.model_copy(update={"export_onnx": export})).passed
    assert latency(100).passed
    assert not latency(0.001).passed


def test_no_model_is_a_message(untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = load_params(untrained / "params.yaml")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"make repro"):
        all_checks(params)
