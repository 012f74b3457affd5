"""The training loop: one step, a loss that is NaN, and which epoch is kept; kills are in test_sameness.py."""

from pathlib import Path
from typing import cast

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from small_project import before_fine_tune, params_with, write_params

from {{ cookiecutter.package_name }} import paths
from {{ cookiecutter.package_name }}.config import Params, TextSettings, load_params
from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.modeling import classifier
from {{ cookiecutter.package_name }}.modeling.fine_tuned import HEAD
from {{ cookiecutter.package_name }}.modeling.probe import load_probe
from {{ cookiecutter.package_name }}.stages import fine_tune
from {{ cookiecutter.package_name }}.training import batches, checkpoints, loop

TEXT = TextSettings(max_length=16, pooling="mean", prefix="")


def params_of(**changes: object) -> Params:
    """The parameters of the small project with plain kernels and other ones of `fine_tune`."""
    params = params_with()
    compute = params.compute.model_copy(update={"kernels": "plain"})
    fine_tune = params.fine_tune.model_copy(update={"batch_size": 4, "epochs": 3} | changes)
    return params.model_copy(update={"compute": compute, "fine_tune": fine_tune})


def model_of(base_model: Path) -> classifier.Classifier:
    return classifier.load_base(base_model, 3, TEXT, "single_label")


def test_a_step_is_that_of_plain_torch(base_model: Path) -> None:
    """The loss is the weighted mean of the rows, and its gradients are clipped before the step."""
    params = params_of(max_grad_norm=0.01, learning_rate=0.1, weight_decay=0.0)
    ids, targets = torch.tensor([[2, 7, 8, 3], [2, 9, 3, 0]]), torch.tensor([0, 2])
    mask = (ids != 0).long()
    ours, theirs = model_of(base_model), model_of(base_model)
    theirs.load_state_dict(ours.state_dict())
    torch.manual_seed(0)
    optimizer, batch = torch.optim.SGD(ours.parameters(), lr=0.1), ((ids, mask, targets), 0.5)
    loss = loop.train_step(ours, optimizer, batch, classifier.LOSSES["single_label"], params)
    torch.manual_seed(0)
    expected = torch.nn.CrossEntropyLoss()(theirs.train()(ids, mask), targets) / 2
    expected.backward()
    norm = torch.stack([one.grad.norm() for one in theirs.parameters() if one.grad is not None]).norm()
    assert loss.item() == pytest.approx(expected.item())
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        if other.grad is not None:
            torch.testing.assert_close(one.data, other.data - 0.1 * 0.01 / norm * other.grad, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_nan_or_infinite_stops_training(loss: float) -> None:
    assert loop.finite([1.0, 2.0], "training") == [1.0, 2.0]
    with pytest.raises(UserError, match="training loss is NaN or infinite"):
        loop.finite([1.0, loss], "training")


class SixtyRows:
    """Rows whose label is 0."""

    def __len__(self) -> int:
        return 60

    def targets(self, rows: np.ndarray) -> np.ndarray:
        return np.zeros_like(rows)


def logits_of_epoch(wrong: range, confidence: float) -> np.ndarray:
    """Logits of 60 rows of label 0; the model takes these for label 1."""
    labels = np.isin(np.arange(60), wrong).astype(int)
    return confidence * np.eye(2, dtype=np.float32)[labels]


@pytest.mark.parametrize(
    ("epochs", "kept"),
    [
        ([(range(30), 1), (range(12), 2), (range(12), 1), (range(12), 2), (range(40), 1)], 2),  # of equals by loss
        ([(range(30), 1), (range(12), 1), (range(47, 60), 1)], 2),  # worse by a row, and 25 rows differ
        ([(range(30), 1), (range(12), 1), (range(20, 60), 1)], 1),
        ([(range(12), 1), (range(20), 1), (range(47, 60), 1)], 0),  # below the model before the first step
    ],
)
def test_the_best_epoch_is_kept_or_the_last_where_chance_may_have_made_it_worse(
    epochs: list[tuple[range, float]], kept: int, base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, progress, found = model_of(base_model), checkpoints.Progress(), [logits_of_epoch(*one) for one in epochs]
    for number, logits in enumerate(found):
        monkeypatch.setattr(loop, "logits_of", lambda *_, logits=logits: logits)
        progress.curve.append({"step": number})
        is_last = number == len(found) - 1
        loop.end_epoch(model, cast(batches.SplitDataset, SixtyRows()), params_of(), tmp_path, progress, last=is_last)
    assert np.array_equal(checkpoints.best_logits(tmp_path), found[kept])


@pytest.mark.slow
def test_training_that_only_harms_ends_with_the_probe(
    trained: Path, base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = before_fine_tune(trained, tmp_path / "project")
    write_params(project / "params.yaml", base_model, fine_tune__learning_rate=0.3, fine_tune__patience=1)
    monkeypatch.chdir(project)
    fine_tune.run(load_params())
    curve = pl.read_csv(paths.TRAINING_CURVE).drop_nulls("validation_accuracy")
    assert curve["step"][0] == 0
    assert curve["validation_accuracy"][0] > max(curve["validation_accuracy"][1:])
    before, after = (load_file(project / at / "model.safetensors") for at in (paths.BASE_MODEL, paths.FINE_TUNED))
    assert all(torch.equal(before[name], weights) for name, weights in after.items())
    head = load_file(project / paths.FINE_TUNED / HEAD)["linear.weight"]
    assert head.numpy() == pytest.approx(load_probe(project / paths.PROBE).weight)
