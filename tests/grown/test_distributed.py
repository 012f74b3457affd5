"""Several processes: the same vectors as one, the same weights twice, and what happens when one of them dies.

Run in a grown project.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from review_sentiment import paths
from review_sentiment.common import distributed
from review_sentiment.errors import UserError
from review_sentiment.stages.fine_tune import settings
from small_project import (
    PACKAGE,
    ROOT,
    before_fine_tune,
    bytes_of,
    checkpoints_of,
    params_with,
    run_stage,
    write_params,
)
from test_sameness import edited_source

TWO = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python")
NODE = (sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--master-addr=127.0.0.1")
SECONDS_TO_END = 60


@pytest.fixture(scope="module")
def trained_by_two(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained project, fine-tuned anew by two processes; read only."""
    project = before_fine_tune(trained, tmp_path_factory.mktemp("two") / "project")
    done = run_stage(project, "fine_tune", TWO)
    assert done.returncode == 0, done.stderr
    return project


def kill_one_in_the_second_epoch(project: Path, which: str) -> None:
    """Start `fine_tune` with two processes and kill the launcher or its last worker; all must be gone soon."""
    launcher = subprocess.Popen(
        [*TWO, sys.executable, "-m", PACKAGE, "fine_tune"],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while max(checkpoints_of(project), default=0) < 15:  # the end of the first epoch
        assert launcher.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    workers = psutil.Process(launcher.pid).children(recursive=True)
    assert len(workers) == 2
    (workers[-1] if which == "worker" else psutil.Process(launcher.pid)).send_signal(signal.SIGKILL)
    assert launcher.wait(timeout=SECONDS_TO_END) != 0
    _, left = psutil.wait_procs(workers, timeout=SECONDS_TO_END)
    assert left == []
    assert not (project / "models/fine_tuned").exists()


@pytest.mark.slow
def test_two_processes_embed_as_one_does(trained: Path, base_model: Path, tmp_path: Path) -> None:
    """Bits that every machine has; that of those of one machine is in the test of unlike machines."""
    project = shutil.copytree(trained, tmp_path / "project")
    write_params(project / "params.yaml", base_model, compute__determinism="portable")
    found = []
    for prefix in ((), TWO):
        shutil.rmtree(project / paths.VECTORS)
        shutil.rmtree(project / paths.EMBEDDINGS)
        done = run_stage(project, "embeddings", prefix)
        assert done.returncode == 0, done.stderr
        found.append(bytes_of(project))
    assert found[0] == found[1]


@pytest.mark.slow
def test_the_death_of_a_worker_ends_the_stage_and_costs_no_bytes(
    trained: Path, trained_by_two: Path, tmp_path: Path
) -> None:
    project = before_fine_tune(trained, tmp_path / "project")
    kill_one_in_the_second_epoch(project, "worker")
    done = run_stage(project, "fine_tune", TWO)
    assert "going on from step " in done.stderr
    assert bytes_of(project) == bytes_of(trained_by_two)


@pytest.mark.slow
def test_processes_on_unlike_machines_share_what_is_kept(trained: Path, trained_by_two: Path, tmp_path: Path) -> None:
    source = Path(edited_source(tmp_path, "common/determinism.py"))
    with (source / PACKAGE / "common/determinism.py").open("a", encoding="utf-8") as file:
        file.write("\n\ndef hardware(compute: Compute) -> str:\n    return os.environ['RANK']\n")
    project = before_fine_tune(trained, tmp_path / "project")
    shutil.rmtree(project / paths.EMBEDDINGS)
    for stage in ("embeddings", "fine_tune"):
        done = run_stage(project, stage, TWO, PYTHONPATH=str(source))
        assert done.returncode == 0, done.stderr
    assert bytes_of(project) == bytes_of(trained_by_two)


@pytest.mark.slow
def test_no_worker_outlives_its_launcher(trained: Path, tmp_path: Path) -> None:
    kill_one_in_the_second_epoch(before_fine_tune(trained, tmp_path / "project"), "launcher")


@pytest.mark.slow
def test_a_node_that_does_not_see_the_checkpoint_ends_the_stage(trained: Path, tmp_path: Path) -> None:
    """Without a message the nodes would wait for each other, each at another step."""
    with_checkpoint, without = (before_fine_tune(trained, tmp_path / name) for name in ("with", "without"))
    kill_one_in_the_second_epoch(with_checkpoint, "worker")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nodes = [
        subprocess.Popen(
            [
                *NODE,
                f"--node-rank={rank}",
                f"--master-port={port}",
                "--no-python",
                sys.executable,
                "-m",
                PACKAGE,
                "fine_tune",
            ],
            cwd=project,
            env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, project in enumerate((with_checkpoint, without))
    ]
    try:
        found = nodes[1].communicate(timeout=SECONDS_TO_END)[1]
        assert "error: this process does not see the checkpoint of rank 0" in found
        assert nodes[0].wait(timeout=SECONDS_TO_END) != 0
    finally:
        for node in nodes:
            node.kill()
            node.communicate()
    assert checkpoints_of(with_checkpoint)


@pytest.mark.slow
def test_two_processes_learn_as_much_as_one(trained: Path, trained_by_two: Path) -> None:
    last = [
        (project / paths.TRAINING_CURVE).read_text(encoding="utf-8").splitlines()[-1].split(",")
        for project in (trained, trained_by_two)
    ]
    assert last[0][0] == last[1][0]  # the same number of steps
    assert float(last[1][3]) == pytest.approx(float(last[0][3]), abs=0.05)


def test_one_process_does_not_resume_what_two_began(monkeypatch: pytest.MonkeyPatch) -> None:
    params = params_with()
    alone = settings(params)
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    assert settings(params) != alone
    other = params.model_copy(update={"launcher": "torchrun"})
    assert settings(other) == settings(params)


def test_a_batch_that_cannot_be_divided_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: 3)
    distributed.require_divisible(33)
    with pytest.raises(UserError, match="multiple of 3"):
        distributed.require_divisible(32)
