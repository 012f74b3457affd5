"""The outs hold nothing of the machine; the same bytes on one core, after a full disk, after an edit of the code.

Run in a grown project.
"""

import os
import pickle
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from review_sentiment import paths
from review_sentiment.modeling.probe import Probe, save_probe
from review_sentiment.training import checkpoints
from review_sentiment.training.loop import CURVE
from small_project import PACKAGE, ROOT, before_fine_tune, bytes_of, checkpoints_of, run_python, run_stage
from test_sameness import edited_source, kill_when

pytestmark = pytest.mark.slow


def test_nothing_of_this_machine_is_in_the_outs(trained: Path, base_model: Path) -> None:
    """No path, host name, user name or date of the run; a host with a short or common name cannot be recognised."""
    user = os.environ["USER"]
    assert user == os.environ["LOGNAME"] == "quaint-user-name"  # as test_bakes.py runs it
    run = datetime.fromtimestamp((trained / "reports/metrics.json").stat().st_mtime, tz=UTC)
    dates = [run.strftime(form) for form in ("%Y-%m-%d", "%Y%m%d", "%d %b %Y", "%b %d %Y", "%d/%m/%Y", "%m/%d/%Y")]
    names = [str(trained), str(ROOT), f"{Path.home()}/", platform.node(), user, "stack_trace", "site-packages", *dates]
    inputs = b"".join(path.read_bytes() for path in [*base_model.iterdir(), trained / "data/raw/table.csv"])
    strange = [name.encode() for name in names if len(name) > 5 and name.encode() not in inputs]
    assert len(strange) >= len(names) - 1
    for path, content in bytes_of(trained).items():
        assert not [name for name in strange if name in content], path


FIT_PROBE = f"""
from pathlib import Path
from {PACKAGE}.common import determinism
from {PACKAGE}.config import load_params
determinism.set_up_process(load_params(Path("params.yaml")).compute)
import numpy as np
from {PACKAGE}.modeling.probe import fit_probe
rng = np.random.default_rng(0)
points, noise = rng.normal(size=(6402, 384)).astype(np.float32), rng.normal(size=6402)
print(fit_probe(points, (points[:, 0] + noise > 0).astype(int), 1.0, "single_label").weight.tobytes().hex())
"""


BITS_OF_A_PRODUCT = (
    FIT_PROBE.partition("import numpy")[0]
    + """
import torch
torch.manual_seed(0)
print(torch.backends.cuda.matmul.allow_tf32, torch.nn.functional.gelu(torch.randn(99) @ torch.randn(99, 99)).tolist())
"""
)


def test_what_the_shell_says_of_instruction_sets_decides_no_bit(untrained: Path) -> None:
    other = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"}
    runs = [run_python(untrained, "-c", BITS_OF_A_PRODUCT, **more) for more in ({}, other)]
    assert all(done.returncode == 0 for done in runs), runs[0].stderr
    assert runs[0].stdout == runs[1].stdout


def test_a_probe_of_real_size_is_the_same_on_one_core(untrained: Path) -> None:
    """The small project's products are too small for numpy to split them by thread."""
    if not shutil.which("taskset"):
        pytest.skip("no taskset here, so no process can be kept on one core")
    runs = [run_python(untrained, "-c", FIT_PROBE, prefix=prefix) for prefix in ((), ("taskset", "-c", "0"))]
    assert all(done.returncode == 0 for done in runs), runs[0].stderr
    assert runs[0].stdout == runs[1].stdout


def test_the_file_of_a_probe_is_the_same_in_every_version_of_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for protocol in (4, 5):  # the default up to Python 3.13, and since 3.14
        monkeypatch.setattr(pickle, "DEFAULT_PROTOCOL", protocol)
        (tmp_path / str(protocol)).mkdir()
        save_probe(Probe(np.ones((2, 3), np.float32), np.ones(2, np.float32)), 1.0, tmp_path / str(protocol))
    files = [(tmp_path / protocol / "probe.joblib").read_bytes() for protocol in "45"]
    assert files[0] == files[1]
    assert files[0].startswith(b"\x80\x04")


def test_a_full_disk_is_reported_and_costs_nothing(trained: Path, tmp_path: Path) -> None:
    project = before_fine_tune(trained, tmp_path / "project")
    (project / ".checkpoints").mkdir()
    small_disk = 'mount -t tmpfs -o size=1m tmpfs .checkpoints && exec "$@"'
    prefix = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", small_disk, "sh")
    if subprocess.run([*prefix, "true"], cwd=project, capture_output=True, check=False).returncode:
        pytest.skip("no small disk can be mounted here (user namespaces are switched off)")
    full = run_stage(project, "fine_tune", prefix)
    assert full.returncode == 1
    assert "error: the disk is full" in full.stderr
    assert "Traceback" not in full.stderr
    assert not (project / "models/fine_tuned").exists()
    assert run_stage(project, "fine_tune").returncode == 0
    assert bytes_of(project) == bytes_of(trained)


def test_a_finished_training_is_kept_until_the_next(trained: Path, tmp_path: Path) -> None:
    """DVC may be killed, or find the disk full, before it has the outs in its cache."""
    project = before_fine_tune(trained, tmp_path / "project")
    (project / ".checkpoints/of-another-run").mkdir(parents=True)
    assert run_stage(project, "fine_tune").returncode == 0
    (kept,) = (project / ".checkpoints").iterdir()
    assert {path.name for path in kept.iterdir()} == {CURVE, checkpoints.FINAL}
    shutil.rmtree(project / paths.FINE_TUNED)
    for left in ("step-9.pt", "step.partial"):  # by a kill right after the best weights got their final name
        (kept / left).touch()
    again = run_stage(project, "fine_tune")
    assert {path.name for path in kept.iterdir()} == {CURVE, checkpoints.FINAL}
    assert f"taking the weights of a training that was finished before: .checkpoints/{kept.name}" in again.stderr
    assert "steps" not in again.stderr
    assert bytes_of(project) == bytes_of(trained)
    (kept / CURVE).unlink()
    assert "taking" not in run_stage(project, "fine_tune").stderr
    assert bytes_of(project) == bytes_of(trained)


def test_a_checkpoint_of_other_code_is_never_used(trained: Path, tmp_path: Path) -> None:
    killed = before_fine_tune(trained, tmp_path / "project")
    kill_when(killed, lambda: max(checkpoints_of(killed), default=0) >= 15)  # the end of the first epoch
    done = run_stage(killed, "fine_tune", PYTHONPATH=edited_source(tmp_path, "training/loop.py"))
    assert "going on" not in done.stderr
    assert bytes_of(killed) == bytes_of(trained)
