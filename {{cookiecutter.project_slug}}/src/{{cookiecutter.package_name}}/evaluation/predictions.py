"""The prediction of every model for each test row, so that two commits can be compared row by row."""

import hashlib

import numpy as np
import polars as pl

from ..common.tasks import decisions_of
from ..config import Task
from ..text.tokenization import Text, texts_of

KEY_BYTES = 16


def predictions(task: Task, rows: pl.DataFrame, names: list[str], values: dict[str, np.ndarray]) -> pl.DataFrame:
    """A row for each test row: its `key`, its `label`, and the prediction of each model; labels by name.

    The texts are left out: a key identifies the same row in two commits without showing it.
    """
    labels = rows["label"].to_list()
    if task == "multi_label":
        labels = [[names[index] for index in indices] for indices in labels]
    elif task != "regression":
        labels = [names[index] for index in labels]
    by_model = {model: predicted(task, found, names) for model, found in values.items()}
    return pl.DataFrame({"key": [key_of(text) for text in texts_of(rows)], "label": labels, **by_model})


def key_of(text: Text) -> str:
    """A hash of a text or of both texts of a pair (BLAKE2b, RFC 7693), in hexadecimal."""
    joined = text if isinstance(text, str) else "\0".join(text)
    return hashlib.blake2b(joined.encode(), digest_size=KEY_BYTES).hexdigest()


def predicted(task: Task, values: np.ndarray, names: list[str]) -> list[str] | list[list[str]] | list[float]:
    """For each row of values (`tasks.values_of`) its label, its labels, or its number."""
    if task == "regression":
        return values[:, 0].astype(np.float64).tolist()
    chosen = decisions_of(task, values)
    if task == "multi_label":
        return [[names[index] for index in np.flatnonzero(row)] for row in chosen]
    return [names[index] for index in chosen[:, 0]]
