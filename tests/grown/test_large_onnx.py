"""A model of more than 2 GB through `export_onnx` and back, as its weights lie beside the graph: minutes, by hand."""

import os
import resource
import shutil
import time
from pathlib import Path

import pytest
import torch
from review_sentiment.common.manifest import verified_manifest, write_manifest
from review_sentiment.config import load_params
from review_sentiment.inference.classifier import MODELS, OnnxClassifier
from review_sentiment.modeling.classifier import Classifier
from review_sentiment.modeling.fine_tuned import save_fine_tuned
from small_project import run_stage, sentences, write_params
from transformers import BertConfig, BertModel

HOW = "copied into a grown project, LARGE_ONNX=1 pytest -s tests/test_large_onnx.py: 16 GB of memory, 20 GB of disk"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("LARGE_ONNX" not in os.environ, reason=f"takes minutes, by hand: {HOW}"),
]


def large_model() -> Classifier:
    """660 million parameters, nearly all of them rows of two embedding tables, which cost no time."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=250_000,
        hidden_size=1280,
        num_hidden_layers=2,
        num_attention_heads=20,
        intermediate_size=2560,
        max_position_embeddings=250_000,
    )
    return Classifier(BertModel(config), 2, "mean", "single_label")


@pytest.fixture(scope="module")
def exported(trained: Path, base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose fine-tuned model is the large one, after `export_onnx`."""
    project = shutil.copytree(trained, tmp_path_factory.mktemp("large") / "project")
    write_params(project / "params.yaml", base_model, export_onnx__max_int8_drop=0.99)  # nothing was learned
    tuned = project / "models/fine_tuned"
    facts = verified_manifest(tuned)
    shutil.rmtree(tuned)
    tuned.mkdir()
    text = load_params(project / "params.yaml").text
    save_fine_tuned(large_model(), base_model / "tokenizer.json", ["bad", "good"], "single_label", text, tuned)
    write_manifest(tuned, facts)
    start = time.perf_counter()
    done = run_stage(project, "export_onnx")
    assert done.returncode == 0, f"{done.returncode}: {done.stderr}"
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    print(f"\nexport_onnx: {time.perf_counter() - start:.0f} s, {peak:.1f} GB of memory at most")
    return project


def test_it_predicts_what_torch_predicts(exported: Path) -> None:
    fp32 = exported / "models/onnx" / MODELS["fp32"]
    assert fp32.stat().st_size < 1e6
    assert fp32.with_name("model.onnx.data").stat().st_size > 2.5e9
    texts = [text for text, _ in sentences(20, seed=9)]
    fp32_values, int8_values = (OnnxClassifier(exported / "models/onnx", model).values(texts) for model in MODELS)
    assert fp32_values == pytest.approx(int8_values, abs=0.05)
