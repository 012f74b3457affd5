"""The model's vectors, their cache, the linear probe, and near-duplicates."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from small_project import params_with
from transformers import AutoModel

from {{ cookiecutter.package_name }}.common import distributed
from {{ cookiecutter.package_name }}.common.tasks import values_of
from {{ cookiecutter.package_name }}.config import Task, Text
from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.modeling import classifier, forward, vectors
from {{ cookiecutter.package_name }}.modeling.probe import fit_probe
from {{ cookiecutter.package_name }}.modeling.scores import scores
from {{ cookiecutter.package_name }}.text import tokenization


def model_of(
    base_model: Path, task: Task = "single_label", pooling: classifier.Pooling = "mean"
) -> classifier.Classifier:
    return classifier.load_base(base_model, 2, Text(max_length=32, pooling=pooling, prefix=""), task)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_vector_is_what_transformers_computes_of_the_text_alone(
    base_model: Path, sequences: list[list[int]], pooling: classifier.Pooling
) -> None:
    found = forward.run_over(forward.Padded(model_of(base_model, pooling=pooling)), sequences[:20], output="vectors")
    encoder = AutoModel.from_pretrained(base_model).eval()
    for ids, vector in zip(sequences, found, strict=False):
        with torch.inference_mode():
            states = encoder(input_ids=torch.tensor([ids])).last_hidden_state[0]
        expected = states[0] if pooling == "cls" else states.mean(dim=0)
        assert vector == pytest.approx(expected.numpy(), abs=1e-5)


def test_only_new_texts_are_embedded(base_model: Path, sequences: list[list[int]], tmp_path: Path) -> None:
    over = forward.Padded(model_of(base_model))
    asked: list[int] = []

    def embed(new: tokenization.Sequences) -> vectors.Embedded:
        asked.append(len(new))
        return forward.run_batches(over, new, output="vectors")

    kept = tmp_path / "kept"
    kept.mkdir()
    vectors.embed_new(sequences[:100], kept, embed)
    index = vectors.embed_new([*sequences[140:], *sequences[:130]], kept, embed)
    vectors.copy_rows(kept, index, tmp_path / "grown.npy")
    vectors.embed_new(sequences[:130], kept, embed)
    assert asked == [100, 40]
    np.save(tmp_path / "anew.npy", forward.run_over(over, [*sequences[140:], *sequences[:130]], output="vectors"))
    assert (tmp_path / "grown.npy").read_bytes() == (tmp_path / "anew.npy").read_bytes()


def test_the_shape_of_a_batch_follows_from_the_length_of_its_texts(sequences: list[list[int]]) -> None:
    # A model as small as this one may hide what another shape does to the last bits, so the shapes are looked at too.
    together = {batch.ids.shape for batch in tokenization.fixed_shape_batches(sequences)}
    alone = {batch.ids.shape for sequence in sequences for batch in tokenization.fixed_shape_batches([sequence])}
    assert together == alone
    rows = np.concatenate([batch.rows for batch in tokenization.fixed_shape_batches(sequences)])
    assert sorted(rows) == list(range(len(sequences)))


def test_attention_on_a_gpu_may_not_depend_on_the_batch() -> None:
    kernels = torch.backends.cuda
    with forward.invariant_attention(torch.device("cuda")):
        assert (kernels.flash_sdp_enabled(), kernels.cudnn_sdp_enabled()) == (False, False)
        assert kernels.mem_efficient_sdp_enabled()
    with forward.invariant_attention(torch.device("cpu")):
        assert kernels.flash_sdp_enabled()


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="torch finds no GPU"):
        distributed.join(params_with().compute.model_copy(update={"device": "cuda"}))


@pytest.mark.parametrize("classes", [2, 5])
def test_the_probe_predicts_what_scikit_learn_predicts(classes: int) -> None:
    rng = np.random.default_rng(0)
    points, labels = rng.normal(size=(200, 16)).astype(np.float32), rng.integers(0, classes, 200)
    probe = fit_probe(points, labels, 1.0, "single_label")
    expected = LogisticRegression(max_iter=2000).fit(points.astype(np.float64), labels).predict_proba(points)
    assert probe.weight.shape == (classes, 16)
    assert values_of("single_label", probe.logits(points)) == pytest.approx(expected, abs=1e-3)


def test_the_probe_learns_a_label_that_all_rows_have() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(300, 16)).astype(np.float32)
    targets = np.stack([points[:, 0] > 0, np.ones(300), points[:, 1] > 0.5], axis=1).astype(np.float32)
    probe = fit_probe(points, targets, 100.0, "multi_label")
    assert scores("multi_label", targets, values_of("multi_label", probe.logits(points)))["exact_match"] > 0.95


def test_the_probe_of_numbers_fits_a_line() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(300, 16)).astype(np.float32)
    probe = fit_probe(points, points[:, 0] * 3 + 7, 1000.0, "regression")
    assert probe.logits(points)[:, 0] == pytest.approx(points[:, 0] * 3 + 7, abs=0.01)
    large = fit_probe(points, points[:, 0] * 300_000 + 1_000_000, 1000.0, "regression")
    assert large.logits(points)[:, 0] == pytest.approx(points[:, 0] * 300_000 + 1_000_000, abs=1000)


def test_the_texts_of_a_pair_have_the_token_types_of_the_tokenizer(base_model: Path) -> None:
    model = model_of(base_model, "pair")
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
    found = vectors.near_duplicates({split: tmp_path / f"{split}.npy" for split in rows}, 0.95)
    assert found["test_in_train"] == {
        "rows": 1,
        "share": 0.000476,
        "closest": [{"row": 2077, "neighbour": 4321, "cosine": 1.0}],
    }
    assert found["validation_in_train"] == {"rows": 0, "share": 0.0, "closest": []}
