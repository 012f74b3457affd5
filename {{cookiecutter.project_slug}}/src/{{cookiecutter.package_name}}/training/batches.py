"""The rows of a split as batches, and the order in which training takes them."""

import numpy as np
import polars as pl
import torch
from torch import Tensor

from .. import paths
from ..common.io import read_json
from ..common.tasks import TargetScale, target_scale_of, targets_of
from ..config import RowWeights, Task
from ..errors import UserError
from ..text.token_store import Ragged
from ..text.tokenization import pad

BATCHES_SORTED_TOGETHER = 50


class SplitDataset:
    """The rows of one split; token ids are read from the disk batch by batch.

    unit: the unit of the targets; None computes it from these rows. weighted: how much the rows weigh, if not alike.
    """

    def __init__(
        self, split: str, ids: Ragged, task: Task, unit: TargetScale | None = None, weighted: RowWeights | None = None
    ) -> None:
        self.sequences = ids
        self.column = pl.read_parquet(paths.split_table(split), columns=["label"])["label"]
        self.task: Task = task
        self.labels: list[str] = read_json(paths.LABELS)
        self.unit = unit or target_scale_of(self.column, task)
        self.weights = weights_of(split, weighted) if weighted else None

    def __len__(self) -> int:
        return len(self.sequences)

    def targets(self, rows: np.ndarray) -> np.ndarray:
        """The targets of these rows in the unit, see `tasks.targets_of`."""
        return self.unit.scale_targets(targets_of(self.column.gather(rows), self.task, len(self.labels)))

    def batch(self, rows: np.ndarray) -> tuple[Tensor, ...]:
        """Token ids and mask (rows x length of the longest row), the targets of the rows, and their weights if any."""
        sequences = [self.sequences[row] for row in rows]
        ids, mask = pad(sequences, max(len(sequence) for sequence in sequences))
        arrays = [ids, mask, self.targets(rows), *([] if self.weights is None else [self.weights[rows]])]
        return tuple(map(torch.from_numpy, arrays))


def weights_of(split: str, weighted: RowWeights) -> np.ndarray:
    """The weights of the rows (float32), scaled to 1 on average. Raises UserError for values that no row has."""
    values = pl.read_parquet(paths.split_table(split), columns=["kept"])["kept"].struct.unnest()[weighted.column]
    values = values.alias("value").str.strip_chars()  # polars takes a name like ^a$ for a pattern of names
    known = values.drop_nulls().unique().sort().to_list()
    if unknown := weighted.weights.keys() - set(known):
        raise UserError(
            "fine_tune.row_weights names values that no training row has",
            expected=f"values of the column {weighted.column!r}: {', '.join(map(repr, known[:20]))}",
            found=", ".join(map(repr, sorted(unknown))),
            fix="correct fine_tune.row_weights in params.yaml",
        )
    weights = values.replace_strict(weighted.weights, default=1.0, return_dtype=pl.Float64).to_numpy()
    return (weights / weights.mean()).astype(np.float32)


def order_of(lengths: np.ndarray, batch_size: int, seed: int, pass_index: int) -> np.ndarray:
    """The row indices in a shuffled order of batches. Rows of similar length share a batch, so little is padded.

    pass_index: counts the passes over the rows, from 0. The order depends only on it and the seed, so it is the same on
    every rank and after a kill.
    """
    generator = np.random.default_rng([seed, pass_index])
    shuffled = generator.permutation(len(lengths))
    together = batch_size * BATCHES_SORTED_TOGETHER
    parts = [shuffled[start : start + together] for start in range(0, len(shuffled), together)]
    by_length = np.concatenate([part[np.argsort(lengths[part], kind="stable")] for part in parts])
    *whole, last = [by_length[start : start + batch_size] for start in range(0, len(by_length), batch_size)]
    return np.concatenate([*(whole[index] for index in generator.permutation(len(whole))), last])
