"""The rows of a split as batches, and the order in which training takes them."""

import numpy as np
import polars as pl
import torch
from torch import Tensor

from .. import paths
from ..common.io import read_json
from ..common.tasks import Unit, targets_of, unit_of
from ..config import Task
from ..text.token_store import Ragged
from ..text.tokenization import pad

BATCHES_SORTED_TOGETHER = 50


class Rows:
    """The rows of one split; token ids are read from the disk batch by batch.

    unit: the unit of the targets; None computes it from these rows.
    """

    def __init__(self, split: str, sequences: Ragged, task: Task, unit: Unit | None = None) -> None:
        self.sequences = sequences
        self.column = pl.read_parquet(paths.split_table(split), columns=["label"])["label"]
        self.task: Task = task
        self.labels: list[str] = read_json(paths.LABELS)
        self.unit = unit or unit_of(self.column, task)

    def __len__(self) -> int:
        return len(self.sequences)

    def targets(self, rows: np.ndarray) -> np.ndarray:
        """The targets of these rows in the unit, see `tasks.targets_of`."""
        return self.unit.targets(targets_of(self.column.gather(rows), self.task, len(self.labels)))

    def batch(self, rows: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Token ids and mask (rows x length of the longest row), and the targets of the rows."""
        sequences = [self.sequences[row] for row in rows]
        ids, mask = pad(sequences, max(len(sequence) for sequence in sequences))
        return torch.from_numpy(ids), torch.from_numpy(mask), torch.from_numpy(self.targets(rows))


def order_of(lengths: np.ndarray, batch_size: int, seed: int, number: int) -> np.ndarray:
    """The row indices in a shuffled order of batches. Rows of similar length share a batch, so little is padded.

    number: the pass over the rows, from 0. The order depends only on it and the seed, so it is the same on every rank
    and after a kill.
    """
    generator = np.random.default_rng([seed, number])
    shuffled = generator.permutation(len(lengths))
    together = batch_size * BATCHES_SORTED_TOGETHER
    parts = [shuffled[start : start + together] for start in range(0, len(shuffled), together)]
    by_length = np.concatenate([part[np.argsort(lengths[part], kind="stable")] for part in parts])
    *whole, last = [by_length[start : start + batch_size] for start in range(0, len(by_length), batch_size)]
    return np.concatenate([*(whole[index] for index in generator.permutation(len(whole))), last])
