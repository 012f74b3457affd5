"""The rules behind `make maturity`."""

import json
import subprocess
from importlib.metadata import version
from pathlib import Path

import maturity
import pytest
from maturity import Evidence, drift, figures, lacks, level_of, locked_versions, reproduced, unpinned
from small_project import write_params

from {{ cookiecutter.package_name }}.config import load_params


def test_a_level_needs_every_line_up_to_it() -> None:
    lines = [Evidence(level, str(level), "", True) for level in (1, 1, 2, 3, 4, 5)]
    assert level_of(lines) == 5
    assert level_of([*lines, Evidence(3, "x", "", False)]) == 2
    assert level_of([*lines, Evidence(4, "x", "", False), Evidence(2, "y", "", False)]) == 1


def test_drift_is_what_is_installed_otherwise() -> None:
    assert drift({"numpy": version("numpy"), "torch": version("torch").partition("+")[0]}) == []
    assert drift({"numpy": "0.1", "no-such-package": "1"}) == [
        f"numpy {version('numpy')} for 0.1",
        "no-such-package missing for 1",
    ]
    assert locked_versions()["torch"] == "2.13.0"


def test_a_source_without_digest_is_not_pinned(base_model: Path, tmp_path: Path) -> None:
    data = {"into": "data/raw", "uri": "hf://datasets/owner/rows@main", "sha256": {"a.csv": None}}
    write_params(tmp_path / "params.yaml", base_model, fetch__data=data)
    assert unpinned(load_params(tmp_path / "params.yaml")) == ["a.csv"]


def test_a_release_without_a_field_is_not_whole() -> None:
    whole = dict.fromkeys(maturity.METADATA, "x")
    assert lacks(whole) == []
    assert lacks(whole | {"card": None}) == ["card"]
    assert figures({"a@v1.0.0": whole, "a@v1.1.0": {}})["releases with their whole record"] == "1 of 2 (50%)"


def test_a_reproduction_counts_for_the_code_that_it_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not reproduced().holds
    (tmp_path / "reports").mkdir()
    (tmp_path / "params.yaml").write_text("seed: 1\n", encoding="utf-8")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "Begin")
    record = {"commit": git("rev-parse", "HEAD"), "outs": 3, "differing": [], "seconds": 7}
    (tmp_path / "reports/reproduce.json").write_text(json.dumps(record), encoding="utf-8")
    assert reproduced().holds
    assert figures({})["outs that can be made again"] == "3 of 3 (100%)"
    (tmp_path / "reports/reproduce.json").write_text(json.dumps(record | {"differing": ["a"]}), encoding="utf-8")
    assert reproduced().found == "differing: a"
    assert figures({})["outs that can be made again"] == "2 of 3 (67%)"
    (tmp_path / "reports/reproduce.json").write_text(json.dumps(record), encoding="utf-8")
    (tmp_path / "params.yaml").write_text("seed: 2\n", encoding="utf-8")
    assert "which is another" in reproduced().found


def git(*arguments: str) -> str:
    who = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
    return subprocess.run(["git", *who, *arguments], capture_output=True, text=True, check=True).stdout.strip()
