"""The model's vectors, their cache, and the shapes of the batches that they are computed in."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel

from {{ cookiecutter.package_name }}.config import TextSettings
from {{ cookiecutter.package_name }}.modeling import classifier, forward, vectors
from {{ cookiecutter.package_name }}.text import tokenization


def model_of(base_model: Path, pooling: classifier.Pooling = "mean") -> classifier.Classifier:
    return classifier.load_base(base_model, 2, TextSettings(max_length=32, pooling=pooling, prefix=""), "single_label")


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
