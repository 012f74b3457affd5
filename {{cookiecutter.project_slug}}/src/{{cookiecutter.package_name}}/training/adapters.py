"""LoRA (Hu et al. 2021, arXiv:2106.09685): train small matrices beside the encoder's weights, which stay unchanged.

A weight W of outputs x inputs becomes W + alpha / rank * B A, with B of outputs x rank and A of rank x inputs. B starts
at zero. peft is imported only where it is used.
"""

import re
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from ..config import Lora
from ..errors import UserError

LINEAR = (nn.Linear, Conv1D)  # no subclasses: some models read their weight without calling them


def add_adapters(encoder: Any, lora: Lora, seed: int) -> None:
    """Add adapters to every linear layer of the encoder that is trained, and train only the adapters.

    Raises UserError when peft cannot adapt the encoder.
    """
    from peft import LoraConfig, inject_adapter_in_model

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
