"""Run a model over many texts."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from ..common import distributed
from ..config import Compute
from ..kernels import pack
from ..text.tokenization import Batch, Sequences, fixed_shape_batches
from .classifier import Classifier

if TYPE_CHECKING:
    from ..kernels.packing import Packed


class Padded:
    """A model over padded batches of fixed shapes, so that no text's vector depends on the other texts."""

    def __init__(self, model: Classifier) -> None:
        self.model = model

    def batches(self, sequences: Sequences) -> Iterator[Batch]:
        """The sequences in batches, the longest first."""
        return fixed_shape_batches(sequences, next(self.model.parameters()).device.type)

    def embed(self, batch: Batch) -> Tensor:
        """One vector per text, then those of the filling: at least `len(batch.rows)` x hidden size."""
        device = next(self.model.parameters()).device
        ids, mask = (distributed.to_device(torch.from_numpy(values), device) for values in (batch.ids, batch.mask))
        return self.model.embed(ids, mask)


def batcher_for(model: Classifier, compute: Compute, max_length: int) -> "Padded | Packed":
    """The model over batches of texts of at most `max_length` tokens, packed if possible."""
    return pack(model, compute, max_length) or Padded(model)


@torch.inference_mode()
def run_batches(
    batcher: Any, sequences: Sequences, *, output: Literal["vectors", "logits"], bf16: bool = False
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each batch of this rank (every n-th): the indices of its texts, vectors or logits (rows x size, float32)."""
    model = batcher.model.eval()
    device = next(model.parameters()).device
    rank, ranks = distributed.rank(), distributed.world_size()
    with tqdm(total=len(sequences) // ranks, desc=output, unit="text", leave=None, disable=rank > 0 or None) as bar:
        for batch in islice(batcher.batches(sequences), rank, None, ranks):
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16), invariant_attention(device):
                vectors = batcher.embed(batch)
                values = vectors if output == "vectors" else model.classify(vectors)
            yield np.asarray(batch.rows), values.float().cpu().numpy()[: len(batch.rows)]
            bar.update(len(batch.rows))


def invariant_attention(device: torch.device) -> AbstractContextManager[object]:
    """Inside, torch's attention on a GPU gives a text the same bits whatever else is in its batch.

    In bfloat16 the flash kernel does not: from 257 tokens on, the way it splits a sum depends on the number of texts.
    It is also not used for batches with a mask. (Seen on an H200 with torch 2.11, 64 of 64 texts of 260 to 512 tokens.)
    """
    if device.type != "cuda":
        return nullcontext()
    return sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH])


def run_over(batcher: "Padded | Packed", sequences: Sequences, *, output: Literal["vectors", "logits"]) -> np.ndarray:
    """Vectors or logits of every text, float32, in the order given; for a stage of one process."""
    return in_order(list(run_batches(batcher, sequences, output=output)))


def in_order(batches: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The rows of all batches, sorted by the index of their text."""
    rows, values = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return values[np.argsort(rows)]
