"""Vectors, the probe as a head, and near-duplicates."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from small_project import sentences
from transformers import (
    AutoModel,
    BertConfig,
    DistilBertConfig,
    ModernBertConfig,
    MPNetConfig,
    PretrainedConfig,
    RobertaConfig,
)

from {{ cookiecutter.package_name }}.common.tasks import values_of
from {{ cookiecutter.package_name }}.config import Compute, Text
from {{ cookiecutter.package_name }}.kernels.onednn import freeze, use_onednn
from {{ cookiecutter.package_name }}.kernels.packing import (
    first_position,
    packs,
)
from {{ cookiecutter.package_name }}.modeling import (
    classifier,
    embedding_cache,
)
from {{ cookiecutter.package_name }}.modeling.classifier import (
    load_base,
    run_over,
)
from {{ cookiecutter.package_name }}.modeling.near_duplicates import (
    near_duplicates,
)
from {{ cookiecutter.package_name }}.modeling.probe import fit_probe
from {{ cookiecutter.package_name }}.modeling.scores import scores
from {{ cookiecutter.package_name }}.text import tokenization

FP32 = Compute(device="cpu", precision="fp32", threads=2, determinism="machine")


@pytest.fixture(scope="module")
def sequences(base_model: Path) -> list[list[int]]:
    tokenizer = tokenization.load_tokenizer(base_model / "tokenizer.json", 32)
    return tokenization.encode(tokenizer, [text for text, _ in sentences(150, seed=5)])


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("change", [lambda *_: None, use_onednn, freeze], ids=["plain", "onednn", "frozen"])
def test_a_vector_does_not_depend_on_its_neighbours(
    base_model: Path, sequences: list[list[int]], change: Callable, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not packed:
        monkeypatch.setattr(classifier, "first_position", lambda *_: None)
    torch.set_num_threads(2)
    model = load_base(base_model, 2, Text(max_length=32, pooling="mean"), "single_label")
    change(model, FP32)
    together = run_over(model, sequences, 32, output="vectors")
    backwards = run_over(model, sequences[::-1], 32, output="vectors")[::-1]
    alone = np.concatenate([run_over(model, [sequence], 32, output="vectors") for sequence in sequences[:20]])
    assert together.tobytes() == np.ascontiguousarray(backwards).tobytes()
    assert together[:20].tobytes() == alone.tobytes()


def test_vectors_in_bf16_are_near(base_model: Path, sequences: list[list[int]]) -> None:
    model = load_base(base_model, 2, Text(max_length=32, pooling="mean"), "single_label")
    exact = run_over(model, sequences, 32, output="vectors")
    batches = list(classifier.batches_of(model, sequences, 32))
    model.to(torch.bfloat16)
    for rows, found in classifier.run_batches(model, batches, output="vectors"):
        assert found.dtype == np.float32
        assert found == pytest.approx(exact[rows], abs=0.05)
        assert not np.array_equal(found, exact[rows])


def test_only_new_texts_are_embedded(base_model: Path, sequences: list[list[int]], tmp_path: Path) -> None:
    model = load_base(base_model, 2, Text(max_length=32, pooling="mean"), "single_label")
    asked: list[int] = []

    def embed(new: tokenization.Sequences) -> embedding_cache.Embedded:
        asked.append(len(new))
        return classifier.run_batches(model, classifier.batches_of(model, new, 32), output="vectors")

    kept = tmp_path / "kept"
    kept.mkdir()
    embedding_cache.embed_new(sequences[:100], kept, embed)
    place = embedding_cache.embed_new([*sequences[140:], *sequences[:130]], kept, embed)
    embedding_cache.copy_rows(kept / embedding_cache.VECTORS, place, tmp_path / "grown.npy")
    embedding_cache.embed_new(sequences[:130], kept, embed)
    assert asked == [100, 40]
    np.save(tmp_path / "anew.npy", run_over(model, [*sequences[140:], *sequences[:130]], 32, output="vectors"))
    assert (tmp_path / "grown.npy").read_bytes() == (tmp_path / "anew.npy").read_bytes()


def test_the_shape_of_a_batch_follows_from_the_length_of_its_texts(sequences: list[list[int]]) -> None:
    # A model as small as this one may hide what another shape does to the last bits, so the shapes are looked at too.
    together = {batch.ids.shape for batch in tokenization.fixed_shape_batches(sequences)}
    alone = {batch.ids.shape for sequence in sequences for batch in tokenization.fixed_shape_batches([sequence])}
    assert together == alone


@pytest.mark.parametrize("batches", [tokenization.fixed_shape_batches, lambda texts: packs(texts, 64, 0)])
def test_every_text_is_in_one_batch(sequences: list[list[int]], batches: Callable) -> None:
    rows = np.concatenate([batch.rows for batch in batches(sequences)])
    assert sorted(rows) == list(range(len(sequences)))


def test_packed_texts_leave_no_gap(sequences: list[list[int]]) -> None:
    for pack in packs(sequences, 64, 2):
        together = np.concatenate([sequences[row] for row in pack.rows])
        assert pack.ids.shape == pack.positions.shape == (1, 64)
        assert pack.ids[0, : len(together)].tolist() == together.tolist()
        assert sum(texts * length for texts, length in pack.groups) == 64
        starts = np.flatnonzero(pack.positions[0, : len(together)] == 2)
        assert len(starts) == len(pack.rows)


SMALL = {
    "vocab_size": 400,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "max_position_embeddings": 80,
    "pad_token_id": 1,
}
DISTIL = {"vocab_size": 400, "dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128, "pad_token_id": 0}
WINDOW = {"local_attention": 8, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}


@pytest.mark.parametrize(
    ("config", "first"),
    [
        (BertConfig(**SMALL), 0),
        (RobertaConfig(**SMALL), 2),
        (DistilBertConfig(**DISTIL), 0),
        (ModernBertConfig(**SMALL, **WINDOW), None),
        (MPNetConfig(**SMALL), None),
    ],
    ids=lambda value: getattr(value, "model_type", str(value)),
)
def test_texts_are_packed_where_the_encoder_can_read_them(config: PretrainedConfig, first: int | None) -> None:
    torch.manual_seed(0)
    encoder = AutoModel.from_config(config).eval()
    assert first_position(encoder, 64) == first
    model = classifier.Classifier(encoder, 2, "mean", "single_label")
    texts = [list(range(10, 10 + length)) for length in (5, 60, 5, 17)]
    found = run_over(model, texts, 64, output="vectors")
    for text, vector in zip(texts, found, strict=True):
        ids = torch.tensor([text])
        with torch.inference_mode():
            assert vector == pytest.approx(model.embed(ids, torch.ones_like(ids))[0].numpy(), abs=1e-5)


@pytest.mark.parametrize("config", [BertConfig(**SMALL), DistilBertConfig(**DISTIL)])
def test_a_frozen_model_says_the_same(config: PretrainedConfig) -> None:
    torch.manual_seed(0)
    model = classifier.Classifier(AutoModel.from_config(config), 2, "mean", "single_label")
    texts = [list(range(10, 10 + length)) for length in (5, 60, 5, 17)]
    usual = run_over(model, texts, 64, output="logits")
    freeze(model, FP32)
    assert not any(type(module) is torch.nn.Linear for module in model.modules())
    assert run_over(model, texts, 64, output="logits") == pytest.approx(usual, abs=1e-6)


@pytest.mark.parametrize("bias", [True, False])
def test_linear_layers_through_onednn_compute_and_learn_the_same(bias: bool) -> None:
    torch.manual_seed(0)
    plain, other = (torch.nn.Linear(48, 24, bias=bias) for _ in range(2))
    other.load_state_dict(plain.state_dict())
    use_onednn(other, FP32)
    assert type(other) is not torch.nn.Linear
    inputs = [torch.randn(4, 7, 48, requires_grad=True) for _ in range(2)]
    inputs[1].data = inputs[0].data.clone()
    for layer, values in zip((plain, other), inputs, strict=True):
        layer(values).square().sum().backward()
    for a, b in zip([*plain.parameters(), inputs[0]], [*other.parameters(), inputs[1]], strict=True):
        torch.testing.assert_close(a, b)
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize("classes", [2, 5])
def test_the_probe_says_what_scikit_learn_says(classes: int) -> None:
    rng = np.random.default_rng(0)
    points, labels = rng.normal(size=(200, 16)).astype(np.float32), rng.integers(0, classes, 200)
    probe = fit_probe(points, labels, 1.0, "single_label")
    expected = LogisticRegression(max_iter=2000).fit(points.astype(np.float64), labels).predict_proba(points)
    assert probe.weight.shape == (classes, 16)
    assert values_of("single_label", probe.logits(points)) == pytest.approx(expected, abs=1e-3)


def test_the_probe_of_many_labels_knows_one_that_all_rows_have() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(300, 16)).astype(np.float32)
    targets = np.stack([points[:, 0] > 0, np.ones(300), points[:, 1] > 0.5], axis=1).astype(np.float32)
    probe = fit_probe(points, targets, 100.0, "multi_label")
    assert scores("multi_label", targets, values_of("multi_label", probe.logits(points)))["exact_match"] > 0.95


def test_the_probe_of_numbers_finds_a_line() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(300, 16)).astype(np.float32)
    probe = fit_probe(points, points[:, 0] * 3 + 7, 1000.0, "regression")
    assert probe.logits(points)[:, 0] == pytest.approx(points[:, 0] * 3 + 7, abs=0.01)


def test_the_texts_of_a_pair_are_told_apart(base_model: Path) -> None:
    model = load_base(base_model, 2, Text(max_length=32, pooling="mean"), "pair")
    tokenizer = tokenization.load_tokenizer(base_model / "tokenizer.json", 32)
    pair = tokenizer.encode("a warm film", "a dull story")
    assert model.separator is not None
    assert classifier.after_first(torch.tensor([pair.ids]), model.separator)[0].tolist() == pair.type_ids


def test_near_duplicates_are_found_by_row(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = {"train": 5000, "validation": 50, "test": 2100}
    points = {split: rng.normal(size=(count, 64)).astype(np.float32) for split, count in rows.items()}
    points["test"][2077] = points["train"][4321] * 2
    for split, values in points.items():
        np.save(tmp_path / f"{split}.npy", values)
    found = near_duplicates({split: tmp_path / f"{split}.npy" for split in rows}, 0.95)
    assert found["test_in_train"] == {
        "rows": 1,
        "share": 0.000476,
        "closest": [{"row": 2077, "neighbour": 4321, "cosine": 1.0}],
    }
    assert found["validation_in_train"] == {"rows": 0, "share": 0.0, "closest": []}
