"""What `task` in `params.yaml` decides after the rows are prepared. Without torch, because prediction uses it too.

single_label  one label for each text
pair          one label for each pair of texts
multi_label   any number of labels for each text
regression    a number for each text
"""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl

    from ..config import Task


def output_size(task: "Task", label_count: int) -> int:
    """The number of outputs of the head."""
    return 1 if task == "regression" else label_count


def targets_of(column: "pl.Series", task: "Task", label_count: int) -> np.ndarray:
    """The prepared labels in the form that training takes.

    single_label and pair: index of the label (rows, int64); multi_label: 1 for each label that a row has
    (rows x labels, float32); regression: the numbers (rows, float32).
    """
    if task == "regression":
        return column.to_numpy().astype(np.float32)
    if task != "multi_label":
        return column.to_numpy().astype(np.int64)
    targets = np.zeros((len(column), label_count), dtype=np.float32)
    rows = np.repeat(np.arange(len(column)), column.list.len().to_numpy())
    targets[rows, column.list.explode(empty_as_null=False).to_numpy()] = 1
    return targets


class TargetScale(NamedTuple):
    """The scale on which a model is trained: a target is `(number - mean) / scale`. With 0 and 1 nothing changes."""

    mean: float
    scale: float

    def scale_targets(self, targets: np.ndarray) -> np.ndarray:
        """The targets on this scale; labels stay as they are."""
        return targets if self == UNSCALED else ((targets.astype(float) - self.mean) / self.scale).astype(np.float32)

    def head_in_raw_units(self, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fold this scale into the weight and bias of a linear layer, so that it predicts the numbers themselves."""
        return weight * self.scale, bias.astype(np.float64) * self.scale + self.mean

    def head_in_training_units(self, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The reverse of `head_in_raw_units`."""
        return weight / self.scale, (bias.astype(np.float64) - self.mean) / self.scale


UNSCALED = TargetScale(0.0, 1.0)


def target_scale_of(targets: "Iterable[float]", task: "Task") -> TargetScale:
    """The scale for these training targets: their mean, and the power of two nearest to their standard deviation.

    Dividing by a power of two rounds nothing, so a head keeps the bits of its weights on either scale. The sums are
    exact (`fsum`), so neither the number of threads nor the instruction set changes them.
    """
    if task != "regression":
        return UNSCALED
    numbers = [float(number) for number in targets]
    mean = math.fsum(numbers) / len(numbers)
    deviation = math.sqrt(math.fsum((number - mean) ** 2 for number in numbers) / len(numbers))
    return TargetScale(mean, 2.0 ** round(math.log2(deviation)))


def predictions_of(task: "Task", logits: np.ndarray) -> np.ndarray:
    """Predictions from logits (rows x outputs), in the same shape: probabilities, or for regression the numbers."""
    if task == "regression":
        return logits
    if task == "multi_label":
        return np.exp(-np.logaddexp(0, -logits))
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def predicted_labels(task: "Task", values: np.ndarray) -> np.ndarray:
    """The predicted labels of the values (rows x outputs); regression has none.

    single_label and pair: the index of the most probable (rows x 1); multi_label: whether each has a probability above
    one half (rows x labels); regression: rows x 0.
    """
    if task == "regression":
        return np.empty((len(values), 0), dtype=np.int64)
    if task == "multi_label":
        return (values > 0.5).astype(np.int64)
    return values.argmax(axis=1, keepdims=True)


def as_written(value: float) -> float:
    """The number with six decimals; below 0.1 with six digits, whatever the unit of a regression."""
    return round(value, 6) if not abs(value) < 0.1 else float(f"{value:.6g}")


def labels_above_threshold(task: "Task", values: np.ndarray, thresholds: np.ndarray | None) -> np.ndarray:
    """Which labels are predicted (rows x labels, bool): the decisions at least as probable as their thresholds."""
    chosen = values > 0.5 if task == "multi_label" else np.arange(values.shape[1]) == predicted_labels(task, values)
    return chosen if thresholds is None else chosen & (values >= thresholds)


def label_disagreement(task: "Task", values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The rows in which the labels of two models differ (rows, bool)."""
    return (predicted_labels(task, values) != predicted_labels(task, others)).any(axis=1)
