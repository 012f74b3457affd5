"""Pack texts one after another into rows of one length, without gaps (Krell et al. 2021, arXiv:2107.02027).

No product is spent on padding. Every row has the same length, so every matrix product has the same shape, and the
vector of a text is the same whatever the other texts are.
"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

from ..common.distributed import to_device
from ..errors import raise_if_memory
from ..text.tokenization import Sequences
from .layers import attend, attention, near

Groups = list[tuple[int, int]]
TOKENS_PER_ROW = {"cpu": 1024, "cuda": 65_536}
LONG = 512  # tokens; on a GPU, the number of texts decides how a sum over more of them is split


@dataclass(frozen=True)
class Pack:
    """One row of texts: `rows` (n) are their indices, `ids` and `positions` 1 x length, int64.

    groups: runs of texts of one length, as (texts, length). The last ones may be filling: texts of one token.
    """

    rows: np.ndarray
    ids: np.ndarray
    positions: np.ndarray
    groups: Groups


@dataclass(frozen=True)
class Packed:
    """A `modeling.classifier.Classifier` over packed texts; `first_position` is that of each text's first token."""

    model: Any
    length: int
    first_position: int

    @classmethod
    def of(cls, model: Any, max_length: int) -> Self | None:
        """The model over packed texts of at most `max_length` tokens; None if its encoder cannot read packed texts."""
        first = first_position(model.eval().encoder, max_length)
        device = next(model.encoder.parameters()).device
        return None if first is None else cls(model, max(max_length, TOKENS_PER_ROW[device.type]), first)

    def batches(self, sequences: Sequences) -> Iterator[Pack]:
        """Packed rows of the sequences, the longest first."""
        return packs(sequences, self.length, self.first_position)

    def embed(self, batch: Pack) -> Tensor:
        """One vector per text, then those of the filling: at least `len(batch.rows)` x hidden size."""
        device = next(self.model.encoder.parameters()).device
        ids, positions = (to_device(torch.from_numpy(values), device) for values in (batch.ids, batch.positions))
        types = [self.model.token_types(part) for part in split(ids[0], batch.groups)]
        named = {name: torch.cat([found[name].flatten() for found in types])[None] for name in types[0]}
        with attention(self.model.encoder, "packed"):
            states = self.model.encoder(input_ids=ids, position_ids=positions, groups=batch.groups, **named)
        by_group = split(states.last_hidden_state[0].float(), batch.groups)
        parts = [one for part in by_group for one in part.split(1 if part.shape[1] > LONG else len(part))]
        return torch.cat([self.model.pool(part, torch.ones(part.shape[:2], device=device)) for part in parts])


def packs(sequences: Sequences, length: int, first: int) -> Iterator[Pack]:
    """Rows of this length, the longest texts first, none longer than a row; `first`: the position of a first token."""
    lengths = np.array([len(sequences[row]) for row in range(len(sequences))])
    order = np.argsort(-lengths, kind="stable")
    ends = np.cumsum(lengths[order])
    start = 0
    while start < len(order):
        before = ends[start - 1] if start else 0
        end = int(np.searchsorted(ends, before + length, side="right"))
        rows = order[start:end]
        filling = np.zeros(length - (ends[end - 1] - before), dtype=np.int64)
        ids = np.concatenate([*(sequences[int(row)] for row in rows), filling]).astype(np.int64)
        positions = first + np.concatenate([*(np.arange(lengths[row]) for row in rows), filling])
        all_lengths = [*lengths[rows].tolist(), *[1] * len(filling)]
        groups = [(len(list(same)), size) for size, same in groupby(all_lengths)]
        yield Pack(rows, ids[np.newaxis], positions[np.newaxis], groups)
        start = end


def split(values: Tensor, groups: Groups) -> Iterator[Tensor]:
    """Split the values of a row's tokens (length x …) by group, each into texts x their length x …."""
    parts = values.split([texts * length for texts, length in groups])
    return (part.unflatten(0, group) for part, group in zip(parts, groups, strict=True))


@torch.inference_mode()
def first_position(encoder: nn.Module, max_length: int) -> int | None:
    """The position that the encoder gives to a text's first token; None when it cannot read packed texts.

    Only a trial shows this: a long and a short text must have the same states in one row as alone. This rejects every
    encoder whose states depend on anything other than the tokens of a text and their positions.
    """
    config: Any = encoder.config
    takes_positions = "position_ids" in inspect.signature(encoder.forward).parameters
    if not takes_positions or not getattr(encoder, "_supports_attention_backend", False):
        return None
    device = next(encoder.parameters()).device
    ids = torch.arange(5, 5 + max_length, device=device) % min(config.vocab_size, 1000)
    ids[ids == config.pad_token_id] = 7
    texts = [ids[None], ids[None, : max_length // 2]]
    alone = [encoder(input_ids=text, attention_mask=torch.ones_like(text)).last_hidden_state[0] for text in texts]
    row, groups = torch.cat(texts, dim=1), [tuple(text.shape) for text in texts]
    positions = torch.cat([torch.arange(text.shape[1], device=device) for text in texts])[None]
    for first in (0, (config.pad_token_id or 0) + 1):  # some begin after the position of the padding token
        if 0 < (getattr(config, "max_position_embeddings", None) or 0) < first + max_length:  # a GPU ends the process
            continue
        try:
            with attention(encoder, "packed"):
                found = encoder(input_ids=row, position_ids=first + positions, groups=groups).last_hidden_state[0]
        except (RuntimeError, TypeError, ValueError, KeyError, IndexError) as error:
            raise_if_memory(error)
            continue
        if near(found, torch.cat(alone)):
            return first
    return None


def _attend(
    _module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    groups: Groups,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention (1 x heads x length x size) within each text; texts of equal length are computed together."""
    del attention_mask
    by_group = [
        [part.transpose(1, 2) for part in split(values[0].transpose(0, 1), groups)] for values in (query, key, value)
    ]
    found = [attend(*parts, scaling=scaling) for parts in zip(*by_group, strict=True)]
    return torch.cat([part.transpose(1, 2).flatten(0, 1) for part in found])[None], None


AttentionInterface.register("packed", _attend)
AttentionMaskInterface.register("packed", lambda **_: None)
