"""What the Trainer draws its batches from."""

from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import polars as pl
import torch
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import Trainer
from transformers.trainer_pt_utils import get_length_grouped_indices

from . import paths, processes
from .files import read_json
from .params import Task
from .tasks import targets_of
from .token_store import TokenStore
from .tokens import pad, padded_length


class Rows(Dataset[dict[str, Any]]):
    """The rows of one split: their token ids are read from the disk as they are asked for."""

    def __init__(self, split: str, store: TokenStore, task: Task) -> None:
        self.sequences = store.split(split)
        self.column = pl.read_parquet(paths.split_table(split), columns=["label"])["label"]
        self.task: Task = task
        self.labels = len(read_json(paths.LABELS))

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input_ids": self.sequences[index], "row": index}

    def collate(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """A batch as the model takes it: token ids and mask (rows x padded length), targets under `labels`."""
        sequences = [row["input_ids"] for row in rows]
        ids, mask = pad(sequences, padded_length(max(len(sequence) for sequence in sequences)))
        targets = targets_of(self.column.gather([row["row"] for row in rows]), self.task, self.labels)
        batch = {"input_ids": ids, "attention_mask": mask, "labels": targets}
        return {name: torch.from_numpy(values) for name, values in batch.items()}


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
            DataLoader(rows, batch_size=share, sampler=order, collate_fn=rows.collate, pin_memory=pin)
        )
