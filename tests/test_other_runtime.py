"""The shipped files are ONNX, not something that only the runtime they were made with can read."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import polars as pl
import pytest
from tokenizers import Tokenizer
from workshop import Project

pytestmark = pytest.mark.slow

WEB = "onnxruntime-web@1.30.0"
# How far logits may differ, and how many of 100 labels. int8 rounds activations to 256 steps, and kernels round a value
# near a half differently: two optimisation levels of one runtime differ by as much (0.09).
LIMITS = {"onnx/model.onnx": (1e-4, 0), "onnx/model_int8.onnx": (0.3, 2)}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which node finds onnxruntime-web, which runs models in WebAssembly."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are not installed: nothing runs the model in WebAssembly")
    folder = tmp_path_factory.mktemp("node")
    quiet = ["--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0", "--fetch-timeout=20000"]
    try:
        subprocess.run(["npm", "install", *quiet, "--prefix", folder, WEB], check=True, timeout=120)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        pytest.skip(f"npm could not fetch {WEB}: nothing runs the model in WebAssembly")
    return folder


@pytest.mark.parametrize("file", LIMITS)
def test_the_files_pass_the_full_check(demo: Project, file: str) -> None:
    onnx.checker.check_model(str(demo.path / "models/onnx" / file), full_check=True)


@pytest.mark.parametrize("file", LIMITS)
def test_webassembly_gives_the_same_labels(demo: Project, node: Path, file: str) -> None:
    model = demo.path / "models/onnx" / file
    tokenizer = Tokenizer.from_file(str(demo.path / "models/onnx/tokenizer.json"))
    tokenizer.no_padding()
    texts = pl.read_parquet(demo.path / "data/processed/test.parquet")["text"].head(100).to_list()
    rows = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    (node / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    script = Path(__file__).with_name("onnx_in_node.mjs")
    done = subprocess.run(["node", script, model, "rows.json"], cwd=node, capture_output=True, text=True, check=True)
    found = np.array(json.loads(done.stdout))
    expected = by_onnxruntime(model, rows)
    difference, labels = LIMITS[file]
    assert found.shape == expected.shape == (100, 2)
    assert found == pytest.approx(expected, abs=difference)
    assert (found.argmax(axis=1) != expected.argmax(axis=1)).sum() <= labels


def by_onnxruntime(model: Path, rows: list[list[int]]) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    batches = [{"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), np.int64)} for ids in rows]
    return np.concatenate([session.run(["logits"], batch)[0] for batch in batches])
