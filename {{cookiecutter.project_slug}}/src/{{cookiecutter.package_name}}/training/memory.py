"""Train a large encoder in less memory: train only a part of its weights, and recompute instead of storing.

`fine_tune.accumulation`, which computes a batch in parts, is in `loop.train_step`.
"""

from collections.abc import Iterator
from typing import Any

from torch import nn

from ..config import FineTune
from ..errors import UserError
from .adapters import add_adapters


def save_memory(encoder: Any, settings: FineTune, seed: int) -> None:
    """Choose which weights to train, and what to keep for the backward pass. Raises UserError.

    With `lora` and `trainable_layers` together, LoRA adapts only the layers that `trainable_layers` names.
    """
    if settings.trainable_layers is not None:
        freeze_below(encoder, settings.trainable_layers)
    if settings.lora:
        add_adapters(encoder, settings.lora, seed)
    if settings.gradient_checkpointing:
        recompute_activations(encoder)


def freeze_below(encoder: Any, trained: int) -> None:
    """Train only the last `trained` layers. What lies below and between them is frozen, and so is a norm after them.

    Raises UserError when the encoder has fewer layers of its own.
    """
    lists = list(layer_lists(encoder, encoder.config.num_hidden_layers))
    layers = len(lists[0]) if lists else 0
    if trained > layers:
        raise UserError(
            f"{type(encoder).__name__} has no {trained} layers that can be trained alone",
            expected="fine_tune.trainable_layers to be at most the number of layers that share no weights",
            found=f"{layers} such layers",
            fix=f"set fine_tune.trainable_layers: {layers or 'null'} in params.yaml",
        )
    encoder.requires_grad_(False)
    for layer in (layer for modules in lists for layer in modules[layers - trained :]):
        layer.requires_grad_(True)


def layer_lists(module: nn.Module, layers: int) -> Iterator[nn.ModuleList]:
    """The outermost lists of `layers` modules. Most encoders have one; XLM has one for each part of a layer."""
    for child in module.children():
        if isinstance(child, nn.ModuleList) and len(child) == layers:
            yield child
        else:
            yield from layer_lists(child, layers)


def recompute_activations(encoder: Any) -> None:
    """Recompute layers from their input in the backward pass (Chen et al. 2016, arXiv:1604.06174). Raises UserError."""
    try:
        encoder.activation_checkpointing_enable({"use_reentrant": False})
    except ValueError as error:
        raise UserError(
            f"{type(encoder).__name__} cannot compute its layers again",
            expected="an encoder that supports gradient checkpointing",
            found=str(error),
            fix="set fine_tune.gradient_checkpointing: false in params.yaml",
        ) from None
    encoder.disable_input_require_grads()  # they would carry gradients through frozen layers
