"""How fast are this machine's matrix products, in float32 and in bfloat16?

The largest rate of several shapes counts: square ones, and those of a small encoder's layers. GFLOP a second.
"""

import torch
from clock import Clock

SHAPES = ((1024, 1024, 1024), (2048, 2048, 2048), (4096, 4096, 4096), (2048, 384, 1536), (8192, 1536, 384))
SECONDS = 0.25


def main() -> None:
    """Print both rates."""
    clock = Clock()
    kinds = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    clock.tell(**{name: max(rate(*shape, kind) for shape in SHAPES) for name, kind in kinds.items()})


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
