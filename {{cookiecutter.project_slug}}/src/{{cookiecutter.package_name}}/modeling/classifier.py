"""The model: a transformer encoder, pooling, and a linear head."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..config import Task, TextSettings
from ..text.tokenization import load_tokenizer
from .encoder import load_encoder

Pooling = Literal["mean", "cls", "last"]

LOSSES: dict[Task, Callable[..., Tensor]] = {
    "single_label": nn.functional.cross_entropy,
    "pair": nn.functional.cross_entropy,
    "multi_label": nn.functional.binary_cross_entropy_with_logits,
    "regression": lambda logits, targets, **how: nn.functional.mse_loss(logits.squeeze(1), targets, **how),
}


class Classifier(nn.Module):
    """Maps token ids of texts to logits, whose meaning `tasks.py` explains.

    `head` stays the last layer, and linear: it starts from the probe, and temperature scaling divides its weights.
    separator: the token id that ends the first text of a pair, for an encoder with token types.
    """

    def __init__(
        self, encoder: nn.Module, outputs: int, pooling: Pooling, task: Task, separator: int | None = None
    ) -> None:
        super().__init__()
        config: Any = encoder.config
        self.encoder = encoder
        self.pooling = pooling
        self.separator = separator
        # A dropped feature shifts a predicted number directly, but only the odds of a label.
        self.dropout = nn.Dropout(0.0 if task == "regression" else getattr(config, "hidden_dropout_prob", 0.1))
        self.head = nn.Linear(config.hidden_size, outputs)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits: rows x outputs."""
        return self.classify(self.embed(input_ids, attention_mask))

    def embed(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """One vector per text: rows x hidden size."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **self.token_types(input_ids))
        return self.pool(states.last_hidden_state.float(), attention_mask)

    def token_types(self, input_ids: Tensor) -> dict[str, Tensor]:
        """The encoder's input that marks with 1 what follows the first separator (rows x length); empty without one."""
        if self.separator is None:
            return {}
        found = (input_ids == self.separator).to(torch.int64)
        return {"token_type_ids": (found.cumsum(dim=1) - found).clamp(max=1)}

    def pool(self, states: Tensor, attention_mask: Tensor) -> Tensor:
        """One vector per text (rows x hidden size) from the states of its tokens (rows x length x hidden size)."""
        if self.pooling == "cls":
            return states[:, 0]
        if self.pooling == "last":
            last = attention_mask.to(torch.int64).sum(dim=1) - 1
            return states.gather(1, last[:, None, None].expand(-1, 1, states.shape[2]))[:, 0]
        weights = attention_mask.unsqueeze(-1).to(states.dtype)
        return (states * weights).sum(dim=1) / weights.sum(dim=1)

    def classify(self, vectors: Tensor) -> Tensor:
        """Logits (rows x outputs) from vectors (rows x hidden size)."""
        return self.head(self.dropout(vectors))


def load_base(directory: Path, outputs: int, text: TextSettings, task: Task) -> Classifier:
    """The pretrained encoder in float32 with a new head. Raises UserError when the encoder cannot be used."""
    encoder = load_encoder(directory)
    return Classifier(encoder, outputs, text.pooling, task, separator_of(directory, encoder.config, task))


def separator_of(directory: Path, config: Any, task: Task) -> int | None:
    """The token between the texts of a pair, if the encoder has different embeddings for the first and second text."""
    if task != "pair" or getattr(config, "type_vocab_size", 1) < 2:
        return None
    empty = load_tokenizer(directory / "tokenizer.json", max_length=8).encode("", "")
    return empty.ids[empty.type_ids.index(1) - 1] if 1 in empty.type_ids else None
