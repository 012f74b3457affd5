"""Find texts of one split that nearly repeat a text of another: they make a test score look better than it is."""

import numpy as np

ROWS_PER_BLOCK = 4096
LISTED = 20


def near_duplicates(vectors: dict[str, np.ndarray], threshold: float) -> dict[str, object]:
    """For each pair of splits: how many rows of the second have a neighbour in the first at or above the cosine.

    vectors: rows x size for each split. The most similar pairs are listed by row number and similarity; the texts
    themselves stay in `data/processed`.
    """
    units = {split: rows / np.linalg.norm(rows, axis=1, keepdims=True) for split, rows in vectors.items()}
    pairs = [("train", "validation"), ("train", "test"), ("validation", "test")]
    return {f"{held}_in_{seen}": _one_pair(units[seen], units[held], threshold) for seen, held in pairs}


def _one_pair(seen: np.ndarray, held: np.ndarray, threshold: float) -> dict[str, object]:
    best, place = _nearest(seen, held)
    close = np.flatnonzero(best >= threshold)
    order = close[np.lexsort((close, -best[close]))][:LISTED]
    listed = [{"row": int(row), "neighbour": int(place[row]), "cosine": round(float(best[row]), 4)} for row in order]
    return {"rows": len(close), "share": round(len(close) / len(held), 6), "closest": listed}


def _nearest(seen: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    best = np.full(len(held), -np.inf, dtype=np.float32)
    place = np.zeros(len(held), dtype=np.int64)
    for start in range(0, len(seen), ROWS_PER_BLOCK):
        cosine = held @ seen[start : start + ROWS_PER_BLOCK].T
        nearest = cosine.argmax(axis=1)
        value = cosine[np.arange(len(held)), nearest]
        better = value > best
        best[better], place[better] = value[better], nearest[better] + start
    return best, place
