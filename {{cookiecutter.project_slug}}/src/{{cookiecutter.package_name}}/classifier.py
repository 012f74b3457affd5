"""The model: a transformer encoder, pooling, and a linear head."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from tqdm import tqdm
from transformers import AutoConfig, AutoModel
from transformers.utils import logging as transformers_logging

from .errors import UserError
from .manifest import verified_manifest
from .params import Text
from .tokens import Batch, Sequences, fixed_shape_batches

transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()

Pooling = Literal["mean", "cls"]


class Classifier(nn.Module):
    """Texts as token ids to one logit per label."""

    def __init__(self, encoder: nn.Module, labels: int, pooling: Pooling) -> None:
        super().__init__()
        config: Any = encoder.config
        if hasattr(encoder, "pooler"):
            encoder.register_module("pooler", None)  # we pool ourselves; its weights would never get a gradient
        self.encoder = encoder
        self.pooling = pooling
        self.dropout = nn.Dropout(getattr(config, "hidden_dropout_prob", 0.1))
        self.head = nn.Linear(config.hidden_size, labels)

    def embed(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """One vector per text: rows x hidden size."""
        tokens = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.pooling == "cls":
            return tokens[:, 0]
        weights = attention_mask.unsqueeze(-1).to(tokens.dtype)
        return (tokens * weights).sum(dim=1) / weights.sum(dim=1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Logits (rows x labels), and the cross-entropy loss where labels (rows) are given."""
        logits = self.head(self.dropout(self.embed(input_ids, attention_mask)))
        if labels is None:
            return {"logits": logits}
        return {"loss": nn.functional.cross_entropy(logits.float(), labels), "logits": logits}


def load_base(directory: Path, labels: int, text: Text) -> Classifier:
    """The pretrained encoder in float32 under a new head. Raises UserError when it is no encoder that can be used."""
    try:
        encoder = AutoModel.from_pretrained(
            directory, dtype=torch.float32, local_files_only=True, use_safetensors=True, attn_implementation="sdpa"
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UserError(
            f"{directory} does not hold a transformer encoder",
            expected="config.json and model.safetensors of an encoder that transformers knows",
            found=str(error).splitlines()[0],
            remedy="choose another model under fetch.model in params.yaml",
        ) from None
    positions = getattr(encoder.config, "max_position_embeddings", text.max_length)
    if text.max_length > positions:
        raise UserError(
            "text.max_length is more than the model can read",
            expected=f"at most {positions} tokens",
            found=str(text.max_length),
            remedy="lower text.max_length in params.yaml, or choose another model",
        )
    return Classifier(encoder, labels, text.pooling)


def load_fine_tuned(directory: Path, labels: int, pooling: Pooling) -> Classifier:
    """The model that `fine_tune` wrote, ready to predict; UserError when a file of it was changed."""
    verified_manifest(directory, ("config.json", "model.safetensors"))
    config = AutoConfig.from_pretrained(directory, local_files_only=True)
    model = Classifier(AutoModel.from_config(config, attn_implementation="sdpa"), labels, pooling)
    load_model(model, directory / "model.safetensors")
    return model.eval()


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the weights as safetensors, without any metadata but the format."""
    save_model(model, str(path), metadata={"format": "pt"})


@torch.inference_mode()
def run_batches(
    model: Classifier, batches: Iterable[Batch], *, output: Literal["vectors", "logits"], bf16: bool = False
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The vectors or logits of each batch (rows x size, float32) and the places of its texts."""
    model.eval()
    device = next(model.parameters()).device
    for batch in batches:
        ids, mask = (to_device(values, device) for values in (batch.ids, batch.mask))
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            values = model.embed(ids, mask) if output == "vectors" else model(ids, mask)["logits"]
        yield batch.rows, values.float().cpu().numpy()[: len(batch.rows)]


def run_over(
    model: Classifier, sequences: Sequences, *, output: Literal["vectors", "logits"], bf16: bool = False
) -> np.ndarray:
    """Vectors or logits of every text, float32, rows in the order given. No row depends on another."""
    result: np.ndarray | None = None
    with tqdm(total=len(sequences), desc=output, unit="text", disable=None) as bar:
        for rows, values in run_batches(model, fixed_shape_batches(sequences), output=output, bf16=bf16):
            if result is None:
                result = np.empty((len(sequences), values.shape[1]), dtype=np.float32)
            result[rows] = values
            bar.update(len(rows))
    if result is None:
        raise ValueError("no texts")
    return result


def to_device(values: np.ndarray, device: torch.device) -> Tensor:
    """The array as a tensor there; on its way to a GPU nobody waits for it."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
