"""What `task` in `params.yaml` decides after the rows are prepared. Without torch, because prediction uses it too.

single_label  one label for each text
pair          one label for each pair of texts
multi_label   any number of labels for each text
regression    a number for each text
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import polars as pl

    from ..config import Task

# The score that chooses the best epoch and that int8 may not lose; for all of them more is better.
MAIN_SCORE: "dict[Task, str]" = {
    "single_label": "accuracy",
    "pair": "accuracy",
    "multi_label": "micro_f1",
    "regression": "r2",
}


def output_size(task: "Task", labels: int) -> int:
    """The number of outputs of the head."""
    return 1 if task == "regression" else labels


def targets_of(column: "pl.Series", task: "Task", labels: int) -> np.ndarray:
    """The prepared labels as training takes them.

    single_label and pair: index of the label (rows, int64); multi_label: 1 for each label that a row has
    (rows x labels, float32); regression: the numbers (rows, float32).
    """
    if task == "regression":
        return column.to_numpy().astype(np.float32)
    if task != "multi_label":
        return column.to_numpy().astype(np.int64)
    targets = np.zeros((len(column), labels), dtype=np.float32)
    rows = np.repeat(np.arange(len(column)), column.list.len().to_numpy())
    targets[rows, column.list.explode(empty_as_null=False).to_numpy()] = 1
    return targets


def values_of(task: "Task", logits: np.ndarray) -> np.ndarray:
    """Predictions of the logits (rows x outputs): probabilities, or for regression the numbers; the same shape."""
    if task == "regression":
        return logits
    if task == "multi_label":
        return np.exp(-np.logaddexp(0, -logits))
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def decisions_of(task: "Task", values: np.ndarray) -> np.ndarray:
    """The predicted labels of the values (rows x outputs); regression has none.

    single_label and pair: the index of the most probable (rows x 1); multi_label: whether each has a probability above
    one half (rows x labels); regression: rows x 0.
    """
    if task == "regression":
        return np.empty((len(values), 0), dtype=np.int64)
    if task == "multi_label":
        return (values > 0.5).astype(np.int64)
    return values.argmax(axis=1, keepdims=True)


def label_disagreement(task: "Task", values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """In which rows the labels of two models differ (rows, bool)."""
    return (decisions_of(task, values) != decisions_of(task, others)).any(axis=1)
