"""Layers of a model on a CPU: products through oneDNN, and for training dropout, LayerNorm and attention.

README.md says what each replaces and gains. oneDNN's operators are those that torch's own compiler emits; their AVX2
kernels give the same bits on CPUs of every maker. For dropout, 16 random bits for each value are enough. The kernels of
norms and softmax sum in float32 anyway, so they need none of autocast's conversions.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.activations import GELUActivation
from transformers.masking_utils import eager_mask

from ..errors import raise_if_memory

TOLERANCE = 1e-3  # as a share of the largest state
SHORT = 128  # tokens; above it torch's fused attention is faster (README.md)
_STEPS = 2**16  # the dropout probability is rounded to this many parts
_PER_DRAW = 4  # 16-bit numbers in one 64-bit number


def replace_linear(model: nn.Module) -> None:
    """Send every linear layer of a model that trains in float32 through oneDNN; weights and their names stay."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = _Linear


def replace_linear_where_it_trains(model: nn.Module) -> None:
    """Call `replace_linear`, except for a family that changes a layer's output in place (DeBERTa)."""
    replace_linear(model)
    try:
        model(*_texts())
    except RuntimeError as error:  # torch cannot differentiate such a change after a custom autograd function
        raise_if_memory(error)
        for module in model.modules():
            if type(module) is _Linear:
                module.__class__ = nn.Linear  # pyrefly: ignore


def prepack(model: nn.Module) -> None:
    """Put the weights into oneDNN's own layout, which only prediction can read, and fuse GELU with its product."""
    bf16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    for module in model.modules():
        if type(module) is nn.Linear and (bf16 or module.weight.dtype == torch.float32):
            module.weight = nn.Parameter(torch.ops.mkldnn._reorder_linear_weight(module.weight.detach()), False)
            module.__class__ = _Prepacked
    for module in model.modules():
        # The names that BERT and its relatives use.
        first, then = getattr(module, "dense", None), getattr(module, "intermediate_act_fn", None)
        if isinstance(first, _Prepacked) and type(then) is GELUActivation:
            first.activation = "gelu"
            module.intermediate_act_fn = nn.Identity()


def replace(model: nn.Module) -> None:
    """Replace dropout, norms and, if possible, attention of the model's encoder; its weights stay."""
    encoder: Any = model.get_submodule("encoder")
    for module in encoder.modules():
        if type(module) in _FASTER:
            module.__class__ = _FASTER[type(module)]
    if getattr(encoder, "_supports_attention_backend", False) and same_states(encoder, "products"):
        encoder.config._attn_implementation = "products"


@torch.inference_mode()
def same_states(encoder: Any, implementation: str) -> bool:
    """Whether the encoder's states (of a text, and of a padded one) are the same with another attention.

    Only a trial shows this: some families pass more to their attention than queries, keys, values and a mask.
    """
    ids, mask = _texts()
    usual = encoder.eval()(input_ids=ids, attention_mask=mask).last_hidden_state
    try:
        with attention(encoder, implementation):
            found = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    except (RuntimeError, TypeError, ValueError, KeyError) as error:
        raise_if_memory(error)
        return False
    return near(found[mask.bool()], usual[mask.bool()])


@contextmanager
def attention(encoder: Any, implementation: str) -> Iterator[None]:
    """Inside, the encoder uses this registered attention."""
    usual = encoder.config._attn_implementation
    encoder.config._attn_implementation = implementation
    try:
        yield
    finally:
        encoder.config._attn_implementation = usual


def near(found: Tensor, usual: Tensor) -> bool:
    """Whether all states are those that the encoder usually gives, up to `TOLERANCE`."""
    return bool((found - usual).abs().max() <= TOLERANCE * usual.abs().max())


def _texts() -> tuple[Tensor, Tensor]:
    """Token ids and mask (2 x 12) to try an encoder with."""
    ids = torch.arange(5, 29).view(2, 12)
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    return ids, mask


def attend(
    query: Tensor, key: Tensor, value: Tensor, *, scaling: float, mask: Tensor | None = None, dropout: float = 0.0
) -> Tensor:
    """Attention of texts x heads x length x size; `mask` is added to the scores.

    Uses plain products with dropout, and for short texts on a CPU, where they are faster; else torch's fused kernels.
    """
    if not dropout and (query.device.type != "cpu" or query.shape[2] > SHORT):
        return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)
    scores = (query * scaling).contiguous() @ key.contiguous().transpose(-1, -2)
    # torch's softmax of short rows is slower in bfloat16 than in float32.
    weights = (scores if mask is None else scores + mask).softmax(dim=-1, dtype=torch.float32).to(value.dtype)
    return drop(weights, dropout) @ value.contiguous()


def drop(values: Tensor, probability: float) -> Tensor:
    """Set this share of the values to 0 and enlarge the others, so that the expected sum stays the same."""
    if not probability:
        return values
    dropped = round(probability * _STEPS)
    bits = torch.empty(-(-values.numel() // _PER_DRAW), dtype=torch.int64).random_(-(2**63), None)
    kept = bits.view(torch.int16)[: values.numel()].view(values.shape).float().ge_(dropped - _STEPS // 2)
    return values * kept.mul_(_STEPS / (_STEPS - dropped)).to(values.dtype)


class _Prepacked(nn.Linear):
    activation = "none"

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, the name that torch gives it
        return torch.ops.mkldnn._linear_pointwise(input, self.weight, self.bias, self.activation, [], "none")


class _Linear(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, the name that torch gives it
        return _Product.apply(input, self.weight, self.bias)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(inputs if ctx.needs_input_grad[1] else None, weight)
        return _multiply(inputs, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (grad,) = grads
        inputs, weight = ctx.saved_tensors
        for_inputs, for_weight, for_bias = ctx.needs_input_grad
        rows = grad.reshape(-1, grad.shape[-1])
        return (
            _multiply(grad, weight.t()) if for_inputs else None,
            _multiply(rows.t(), inputs.reshape(-1, inputs.shape[-1]).t()) if for_weight else None,
            rows.sum(dim=0) if for_bias else None,
        )


def _multiply(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")


class _Dropout(nn.Dropout):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, the name that torch gives it
        return drop(input, self.p if self.training else 0.0)


class _LayerNorm(nn.LayerNorm):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, the name that torch gives it
        if not torch.is_autocast_enabled("cpu"):
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return layer_norm(input.bfloat16(), self.normalized_shape, self.weight, self.bias, self.eps)


_FASTER: dict[type[nn.Module], type[nn.Module]] = {nn.Dropout: _Dropout, nn.LayerNorm: _LayerNorm}


def _attend(
    _module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    with torch.autocast("cpu", enabled=False):
        found = attend(query, key, value, scaling=scaling, mask=attention_mask, dropout=dropout)
    return found.transpose(1, 2).contiguous(), None


AttentionInterface.register("products", _attend)
AttentionMaskInterface.register("products", eager_mask)
