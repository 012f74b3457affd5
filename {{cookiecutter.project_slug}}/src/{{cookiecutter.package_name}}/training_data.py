"""What the Trainer draws its batches from."""

import polars as pl
import torch
from torch.utils.data import Dataset

from . import paths
from .params import Params
from .tasks import targets_of
from .tokens import encode, load_tokenizer, pad, padded_length, texts_of


class Rows(Dataset[dict[str, object]]):
    """The token ids and targets of one split."""

    def __init__(self, split: str, labels: int, params: Params) -> None:
        table = pl.read_parquet(paths.split_table(split))
        tokenizer = load_tokenizer(paths.BASE_MODEL / "tokenizer.json", params.text.max_length)
        self.sequences = encode(tokenizer, texts_of(table))
        self.targets = torch.from_numpy(targets_of(table["label"], params.task, labels))

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> dict[str, object]:
        return {"input_ids": self.sequences[index], "target": self.targets[index]}


def collate(rows: list[dict]) -> dict[str, torch.Tensor]:
    """A batch as the model takes it: token ids and mask (rows x padded length), targets under `labels`."""
    sequences = [row["input_ids"] for row in rows]
    ids, mask = pad(sequences, padded_length(max(len(sequence) for sequence in sequences)))
    labels = torch.stack([row["target"] for row in rows])
    return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask), "labels": labels}
