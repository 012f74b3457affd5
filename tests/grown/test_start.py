"""What a stage refuses when it starts, and what it notices when it ends."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from review_sentiment import __main__ as start
from review_sentiment.common import determinism
from review_sentiment.common.fingerprint import PACKAGE
from review_sentiment.config import load_params
from review_sentiment.errors import UserError
from small_project import ROOT, write_params


@pytest.fixture
def project(base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with parameters; it is the current directory."""
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path / "params.yaml", base_model)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    return tmp_path


def edited(monkeypatch: pytest.MonkeyPatch, stage: str, old: str, new: str) -> str:
    """What the stage says when this is edited in params.yaml while it runs."""
    path = Path("params.yaml")
    text = path.read_text(encoding="utf-8")
    assert old in text
    module = SimpleNamespace(run=lambda _: path.write_text(text.replace(old, new, 1), encoding="utf-8"))
    monkeypatch.setattr(start.importlib, "import_module", lambda *_: module)
    try:
        start.run(stage)
    except UserError as error:
        return str(error)
    finally:
        path.write_text(text, encoding="utf-8")
    return ""


@pytest.mark.usefixtures("project")
def test_a_parameter_that_changes_while_its_stage_runs_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    for stage, recorded in (("prepare", False), ("fetch", True), ("fine_tune", True)):
        said = edited(monkeypatch, stage, "split_seed: ", "split_seed: 1")
        assert said.startswith(f"params.yaml changed while {stage} ran") != recorded
    assert edited(monkeypatch, "prepare", "split_seed: ", "# a comment\n  split_seed: ") == ""


@pytest.mark.usefixtures("project")
def test_code_that_changes_while_its_stage_runs_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    params = load_params()
    for name, refused in (("text/cleaning.py", True), ("training/loop.py", False)):
        now = start.contents()
        monkeypatch.setattr(start, "contents", lambda now=now, name=name: now | {PACKAGE / name: b"other"})
        if refused:
            with pytest.raises(UserError, match=r"cleaning\.py changed while prepare ran"):
                start.require_unedited(now, params, "prepare")
        else:
            start.require_unedited(now, params, "prepare")
        monkeypatch.undo()


@pytest.mark.usefixtures("project")
def test_a_finished_training_waits_for_dvc_and_an_unfinished_one_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/final.safetensors", "b/best.safetensors"):
        (Path(".checkpoints") / name).parent.mkdir(parents=True)
        (Path(".checkpoints") / name).touch()
    monkeypatch.setattr(start.importlib, "import_module", lambda *_: SimpleNamespace(run=lambda _: None))
    for stage, rank, left in (
        ("fine_tune", "0", ["a", "b"]),
        ("embeddings", "1", ["a", "b"]),
        ("embeddings", "0", ["b"]),
    ):
        monkeypatch.setenv("RANK", rank)
        start.run(stage)
        assert sorted(path.name for path in Path(".checkpoints").iterdir()) == left


@pytest.mark.usefixtures("project")
def test_one_stage_at_a_time_runs_in_a_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from review_sentiment.__main__ import alone\nwith alone(): print('inside')"
    command, env = [sys.executable, "-c", code], os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    with start.alone():
        other = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert other.returncode != 0
        assert f"found:    process {os.getpid()}" in other.stderr
        monkeypatch.setenv("RANK", "1")
        with start.alone():
            pass
    assert subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout == "inside\n"


def test_the_code_of_another_checkout_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    start.require_own_code()
    (tmp_path / "src").mkdir()
    (tmp_path / "src/review_sentiment").symlink_to(PACKAGE)
    start.require_own_code()
    (tmp_path / "src/review_sentiment").unlink()
    (tmp_path / "src/review_sentiment").mkdir()
    with pytest.raises(UserError, match="the code of another checkout would run"):
        start.require_own_code()


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    "name", ["OMP_THREAD_LIMIT", "OMP_MAX_ACTIVE_LEVELS", "DNNL_MAX_CPU_ISA", "NPY_ENABLE_CPU_FEATURES"]
)
def test_the_user_s_environment_decides_no_bits(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(os, "environ", {"PATH": "/bin", name: "1"})
    determinism.set_up_process(load_params().compute)
    assert name not in os.environ
    assert os.environ["PATH"] == "/bin"
