"""Linear layers through oneDNN.

MKL gives the same bits on CPUs of every maker only with its slowest kernels (MKL_CBWR=COMPATIBLE). oneDNN's AVX2
kernels give them at full speed, so the linear layers, which are nearly all of the work, go there.

The operators are those that torch's own compiler emits. They have no public names, so `__init__.py` looks for them.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers.activations import GELUActivation

from ..config import Compute


def replace_linear(model: nn.Module, compute: Compute) -> None:
    """Send every linear layer of a model that trains in float32 through oneDNN; weights and their names stay."""
    if compute.precision != "fp32":
        return
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = _Linear


def prepack(model: nn.Module) -> None:
    """For prediction: keep the weights in oneDNN's own layout, and fuse GELU with its product.

    The weights cannot be read or saved any more.
    """
    for module in model.modules():
        if type(module) is nn.Linear and _supported(module.weight.dtype):
            module.weight = nn.Parameter(torch.ops.mkldnn._reorder_linear_weight(module.weight.detach()), False)
            module.__class__ = _Prepacked
    for module in model.modules():
        # As BERT and its kin name them.
        first, then = getattr(module, "dense", None), getattr(module, "intermediate_act_fn", None)
        if isinstance(first, _Prepacked) and type(then) is GELUActivation:
            first.activation = "gelu"
            module.intermediate_act_fn = nn.Identity()


def _supported(dtype: torch.dtype) -> bool:
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


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
    return torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")
