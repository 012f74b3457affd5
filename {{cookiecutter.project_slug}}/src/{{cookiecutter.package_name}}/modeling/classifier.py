"""The model: a transformer encoder, pooling, and a linear head."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from tqdm import tqdm
from transformers import AutoConfig, AutoModel
from transformers.utils import logging as transformers_logging

from ..common.manifest import verified_manifest
from ..config import Task, Text
from ..errors import UserError
from ..kernels.packing import Groups, Pack, first_position, packed_attention, packs, split
from ..text.tokenization import TOKENS_PER_BATCH, Batch, Sequences, fixed_shape_batches, load_tokenizer

transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()

Pooling = Literal["mean", "cls"]

LOSSES: dict[Task, Callable[[Tensor, Tensor], Tensor]] = {
    "single_label": nn.functional.cross_entropy,
    "pair": nn.functional.cross_entropy,
    "multi_label": nn.functional.binary_cross_entropy_with_logits,
    "regression": lambda logits, targets: nn.functional.mse_loss(logits.squeeze(1), targets),
}


class Classifier(nn.Module):
    """Texts as token ids to the logits that `tasks.py` explains.

    separator: the token id that ends the first text of a pair, for an encoder that tells the two apart.
    """

    def __init__(
        self, encoder: nn.Module, width: int, pooling: Pooling, task: Task, separator: int | None = None
    ) -> None:
        super().__init__()
        config: Any = encoder.config
        if hasattr(encoder, "pooler"):
            encoder.register_module("pooler", None)  # we pool ourselves; its weights would never get a gradient
        self.encoder = encoder
        self.pooling = pooling
        self.separator = separator
        # A dropped feature moves a number as a whole, where it only shifts the odds of a label.
        self.dropout = nn.Dropout(0.0 if task == "regression" else getattr(config, "hidden_dropout_prob", 0.1))
        self.head = nn.Linear(config.hidden_size, width)

    def embed(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """One vector per text: rows x hidden size."""
        second = {} if self.separator is None else {"token_type_ids": after_first(input_ids, self.separator)}
        tokens = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **second).last_hidden_state.float()
        if self.pooling == "cls":
            return tokens[:, 0]
        weights = attention_mask.unsqueeze(-1).to(tokens.dtype)
        return (tokens * weights).sum(dim=1) / weights.sum(dim=1)

    def embed_packed(self, input_ids: Tensor, position_ids: Tensor, groups: Groups) -> Tensor:
        """One vector per text of a packed row, see `packing.Pack`: texts x hidden size."""
        second = {}
        if self.separator is not None:
            types = [after_first(ids, self.separator).flatten() for ids in split(input_ids[0], groups)]
            second = {"token_type_ids": torch.cat(types)[None]}
        with packed_attention(self.encoder):
            states = self.encoder(input_ids=input_ids, position_ids=position_ids, groups=groups, **second)
        by_group = split(states.last_hidden_state[0].float(), groups)
        return torch.cat([tokens[:, 0] if self.pooling == "cls" else tokens.mean(dim=1) for tokens in by_group])

    def classify(self, vectors: Tensor) -> Tensor:
        """Logits (rows x width) of vectors (rows x hidden size)."""
        return self.head(self.dropout(vectors))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits: rows x width."""
        return self.classify(self.embed(input_ids, attention_mask))


def after_first(ids: Tensor, separator: int) -> Tensor:
    """1 for the tokens behind the first separator of their row, 0 for those up to it (rows x length, int64)."""
    found = (ids == separator).to(torch.int64)
    return (found.cumsum(dim=1) - found).clamp(max=1)


def load_base(directory: Path, width: int, text: Text, task: Task) -> Classifier:
    """The pretrained encoder in float32 under a new head. Raises UserError when it is no encoder that can be used."""
    try:
        encoder, notes = AutoModel.from_pretrained(
            directory,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, StrictDataclassError) as error:
        raise _no_encoder(directory, str(error).strip().partition("\n")[0]) from None
    # Weights that are not in the file would be random ones; a pooler is not used.
    missing = sorted(name for name in notes["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise _no_encoder(directory, f"no weights for {', '.join(missing[:3])} and {len(missing[3:])} more")
    if encoder.config.is_encoder_decoder or "input_ids" not in inspect.signature(encoder.forward).parameters:
        raise _no_encoder(directory, f"{type(encoder).__name__}, which is none")
    positions = getattr(encoder.config, "max_position_embeddings", text.max_length)
    if text.max_length > positions:
        raise UserError(
            "text.max_length is more than the model can read",
            expected=f"at most {positions} tokens",
            found=str(text.max_length),
            fix="lower text.max_length in params.yaml, or choose another model",
        )
    return Classifier(encoder, width, text.pooling, task, separator_of(directory, encoder.config, task))


def _no_encoder(directory: Path, found: str) -> UserError:
    return UserError(
        f"{directory} does not hold a transformer encoder",
        expected="config.json and model.safetensors of an encoder of texts that transformers knows",
        found=found,
        fix="choose another model under fetch.model in params.yaml",
    )


def separator_of(directory: Path, config: Any, task: Task) -> int | None:
    """The token between the texts of a pair, where the encoder has embeddings for first and second text."""
    if task != "pair" or getattr(config, "type_vocab_size", 1) < 2:
        return None
    empty = load_tokenizer(directory / "tokenizer.json", max_length=8).encode("", "")
    return empty.ids[empty.type_ids.index(1) - 1] if 1 in empty.type_ids else None


def load_fine_tuned(directory: Path, width: int, pooling: Pooling, task: Task) -> Classifier:
    """The model that `fine_tune` wrote, ready to predict; UserError when a file of it was changed."""
    verified_manifest(directory, ("config.json", "model.safetensors", "tokenizer.json"))
    config = AutoConfig.from_pretrained(directory, local_files_only=True)
    encoder = AutoModel.from_config(config, attn_implementation="sdpa")
    model = Classifier(encoder, width, pooling, task, separator_of(directory, config, task))
    load_model(model, directory / "model.safetensors")
    return model.eval()


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the weights as safetensors, without any metadata but the format."""
    save_model(model, str(path), metadata={"format": "pt"})


def batches_of(model: Classifier, sequences: Sequences, longest: int) -> Iterator[Batch | Pack]:
    """The sequences, of at most `longest` tokens, as batches in which no row of the result depends on another."""
    device = next(model.parameters()).device.type
    first = first_position(model.eval().encoder, longest)
    if first is None:
        return fixed_shape_batches(sequences, device)
    return packs(sequences, max(longest, TOKENS_PER_BATCH[device]), first)


@torch.inference_mode()
def run_batches(
    model: Classifier, batches: Iterable[Batch | Pack], *, output: Literal["vectors", "logits"], bf16: bool = False
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The vectors or logits of each batch (rows x size, float32) and the places of its texts."""
    model.eval()
    device = next(model.parameters()).device
    for batch in batches:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            vectors = vectors_of(model, batch, device)
            values = vectors if output == "vectors" else model.classify(vectors)
        yield batch.rows, values.float().cpu().numpy()[: len(batch.rows)]


def vectors_of(model: Classifier, batch: Batch | Pack, device: torch.device) -> Tensor:
    """The vectors of a batch, at least as many as it has rows."""
    ids = to_device(torch.from_numpy(batch.ids), device)
    if isinstance(batch, Pack):
        return model.embed_packed(ids, to_device(torch.from_numpy(batch.positions), device), batch.groups)
    return model.embed(ids, to_device(torch.from_numpy(batch.mask), device))


def run_over(
    model: Classifier, sequences: Sequences, longest: int, *, output: Literal["vectors", "logits"]
) -> np.ndarray:
    """Vectors or logits of every text (of at most `longest` tokens), float32, in the order given."""
    result: np.ndarray | None = None
    with tqdm(total=len(sequences), desc=output, unit="text", disable=None) as bar:
        for rows, values in run_batches(model, batches_of(model, sequences, longest), output=output):
            if result is None:
                result = np.empty((len(sequences), values.shape[1]), dtype=np.float32)
            result[rows] = values
            bar.update(len(rows))
    if result is None:
        raise ValueError("no texts")
    return result


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor there; on its way to a GPU nobody waits for it."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
