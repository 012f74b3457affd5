"""How fast are this machine's matrix products, in float32 and in bfloat16?

The largest rate of several shapes counts: square ones, and those of a small encoder's layers. GFLOP a second; in
float32 by the faster of MKL and oneDNN.
"""

from collections.abc import Callable

import torch
from clock import Clock
from torch import Tensor

SHAPES = ((1024, 1024, 1024), (2048, 2048, 2048), (4096, 4096, 4096), (2048, 384, 1536), (8192, 1536, 384))
SECONDS = 0.15

Product = Callable[[Tensor, Tensor], Tensor]


def main() -> None:
    """Print both rates."""
    clock = Clock()
    by_kind = {
        torch.float32: (torch.nn.functional.linear, through_onednn),
        torch.bfloat16: (torch.nn.functional.linear,),
    }
    best = {
        str(kind).removeprefix("torch."): max(rate(*shape, kind, product) for shape in SHAPES for product in products)
        for kind, products in by_kind.items()
    }
    clock.tell(**best)


def through_onednn(left: Tensor, right: Tensor) -> Tensor:
    """The product as torch's own compiler lets oneDNN compute it; in bfloat16 torch always does."""
    return torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], "")


def rate(rows: int, inner: int, columns: int, kind: torch.dtype, product: Product) -> float:
    """GFLOP/s of the best repetition, in about SECONDS."""
    left, right = torch.randn(rows, inner, dtype=kind), torch.randn(columns, inner, dtype=kind)
    product(left, right)
    best, whole = float("inf"), Clock()
    while whole.seconds() < SECONDS:
        clock = Clock()
        product(left, right)
        best = min(best, clock.seconds())
    return 2 * rows * inner * columns / best / 1e9


if __name__ == "__main__":
    main()
