"""`make track` tells a real MLflow server of a run, once, and no byte of the pipeline's outs depends on it."""

import csv
import hashlib
import importlib.metadata
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployment import fetch, free_ports, wait
from workshop import TOOLS, Project, grow

pytestmark = pytest.mark.slow
SOON = 300


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server on this machine."""
    if not any(importlib.metadata.distributions(name="mlflow")):
        pytest.skip("the server of MLflow is not installed: pip install mlflow")
    folder = tmp_path_factory.mktemp("mlflow")
    [port] = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [TOOLS / "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
             "--backend-store-uri", f"sqlite:///{folder / 'runs.db'}", "--artifacts-destination", folder / "artifacts"],
            env=os.environ | quiet, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        wait(lambda: process.poll() is not None or bool(fetch(f"{address}/health")), SOON)
        assert process.poll() is None, (folder / "log").read_text()
        yield address
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def tracked(small: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with MLflow that has the outs of the one without."""
    project = grow(tmp_path_factory.mktemp("tracked"), data_source="files", tracking="mlflow")
    project.take_run_of(small)
    return project


def bytes_of(project: Project) -> dict[str, str]:
    """The digest of every file of the project but those of Git and DVC."""
    files = [path for path in project.path.rglob("*") if path.is_file()]
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if not (name := path.relative_to(project.path).as_posix()).startswith((".git/", ".dvc/"))
        and "__pycache__" not in name
    }


def test_the_run_without_mlflow_is_the_run_with_it(tracked: Project) -> None:
    """To DVC both are one: the same commands, code, parameters and outs."""
    assert "up to date" in tracked.run("dvc", "status")


def test_a_run_is_reported_whole_and_once(tracked: Project, server: str) -> None:
    from mlflow.tracking import MlflowClient

    before = bytes_of(tracked)
    printed = tracked.run("make", "track", MLFLOW_TRACKING_URI=server)
    again = tracked.run("make", "track", MLFLOW_TRACKING_URI=server)
    assert "is there already" in again
    assert printed.split(" is run ")[1].split()[0] in again
    assert bytes_of(tracked) == before
    assert tracked.run("git", "status", "--porcelain") == ""

    client = MlflowClient(server)
    experiment = client.get_experiment_by_name("review-sentiment")
    [run] = client.search_runs([experiment.experiment_id])
    commit = tracked.run("git", "rev-parse", "HEAD").strip()
    lock = hashlib.sha256((tracked.path / "dvc.lock").read_bytes()).hexdigest()
    assert run.data.tags["mlflow.source.git.commit"] == commit
    assert run.data.tags["dvc_lock"] == lock
    assert run.data.tags["dvc.models/onnx"].endswith(".dir")
    assert run.data.params["seed"] == "42"
    assert run.data.params["fine_tune.learning_rate"] == "0.001"
    shipped = json.loads(tracked.text("reports/metrics.json"))["onnx_int8"]
    assert run.data.metrics["onnx_int8.accuracy"] == shipped["accuracy"]
    with (tracked.path / "reports/training_curve.csv").open() as file:
        curve = [
            (int(row["step"]), float(row["training_loss"])) for row in csv.DictReader(file) if row["training_loss"]
        ]
    points = client.get_metric_history(run.info.run_id, "training_loss")
    assert sorted((point.step, point.value) for point in points) == curve
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"model_card.md", "metrics.json", "training_curve.csv", "evaluation", "dvc.lock", "params.yaml"} <= names
    copy = Path(client.download_artifacts(run.info.run_id, "model_card.md"))
    assert copy.read_text(encoding="utf-8") == tracked.text("reports/model_card.md")

    # A run that was killed half way is reported anew, and does not stay beside the whole one.
    client.delete_run(run.info.run_id)
    tags = {"mlflow.source.git.commit": commit, "dvc_lock": lock}
    client.create_run(experiment.experiment_id, tags=tags)
    tracked.run("make", "track", MLFLOW_TRACKING_URI=server)
    [whole] = client.search_runs([experiment.experiment_id])
    assert whole.info.status == "FINISHED"
    assert whole.data.metrics == run.data.metrics


@pytest.mark.parametrize(
    ("address", "words"),
    [("", "no tracking server is named"), ("http://127.0.0.1:9", "the tracking server does not take the run")],
)
def test_what_hinders_is_named(tracked: Project, address: str, words: str) -> None:
    done = tracked.try_to("make", "track", MLFLOW_TRACKING_URI=address)
    assert done.returncode != 0
    assert f"error: {words}" in done.stderr
    assert "fix:" in done.stderr
    assert "Traceback" not in done.stderr
