"""The same bytes: from another directory, as another user, on another number of cores, and after a kill."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import small_project
from small_project import PACKAGE, ROOT, STAGES, before_fine_tune, bytes_of, checkpoints_of, run_stage, write_params

from {{ cookiecutter.package_name }} import paths
from {{ cookiecutter.package_name }}.training.loop import CURVE

pytestmark = pytest.mark.slow


def kill_when(project: Path, reached: Callable[[], bool], how: int = signal.SIGKILL) -> None:
    """Run `fine_tune` in a session of its own until it is so far, then kill it."""
    stage = subprocess.Popen(
        [sys.executable, "-m", PACKAGE, "fine_tune"],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while stage.poll() is None and not reached():
        time.sleep(0.002)
    with contextlib.suppress(ProcessLookupError):  # on a slow machine it may have ended before it was seen
        os.killpg(stage.pid, how)
    assert "Traceback" not in stage.communicate()[1]


@pytest.fixture(scope="module")
def killed_once(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained project after `fine_tune` was killed in its second epoch, with a file half-written."""
    project = before_fine_tune(trained, tmp_path_factory.mktemp("killed") / "project")
    kill_when(project, lambda: max(checkpoints_of(project), default=0) >= 15)  # the end of the first epoch
    assert not (project / "models/fine_tuned").exists()
    whole = next(project.glob(f".checkpoints/*/step-{checkpoints_of(project)[-1]}.pt"))
    whole.with_name("step.partial").write_bytes(whole.read_bytes()[:1000])
    return project


@pytest.fixture
def killed(killed_once: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(killed_once, tmp_path / "project")


def edited_source(folder: Path, module: str) -> str:
    """The path of a copy of src with another comment in a module."""
    source = shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    with (source / PACKAGE / module).open("a", encoding="utf-8") as file:
        file.write("# another comment\n")
    return str(source)


def test_another_user_elsewhere_on_one_core_gets_the_same_bytes(trained: Path, untrained: Path, tmp_path: Path) -> None:
    project = tmp_path / "a directory with a longer and stranger name" / "project"
    shutil.copytree(untrained, project)
    stranger = {"PYTHONHASHSEED": "7", "LC_ALL": "C", "TZ": "Asia/Kathmandu", "HOME": str(tmp_path), "USER": "somebody"}
    one_core = ("taskset", "-c", "0") if shutil.which("taskset") else ()
    small_project.run_stages(project, *STAGES, prefix=one_core, **stranger)
    ours, theirs = bytes_of(trained), bytes_of(project)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []


def test_ctrl_c_and_a_kill_right_after_the_last_step_change_no_byte(trained: Path, tmp_path: Path) -> None:
    project = before_fine_tune(trained, tmp_path / "project")
    curve = (trained / paths.TRAINING_CURVE).read_text(encoding="utf-8")
    kill_when(project, lambda: bool(checkpoints_of(project)), signal.SIGINT)
    kill_when(
        project, lambda: any(path.read_text("utf-8") == curve for path in project.glob(f".checkpoints/*/{CURVE}"))
    )
    assert run_stage(project, "fine_tune").returncode == 0
    assert bytes_of(project) == bytes_of(trained)


def test_a_killed_training_goes_on_from_its_last_whole_checkpoint_after_an_edit_elsewhere(
    trained: Path, killed: Path, tmp_path: Path
) -> None:
    last = checkpoints_of(killed)[-1]
    done = run_stage(killed, "fine_tune", PYTHONPATH=edited_source(tmp_path, "evaluation/card.py"))
    assert f"going on from step {last}" in done.stderr
    assert bytes_of(killed) == bytes_of(trained)
    assert not checkpoints_of(killed)


def test_a_checkpoint_of_other_parameters_is_never_used(trained: Path, base_model: Path, killed: Path) -> None:
    write_params(killed / "params.yaml", base_model, fine_tune__weight_decay=0.02)
    done = run_stage(killed, "fine_tune")
    assert done.returncode == 0
    assert "going on" not in done.stderr
    assert "starting from the beginning: .checkpoints/" in done.stderr
    changed = (killed / "models/fine_tuned/model.safetensors").read_bytes()
    assert changed != (trained / "models/fine_tuned/model.safetensors").read_bytes()


@pytest.mark.parametrize(("module", "kept"), [("evaluation/card.py", True), ("modeling/classifier.py", False)])
def test_an_edit_outside_of_the_stage_keeps_its_vectors(trained: Path, tmp_path: Path, module: str, kept: bool) -> None:
    project = shutil.copytree(trained, tmp_path / "project")
    (known,) = (project / paths.VECTORS).iterdir()
    assert run_stage(project, "embeddings", PYTHONPATH=edited_source(tmp_path, module)).returncode == 0
    assert ([*(project / paths.VECTORS).iterdir()] == [known]) == kept
    assert bytes_of(project) == bytes_of(trained)
