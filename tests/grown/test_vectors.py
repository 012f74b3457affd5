"""What computes vectors (a GPU, pairs of texts), and what is learned from them: the linear probe, near-duplicates."""

import functools
import io
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
import torch
from review_sentiment import paths
from review_sentiment.common import distributed
from review_sentiment.common.tasks import predictions_of
from review_sentiment.config import Lora, TextSettings, load_params
from review_sentiment.errors import MEMORY, UserError, cause_of
from review_sentiment.export import graph
from review_sentiment.kernels import layers, packing
from review_sentiment.modeling import classifier, encoder, forward, vectors
from review_sentiment.modeling.probe import fit_probe
from review_sentiment.modeling.scores import scores
from review_sentiment.stages import check_model, embeddings, fine_tune
from review_sentiment.text import tokenization
from review_sentiment.training import memory
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from small_project import params_with, report
from transformers import AutoModel, BertConfig, GPT2Config, MobileBertConfig, PretrainedConfig, XLMRobertaConfig


def test_attention_on_a_gpu_may_not_depend_on_the_batch() -> None:
    kernels = torch.backends.cuda
    with forward.invariant_attention(torch.device("cuda")):
        assert (kernels.flash_sdp_enabled(), kernels.cudnn_sdp_enabled()) == (False, False)
        assert kernels.mem_efficient_sdp_enabled()
    with forward.invariant_attention(torch.device("cpu")):
        assert kernels.flash_sdp_enabled()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (AssertionError("Torch not compiled with CUDA enabled"), "found: +Torch not compiled with CUDA enabled\n"),
        (RuntimeError("CUDA error: no kernel image is available\nmore"), "found: +CUDA error: no kernel image is av"),
        (torch.OutOfMemoryError("CUDA out of memory"), "^CUDA out of memory$"),
    ],
)
def test_a_gpu_that_cannot_be_used_is_refused(error: Exception, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    monkeypatch.setattr(torch, "ones", without_memory(torch.ones, error))
    with pytest.raises(UserError if said.startswith("found") else type(error), match=said):
        distributed.join(params_with().compute.model_copy(update={"device": "cuda"}))


GPT2 = GPT2Config(vocab_size=1200, n_positions=64, n_embd=16, n_layer=1, n_head=2, pad_token_id=1100)
SMALL: dict[str, Any] = {"vocab_size": 99, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.mark.parametrize(
    ("config", "longest", "first"),
    [
        (GPT2, 20, None),
        (MobileBertConfig(**SMALL, intermediate_size=16, embedding_size=8, max_position_embeddings=64), 64, None),
        (XLMRobertaConfig(**SMALL, intermediate_size=16, max_position_embeddings=66, pad_token_id=1), 64, 2),
    ],
    ids=lambda value: getattr(value, "model_type", str(value)),
)
def test_no_position_is_tried_that_the_encoder_lacks(
    config: PretrainedConfig, longest: int, first: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CPU raises an IndexError; a GPU ends the process."""
    model: Any = AutoModel.from_config(config).eval()
    forward, largest = model.forward, []

    @functools.wraps(forward)
    def spy(*given: Any, position_ids: torch.Tensor | None = None, **named: Any) -> Any:
        largest.extend([] if position_ids is None else [int(position_ids.max())])
        return forward(*given, position_ids=position_ids, **named)

    monkeypatch.setattr(model, "forward", spy)
    assert packing.first_position(model, longest) == first
    assert largest
    assert max(largest) < model.config.max_position_embeddings


def test_a_long_text_is_pooled_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU, the number of texts would change the last bits. On a CPU, it changes none."""
    bert = AutoModel.from_config(BertConfig(**SMALL, intermediate_size=16, max_position_embeddings=1100))
    model = classifier.Classifier(bert, 2, "mean", "single_label").eval()
    pool, shapes = model.pool, []
    monkeypatch.setattr(model, "pool", lambda states, mask: shapes.append(tuple(mask.shape)) or pool(states, mask))
    texts = [list(range(5, 5 + length)) for length in [1100] * 3 + [600] * 2 + [512] * 2]
    texts = [[token % 90 for token in text] for text in texts]
    alone = forward.run_over(packing.Packed(model, 8192, 0), texts, output="vectors")
    assert shapes[:6] == [(1, 1100)] * 3 + [(1, 600)] * 2 + [(2, 512)]
    monkeypatch.setattr(packing, "LONG", 9999)
    together = forward.run_over(packing.Packed(model, 8192, 0), texts, output="vectors")
    assert (3, 1100) in shapes
    assert together.tobytes() == alone.tobytes()


def test_padded_batches_on_a_gpu_compute_few_tokens_too_many() -> None:
    lengths = np.random.default_rng(0).integers(1, 513, 1000)
    batches = tokenization.fixed_shape_batches([[5] * length for length in lengths], "cuda")
    assert sum(batch.ids.size for batch in batches) <= 6 * lengths.sum()


def test_what_is_drawn_on_the_cpu_leaves_the_gpus_alone(base_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = encoder.load_encoder(base_model)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state", without_memory(torch.cuda.get_rng_state, AssertionError("a GPU")))
    assert encoder.small_copy(model) is not model
    memory.add_adapters(model, Lora(rank=2, alpha=4, dropout=0.0), seed=1)


@pytest.mark.parametrize("left", [vectors.KEYS, vectors.VECTORS])
def test_half_of_the_kept_vectors_counts_as_none(tmp_path: Path, left: str) -> None:
    """A kill while one folder replaces another may leave one file of both."""
    rows = [[5, 6, number] for number in range(9)]
    asked: list[int] = []

    def embed(some: tokenization.Sequences) -> vectors.Embedded:
        asked.append(len(some))
        yield np.arange(len(some)), np.ones((len(some), 4), dtype=np.float32)

    (tmp_path / "kept").mkdir()
    vectors.embed_new(rows, tmp_path / "kept", embed)
    for name in {vectors.KEYS, vectors.VECTORS} - {left}:
        (tmp_path / "kept" / name).unlink()
    index = vectors.embed_new(rows, tmp_path / "kept", embed)
    vectors.copy_rows(tmp_path / "kept", index, tmp_path / "copy.npy")
    assert asked == [9, 9]
    assert np.load(tmp_path / "copy.npy").shape == (9, 4)


@pytest.mark.parametrize("damaged", [vectors.KEYS, vectors.VECTORS])
@pytest.mark.parametrize("left", [0, 99])
def test_damaged_vectors_name_what_to_delete(tmp_path: Path, damaged: str, left: int) -> None:
    """As a loss of power may leave them."""
    rows, kept = [[5, 6, number] for number in range(9)], tmp_path / "kept"
    kept.mkdir()
    vectors.embed_new(rows, kept, lambda some: [(np.arange(len(some)), np.ones((len(some), 4), dtype=np.float32))])
    os.truncate(kept / damaged, left)
    with pytest.raises(UserError, match=f"fix:      rm -r {kept}, then"):
        vectors.copy_rows(kept, vectors.embed_new(rows, kept, lambda _: []), tmp_path / "copy.npy")


def test_two_runs_at_once_leave_no_vectors_of_zeros(tmp_path: Path) -> None:
    """The stage of a killed `dvc` may live on beside the next run."""
    rows, others = [[5, 6, number] for number in range(9)], []

    def killed(_: tokenization.Sequences) -> vectors.Embedded:
        raise KeyboardInterrupt

    def embed(some: tokenization.Sequences) -> vectors.Embedded:
        yield np.arange(4), np.ones((4, 4), dtype=np.float32)
        if not others:
            others.append("the next run, which is killed in its turn")
            with pytest.raises(KeyboardInterrupt):
                vectors.embed_new(rows, tmp_path / "kept", killed)
        yield np.arange(4, len(some)), np.ones((len(some) - 4, 4), dtype=np.float32)

    (tmp_path / "kept").mkdir()
    with pytest.raises(FileNotFoundError):
        vectors.embed_new(rows, tmp_path / "kept", embed)
    index = vectors.embed_new(rows, tmp_path / "kept", embed)
    vectors.copy_rows(tmp_path / "kept", index, tmp_path / "copy.npy")
    assert np.load(tmp_path / "copy.npy").tolist() == [[1.0] * 4] * 9
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {vectors.KEYS, vectors.VECTORS}


def test_only_the_three_files_of_the_base_model_count(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(base_model, paths.BASE_MODEL)
    assert sorted(paths.BASE_MODEL.iterdir()) == list(paths.BASE_FILES)
    named, inputs = embeddings.kept_vectors(params_with()), fine_tune.inputs()
    (paths.BASE_MODEL / ".config.json.swp").write_bytes(b"an editor is open")
    (paths.BASE_MODEL / "onnx").mkdir()
    assert embeddings.kept_vectors(params_with()) == named
    assert fine_tune.inputs() == inputs


def without_memory(function: Callable, error: Exception, calls: int = 0) -> Callable:
    """The function; after this many calls it fails, as torch does without memory."""
    left = iter(range(calls))

    @functools.wraps(function)
    def call(*given: Any, **named: Any) -> Any:
        if next(left, None) is None:
            raise error
        return function(*given, **named)

    return call


ON_A_CPU = RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you")
TRIALS: dict[str, tuple[int, Callable[[Any], object]]] = {  # the trial after this many calls that succeed
    "packing": (2, lambda model: packing.first_position(model.encoder, 8)),
    "another attention": (1, lambda model: layers.same_states(model.encoder, "products")),
    "layers in training": (0, layers.replace_linear_where_it_trains),
    "the longest text": (0, lambda model: encoder.longest_text(model.encoder, 8)),
    "one node for attention": (0, lambda model: check_model.can_be_fused(model.eval(), params_with())),
}


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), ON_A_CPU], ids=["gpu", "cpu"])
@pytest.mark.parametrize("trial", TRIALS)
def test_a_trial_without_memory_decides_nothing(
    base_model: Path, trial: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = classifier.load_base(base_model, 3, TextSettings(max_length=32, pooling="mean", prefix=""), "single_label")
    calls, work = TRIALS[trial]
    if trial == "one node for attention":
        monkeypatch.setattr(graph, "_traced", without_memory(graph._traced, error))
    else:
        monkeypatch.setattr(model.encoder, "forward", without_memory(model.encoder.forward, error, calls))
    with pytest.raises(type(error), match=r"CUDA out of memory|DefaultCPUAllocator"):
        work(model)


def test_memory_that_ran_out_is_no_sign_of_another_model(base_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = encoder.load_encoder(base_model)
    monkeypatch.setattr(encoder, "draw", without_memory(encoder.draw, ON_A_CPU))
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
        encoder.small_copy(model)
    monkeypatch.setattr(encoder, "auto_class", without_memory(encoder.auto_class, ON_A_CPU))
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
        encoder.load_encoder(base_model)
    assert cause_of(ON_A_CPU) is MEMORY


@pytest.mark.parametrize("classes", [2, 5])
def test_the_probe_predicts_what_scikit_learn_predicts(classes: int) -> None:
    rng = np.random.default_rng(0)
    points, labels = rng.normal(size=(200, 16)).astype(np.float32), rng.integers(0, classes, 200)
    probe = fit_probe(points, labels, 1.0, "single_label")
    expected = LogisticRegression(max_iter=2000).fit(points.astype(np.float64), labels).predict_proba(points)
    assert probe.weight.shape == (classes, 16)
    assert predictions_of("single_label", probe.logits(points)) == pytest.approx(expected, abs=1e-3)


def test_the_probe_learns_a_label_that_all_rows_have() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(300, 16)).astype(np.float32)
    targets = np.stack([points[:, 0] > 0, np.ones(300), points[:, 1] > 0.5], axis=1).astype(np.float32)
    probe = fit_probe(points, targets, 100.0, "multi_label")
    assert scores("multi_label", targets, predictions_of("multi_label", probe.logits(points)))["exact_match"] > 0.95


def test_the_probe_of_numbers_fits_a_line() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(300, 16)).astype(np.float32)
    probe = fit_probe(points, points[:, 0] * 3 + 7, 1000.0, "regression")
    assert probe.logits(points)[:, 0] == pytest.approx(points[:, 0] * 3 + 7, abs=0.01)
    large = fit_probe(points, points[:, 0] * 300_000 + 1_000_000, 1000.0, "regression")
    assert large.logits(points)[:, 0] == pytest.approx(points[:, 0] * 300_000 + 1_000_000, abs=1000)


@pytest.mark.slow
def test_the_probe_has_the_lowest_validation_loss(trained: Path) -> None:
    points, labels = {}, {}
    for split in ("train", "validation"):
        points[split] = np.load(trained / f"embeddings/{split}.npy")
        labels[split] = pl.read_parquet(trained / f"data/processed/{split}.parquet")["label"].to_numpy()
    losses = {}
    for c in load_params(trained / "params.yaml").embeddings.probe_c:
        model = LogisticRegression(C=c, max_iter=2000).fit(points["train"], labels["train"])
        losses[c] = log_loss(labels["validation"], model.predict_proba(points["validation"]))
    found = report(trained, "probe.json")
    assert {candidate["c"]: candidate["loss"] for candidate in found["candidates"]} == pytest.approx(losses, abs=1e-4)
    assert found["c"] == min(losses, key=losses.__getitem__)
    assert {"c": found["c"]} | found["validation"] in found["candidates"]
    manifest = json.loads((trained / "models/probe/manifest.json").read_text(encoding="utf-8"))
    assert manifest["c"] == found["c"]


@pytest.mark.slow
def test_texts_that_are_cut_are_counted(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shutil.copytree(trained, tmp_path / "project"))
    assert report(Path(), "near_duplicates.json")["cut_texts"] == {"train": 0, "validation": 0, "test": 0}
    params = load_params(Path("params.yaml"))
    params = params.model_copy(update={"text": params.text.model_copy(update={"max_length": 8})})
    embeddings.run(params)
    tokenizer = tokenization.load_tokenizer(paths.BASE_MODEL / "tokenizer.json", 1000)
    tables = {split: pl.read_parquet(paths.split_table(split)) for split in paths.SPLITS}
    lengths = {
        split: [len(ids) for ids in tokenization.encode(tokenizer, table["text"].to_list(), "")]
        for split, table in tables.items()
    }
    expected = {split: sum(length > 8 for length in found) for split, found in lengths.items()}
    assert report(Path(), "near_duplicates.json")["cut_texts"] == expected
    assert 0 < expected["train"] < len(lengths["train"])
    texts = sum(map(len, lengths.values()))
    printed = f"{sum(expected.values())} of {texts} texts were cut: the model reads their beginning\n"
    assert printed in capsys.readouterr().err


def test_the_texts_of_a_pair_have_the_token_types_of_the_tokenizer(base_model: Path) -> None:
    model = classifier.load_base(base_model, 2, TextSettings(max_length=32, pooling="mean", prefix=""), "pair")
    tokenizer = tokenization.load_tokenizer(base_model / "tokenizer.json", 32)
    pair = tokenizer.encode("a warm film", "a dull story")
    assert model.token_types(torch.tensor([pair.ids]))["token_type_ids"][0].tolist() == pair.type_ids


class Terminal(io.StringIO):
    """A standard error that shows bars."""

    def isatty(self) -> bool:
        return True


def test_near_duplicates_are_found_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    rng = np.random.default_rng(1)
    rows = {"train": 5000, "validation": 50, "test": 2100}
    points = {split: rng.normal(size=(count, 64)).astype(np.float32) for split, count in rows.items()}
    points["test"][2077] = points["train"][4321] * 2
    for split, values in points.items():
        np.save(tmp_path / f"{split}.npy", values)
    found = vectors.near_duplicates({split: tmp_path / f"{split}.npy" for split in rows}, 0.95)
    assert found["test_in_train"] == {
        "rows": 1,
        "share": 0.000476,
        "closest": [{"row": 2077, "neighbour": 4321, "cosine": 1.0}],
    }
    assert found["validation_in_train"] == {"rows": 0, "share": 0.0, "closest": []}
    assert re.search(r"near-duplicates: 100%.*2/2", cast("Terminal", sys.stderr).getvalue())  # of 2,100 test rows
