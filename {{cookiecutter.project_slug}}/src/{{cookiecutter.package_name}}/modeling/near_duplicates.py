"""Find texts of one split that nearly repeat a text of another: they make a test score look better than it is."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .embedding_cache import read_rows

ROWS_PER_BLOCK = 2048
LISTED = 20


def near_duplicates(vectors: dict[str, Path], threshold: float) -> dict[str, object]:
    """For each pair of splits: how many rows of the second have a neighbour in the first at or above the cosine.

    vectors: the `.npy` file of each split, rows x size. The most similar pairs are listed by row index and similarity;
    the texts themselves stay in `data/processed`.
    """
    pairs = [("train", "validation"), ("train", "test"), ("validation", "test")]
    return {f"{held}_in_{seen}": _one_pair(vectors[seen], vectors[held], threshold) for seen, held in pairs}


def _one_pair(seen: Path, held: Path, threshold: float) -> dict[str, object]:
    nearest = [_nearest(seen, block) for _, block in _unit_blocks(held)]
    best, row_of = (np.concatenate(values) for values in zip(*nearest, strict=True))
    close = np.flatnonzero(best >= threshold)
    order = close[np.lexsort((close, -best[close]))][:LISTED]
    listed = [{"row": int(row), "neighbour": int(row_of[row]), "cosine": round(float(best[row]), 4)} for row in order]
    return {"rows": len(close), "share": round(len(close) / len(best), 6), "closest": listed}


def _nearest(seen: Path, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest cosine of each row with a row of the file, and that row's index."""
    best = np.full(len(held), -np.inf, dtype=np.float32)
    row_of = np.zeros(len(held), dtype=np.int64)
    for start, block in _unit_blocks(seen):
        cosine = held @ block.T
        nearest = cosine.argmax(axis=1)
        value = cosine[np.arange(len(held)), nearest]
        better = value > best
        best[better], row_of[better] = value[better], nearest[better] + start
    return best, row_of


def _unit_blocks(path: Path) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks of rows scaled to unit length, each with the index of its first row."""
    for start in range(0, len(np.load(path, mmap_mode="r")), ROWS_PER_BLOCK):
        block = read_rows(path, slice(start, start + ROWS_PER_BLOCK))
        yield start, block / np.linalg.norm(block, axis=1, keepdims=True)
