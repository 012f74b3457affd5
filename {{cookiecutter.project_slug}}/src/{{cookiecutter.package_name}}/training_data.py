"""What the Trainer draws its batches from."""

import polars as pl
import torch
from torch.utils.data import Dataset

from . import paths
from .tokens import encode, load_tokenizer, pad, padded_length


class Rows(Dataset[dict[str, object]]):
    """The token ids and labels of one split."""

    def __init__(self, split: str, max_length: int) -> None:
        table = pl.read_parquet(paths.split_table(split))
        tokenizer = load_tokenizer(paths.BASE_MODEL / "tokenizer.json", max_length)
        self.sequences = encode(tokenizer, table["text"].to_list())
        self.labels = table["label"].to_list()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, object]:
        return {"input_ids": self.sequences[index], "label": self.labels[index]}


def collate(rows: list[dict]) -> dict[str, torch.Tensor]:
    """A batch as the model takes it: token ids and mask (rows x padded length), labels (rows)."""
    sequences = [row["input_ids"] for row in rows]
    ids, mask = pad(sequences, padded_length(max(len(sequence) for sequence in sequences)))
    labels = torch.tensor([row["label"] for row in rows])
    return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask), "labels": labels}
