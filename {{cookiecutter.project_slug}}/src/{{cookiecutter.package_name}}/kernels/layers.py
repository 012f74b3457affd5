"""Dropout, LayerNorm and attention of an encoder that trains on a CPU.

torch draws dropout's random numbers value by value on one thread; 16 random bits for each are enough. Under autocast it
converts the input of a norm or a softmax to float32 and its output back; the kernels sum in float32 anyway.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from .attention import attend

_STEPS = 2**16  # the probability of dropout is rounded to so many parts
_PER_DRAW = 4  # numbers of 16 bits in one of 64


def replace(model: nn.Module) -> None:
    """Replace dropout, norms and attention of the model's encoder; its weights and their names stay."""
    encoder = model.get_submodule("encoder")
    for module in encoder.modules():
        if type(module) in _FASTER:
            module.__class__ = _FASTER[type(module)]
    use_products(encoder)


def use_products(encoder: nn.Module) -> None:
    """Let the encoder attend by plain products, where its attention can be exchanged."""
    config: Any = encoder.config
    heads = getattr(config, "num_attention_heads", None)
    own_keys = getattr(config, "num_key_value_heads", heads) == heads
    if own_keys and getattr(encoder, "_supports_attention_backend", False):
        config._attn_implementation = "products"


def drop(values: Tensor, probability: float) -> Tensor:
    """The values with this share of them 0, and the others larger so that their expected sum stays."""
    if not probability:
        return values
    dropped = round(probability * _STEPS)
    bits = torch.empty(-(-values.numel() // _PER_DRAW), dtype=torch.int64).random_(-(2**63), None)
    kept = bits.view(torch.int16)[: values.numel()].view(values.shape).float().ge_(dropped - _STEPS // 2)
    return values * kept.mul_(_STEPS / (_STEPS - dropped)).to(values.dtype)


class _Dropout(nn.Dropout):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, the name that torch gives it
        return drop(input, self.p if self.training else 0.0)


class _LayerNorm(nn.LayerNorm):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, the name that torch gives it
        if not torch.is_autocast_enabled("cpu"):
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return nn.functional.layer_norm(input.bfloat16(), self.normalized_shape, self.weight, self.bias, self.eps)


_FASTER: dict[type[nn.Module], type[nn.Module]] = {nn.Dropout: _Dropout, nn.LayerNorm: _LayerNorm}


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """As transformers calls it; see `AttentionInterface`."""
    del module
    dropping = partial(drop, probability=dropout) if dropout else None
    with torch.autocast("cpu", enabled=False):
        found = attend(query, key, value, scaling=scaling, mask=attention_mask, drop=dropping)
    return found.transpose(1, 2).contiguous(), None


AttentionInterface.register("products", _attend)
AttentionMaskInterface.register("products", eager_mask)
