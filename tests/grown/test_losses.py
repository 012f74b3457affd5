"""The training loss with class weights and label smoothing, and the temperature after training."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from review_sentiment.config import Task
from review_sentiment.errors import UserError
from review_sentiment.modeling import classifier
from review_sentiment.training import batches, loss, temperature
from sklearn.utils.class_weight import compute_class_weight
from test_training import params_of


def test_a_weight_of_an_unknown_label_is_refused() -> None:
    rows = cast("batches.SplitDataset", SimpleNamespace(labels=["bad", "good"], weights=None))
    with pytest.raises(UserError, match=r"expected: bad, good\n +found: +great"):
        loss.training_loss(rows, params_of(class_weights={"great": 2.0}), torch.device("cpu"))


def test_balanced_labels_weigh_alike_in_sum_and_a_row_1_on_average() -> None:
    targets = np.array([0] * 6 + [1] * 3 + [2])
    weights = loss.class_weights("balanced", targets, ["a", "b", "c"])
    assert weights == pytest.approx(compute_class_weight("balanced", classes=np.arange(3), y=targets))
    twice = loss.class_weights({"c": 2.0}, targets, ["a", "b", "c"])
    assert twice[2] == pytest.approx(2 * twice[0])
    assert twice[targets].mean() == pytest.approx(1)
    sets = np.array([[1, 0], [1, 0], [1, 1], [0, 0]], dtype=np.float32)
    assert loss.positive_weights("balanced", sets, ["a", "b"]) == pytest.approx([1 / 3, 3])
    assert loss.positive_weights({"b": 2.5}, sets, ["a", "b"]) == pytest.approx([1, 2.5])


def test_the_weighted_loss_of_a_batch_is_the_mean_of_those_of_its_halves() -> None:
    generator = torch.Generator().manual_seed(1)
    weights, logits = torch.tensor([0.5, 1.0, 4.0]), torch.randn(8, 3, generator=generator)
    targets = torch.tensor([0, 0, 0, 2, 1, 1, 1, 2])
    whole = loss.weighted_cross_entropy(weights, logits, targets)
    halves = [loss.weighted_cross_entropy(weights, logits[part], targets[part]) for part in (slice(4), slice(4, 8))]
    assert whole.item() == pytest.approx((halves[0] + halves[1]).item() / 2)
    sums = torch.nn.functional.cross_entropy(logits, targets, weights, reduction="sum")
    assert whole.item() == pytest.approx(sums.item() / 8)


def test_smoothed_targets_are_spread_over_all_labels() -> None:
    logits, targets = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]]), torch.tensor([0, 1])
    spread = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])
    by_hand = -(spread * logits.log_softmax(1)).sum(1)
    rows = cast("batches.SplitDataset", SimpleNamespace(labels=["a", "b", "c"], weights=None))
    plain = loss.training_loss(rows, params_of(label_smoothing=0.3), torch.device("cpu"))
    assert plain(logits, targets).item() == pytest.approx(by_hand.mean().item())
    weights = torch.tensor([0.5, 1.5, 1.0])
    weighted = loss.weighted_cross_entropy(weights, logits, targets, label_smoothing=0.3)
    assert weighted.item() == pytest.approx((by_hand * weights[:2]).mean().item())
    for task in ("multi_label", "regression"):
        other = params_of(label_smoothing=0.3).model_copy(update={"task": task})
        assert loss.training_loss(rows, other, torch.device("cpu")) is classifier.LOSSES[task]


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_the_temperature_undoes_a_factor(task: Task) -> None:
    """Labels are drawn by the probabilities of the logits, so 1 is right for these, and 3 for three times as large."""
    draw = np.random.default_rng(5)
    logits = draw.normal(size=(20_000, 4))
    if task == "multi_label":
        targets = (draw.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    else:
        targets = (logits + draw.gumbel(size=logits.shape)).argmax(axis=1)
    assert temperature.temperature(task, logits, targets) == 1  # the best is 1.00 ± 0.01, and no better than chance
    assert temperature.temperature(task, 3 * logits, targets) == pytest.approx(3, abs=0.09)
    assert temperature.temperature("regression", logits[:, :1], logits[:, 0]) == 1
    right = (logits > 0).astype(np.float32) if task == "multi_label" else logits.argmax(axis=1)
    assert temperature.temperature(task, logits, right) == 1  # the lower, the better
    for few in (1, 2, 9):  # rows that are wrong alike: their gains do not differ, so the standard error is 0
        logits_of_few, wrong = 9 * logits[:1].repeat(few, 0), (right[:1].repeat(few, 0) + 1) % 2
        assert temperature.temperature(task, logits_of_few, wrong) == 1
