"""The probabilities below which no label is predicted: how they are chosen, and what they do."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from in_process import run_here
from review_sentiment.common.manifest import verified_manifest, write_manifest
from review_sentiment.common.tasks import labels_above_threshold, predictions_of
from review_sentiment.config import Task
from review_sentiment.errors import UserError
from review_sentiment.evaluation import metrics
from review_sentiment.export.thresholds import lowest, thresholds
from review_sentiment.inference import outputs
from review_sentiment.inference.classifier import OnnxClassifier
from review_sentiment.stages import evaluate, export_onnx
from scipy.stats import binomtest
from small_project import report, write_params


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_a_threshold_is_the_lowest_that_gives_the_precision(task: Task) -> None:
    draw = np.random.default_rng(4)
    values = predictions_of(task, draw.normal(size=(500, 3)).round(1))  # rounded: many rows are equally probable
    wanted = draw.random((500, 3)) < values
    single = (values + draw.random((500, 3)) / 2).argmax(axis=1)
    targets = wanted.astype(np.float32) if task == "multi_label" else single
    right = wanted if task == "multi_label" else np.eye(3, dtype=bool)[targets]
    candidates = values > 0.5 if task == "multi_label" else np.arange(3) == values.argmax(axis=1)[:, None]

    def precision(label: int, threshold: float) -> float:
        rows = right[candidates[:, label] & (values[:, label] >= threshold), label]
        return binomtest(int(rows.sum()), len(rows)).proportion_ci(0.5, method="wilson").low

    limits = thresholds(task, targets, values, 0.75)
    assert len(limits) == 3
    for label, found in enumerate(limits):
        assert found is not None
        assert precision(label, found) >= 0.75
        lower = [value for value in values[candidates[:, label], label] if value < found]
        assert not any(precision(label, value) >= 0.75 for value in lower)
    assert lowest(np.array([0.9, 0.8]), np.array([False, True]), 0.75) is None
    assert lowest(np.linspace(0.9, 0.8, 10), np.arange(10) < 9, 0.95) == 0.811111
    assert lowest(np.linspace(0.9, 0.8, 9), np.ones(9, dtype=bool), 0.95) == 0  # no row speaks for a threshold
    assert lowest(np.linspace(0.9, 0.8, 8), np.ones(8, dtype=bool), 0.95) is None


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_a_threshold_only_withholds_and_gives_no_label(task: Task) -> None:
    draw = np.random.default_rng(5)
    values = predictions_of(task, draw.normal(scale=3, size=(200, 4)))
    decided = labels_above_threshold(task, values, None)
    for limits in (np.zeros(4), np.full(4, 0.0004), draw.random(4), np.full(4, np.inf)):
        given = labels_above_threshold(task, values, limits)
        assert not (given & ~decided).any()
        assert (given == (decided & (values >= limits))).all()


def test_below_its_threshold_no_label_is_predicted() -> None:
    limits, values = np.array([0.5, 0.9, np.inf]), np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.0, 0.05, 0.95]])
    one, several = (outputs.PredictionFormat(task, [*"abc"], ",", limits) for task in ("single_label", "multi_label"))
    assert [found["label"] for found in one.predictions(values)] == ["a", None, None]
    assert [found["labels"] for found in several.predictions(values)] == [["a"], [], []]
    found = metrics.at_thresholds("single_label", np.array([0, 1, 2]), values, limits)
    assert found == {"coverage": pytest.approx(1 / 3, abs=1e-6), "precision": 1}
    sets = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 1]], dtype=np.float32)
    assert metrics.at_thresholds("multi_label", sets, values, limits) == {"recall": 0.2, "precision": 1}
    assert metrics.at_thresholds("multi_label", sets, values, np.full(3, 2.0)) == {"recall": 0}
    assert metrics.at_thresholds("single_label", np.array([0, 1, 2]), values, np.full(3, 2.0)) == {"coverage": 0}


@pytest.mark.slow
def test_each_file_has_thresholds_of_its_own(trained: Path, tmp_path: Path) -> None:
    shipped = shutil.copytree(trained / "models/onnx", tmp_path / "onnx")
    facts = verified_manifest(shipped) | {"thresholds": {"fp32": [0.6, None], "int8": [0.7, 0.8]}}
    (shipped / "manifest.json").unlink()
    write_manifest(shipped, facts)
    found = {name: OnnxClassifier(shipped, name, threads=1).thresholds for name in ("fp32", "int8")}
    assert {name: limits.tolist() for name, limits in found.items()} == {"fp32": [0.6, np.inf], "int8": [0.7, 0.8]}


@pytest.mark.slow
def test_fp32_ships_alone_and_abstains_where_that_is_wanted(
    trained: Path, base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = shutil.copytree(trained, tmp_path / "project")
    write_params(project / "params.yaml", base_model, export_onnx__int8=False, export_onnx__min_precision=0.9)
    run_here(monkeypatch, project, export_onnx, evaluate)
    assert [path.name for path in (project / "models/onnx/onnx").iterdir()] == ["model.onnx"]
    measured = report(project, "metrics.json")
    assert list(measured) == ["onnx_fp32", "probe", "test_rows", "thresholds", "torch"]
    assert 0 < measured["thresholds"]["coverage"] <= 1
    assert measured["onnx_fp32"] == report(trained, "metrics.json")["onnx_fp32"]
    assert OnnxClassifier(project / "models/onnx", threads=1).precision == "fp32"
    assert OnnxClassifier(trained / "models/onnx", threads=1).precision == "int8"
    with pytest.raises(UserError, match="the int8 model is not shipped"):
        OnnxClassifier(project / "models/onnx", "int8")


@pytest.mark.slow
def test_labels_without_a_threshold_are_counted(
    trained: Path,
    base_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    project = shutil.copytree(trained, tmp_path / "project")
    write_params(project / "params.yaml", base_model, export_onnx__min_precision=0.999)
    run_here(monkeypatch, project, export_onnx)
    assert "int8: 2 of 2 labels have no threshold and are never predicted\n" in capsys.readouterr().err
