"""Dropout and attention of training on a CPU do what those of torch do."""

from pathlib import Path

import pytest
import torch

from {{ cookiecutter.package_name }}.config import Text
from {{ cookiecutter.package_name }}.kernels.cpu_training import (
    drop,
    speed_up,
)
from {{ cookiecutter.package_name }}.modeling.classifier import (
    Classifier,
    load_base,
)

SHARE = 0.1


def model_of(base_model: Path) -> Classifier:
    return load_base(base_model, width=2, text=Text(max_length=32, pooling="mean"), task="single_label")


def test_so_many_values_are_dropped_and_their_sum_is_expected_to_stay() -> None:
    torch.manual_seed(0)
    values = torch.full((1001, 1001), 2.0)
    found = drop(values, SHARE)
    dropped = (found == 0).float()
    spread = (SHARE * (1 - SHARE) / values.numel()) ** 0.5
    assert dropped.mean().item() == pytest.approx(SHARE, abs=4 * spread + 2**-16)
    for neighbour in (dropped[1:] * dropped[:-1], dropped[:, 1:] * dropped[:, :-1]):
        assert neighbour.mean().item() == pytest.approx(SHARE**2, rel=0.05)
    assert found.unique().tolist() == pytest.approx([0, 2 / (1 - SHARE)], rel=1e-4)
    assert not torch.equal(drop(values, SHARE), found)
    torch.manual_seed(0)
    assert torch.equal(drop(values, SHARE), found)


def vectors_and_gradients(base_model: Path, *, quick: bool, bf16: bool) -> list[torch.Tensor]:
    """What the model says of four padded texts, and what a matrix and a norm would learn of it."""
    ids = torch.randint(5, 100, (4, 20), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(20) < torch.tensor([[20], [13], [7], [1]])).long()
    model = model_of(base_model).eval()
    layer = model.encoder.get_submodule("encoder.layer.0")
    torch.nn.init.normal_(layer.get_parameter("output.LayerNorm.bias"), generator=torch.Generator().manual_seed(1))
    if quick:
        speed_up(model.encoder)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        vectors = model.embed(ids, mask)
    vectors.square().sum().backward()
    gradients = [layer.get_parameter(f"{name}.weight").grad for name in ("attention.self.query", "output.LayerNorm")]
    assert all(gradient is not None for gradient in gradients)
    return [vectors.detach(), *(gradient for gradient in gradients if gradient is not None)]


def test_without_dropout_training_computes_the_same(base_model: Path) -> None:
    usual, quicker = (vectors_and_gradients(base_model, quick=quick, bf16=False) for quick in (False, True))
    torch.testing.assert_close(quicker, usual, rtol=1e-4, atol=1e-6)


def test_in_bf16_training_computes_nearly_the_same(base_model: Path) -> None:
    usual, quicker = (vectors_and_gradients(base_model, quick=quick, bf16=True) for quick in (False, True))
    for one, other in zip(usual, quicker, strict=True):
        assert other.dtype == torch.float32
        assert (other - one).norm() <= 0.02 * one.norm()


def test_dropout_is_for_training_alone(base_model: Path) -> None:
    model = model_of(base_model)
    speed_up(model.encoder)
    ids, mask = torch.tensor([[2, 7, 8, 3]]), torch.ones(1, 4, dtype=torch.long)
    assert not torch.equal(model.train().embed(ids, mask), model.embed(ids, mask))
    assert torch.equal(model.eval().embed(ids, mask), model.embed(ids, mask))
