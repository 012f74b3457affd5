"""How fast are this machine's matrix products? In the precision that the command line names: float32 or bfloat16.

The largest rate of several shapes counts: square ones, and those of a small encoder's layers. GFLOP a second.
"""

import sys

import torch
from clock import Clock

SHAPES = ((1024, 1024, 1024), (2048, 2048, 2048), (4096, 4096, 4096), (2048, 384, 1536), (8192, 1536, 384))
SECONDS = 0.5


def main() -> None:
    """Print the rate of each shape and the largest."""
    kind = getattr(torch, sys.argv[1])
    clock = Clock()
    rates = {str(shape): rate(*shape, kind) for shape in SHAPES}
    clock.tell(rate=max(rates.values()), rates=rates)


def rate(rows: int, inner: int, columns: int, kind: torch.dtype) -> float:
    """GFLOP/s of the best repetition, in about SECONDS."""
    left, right = torch.randn(rows, inner, dtype=kind), torch.randn(columns, inner, dtype=kind)
    torch.nn.functional.linear(left, right)
    best, whole = float("inf"), Clock()
    while whole.seconds() < SECONDS:
        clock = Clock()
        torch.nn.functional.linear(left, right)
        best = min(best, clock.seconds())
    return 2 * rows * inner * columns / best / 1e9


if __name__ == "__main__":
    main()
