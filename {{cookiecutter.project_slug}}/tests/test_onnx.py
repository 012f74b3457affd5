"""The ONNX model is the torch model, in any batch; the graph is fused; a changed file is refused."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from small_project import report, sentences

from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.export import graph
from {{ cookiecutter.package_name }}.export.parity import (
    HARD_TEXTS,
    differences,
    power_of_ten_above,
    require_parity,
)
from {{ cookiecutter.package_name }}.export.quantization import (
    divide_outlying_channels,
    largest_activations,
    matrix_products,
)
from {{ cookiecutter.package_name }}.inference.classifier import (
    MODELS,
    OnnxClassifier,
    cores,
    open_session,
    run_in_order,
)
from {{ cookiecutter.package_name }}.modeling.classifier import (
    Classifier,
    load_fine_tuned,
    run_over,
)
from {{ cookiecutter.package_name }}.modeling.probe import load_probe
from {{ cookiecutter.package_name }}.text import tokenization

pytestmark = pytest.mark.slow
TEXTS = [text for text, _ in sentences(40, seed=9)]


@pytest.fixture(scope="module")
def model(trained: Path) -> Classifier:
    return load_fine_tuned(trained / "models/fine_tuned", 2, "mean", "single_label")


@pytest.fixture(scope="module")
def sequences(trained: Path) -> list[list[int]]:
    tokenizer = tokenization.load_tokenizer(trained / "models/onnx/tokenizer.json", 32)
    return tokenization.encode(tokenizer, [*TEXTS, *HARD_TEXTS])


@pytest.fixture(scope="module")
def shipped(trained: Path) -> onnx.ModelProto:
    return onnx.load(trained / "models/onnx/model.onnx")


def run_graph(made: onnx.ModelProto, path: Path, sequences: list[list[int]]) -> np.ndarray:
    graph.save(made, path)
    return np.concatenate(
        [
            np.asarray(open_session(path, 1).run(["logits"], {"input_ids": ids, "attention_mask": mask})[0])
            for ids, mask in [tokenization.pad(sequences, max(map(len, sequences)))]
        ]
    )


def test_onnx_says_what_torch_says(trained: Path) -> None:
    metrics, parity = report(trained, "metrics.json"), report(trained, "parity.json")
    assert metrics["onnx_fp32"]["accuracy"] == metrics["torch"]["accuracy"]
    assert metrics["onnx_fp32"]["rows_labelled_unlike_torch"] == 0
    assert parity["fp32_rows_with_another_label"] == 0
    assert parity["fp32_logit_difference_below"] <= 1e-4


def test_the_graph_takes_any_batch_and_length(shipped: onnx.ModelProto) -> None:
    shapes = [[axis.dim_param for axis in value.type.tensor_type.shape.dim] for value in shipped.graph.input]
    assert shapes == [["batch", "sequence"]] * 2


def test_every_layer_has_one_operator_for_attention(shipped: onnx.ModelProto) -> None:
    found = graph.operators(shipped)
    assert (found["MultiHeadAttention"], found["LayerNormalization"], found["Gelu"]) == (2, 5, 2)
    assert not {"Softmax", "Erf", "ReduceMean"} & set(found)


def test_without_fusing_the_graph_says_the_same(
    model: Classifier, shipped: onnx.ModelProto, sequences: list[list[int]], tmp_path: Path
) -> None:
    before = run_over(model, sequences, 32, output="logits")
    plain = graph.export(model, 20, fused=False)
    assert graph.operators(plain)["MultiHeadAttention"] == 0
    assert graph.operators(plain)["Softmax"] == 2
    logits = [run_graph(made, tmp_path / "model.onnx", sequences) for made in (plain, shipped)]
    assert logits[0] == pytest.approx(logits[1], abs=1e-5)
    assert run_over(model, sequences, 32, output="logits").tobytes() == before.tobytes()


def test_a_model_that_does_not_fit_is_not_fused(model: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.encoder.config, "num_hidden_layers", 3)
    with pytest.raises(UserError, match="cannot be fused"):
        graph.export(model, 20, fused=True)


def test_another_model_is_told_with_its_worst_rows(
    model: Classifier, shipped: onnx.ModelProto, sequences: list[list[int]], tmp_path: Path
) -> None:
    expected = run_over(model, sequences, 32, output="logits")
    texts = [*TEXTS, *HARD_TEXTS]
    distance, relabelled, _ = differences(session_of(shipped, tmp_path), sequences, expected, "single_label")
    require_parity(distance, relabelled, texts, 1e-4)
    other = onnx.ModelProto()
    other.CopyFrom(shipped)
    bias = next(weight for weight in other.graph.initializer if weight.name.endswith("head.bias"))
    bias.CopyFrom(
        numpy_helper.from_array(numpy_helper.to_array(bias) + np.array([2e-4, 0], dtype=np.float32), bias.name)
    )
    distance, relabelled, _ = differences(session_of(other, tmp_path), sequences, expected, "single_label")
    with pytest.raises(UserError, match=f"{len(texts)} of {len(texts)} rows differ; the worst:\n    row "):
        require_parity(distance, relabelled, texts, 1e-4)


def test_a_model_that_sees_the_padding_is_told(
    model: Classifier, shipped: onnx.ModelProto, sequences: list[list[int]], tmp_path: Path
) -> None:
    expected = run_over(model, sequences, 32, output="logits")
    other = onnx.ModelProto()
    other.CopyFrom(shipped)
    for node in other.graph.node:
        if node.op_type == "MultiHeadAttention":
            del node.input[4:]  # the mask
    session = session_of(other, tmp_path)
    assert run_in_order(session, sequences, 2, size=1) == pytest.approx(expected, abs=1e-4)  # nothing is padded
    distance, _, _ = differences(session, sequences, expected, "single_label")
    assert distance.max() > 1e-4


def test_threads_spin_only_where_they_keep_nobody_from_a_core(
    shipped: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph.save(shipped, tmp_path / "model.onnx")

    def spins(threads: int | None) -> bool:
        options = open_session(tmp_path / "model.onnx", threads).get_session_options()
        with suppress(RuntimeError):  # it was not set, and the default is to spin
            return options.get_session_config_entry("session.intra_op.allow_spinning") != "0"
        return True

    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert (spins(None), spins(cores()), spins(cores() + 1)) == (True, True, False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    assert (spins(None), spins(cores())) == (False, False)


def session_of(made: onnx.ModelProto, folder: Path) -> onnxruntime.InferenceSession:
    graph.save(made, folder / "model.onnx")
    return open_session(folder / "model.onnx", 1)


def test_the_logits_of_float32_keep_every_bit_when_channels_are_divided(
    shipped: onnx.ModelProto, sequences: list[list[int]], tmp_path: Path
) -> None:
    """Of a matrix with an outlying channel, made here because so small a model has none."""
    largest = largest_activations(shipped, sequences, threads=1)
    for values in largest.values():
        values[:2] *= 9
    divided = onnx.ModelProto()
    divided.CopyFrom(shipped)
    divide_outlying_channels(divided, largest)
    assert graph.operators(divided)["Mul"] == graph.operators(shipped)["Mul"] + len(matrix_products(shipped))
    logits = [run_graph(made, tmp_path / "model.onnx", sequences[:1]) for made in (shipped, divided)]
    assert logits[0].tobytes() == logits[1].tobytes()


@pytest.mark.parametrize("name", [*MODELS.values(), "tokenizer.json", "manifest.json"])
def test_a_flipped_bit_in_any_file_is_refused(trained: Path, tmp_path: Path, name: str) -> None:
    directory = tmp_path / "onnx"
    shutil.copytree(trained / "models/onnx", directory)
    content = bytearray((directory / name).read_bytes())
    for place in (0, len(content) // 2, len(content) - 3):
        content[place] ^= 1
        (directory / name).write_bytes(content)
        with pytest.raises(UserError, match=f"{name} is not the file that was shipped"):
            OnnxClassifier(directory)
        content[place] ^= 1


def test_a_model_can_travel_without_the_other(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "models/onnx", tmp_path / "onnx")
    (tmp_path / "onnx" / MODELS["fp32"]).unlink()
    assert OnnxClassifier(tmp_path / "onnx", "int8").labels == ["bad", "good"]
    with pytest.raises(UserError, match="no such file"):
        OnnxClassifier(tmp_path / "onnx", "fp32")


def test_a_pickle_is_not_opened_before_it_is_verified(trained: Path, tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "ran"),)

    import joblib

    shutil.copytree(trained / "models/probe", tmp_path / "probe")
    joblib.dump(Harmful(), tmp_path / "probe/probe.joblib")
    with pytest.raises(UserError, match="is not the file that was shipped"):
        load_probe(tmp_path / "probe")
    assert not (tmp_path / "ran").exists()


def test_magnitudes() -> None:
    assert [power_of_ten_above(value) for value in (0.0, 2.1e-6, 9.9e-5, 0.5)] == [1e-11, 1e-5, 1e-4, 1.0]
