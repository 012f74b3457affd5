"""Train only the rows of the embedding table that the texts use.

A tokenizer's vocabulary covers all texts of one language or many, and its table is half of a small model's weights.
The data use only a part of it. The other rows get no gradient, but would still cost the optimizer time and memory at
every step, and space in every checkpoint.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..text.tokenization import Sequences


@dataclass(frozen=True)
class WholeTable:
    """The original table (vocabulary x hidden size), the ids of the trained rows, and its name among the weights."""

    rows: Tensor
    used: Tensor
    name: str

    def restore(self, trained: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weights with the whole table instead of the trimmed one; the unused rows are unchanged."""
        return trained | {self.name: self.rows.index_copy(0, self.used, trained[self.name])}


def trim(model: nn.Module, *texts: Sequences) -> WholeTable | None:
    """Keep only the rows of the model's table that these texts use; the model still takes the same ids.

    Returns None and changes nothing if the table is not trained or several modules share it.
    """
    encoder: Any = model.get_submodule("encoder")
    table = encoder.get_input_embeddings()
    holders = [module for module in encoder.modules() if getattr(module, "weight", None) is table.weight]
    if not table.weight.requires_grad or type(table) is not nn.Embedding or len(holders) > 1:
        return None
    name = next(name for name, weights in model.named_parameters() if weights is table.weight)
    whole = WholeTable(table.weight.detach(), torch.from_numpy(ids_in(texts, len(table.weight))), name)
    index = torch.zeros(len(whole.rows), dtype=torch.int64)
    index[whole.used] = torch.arange(len(whole.used))
    table.register_buffer("index", index, persistent=False)
    table.register_forward_pre_hook(lambda table, inputs: (table.get_buffer("index")[inputs[0]],))
    table.weight = nn.Parameter(whole.rows[whole.used])
    table.num_embeddings = len(whole.used)
    table.padding_idx = None  # the mask keeps gradients away from the padding
    return whole


def ids_in(texts: tuple[Sequences, ...], size: int) -> np.ndarray:
    """The token ids, all below `size`, that occur in any text, in ascending order."""
    found = np.zeros(size, dtype=bool)
    for sequences in texts:
        for row in range(len(sequences)):
            found[sequences[row]] = True
    return np.flatnonzero(found)
