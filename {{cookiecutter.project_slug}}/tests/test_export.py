"""ONNX predicts what torch predicts, in any batch; the graph is fused; a changed file is refused."""

import os
import shutil
from copy import deepcopy
from pathlib import Path

import joblib
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from small_project import sentences

from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.export import graph, parity
from {{ cookiecutter.package_name }}.inference import classifier as inference
from {{ cookiecutter.package_name }}.modeling import forward
from {{ cookiecutter.package_name }}.modeling.fine_tuned import load_fine_tuned
from {{ cookiecutter.package_name }}.modeling.probe import load_probe
from {{ cookiecutter.package_name }}.text import tokenization

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shipped(trained: Path) -> onnx.ModelProto:
    return onnx.load(trained / "models/onnx/onnx/model.onnx")


def session_of(made: onnx.ModelProto, folder: Path) -> onnxruntime.InferenceSession:
    graph.save(made, folder / "model.onnx")
    return inference.open_session(folder / "model.onnx", threads=1)


def test_every_layer_has_one_operator_for_attention(shipped: onnx.ModelProto) -> None:
    found = graph.operators(shipped)
    assert (found["MultiHeadAttention"], found["LayerNormalization"], found["Gelu"]) == (2, 5, 2)
    assert not {"Softmax", "Erf", "ReduceMean"} & set(found)


def test_another_model_is_refused_with_its_worst_rows(trained: Path, shipped: onnx.ModelProto, tmp_path: Path) -> None:
    texts = [*(text for text, _ in sentences(40, seed=9)), *parity.HARD_TEXTS]
    tokenizer = tokenization.load_tokenizer(trained / "models/onnx/tokenizer.json", 32)
    sequences = tokenization.encode(tokenizer, texts, "")
    model = load_fine_tuned(trained / "models/fine_tuned", "mean", "single_label")
    logits = forward.run_over(forward.Padded(model), sequences, output="logits")
    distance, _ = parity.differences(session_of(shipped, tmp_path), sequences, logits)
    parity.require_parity(distance, texts, 1e-4)
    other = deepcopy(shipped)
    bias = next(weight for weight in other.graph.initializer if weight.name.endswith("head.bias"))
    moved = numpy_helper.to_array(bias) + np.array([2e-4, 0], dtype=np.float32)
    bias.CopyFrom(numpy_helper.from_array(moved, bias.name))
    distance, _ = parity.differences(session_of(other, tmp_path), sequences, logits)
    with pytest.raises(UserError, match=f"{len(texts)} of {len(texts)} rows differ; the worst:\n    row "):
        parity.require_parity(distance, texts, 1e-4)


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


def test_a_pickle_is_not_opened_before_it_is_verified(trained: Path, tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "ran"),)

    shutil.copytree(trained / "models/probe", tmp_path / "probe")
    joblib.dump(Harmful(), tmp_path / "probe/probe.joblib")
    with pytest.raises(UserError, match="is not the file that was shipped"):
        load_probe(tmp_path / "probe")
    assert not (tmp_path / "ran").exists()
