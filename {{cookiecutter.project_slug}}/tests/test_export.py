"""ONNX predicts what torch predicts, in any batch; the graph is fused; a changed file is refused."""

import os
import shutil
import time
from copy import deepcopy
from pathlib import Path

import joblib
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from scipy.stats import binomtest
from small_project import params_with, report, run_stages, sentences

from {{ cookiecutter.package_name }}.common.tasks import LABELS, Unit, values_of
from {{ cookiecutter.package_name }}.config import Params, Task
from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.evaluation import metrics
from {{ cookiecutter.package_name }}.export import graph, parity, quantization
from {{ cookiecutter.package_name }}.export.thresholds import lowest, thresholds
from {{ cookiecutter.package_name }}.inference import classifier as inference
from {{ cookiecutter.package_name }}.inference import outputs
from {{ cookiecutter.package_name }}.modeling import classifier, forward
from {{ cookiecutter.package_name }}.modeling.fine_tuned import load_fine_tuned
from {{ cookiecutter.package_name }}.modeling.probe import load_probe
from {{ cookiecutter.package_name }}.text import tokenization

pytestmark = pytest.mark.slow
TEXTS = [text for text, _ in sentences(40, seed=9)]


@pytest.fixture(scope="module")
def model(trained: Path) -> classifier.Classifier:
    return load_fine_tuned(trained / "models/fine_tuned", "mean", "single_label")


@pytest.fixture(scope="module")
def sequences(trained: Path) -> list[list[int]]:
    tokenizer = tokenization.load_tokenizer(trained / "models/onnx/tokenizer.json", 32)
    return tokenization.encode(tokenizer, [*TEXTS, *parity.HARD_TEXTS], "")


@pytest.fixture(scope="module")
def shipped(trained: Path) -> onnx.ModelProto:
    return onnx.load(trained / "models/onnx/onnx/model.onnx")


@pytest.fixture(scope="module")
def logits(model: classifier.Classifier, sequences: list[list[int]]) -> np.ndarray:
    """The logits of torch."""
    return forward.run_over(forward.Padded(model), sequences, output="logits")


def session_of(made: onnx.ModelProto, folder: Path, threads: int = 1) -> onnxruntime.InferenceSession:
    graph.save(made, folder / "model.onnx")
    return inference.open_session(folder / "model.onnx", threads)


def run_graph(made: onnx.ModelProto, folder: Path, sequences: list[list[int]]) -> np.ndarray:
    ids, mask = tokenization.pad(sequences, max(map(len, sequences)))
    return np.asarray(session_of(made, folder).run(["logits"], {"input_ids": ids, "attention_mask": mask})[0])


def test_onnx_predicts_what_torch_predicts(trained: Path) -> None:
    metrics, found = report(trained, "metrics.json"), report(trained, "parity.json")
    assert metrics["onnx_fp32"]["accuracy"] == metrics["torch"]["accuracy"]
    assert metrics["onnx_fp32"]["label_disagreements_with_torch"] == 0
    assert found["fp32_label_disagreements"] == 0
    assert found["fp32_logit_difference_below"] <= 1e-4


def with_int8_drop(limit: float) -> Params:
    """The parameters of the small project with another limit."""
    params = params_with()
    return params.model_copy(update={"export_onnx": params.export_onnx.model_copy(update={"max_int8_drop": limit})})


def test_the_parity_report_counts_what_differs() -> None:
    """Of four rows torch has all right; fp32 has one other label; int8 two, and a third depends on its batch."""
    logits = {
        name: np.eye(2)[labels]
        for name, labels in {
            "torch": [0, 1, 0, 1],
            "fp32": [0, 1, 0, 0],
            "int8": [0, 1, 1, 0],
            "int8_alone": [1, 1, 1, 0],
        }.items()
    }
    distance, relabelled = np.array([0.0, 2e-6, 0.0, 1.0, 0.0]), np.array([False, False, False, True, True])
    params = with_int8_drop(0.3)
    arguments = (distance, relabelled, np.array([0, 1, 0, 1]), logits)
    found = parity.report(*arguments, params)
    assert found["fp32_label_disagreements"] == 2  # one of them on a hard text
    assert (found["int8_label_disagreements"], found["int8_batch_dependent_labels"]) == (2, 1)
    assert found["accuracy"] == {"torch": 1.0, "fp32": 0.75, "int8": 0.5}
    assert (found["int8_accuracy_drop"], found["fp32_logit_difference_below"]) == (0.25, 10.0)
    del logits["int8"], logits["int8_alone"]
    assert parity.report(*arguments, params)["accuracy"] == {"torch": 1.0, "fp32": 0.75}


@pytest.mark.parametrize(("rows", "lost", "ships"), [(69, 2, True), (69, 6, False), (690, 20, True), (690, 30, False)])
def test_int8_is_refused_only_beyond_chance(
    capsys: pytest.CaptureFixture[str], rows: int, lost: int, ships: bool
) -> None:
    params = with_int8_drop(0.02)
    right = np.arange(rows) % 2
    int8 = np.where(np.arange(rows) < lost, 1 - right, right)
    logits = {"torch": right, "fp32": right, "int8": int8, "int8_alone": int8}
    arguments = (
        np.zeros(rows),
        np.zeros(rows, dtype=bool),
        right,
        {name: np.eye(2)[of] for name, of in logits.items()},
    )
    if ships:
        assert parity.report(*arguments, params)["int8_accuracy_drop"] == round(lost / rows, 6)
        assert f"int8 lowers accuracy by {lost / rows:.4f} on {rows} rows" in capsys.readouterr().err
    else:
        with pytest.raises(UserError, match=r"export_onnx\.int8: false in params\.yaml"):
            parity.report(*arguments, params)


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_a_threshold_is_the_lowest_that_gives_the_precision(task: Task) -> None:
    draw = np.random.default_rng(4)
    values = values_of(task, draw.normal(size=(500, 3)).round(1))  # rounded: many rows are equally probable
    wanted = draw.random((500, 3)) < values
    single = (values + draw.random((500, 3)) / 2).argmax(axis=1)
    targets = wanted.astype(np.float32) if task == "multi_label" else single
    right = wanted if task == "multi_label" else np.eye(3, dtype=bool)[targets]
    candidates = values > 0 if task == "multi_label" else np.arange(3) == values.argmax(axis=1)[:, None]

    def precision(label: int, threshold: float) -> float:
        rows = right[candidates[:, label] & (values[:, label] >= threshold), label]
        return binomtest(int(rows.sum()), len(rows)).proportion_ci(0.5, method="wilson").low

    for label, found in enumerate(thresholds(task, targets, values, 0.75)):
        assert found is not None
        assert precision(label, found) >= 0.75
        lower = [value for value in values[candidates[:, label], label] if value < found]
        assert not any(precision(label, value) >= 0.75 for value in lower)
    assert lowest(np.array([0.9, 0.8]), np.array([False, True]), 0.75) is None
    assert lowest(np.linspace(0.9, 0.8, 9), np.ones(9, dtype=bool), 0.95) == 0.8
    assert lowest(np.linspace(0.9, 0.8, 8), np.ones(8, dtype=bool), 0.95) is None


def test_below_its_threshold_no_label_is_predicted() -> None:
    limits, values = np.array([0.5, 0.9, np.inf]), np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.0, 0.05, 0.95]])
    one, several = (outputs.Answers(task, ["a", "b", "c"], ",", limits) for task in ("single_label", "multi_label"))
    assert [one.prediction(row)["label"] for row in values] == ["a", None, None]
    assert [several.prediction(row)["labels"] for row in values] == [["a"], [], []]
    found = metrics.at_thresholds("single_label", np.array([0, 1, 2]), values, limits)
    assert found == {"coverage": pytest.approx(1 / 3, abs=1e-6), "precision": 1}
    sets = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 1]], dtype=np.float32)
    assert metrics.at_thresholds("multi_label", sets, values, limits) == {"recall": 0.2, "precision": 1}


def test_fp32_ships_alone_and_abstains_where_that_is_wanted(trained: Path, tmp_path: Path) -> None:
    project = shutil.copytree(trained, tmp_path / "project")
    text = (project / "params.yaml").read_text(encoding="utf-8").replace("int8: true", "int8: false")
    text = text.replace("min_precision: null", "min_precision: 0.9")
    (project / "params.yaml").write_text(text, encoding="utf-8")
    run_stages(project, "check_model", "export_onnx", "evaluate")
    assert [path.name for path in (project / "models/onnx/onnx").iterdir()] == ["model.onnx"]
    measured = report(project, "metrics.json")
    assert list(measured) == ["onnx_fp32", "probe", "test_rows", "thresholds", "torch"]
    assert 0 < measured["thresholds"]["coverage"] <= 1
    assert measured["onnx_fp32"] == report(trained, "metrics.json")["onnx_fp32"]
    card = (project / "reports/model_card.md").read_text(encoding="utf-8")
    assert "int8" not in card
    assert "gives it a precision of 0.9 on the validation rows; on the test rows the coverage is" in card
    assert inference.OnnxClassifier(project / "models/onnx", threads=1).model == "fp32"
    assert inference.OnnxClassifier(trained / "models/onnx", threads=1).model == "int8"
    with pytest.raises(UserError, match="the int8 model is not shipped"):
        inference.OnnxClassifier(project / "models/onnx", "int8")


def test_the_limit_grows_with_large_logits() -> None:
    logits = np.array([[-8.0, 9.5], [3.0, -2.0]], dtype=np.float32)
    assert parity.limit_of(LABELS, logits, 1e-4) == 1e-4
    assert parity.limit_of(LABELS, logits * -30, 1e-4) == pytest.approx((9.5 + 3) / 2 * 3 * 1e-4)


def test_the_limit_of_numbers_is_in_their_unit() -> None:
    expected = np.array([[1_000_000.0], [700_000.0]], dtype=np.float32)
    assert parity.limit_of(Unit(900_000.0, 262_144.0), expected, 1e-4) == pytest.approx(26.2144 + 4 * 0.0625)


def test_the_graph_takes_any_batch_and_length(shipped: onnx.ModelProto) -> None:
    shapes = [[axis.dim_param for axis in value.type.tensor_type.shape.dim] for value in shipped.graph.input]
    assert shapes == [["batch", "sequence"]] * 2


def test_every_layer_has_one_operator_for_attention(shipped: onnx.ModelProto) -> None:
    found = graph.operators(shipped)
    assert (found["MultiHeadAttention"], found["LayerNormalization"], found["Gelu"]) == (2, 5, 2)
    assert not {"Softmax", "Erf", "ReduceMean"} & set(found)


def test_without_fusing_the_logits_are_the_same(
    model: classifier.Classifier,
    shipped: onnx.ModelProto,
    sequences: list[list[int]],
    logits: np.ndarray,
    tmp_path: Path,
) -> None:
    graph.export(model, tmp_path / "plain.onnx", 20, fused=False)
    plain = onnx.load(tmp_path / "plain.onnx")
    assert graph.operators(plain)["MultiHeadAttention"] == 0
    assert graph.operators(plain)["Softmax"] == 2
    assert run_graph(plain, tmp_path, sequences) == pytest.approx(run_graph(shipped, tmp_path, sequences), abs=1e-5)
    assert forward.run_over(forward.Padded(model), sequences, output="logits").tobytes() == logits.tobytes()


def test_a_model_that_does_not_fit_is_not_fused(
    model: classifier.Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model.encoder.config, "num_hidden_layers", 3)
    with pytest.raises(UserError, match="cannot be fused"):
        graph.export(model, tmp_path / "model.onnx", 20, fused=True)


def test_another_model_is_refused_with_its_worst_rows(
    shipped: onnx.ModelProto, sequences: list[list[int]], logits: np.ndarray, tmp_path: Path
) -> None:
    texts = [*TEXTS, *parity.HARD_TEXTS]
    distance, relabelled, _ = parity.differences(session_of(shipped, tmp_path), sequences, logits, "single_label")
    parity.require_parity(distance, relabelled, texts, 1e-4)
    other = deepcopy(shipped)
    bias = next(weight for weight in other.graph.initializer if weight.name.endswith("head.bias"))
    moved = numpy_helper.to_array(bias) + np.array([2e-4, 0], dtype=np.float32)
    bias.CopyFrom(numpy_helper.from_array(moved, bias.name))
    distance, relabelled, _ = parity.differences(session_of(other, tmp_path), sequences, logits, "single_label")
    with pytest.raises(UserError, match=f"{len(texts)} of {len(texts)} rows differ; the worst:\n    row "):
        parity.require_parity(distance, relabelled, texts, 1e-4)


def test_a_model_that_sees_the_padding_differs(
    shipped: onnx.ModelProto, sequences: list[list[int]], logits: np.ndarray, tmp_path: Path
) -> None:
    other = deepcopy(shipped)
    for node in other.graph.node:
        if node.op_type == "MultiHeadAttention":
            del node.input[4:]  # the mask
    session = session_of(other, tmp_path)
    one_by_one = inference.run_in_order(session, sequences, 2, size=1)  # nothing is padded
    assert one_by_one == pytest.approx(logits, abs=1e-4)
    distance, _, _ = parity.differences(session, sequences, logits, "single_label")
    assert distance.max() > 1e-4


def test_threads_that_wait_yield_their_core(shipped: onnx.ModelProto, tmp_path: Path) -> None:
    """What the workers of the thread pool spend while there is nothing to do, after a run."""
    session = session_of(shipped, tmp_path, threads=4)
    ids = np.ones((1, 32), dtype=np.int64)
    spent = []
    for _ in range(20):
        inference.run_batch(session, ids, ids)
        before = time.process_time()
        time.sleep(0.01)
        spent.append(time.process_time() - before)
    assert sorted(spent)[10] < 0.001


def test_the_logits_of_float32_keep_every_bit_when_channels_are_divided(
    shipped: onnx.ModelProto, sequences: list[list[int]], tmp_path: Path
) -> None:
    """Of a matrix with an outlying channel, made here because so small a model has none."""
    graph.save(shipped, tmp_path / "shipped.onnx")
    largest = quantization.largest_activations(tmp_path / "shipped.onnx", sequences, threads=1)
    for values in largest.values():
        values[:2] *= 9
    divided = deepcopy(shipped)
    quantization.divide_outlying_channels(divided, largest)
    assert graph.operators(divided)["Mul"] == graph.operators(shipped)["Mul"] + len(
        quantization.matrix_products(shipped)
    )
    logits = [run_graph(made, tmp_path, sequences[:1]) for made in (shipped, divided)]
    assert logits[0].tobytes() == logits[1].tobytes()


@pytest.mark.parametrize("name", [*inference.MODELS.values(), "tokenizer.json", "manifest.json"])
def test_a_flipped_bit_in_any_file_is_refused(trained: Path, tmp_path: Path, name: str) -> None:
    directory = tmp_path / "onnx"
    shutil.copytree(trained / "models/onnx", directory)
    content = bytearray((directory / name).read_bytes())
    for index in (0, len(content) // 2, len(content) - 3):
        content[index] ^= 1
        (directory / name).write_bytes(content)
        with pytest.raises(UserError, match=f"{name} is not the file that was shipped"):
            inference.OnnxClassifier(directory)
        content[index] ^= 1


def test_a_model_can_travel_without_the_other(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "models/onnx", tmp_path / "onnx")
    (tmp_path / "onnx" / inference.MODELS["fp32"]).unlink()
    assert inference.OnnxClassifier(tmp_path / "onnx", "int8").labels == ["bad", "good"]
    with pytest.raises(UserError, match="no such file"):
        inference.OnnxClassifier(tmp_path / "onnx", "fp32")


def test_a_pickle_is_not_opened_before_it_is_verified(trained: Path, tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "ran"),)

    shutil.copytree(trained / "models/probe", tmp_path / "probe")
    joblib.dump(Harmful(), tmp_path / "probe/probe.joblib")
    with pytest.raises(UserError, match="is not the file that was shipped"):
        load_probe(tmp_path / "probe")
    assert not (tmp_path / "ran").exists()


def test_magnitudes() -> None:
    assert [parity.power_of_ten_above(value) for value in (0.0, 2.1e-6, 9.9e-5, 0.5)] == [1e-11, 1e-5, 1e-4, 1.0]
