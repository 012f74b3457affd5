"""Faster kernels behind `accelerate`, `pack` and `trim_vocabulary`. Without them: `compute.kernels: plain`.

Kernels are imported only when they are used, so that `plain` does not depend on what only one version of a library has.
README.md says what each kernel replaces, what it gains, and how to delete it.
"""

import sys
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..config import Compute

if TYPE_CHECKING:
    from ..text.tokenization import Sequences
    from .packing import Packed

Weights = dict[str, Tensor]
PRIVATE_OPERATORS = ("_linear_pointwise", "_reorder_linear_weight", "_is_mkldnn_bf16_supported")


@cache
def fast(compute: Compute) -> bool:
    """Whether the kernels are used. Prints one line if the parameters ask for them but this torch lacks them."""
    if compute.kernels == "plain":
        return False
    missing = [name for name in PRIVATE_OPERATORS if not hasattr(torch.ops.mkldnn, name)]
    if compute.device == "cpu" and missing:
        print(
            f"compute.kernels: plain instead of fast: torch {torch.__version__} lacks mkldnn.{missing[0]}, as on a Mac",
            file=sys.stderr,
        )
        return False
    return True


def accelerate(model: nn.Module, compute: Compute, *, training: bool) -> None:
    """Replace layers of a model on a CPU with faster ones.

    For training, weights and their names stay. Otherwise the weights are prepacked and can no longer be saved.
    """
    if not fast(compute) or compute.device != "cpu":
        return
    from . import layers

    if not training:
        layers.prepack(model)
        return
    layers.replace(model)
    if compute.precision == "fp32":
        layers.replace_linear_where_it_trains(model)


def pack(model: nn.Module, compute: Compute, max_length: int) -> "Packed | None":
    """The model over packed texts of at most `max_length` tokens; None if batches must be padded."""
    if not fast(compute):
        return None
    from .packing import Packed

    return Packed.of(model, max_length)


def trim_vocabulary(model: nn.Module, compute: Compute, *texts: "Sequences") -> Callable[[Weights], Weights]:
    """Train only these texts' token embeddings. Returns a function from trained weights to the whole vocabulary's."""
    if not fast(compute):
        return lambda trained: trained
    from . import vocabulary

    return vocabulary.trim(model, *texts)
