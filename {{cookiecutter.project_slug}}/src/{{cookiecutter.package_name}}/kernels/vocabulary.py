"""Train only the rows of the embedding table that the texts use.

A tokenizer's vocabulary covers all texts of one language or many, and its table is half of a small model's weights.
The data use only a part of it. The other rows get no gradient, but would still cost the optimizer time and memory at
every step, and space in every checkpoint.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from ..text.tokenization import Sequences
from . import Weights


def trim(model: nn.Module, *texts: Sequences) -> Callable[[Weights], Weights]:
    """Keep only the rows of the model's table that these texts use; the model still takes the same ids.

    Returns a function that puts the trained rows into the whole table again, among the model's weights. If the table is
    not trained or several modules share it, nothing changes, and the function returns the weights as they are.
    """
    encoder: Any = model.get_submodule("encoder")
    table = encoder.get_input_embeddings()
    holders = [module for module in encoder.modules() if getattr(module, "weight", None) is table.weight]
    if not table.weight.requires_grad or type(table) is not nn.Embedding or len(holders) > 1:
        return lambda trained: trained
    name = next(name for name, weights in model.named_parameters() if weights is table.weight)
    whole = table.weight.detach()
    used = torch.from_numpy(ids_in(texts, len(whole)))
    index = torch.zeros(len(whole), dtype=torch.int64)
    index[used] = torch.arange(len(used))
    table.register_buffer("index", index, persistent=False)
    table.register_forward_pre_hook(lambda table, inputs: (table.get_buffer("index")[inputs[0]],))
    table.weight = nn.Parameter(whole[used])
    table.num_embeddings = len(used)
    table.padding_idx = None  # the mask keeps gradients away from the padding
    return lambda trained: trained | {name: whole.index_copy(0, used, trained[name])}


def ids_in(texts: tuple[Sequences, ...], size: int) -> np.ndarray:
    """The token ids, all below `size`, that occur in any text, in ascending order."""
    found = np.zeros(size, dtype=bool)
    for sequences in texts:
        for row in range(len(sequences)):
            found[sequences[row]] = True
    return np.flatnonzero(found)
