"""Attention, by whichever way takes less time: plain products for short texts on a CPU, else torch's fused kernels."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

SHORT = 128  # up to so many tokens plain products are faster on a CPU, for 30 tokens twice as fast


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scaling: float,
    mask: Tensor | None = None,
    drop: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Attention of texts x heads x length x size; `mask` is added to the products, `drop` is given the weights."""
    if drop is None and (query.device.type != "cpu" or query.shape[2] > SHORT):
        return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)
    products = (query * scaling).contiguous() @ key.contiguous().transpose(-1, -2)
    # In bfloat16 the softmax of short rows takes five times as long as in float32.
    weights = (products if mask is None else products + mask).softmax(dim=-1, dtype=torch.float32).to(value.dtype)
    return (weights if drop is None else drop(weights)) @ value.contiguous()
