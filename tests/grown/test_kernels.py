"""Every kernel computes what torch and transformers compute, and `plain` runs without any. Run in a grown project."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from in_process import run_here
from review_sentiment import kernels, paths
from review_sentiment.config import Compute, TextSettings
from review_sentiment.kernels import layers, packing, vocabulary
from review_sentiment.modeling import classifier, forward
from review_sentiment.stages import embeddings, evaluate, export_onnx, fine_tune
from small_project import PACKAGE, report, run_python, write_params
from transformers import (
    AutoModel,
    BertConfig,
    DistilBertConfig,
    ModernBertConfig,
    MPNetConfig,
    PretrainedConfig,
    RobertaConfig,
)

FAST = Compute(device="cpu", precision="fp32", threads=2, determinism="machine", kernels="fast")
fast_only = pytest.mark.skipif(sys.platform != "linux" and not kernels.fast(FAST), reason="torch lacks the kernels")
PLAIN = FAST.model_copy(update={"kernels": "plain"})
SMALL: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
WITH_PAD = SMALL | {"vocab_size": 400, "max_position_embeddings": 80, "pad_token_id": 1}
SPECIAL: dict[str, Any] = {"bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
BERT, ROBERTA, MPNET = BertConfig(**WITH_PAD), RobertaConfig(**WITH_PAD), MPNetConfig(**WITH_PAD)
DISTILBERT = DistilBertConfig(vocab_size=400, dim=64, n_layers=2, n_heads=4, hidden_dim=128, pad_token_id=0)
MODERNBERT = ModernBertConfig(**WITH_PAD, **SPECIAL, local_attention=8)


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    kernels.fast.cache_clear()
    yield
    kernels.fast.cache_clear()


def base(base_model: Path) -> classifier.Classifier:
    return classifier.load_base(base_model, 2, TextSettings(max_length=32, pooling="mean", prefix=""), "single_label")


def random_model(config: PretrainedConfig) -> classifier.Classifier:
    torch.manual_seed(0)
    return classifier.Classifier(AutoModel.from_config(config), 2, "mean", "single_label").eval()


def classes_of(model: torch.nn.Module) -> list[type]:
    return [type(module) for module in model.modules()]


def test_plain_leaves_the_model_alone(base_model: Path) -> None:
    model = base(base_model)
    config: Any = model.encoder.config
    before, attention = classes_of(model), config._attn_implementation
    for training in (True, False):
        kernels.accelerate(model, PLAIN, training=training)
    assert classes_of(model) == before
    assert config._attn_implementation == attention
    assert isinstance(forward.batcher_for(model, PLAIN, 32), forward.Padded)
    weights = model.state_dict()
    assert kernels.trim_vocabulary(model, PLAIN, [[2, 3]])(weights) is weights


def test_plain_does_not_import_a_kernel(tmp_path: Path) -> None:
    """What only some versions of torch and transformers have stays in the modules of the kernels."""
    code = f"""
import sys
from {PACKAGE}.stages import embeddings, evaluate, export_onnx, fine_tune
print([name for name in sys.modules if name.startswith("{PACKAGE}.kernels.")])
"""
    done = run_python(tmp_path, "-c", code)
    assert done.stdout == "[]\n", done.stderr


@fast_only
def test_a_torch_without_a_private_operator_gets_plain_and_one_line(
    base_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kernels.fast(FAST)
    kernels.fast.cache_clear()
    monkeypatch.setattr(kernels, "PRIVATE_OPERATORS", ("_linear_pointwise", "_removed_by_torch"))
    model = base(base_model)
    before = classes_of(model)
    kernels.accelerate(model, FAST, training=False)
    assert classes_of(model) == before
    assert isinstance(forward.batcher_for(model, FAST, 32), forward.Padded)
    assert kernels.trim_vocabulary(model, FAST, [[2, 3]])({}) == {}
    expected = f"plain instead of fast: torch {torch.__version__} lacks mkldnn._removed_by_torch, as on a Mac"
    assert capsys.readouterr().err.splitlines() == [f"compute.kernels: {expected}"]


@fast_only
@pytest.mark.slow
def test_plain_runs_the_pipeline_and_learns_as_much(
    trained: Path, base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = shutil.copytree(trained, tmp_path / "project")
    for made in (paths.VECTORS, paths.EMBEDDINGS, paths.FINE_TUNED, paths.ONNX):
        shutil.rmtree(project / made)
    write_params(project / "params.yaml", base_model, compute__kernels="plain")
    run_here(monkeypatch, project, embeddings, fine_tune, export_onnx, evaluate)
    vectors = [np.load(folder / paths.split_embeddings("train")) for folder in (trained, project)]
    assert vectors[0] == pytest.approx(vectors[1], abs=1e-5)
    weights = [(folder / paths.FINE_TUNED / "model.safetensors").read_bytes() for folder in (trained, project)]
    assert weights[0] != weights[1]
    accuracy = [report(folder, "metrics.json")["onnx_fp32"]["accuracy"] for folder in (trained, project)]
    assert accuracy[1] == pytest.approx(accuracy[0], abs=0.05)


@fast_only
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("training", [None, True, False], ids=["plain", "training", "prepacked"])
def test_a_vector_does_not_depend_on_its_neighbours(
    base_model: Path, sequences: list[list[int]], training: bool | None, packed: bool
) -> None:
    model = base(base_model)
    if training is not None:
        kernels.accelerate(model, FAST, training=training)
    batcher = forward.batcher_for(model, FAST, 32) if packed else forward.Padded(model)
    assert isinstance(batcher, packing.Packed) == packed
    together = forward.run_over(batcher, sequences, output="vectors")
    backwards = forward.run_over(batcher, sequences[::-1], output="vectors")[::-1]
    alone = np.concatenate([forward.run_over(batcher, [sequence], output="vectors") for sequence in sequences[:20]])
    assert together.tobytes() == np.ascontiguousarray(backwards).tobytes()
    assert together[:20].tobytes() == alone.tobytes()


def test_vectors_in_bf16_are_near(base_model: Path, sequences: list[list[int]]) -> None:
    model = base(base_model)
    batcher = forward.batcher_for(model, FAST, 32)
    exact = forward.run_over(batcher, sequences, output="vectors")
    model.to(torch.bfloat16)
    kernels.accelerate(model, FAST.model_copy(update={"precision": "bf16"}), training=False)
    for rows, found in forward.run_batches(batcher, sequences, output="vectors"):
        assert found.dtype == np.float32
        assert found == pytest.approx(exact[rows], abs=0.05)
        assert not np.array_equal(found, exact[rows])


def test_packed_texts_leave_no_gap(sequences: list[list[int]]) -> None:
    made = list(packing.packs(sequences, 64, 2))
    assert sorted(np.concatenate([pack.rows for pack in made])) == list(range(len(sequences)))
    for pack in made:
        together = np.concatenate([sequences[row] for row in pack.rows])
        assert pack.ids.shape == pack.positions.shape == (1, 64)
        assert pack.ids[0, : len(together)].tolist() == together.tolist()
        assert sum(texts * length for texts, length in pack.groups) == 64
        starts = np.flatnonzero(pack.positions[0, : len(together)] == 2)
        assert len(starts) == len(pack.rows)


@pytest.mark.parametrize(
    ("config", "first"),
    [(BERT, 0), (ROBERTA, 2), (DISTILBERT, 0), (MODERNBERT, None), (MPNET, None)],
    ids=lambda value: getattr(value, "model_type", str(value)),
)
def test_texts_are_packed_where_the_encoder_can_read_them(config: PretrainedConfig, first: int | None) -> None:
    model = random_model(config)
    assert packing.first_position(model.encoder, 64) == first
    texts = [list(range(10, 10 + length)) for length in (5, 60, 5, 17)]
    found = forward.run_over(forward.batcher_for(model, FAST, 64), texts, output="vectors")
    for text, vector in zip(texts, found, strict=True):
        ids = torch.tensor([text])
        with torch.inference_mode():
            assert vector == pytest.approx(model.embed(ids, torch.ones_like(ids))[0].numpy(), abs=1e-5)


@fast_only
@pytest.mark.parametrize("config", [BERT, DISTILBERT])
def test_a_prepacked_model_predicts_the_same(config: PretrainedConfig) -> None:
    model = random_model(config)
    texts = [list(range(10, 10 + length)) for length in (5, 60, 5, 17)]
    expected = forward.run_over(forward.Padded(model), texts, output="logits")
    kernels.accelerate(model, FAST, training=False)
    assert torch.nn.Linear not in classes_of(model)
    assert forward.run_over(forward.Padded(model), texts, output="logits") == pytest.approx(expected, abs=1e-6)


@fast_only
@pytest.mark.parametrize("bias", [True, False])
def test_linear_layers_through_onednn_have_the_same_outputs_and_gradients(bias: bool) -> None:
    torch.manual_seed(0)
    plain, other = (torch.nn.Linear(48, 24, bias=bias) for _ in range(2))
    other.load_state_dict(plain.state_dict())
    layers.replace_linear(other)
    assert type(other) is not torch.nn.Linear
    inputs = [torch.randn(4, 7, 48, requires_grad=True) for _ in range(2)]
    inputs[1].data = inputs[0].data.clone()
    for layer, values in zip((plain, other), inputs, strict=True):
        layer(values).square().sum().backward()
    for a, b in zip([*plain.parameters(), inputs[0]], [*other.parameters(), inputs[1]], strict=True):
        torch.testing.assert_close(a, b)
        torch.testing.assert_close(a.grad, b.grad)


def test_dropout_drops_independently_and_keeps_the_expected_sum() -> None:
    probability = 0.1
    torch.manual_seed(0)
    values = torch.full((1001, 1001), 2.0)
    found = layers.drop(values, probability)
    dropped = (found == 0).float()
    spread = (probability * (1 - probability) / values.numel()) ** 0.5
    assert dropped.mean().item() == pytest.approx(probability, abs=4 * spread + 2**-16)
    for neighbour in (dropped[1:] * dropped[:-1], dropped[:, 1:] * dropped[:, :-1]):
        assert neighbour.mean().item() == pytest.approx(probability**2, rel=0.05)
    assert found.unique().tolist() == pytest.approx([0, 2 / (1 - probability)], rel=1e-4)
    assert not torch.equal(layers.drop(values, probability), found)
    torch.manual_seed(0)
    assert torch.equal(layers.drop(values, probability), found)


def vectors_and_gradients(base_model: Path, *, fast: bool, bf16: bool) -> list[torch.Tensor]:
    """The vectors of four padded texts, and the gradients of a matrix and of a norm."""
    ids = torch.randint(5, 100, (4, 20), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(20) < torch.tensor([[20], [13], [7], [1]])).long()
    model = base(base_model).eval()
    layer = model.encoder.get_submodule("encoder.layer.0")
    torch.nn.init.normal_(layer.get_parameter("output.LayerNorm.bias"), generator=torch.Generator().manual_seed(1))
    if fast:
        layers.replace(model)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        vectors = model.embed(ids, mask)
    vectors.square().sum().backward()
    gradients = [layer.get_parameter(f"{name}.weight").grad for name in ("attention.self.query", "output.LayerNorm")]
    assert all(gradient is not None for gradient in gradients)
    return [vectors.detach(), *(gradient for gradient in gradients if gradient is not None)]


def test_without_dropout_vectors_and_gradients_are_the_same(base_model: Path) -> None:
    plain, replaced = (vectors_and_gradients(base_model, fast=fast, bf16=False) for fast in (False, True))
    torch.testing.assert_close(replaced, plain, rtol=1e-4, atol=1e-6)


def test_in_bf16_they_are_nearly_the_same(base_model: Path) -> None:
    plain, replaced = (vectors_and_gradients(base_model, fast=fast, bf16=True) for fast in (False, True))
    for one, other in zip(plain, replaced, strict=True):
        assert other.dtype == torch.float32
        assert (other - one).norm() <= 0.02 * one.norm()


def test_dropout_is_for_training_alone(base_model: Path) -> None:
    model = base(base_model)
    layers.replace(model)
    ids, mask = torch.tensor([[2, 7, 8, 3]]), torch.ones(1, 4, dtype=torch.long)
    assert not torch.equal(model.train().embed(ids, mask), model.embed(ids, mask))
    assert torch.equal(model.eval().embed(ids, mask), model.embed(ids, mask))


def step(model: classifier.Classifier) -> float:
    """One step on two texts, the shorter one padded; the loss before it."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    ids = torch.tensor([[2, 70, 300, 70, 11, 3], [2, 12, 3, 0, 0, 0]])
    mask = torch.tensor([[1] * 6, [1] * 3 + [0] * 3])
    loss = torch.nn.functional.cross_entropy(model(ids, mask), torch.tensor([0, 1]))
    loss.backward()
    optimizer.step()
    return loss.item()


def test_the_ids_of_all_texts_are_found() -> None:
    assert vocabulary.ids_in(([[2, 9, 3]], [[2, 4, 4, 3], [7]]), 12).tolist() == [2, 3, 4, 7, 9]


@pytest.mark.parametrize("config", [BERT, ROBERTA, MPNET, MODERNBERT, DISTILBERT], ids=lambda config: config.model_type)
def test_used_embeddings_train_the_same_and_the_others_stay(config: PretrainedConfig) -> None:
    used = [2, 3, 11, 12, 70, 300]
    texts = [[2, 70, 300, 70, 11, 3], [2, 12, 3]]
    whole, trimmed = random_model(config), random_model(config)
    name = next(name for name, rows in whole.named_parameters() if len(rows) == 400)
    before = trimmed.state_dict()[name].clone()
    restore = vocabulary.trim(trimmed, texts[:1], texts[1:])
    sizes = [sum(weights.numel() for weights in model.parameters()) for model in (whole, trimmed)]
    assert sizes[0] - sizes[1] == (400 - len(used)) * 64
    assert step(trimmed) == step(whole)

    found, expected = restore(trimmed.state_dict()), whole.state_dict()
    assert found.keys() == expected.keys()
    learnt, as_expected = found.pop(name), expected.pop(name)
    torch.testing.assert_close(found, dict(expected))
    torch.testing.assert_close(learnt[used], as_expected[used])
    assert (learnt != before).any(dim=1).nonzero().flatten().tolist() == used
