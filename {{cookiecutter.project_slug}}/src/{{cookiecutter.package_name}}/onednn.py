"""Linear layers through oneDNN, for the portable mode.

MKL gives the same bits on CPUs of every maker only with its slowest kernels (MKL_CBWR=COMPATIBLE: about 0.4 of its
speed). oneDNN's AVX2 kernels give them at full speed, so the linear layers, which are nearly all of the work, go there.
"""

from typing import Any

import torch
from torch import Tensor, nn


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        return _multiply(inputs, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (grad,) = grads
        inputs, weight = ctx.saved_tensors
        rows = grad.reshape(-1, grad.shape[-1])
        inputs_by_column = inputs.reshape(-1, inputs.shape[-1]).t().contiguous()
        return (
            _multiply(grad, weight.t().contiguous()),
            _multiply(rows.t().contiguous(), inputs_by_column),
            rows.sum(dim=0),
        )


class _Linear(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, the name that torch gives it
        return _Product.apply(input, self.weight, self.bias)


def use_onednn(model: nn.Module) -> None:
    """Send every linear layer of the model through oneDNN; its weights and their names stay."""
    for module in model.modules():
        if type(module) is nn.Linear and module.bias is not None:
            module.__class__ = _Linear


def _multiply(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    # The operator that torch's own compiler emits; it has no public name, and torch's version is pinned.
    return torch.ops.mkldnn._linear_pointwise(inputs.contiguous(), weight, bias, "none", [], "")
