"""The encoder: any transformers model that gives a state for every token. Refuses one that cannot be used."""

import copy
import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding
from transformers.utils import logging as transformers_logging

from ..errors import UserError, raise_if_memory

transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()

SMALL_VOCABULARY = 512
LAYERS = 2
SIZES = ("hidden_size", "num_hidden_layers", "vocab_size")


def load_encoder(directory: Path) -> Any:
    """The encoder in float32 on the CPU. Raises UserError when the directory holds none that can be used.

    transformers chooses the attention: torch's fused one (sdpa) if the model has it, else its own (eager). A pooler is
    not used (see `Classifier.pool`), but keeps its weights, so that `AutoModel` finds all of them in the saved model.
    """
    try:
        # Code that a model brings along is never run, because no digest covers it. By default transformers would ask.
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        config = AutoConfig.from_pretrained(directory, **options)
        if getattr(config, "quantization_config", None):
            raise ValueError("quantized weights: take the model's repository without quantization")
        encoder, notes = auto_class(config).from_pretrained(
            directory, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **options
        )
    except Exception as error:  # configurations, weights and quantizers have errors of their own
        raise_if_memory(error)
        raise no_encoder(directory, str(error).strip().partition("\n")[0]) from None
    parts = "|".join(name for name, _ in encoder.named_children())
    in_a_layer = re.compile(rf"({encoder.base_model_prefix}\.)?({parts})\.(.+\.)?\d+\..*weight")
    problems = {
        # Weights that are not in the file would be random; a layer with more weights than its class knows is another.
        "no weights for": sorted(name for name in notes["missing_keys"] if not name.startswith("pooler.")),
        "which has no use for": sorted(filter(in_a_layer.fullmatch, notes["unexpected_keys"])),
        "which takes no": sorted({"input_ids", "attention_mask"} - {*inspect.signature(encoder.forward).parameters}),
        "whose config.json has no": [name for name in SIZES if not isinstance(getattr(config, name, None), int)],
    }
    for problem, names in problems.items():
        if names:
            more = f" and {len(names) - 3} more" if names[3:] else ""
            raise no_encoder(directory, f"{type(encoder).__name__}, {problem} {', '.join(names[:3])}{more}")
    for name, weights in encoder.named_parameters():
        if name.startswith("pooler."):
            weights.requires_grad_(False)
            if name in notes["missing_keys"]:
                weights.zero_()
    return encoder


def auto_class(config: Any) -> Any:
    """The class of transformers that loads the encoder; for families with a decoder, only the encoder half."""
    defaults = type(config)()  # not the configuration itself: that of an encoder saved alone may say False
    return AutoModelForTextEncoding if defaults.is_encoder_decoder else AutoModel


def no_encoder(directory: Path, found: str, fix: str = "") -> UserError:
    """The refusal of a base model that is no encoder."""
    return UserError(
        f"{directory} does not hold a transformer encoder",
        expected="config.json and model.safetensors of an encoder of texts that transformers knows",
        found=found,
        fix=f"{fix}choose another model under fetch.model in params.yaml",
    )


def small_copy(encoder: Any) -> Any:
    """The same architecture with one layer of each kind, or two layers, a small vocabulary, and seeded random weights.

    Whatever depends only on the architecture can be tried on it in seconds. A model that cannot be cut down is returned
    unchanged.
    """
    config = copy.deepcopy(encoder.config)
    layers, kinds = config.num_hidden_layers, getattr(config, "layer_types", None) or []
    kept = sorted({kinds.index(kind) for kind in kinds}) or list(range(min(LAYERS, layers)))
    try:
        for name, value in list(vars(config).items()):
            if name.endswith("_token_id") and isinstance(value, int) and value >= SMALL_VOCABULARY:
                setattr(config, name, SMALL_VOCABULARY - 1)
        keep_layers(config, kept)
        config.vocab_size = min(config.vocab_size, SMALL_VOCABULARY)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            small = type(encoder)._from_config(config, dtype=torch.float32)
            for weights in small.parameters():
                draw(weights)
            return small.eval()
    except (ValueError, TypeError, NotImplementedError, IndexError, RuntimeError, StrictDataclassError) as error:
        raise_if_memory(error)
        return encoder.eval()


def keep_layers(config: Any, kept: Sequence[int]) -> None:
    """Reduce a configuration to these layers, including everything that it lists per layer."""
    layers = config.num_hidden_layers
    for name, value in list(vars(config).items()):
        if isinstance(value, list) and len(value) == layers:
            setattr(config, name, [value[layer] for layer in kept])
    config.num_hidden_layers = len(kept)


@torch.no_grad()
def draw(weights: Tensor) -> None:
    """Draw weights that keep the scale of what passes through them.

    A new model's own weights would hide a difference: zero vectors for padding, zero biases, small matrices.
    """
    if weights.ndim > 1:
        weights.normal_(std=(weights.numel() / len(weights)) ** -0.5)
    else:
        weights.add_(torch.randn_like(weights), alpha=0.1)


def token_ids(encoder: Any, length: int) -> Tensor:
    """`length` ids that are normally no special tokens (length, int64), on the encoder's device."""
    config, device = encoder.config, next(encoder.parameters()).device
    ids = torch.arange(length, device=device) % (min(config.vocab_size, 1000) - 8) + 7
    ids[ids == config.pad_token_id] = 6
    return ids


@torch.inference_mode()
def require_bf16(encoder: Any, ids: Tensor) -> None:
    """Raise UserError when the encoder cannot read these ids in bfloat16, as training does: DeBERTa's first version."""
    try:
        with torch.autocast(ids.device.type, torch.bfloat16):
            encoder(input_ids=ids, attention_mask=torch.ones_like(ids))
    except RuntimeError as error:
        raise_if_memory(error)
        raise UserError(
            f"{type(encoder).__name__} cannot be trained in bf16",
            expected="an encoder that torch's autocast can run in bfloat16",
            found=str(error).partition("\n")[0],
            fix="set compute.precision: fp32 in params.yaml",
        ) from None


@torch.inference_mode()
def longest_text(encoder: Any, wanted: int) -> int:
    """How many tokens, at most `wanted`, a text may have.

    Only a trial shows this: some models start counting positions after that of the padding token, and so have fewer
    than their configuration says. Raises UserError for an encoder that fails at any length.
    """
    named = getattr(encoder.config, "max_position_embeddings", None) or 0
    low, high = 0, min(wanted, named) if named > 0 else wanted  # XLNet says -1
    while low < high:
        length = high if low == 0 else (low + high + 1) // 2
        try:
            encoder(input_ids=token_ids(encoder, length)[None], attention_mask=torch.ones(1, length, dtype=torch.int64))
            low = length
        except Exception as error:  # families have errors of their own
            raise_if_memory(error)
            if length == 2:
                found = f"{type(encoder).__name__}, which fails: {str(error).strip().partition(chr(10))[0]}"
                raise no_encoder(Path(encoder.config.name_or_path), found) from None
            high = length - 1
            low = max(low, 1)
    return low
