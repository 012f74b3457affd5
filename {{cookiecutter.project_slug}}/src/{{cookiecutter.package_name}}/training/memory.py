"""Train a large encoder in less memory: train only a part of its weights, and recompute instead of storing.

`fine_tune.accumulation`, which computes a batch in parts, is in `loop.train_step`.
"""

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from ..config import FineTune, Lora
from ..errors import UserError

LINEAR = (nn.Linear, Conv1D)  # no subclasses: some models read their weight without calling them


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
    """Train only the last `trained` layers: nothing below or between them, no norm after them. Raises UserError."""
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


def add_adapters(encoder: Any, lora: Lora, seed: int) -> None:
    """Add adapters to every linear layer of the encoder that is trained, and train only the adapters.

    LoRA (Hu et al. 2021, arXiv:2106.09685): a weight W of outputs x inputs becomes W + alpha / rank * B A, with B of
    outputs x rank, zero at first, and A of rank x inputs. Raises UserError when peft cannot adapt the encoder.
    """
    from peft import LoraConfig, inject_adapter_in_model  # here: few need it

    adapted = {
        name: module
        for name, module in encoder.named_modules()
        if type(module) in LINEAR and module.weight.requires_grad
    }
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules="|".join(map(re.escape, adapted)),
        fan_in_fan_out=any(type(module) is Conv1D for module in adapted.values()),
    )
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            inject_adapter_in_model(config, encoder)
    except ValueError as error:
        raise UserError(
            f"{type(encoder).__name__} cannot be adapted",
            expected="an encoder with linear layers for peft's LoRA",
            found=str(error).partition("\n")[0],
            fix="set fine_tune.lora: null in params.yaml",
        ) from None


def merge_adapters(encoder: Any) -> None:
    """Add what the adapters learned to the weights beside them, and restore the original layers."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(encoder.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            encoder.set_submodule(name, module.get_base_layer())
    del encoder.peft_config
