"""What the Trainer draws its batches from."""

from collections.abc import Callable, Iterator
from typing import cast

import numpy as np
import polars as pl
import torch
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import Trainer
from transformers.trainer_pt_utils import get_length_grouped_indices

from . import paths, processes
from .files import read_json
from .token_store import Ragged, TokenStore
from .tokens import pad, padded_length


class Rows(Dataset[dict[str, np.ndarray]]):
    """The token ids of one split, read from the disk as they are asked for, and its labels.

    A label is an index (int64), a number (float32), or one float32 per name: 1 for those that hold.
    """

    def __init__(self, split: str, store: TokenStore) -> None:
        self.sequences = store.split(split)
        column = pl.read_parquet(paths.split_table(split), columns=["label"])["label"]
        self.sets = isinstance(column.dtype, pl.List)
        self.width = len(read_json(paths.LABELS))
        self.labels = sets_of(column) if self.sets else values_of(column)

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        label = self.labels[index]
        if self.sets:
            label, held = np.zeros(self.width, dtype=np.float32), label
            label[held] = 1
        return {"input_ids": self.sequences[index], "label": label}


def values_of(column: pl.Series) -> np.ndarray:
    """One value per row: indices as int64, numbers as float32."""
    return column.to_numpy().astype(np.float32 if column.dtype.is_float() else np.int64)


def sets_of(column: pl.Series) -> Ragged:
    """Any number of indices per row."""
    bounds = np.concatenate([[0], np.cumsum(column.list.len().to_numpy(), dtype=np.int64)])
    return Ragged(column.filter(column.list.len() > 0).explode().to_numpy(), bounds)


def collate(rows: list[dict[str, np.ndarray]]) -> dict[str, torch.Tensor]:
    """A batch as the model takes it: token ids and mask (rows x padded length), labels (rows, or rows x names)."""
    sequences = [row["input_ids"] for row in rows]
    ids, mask = pad(sequences, padded_length(max(len(sequence) for sequence in sequences)))
    labels = torch.from_numpy(np.array([row["label"] for row in rows]))
    return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask), "labels": labels}


class ByLength(Sampler[int]):
    """Rows in a drawn order in which those of about one length stand together.

    The order follows from seed and epoch alone. Drawn from the generator that dropout draws from too, it would be
    another one in each process, and after a kill in a later epoch.
    """

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int, epoch: Callable[[], int]) -> None:
        self.lengths = lengths.tolist()
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch())
        return iter(get_length_grouped_indices(self.lengths, self.batch_size, generator=generator))


class OwnOrder(Trainer):
    """The Trainer with an order of the training rows that is the same in every process, and after a kill."""

    def get_train_dataloader(self) -> DataLoader:
        """This process's part of every batch."""
        rows, share = cast(Rows, self.train_dataset), self.args.train_batch_size
        seed = cast(int, self.args.data_seed)
        order = ByLength(rows.sequences.lengths(), share * processes.count(), seed, lambda: int(self.state.epoch or 0))
        pin = self.args.dataloader_pin_memory
        return self.accelerator.prepare(
            DataLoader(rows, batch_size=share, sampler=order, collate_fn=collate, pin_memory=pin)
        )
