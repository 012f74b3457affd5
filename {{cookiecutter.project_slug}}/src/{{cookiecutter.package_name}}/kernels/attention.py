"""Attention: plain products for short texts on a CPU, where they are faster, else torch's fused kernels."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

SHORT = 128  # tokens; above it the fused kernels are faster (README.md)


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scaling: float,
    mask: Tensor | None = None,
    drop: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Attention of texts x heads x length x size; `mask` is added to the scores, `drop` is applied to the weights."""
    if drop is None and (query.device.type != "cpu" or query.shape[2] > SHORT):
        return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)
    scores = (query * scaling).contiguous() @ key.contiguous().transpose(-1, -2)
    # torch's softmax of short rows is slower in bfloat16 than in float32.
    weights = (scores if mask is None else scores + mask).softmax(dim=-1, dtype=torch.float32).to(value.dtype)
    return (weights if drop is None else drop(weights)) @ value.contiguous()
