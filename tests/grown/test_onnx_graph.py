"""The ONNX graph in detail: axes, padding, unfused, divided channels, threads that wait; one of two files alone."""

import shutil
import time
from copy import deepcopy
from pathlib import Path

import numpy as np
import onnx
import pytest
import test_export
from review_sentiment.errors import UserError
from review_sentiment.export import graph, parity, quantization
from review_sentiment.inference import classifier as inference
from review_sentiment.modeling import classifier, forward
from review_sentiment.modeling.fine_tuned import load_fine_tuned
from review_sentiment.text import tokenization
from small_project import sentences

pytestmark = pytest.mark.slow
shipped = test_export.shipped  # its fixture, for this module too


@pytest.fixture(scope="module")
def model(trained: Path) -> classifier.Classifier:
    return load_fine_tuned(trained / "models/fine_tuned", "mean", "single_label")


@pytest.fixture(scope="module")
def sequences(trained: Path) -> list[list[int]]:
    tokenizer = tokenization.load_tokenizer(trained / "models/onnx/tokenizer.json", 32)
    texts = [*(text for text, _ in sentences(40, seed=9)), *parity.HARD_TEXTS]
    return tokenization.encode(tokenizer, texts, "")


@pytest.fixture(scope="module")
def logits(model: classifier.Classifier, sequences: list[list[int]]) -> np.ndarray:
    """The logits of torch."""
    return forward.run_over(forward.Padded(model), sequences, output="logits")


def run_graph(made: onnx.ModelProto, folder: Path, sequences: list[list[int]]) -> np.ndarray:
    session = test_export.session_of(made, folder)
    return inference.run_batch(session, *tokenization.pad(sequences, max(map(len, sequences))))


def test_the_graph_takes_any_batch_and_length(shipped: onnx.ModelProto) -> None:
    shapes = [[axis.dim_param for axis in value.type.tensor_type.shape.dim] for value in shipped.graph.input]
    assert shapes == [["batch", "sequence"]] * 2


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


def test_a_model_that_sees_the_padding_differs(
    shipped: onnx.ModelProto, sequences: list[list[int]], logits: np.ndarray, tmp_path: Path
) -> None:
    other = deepcopy(shipped)
    for node in other.graph.node:
        if node.op_type == "MultiHeadAttention":
            del node.input[4:]  # the mask
    session = test_export.session_of(other, tmp_path)
    one_by_one = inference.run_in_order(session, sequences, size=1)  # nothing is padded
    assert one_by_one == pytest.approx(logits, abs=1e-4)
    distance, _ = parity.differences(session, sequences, logits)
    assert distance.max() > 1e-4


def test_a_model_that_does_not_fit_is_not_fused(
    model: classifier.Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model.encoder.config, "num_hidden_layers", 3)
    with pytest.raises(UserError, match="cannot be fused"):
        graph.export(model, tmp_path / "model.onnx", 20, fused=True)


def test_threads_that_wait_yield_their_core(shipped: onnx.ModelProto, tmp_path: Path) -> None:
    """What the workers of the thread pool spend while there is nothing to do, after a run."""
    graph.save(shipped, tmp_path / "model.onnx")
    session = inference.open_session(tmp_path / "model.onnx", threads=4)
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


def test_a_model_can_travel_without_the_other(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "models/onnx", tmp_path / "onnx")
    (tmp_path / "onnx" / inference.MODELS["fp32"]).unlink()
    assert inference.OnnxClassifier(tmp_path / "onnx", "int8").labels == ["bad", "good"]
    with pytest.raises(UserError, match="no such file"):
        inference.OnnxClassifier(tmp_path / "onnx", "fp32")
