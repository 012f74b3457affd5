"""The training loss: the task's loss, optionally with label smoothing and weights of labels and rows."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from ..config import Params
from ..errors import UserError
from ..modeling.classifier import LOSSES
from .batches import SplitDataset

Loss = Callable[..., Tensor]  # of logits, targets and, if they have any, the weights of the rows


def training_loss(train_set: SplitDataset, params: Params, device: torch.device) -> Loss:
    """The mean loss of a batch, with the weights and the smoothing of `fine_tune`. Raises UserError."""
    loss = unweighted_loss(train_set, params, device)
    return loss if train_set.weights is None else partial(weighted_mean, loss)


def weighted_mean(loss: Loss, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """The mean of the rows' losses, each times its weight."""
    losses = loss(logits, targets, reduction="none")
    return (losses.reshape(len(weights), -1).mean(dim=1) * weights).mean()


def unweighted_loss(train_set: SplitDataset, params: Params, device: torch.device) -> Loss:
    """The loss of a batch whose rows weigh alike. Raises UserError for unknown labels."""
    setting, smoothing = params.fine_tune.class_weights, params.fine_tune.label_smoothing
    if setting is None:
        loss = LOSSES[params.task]
        return partial(loss, label_smoothing=smoothing) if loss is cross_entropy else loss
    if isinstance(setting, dict) and (unknown := setting.keys() - set(train_set.labels)):
        raise UserError(
            "fine_tune.class_weights names labels that the data do not have",
            expected=", ".join(train_set.labels[:20]),
            found=", ".join(sorted(unknown)),
            fix="correct fine_tune.class_weights in params.yaml",
        )
    targets = train_set.targets(np.arange(len(train_set)))
    if params.task == "multi_label":
        weights = positive_weights(setting, targets, train_set.labels)
        return partial(binary_cross_entropy_with_logits, pos_weight=torch.from_numpy(weights).to(device))
    weights = torch.from_numpy(class_weights(setting, targets, train_set.labels)).to(device)
    return partial(weighted_cross_entropy, weights, label_smoothing=smoothing)


def class_weights(setting: str | dict[str, float], targets: np.ndarray, labels: list[str]) -> np.ndarray:
    """The weight of each label (float32), scaled so that the training rows weigh 1 on average.

    balanced: every label has the same total weight, as in scikit-learn's `compute_class_weight`.
    """
    counts = np.bincount(targets, minlength=len(labels))
    weights = named_weights(setting, labels) if isinstance(setting, dict) else 1 / counts
    return (weights * len(targets) / (weights @ counts)).astype(np.float32)


def positive_weights(setting: str | dict[str, float], targets: np.ndarray, labels: list[str]) -> np.ndarray:
    """How much a label's presence weighs relative to its absence (float32); balanced: both weigh the same in total."""
    present = targets.sum(axis=0).clip(1)
    weights = named_weights(setting, labels) if isinstance(setting, dict) else (len(targets) - present) / present
    return weights.astype(np.float32)


def named_weights(setting: dict[str, float], labels: list[str]) -> np.ndarray:
    """The weights in the parameters; 1 for labels that they do not name."""
    return np.array([setting.get(label, 1.0) for label in labels])


def weighted_cross_entropy(
    weights: Tensor, logits: Tensor, targets: Tensor, label_smoothing: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """The mean of the rows' losses, each times its label's weight. torch's own divides by the sum of the weights.

    That sum differs between batches, so the mean of two halves of a batch would not be the mean of the batch.
    """
    losses = cross_entropy(logits, targets, reduction="none", label_smoothing=label_smoothing) * weights[targets]
    return losses.mean() if reduction == "mean" else losses
