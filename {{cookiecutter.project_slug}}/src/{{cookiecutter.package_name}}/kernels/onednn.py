"""Linear layers through oneDNN: its products are a tenth faster than MKL's on an AMD CPU, and the same on all CPUs.

MKL gives the same bits on CPUs of every maker only with its slowest kernels (MKL_CBWR=COMPATIBLE: about 0.4 of its
speed). oneDNN's AVX2 kernels give them at full speed, so the linear layers, which are nearly all of the work, go there.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers.activations import GELUActivation

from ..config import Compute


def use_onednn(model: nn.Module, compute: Compute) -> None:
    """Send every linear layer through oneDNN if they are for a CPU in float32; the weights and their names stay."""
    if compute.device != "cpu" or compute.precision != "fp32" or not torch.backends.mkldnn.is_available():
        return
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = _Linear


def freeze(model: nn.Module, compute: Compute) -> None:
    """For a model on a CPU that learns no more: keep its weights in oneDNN's own order, and fuse GELU with its product.

    In float32 the bits were those of `use_onednn` wherever both were compared; nothing relies on it. The weights cannot
    be read or saved any more.
    """
    if compute.device != "cpu" or not torch.backends.mkldnn.is_available():
        return
    for module in model.modules():
        if type(module) is nn.Linear and _reads(module.weight.dtype):
            module.weight = nn.Parameter(torch.ops.mkldnn._reorder_linear_weight(module.weight.detach()), False)
            module.__class__ = _Frozen
    for module in model.modules():
        # As BERT and its kin name them.
        first, then = getattr(module, "dense", None), getattr(module, "intermediate_act_fn", None)
        if isinstance(first, _Frozen) and type(then) is GELUActivation:
            first.then = "gelu"
            module.intermediate_act_fn = nn.Identity()


def _reads(dtype: torch.dtype) -> bool:
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


class _Frozen(nn.Linear):
    then = "none"  # what is done with the product

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, the name that torch gives it
        return torch.ops.mkldnn._linear_pointwise(input, self.weight, self.bias, self.then, [], "none")


class _Linear(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, the name that torch gives it
        return _Product.apply(input, self.weight, self.bias)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        return _multiply(inputs, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        (grad,) = grads
        inputs, weight = ctx.saved_tensors
        rows, inputs_by_row = (values.reshape(-1, values.shape[-1]) for values in (grad, inputs))
        bias = rows.sum(dim=0) if ctx.needs_input_grad[2] else None
        return _multiply(grad, weight.t()), _multiply(rows.t(), inputs_by_row.t()), bias


def _multiply(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    # The operator that torch's own compiler emits; it has no public name, and torch's version is pinned.
    return torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")
