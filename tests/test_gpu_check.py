"""`make gpu-check`, without a card: what its checks find, what it counts, and the whole of it at a tiny size."""

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertModel
from workshop import TEMPLATE, Project

sys.path.insert(0, str(TEMPLATE / "benchmarks"))
import gpu_checks
import gpu_speed
from gpu_projects import ON_CPU, TINY, FailedError, Shape
from gpu_section import put_section

SHAPE = Shape("any", size=32, layers=3, heads=4, inner=48)


def test_operations_are_those_that_torch_counts() -> None:
    config = BertConfig(
        vocab_size=50,
        hidden_size=SHAPE.size,
        num_hidden_layers=SHAPE.layers,
        num_attention_heads=SHAPE.heads,
        intermediate_size=SHAPE.inner,
        attn_implementation="eager",
    )
    model = BertModel(config, add_pooling_layer=False).eval()
    with FlopCounterMode(display=False) as counted:
        model(torch.ones(2, 16, dtype=torch.int64))
    assert SHAPE.operations(16) * 2 * 16 == counted.get_total_flops()


def project_with(folder: Path, vectors: dict[str, list[float]]) -> Path:
    """A project whose three splits hold a text each."""
    for made in ("data/processed", "embeddings"):
        (folder / made).mkdir(parents=True)
    for split, (text, vector) in zip(("train", "validation", "test"), vectors.items(), strict=True):
        pl.DataFrame({"text": [text]}).write_parquet(folder / f"data/processed/{split}.parquet")
        np.save(folder / f"embeddings/{split}.npy", np.array([vector], dtype=np.float32))
    return folder


def test_vectors_are_compared_by_text_and_bit(tmp_path: Path) -> None:
    one = project_with(tmp_path / "one", {"a": [1.0, 2.0], "b": [3.0, 4.0], "c": [5.0, 6.0]})
    moved = project_with(tmp_path / "moved", {"c": [5.0, 6.0], "d": [0.0, 1.0], "a": [1.0, 2.0]})
    other = project_with(
        tmp_path / "other", {"a": [1.0, float(np.nextafter(np.float32(2), 3))], "b": [3, 4], "c": [5, 6]}
    )
    turned = project_with(tmp_path / "turned", {"a": [2.0, -1.0], "b": [3.0, 4.0], "c": [5.0, 6.0]})
    assert gpu_checks.same_vectors(one, moved) == "2 vectors"
    with pytest.raises(FailedError, match="1 of 3 vectors differ"):
        gpu_checks.same_vectors(one, other)
    gpu_checks.near(one, other, 0.99999)
    with pytest.raises(FailedError, match=r"cosine 0\.0000000"):
        gpu_checks.near(one, turned, 0.99999)


def test_a_file_that_differs_or_is_missing_is_named() -> None:
    assert gpu_checks.same({"a": "1", "b": "2"}, {"b": "2", "a": "1"}) == "2 files"
    with pytest.raises(FailedError, match="2 of 2 files differ: b, c"):
        gpu_checks.same({"a": "1", "b": "2"}, {"a": "1", "c": "2"})


def test_only_whole_batches_and_warm_steps_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Forward passes: a trial, four batches of 64 tokens, a trial; steps: four slow ones, then five.
    records = {
        "forwards": {"milliseconds": [9, 1, 2, 3, 9], "shapes": [(1, 8), *[(1, 64)] * 4, (1, 8)], "memory": 1.5},
        "steps": {"milliseconds": [99, 99, 99, 99, 4, 4, 5, 6, 6], "shapes": [], "memory": 2.0},
    }
    monkeypatch.setattr(gpu_speed, "clocked", lambda *given: records[given[2]])

    class Bench:
        settings = ON_CPU
        package = "any"

    found = gpu_speed.measured(Bench(), ("fp32", TINY, 16), tmp_path, tmp_path, peak=1e-3)
    assert (found["embeddings"]["n"], found["embeddings"]["milliseconds"]) == (2, 1.5)
    assert (found["fine_tune"]["n"], found["fine_tune"]["milliseconds"], found["trainer"]) == (5, 5.0, None)
    # 256 tokens in 5 ms, three times the forward pass each, of 1 GFLOP/s.
    assert found["fine_tune"]["share_of_peak"] == pytest.approx(3 * 256 * TINY.operations(16) / 5e-3 / 1e9, abs=1e-4)


def test_the_section_replaces_the_one_before(tmp_path: Path) -> None:
    results, card = tmp_path / "RESULTS.md", {"card": "A", "driver": "1", "versions": "torch 2", "peak": {"fp32": 50.0}}
    record = {"card": card, "minutes": 7.0, "checks": [], "speeds": [], "left_out": ["this"]}
    results.write_text("# Measured\n\ntable\n\n## What was compared\n\n- one\n", encoding="utf-8")
    put_section(results, record)
    once = results.read_text(encoding="utf-8")
    results.write_text(f"{once}\n## Later\n\nkept\n", encoding="utf-8")
    put_section(results, record | {"left_out": ["that"]})
    twice = results.read_text(encoding="utf-8")
    assert once.startswith("# Measured\n\ntable\n\n## What was compared\n\n- one\n\n## On a GPU\n")
    assert twice.count("## On a GPU") == 1
    assert twice.endswith("Not measured: that.\n\n## Later\n\nkept\n")


@pytest.mark.slow
def test_the_whole_check_at_a_tiny_size(small: Project, tmp_path: Path) -> None:
    small.run(
        sys.executable, str(TEMPLATE / "benchmarks/gpu.py"), ".", "--device", "cpu", "--minutes", "30",
        "--results", str(tmp_path),
    )  # fmt: skip
    record = json.loads((tmp_path / "results/gpu.json").read_text(encoding="utf-8"))
    assert [check["what"] for check in record["checks"] if not check["passed"]] == []
    assert (len(record["checks"]), len(record["speeds"]), record["left_out"]) == (9, 1, [])
    assert "| tiny | 16 | fp32 |" in (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
