"""The vectors of all texts, kept between runs under a hash of their tokens, and the near-duplicates among them.

A vector depends only on the text's tokens, the model and the parameters (see `tokenization.fixed_shape_batches`), so a
kept vector equals one that any rank computes again: when rows are added, only those are embedded. Files are read and
written in blocks, because pages that stay mapped count as memory of the process.
"""

import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..common import distributed
from ..common.fingerprint import reading
from ..common.io import new_directory
from ..text.tokenization import Sequences

KEYS, VECTORS = "keys.npy", "vectors.float32"
ROWS_AT_ONCE = 2048
LISTED = 20
ROUNDING = 1e-6  # of float32: the cosine of a text with itself may be this much below 1
_KEY = np.dtype("S16")  # compared as 16 bytes, padded with zeros

Embedded = Iterable[tuple[np.ndarray, np.ndarray]]


class Subset:
    """A selection of the sequences, without a copy."""

    def __init__(self, sequences: Sequences, rows: np.ndarray) -> None:
        self.sequences, self.rows = sequences, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> np.ndarray:
        return np.asarray(self.sequences[int(self.rows[row])])


def embed_new(sequences: Sequences, kept: Path, embed: Callable[[Sequences], Embedded]) -> np.ndarray:
    """Make `kept` hold exactly the vectors of these sequences. Returns the row of each sequence's vector there.

    kept: the directory of this fingerprint. embed: called with the sequences that `kept` lacks; yields this rank's
    batches: their indices among those sequences, and vectors (rows x size, float32).
    """
    keys = np.array([_key_of(sequences[row]) for row in range(len(sequences))], dtype=_KEY)
    unique, first, index = np.unique(keys, return_index=True, return_inverse=True)
    whole = (kept / KEYS).exists() and (kept / VECTORS).exists()  # a kill may leave one of them
    with reading(kept):
        old = np.load(kept / KEYS) if whole else np.empty(0, dtype=_KEY)
    if np.array_equal(unique, old):
        return index
    known = np.isin(unique, old, assume_unique=True)
    partial = kept / f"{distributed.broadcast(secrets.token_hex(8))}.partial"
    if distributed.on_rank_0():
        for other in kept.glob("*.partial"):  # of a killed run; one that still writes to it ends with an error
            other.unlink()
        partial.write_bytes(b"")
        for rows in _blocks(np.flatnonzero(known)):
            _write(partial, rows, _read(kept, np.searchsorted(old, unique[rows])))
    distributed.barrier()
    new = np.flatnonzero(~known)
    for rows, vectors in embed(Subset(sequences, first[new])) if len(new) else ():
        _write(partial, new[rows], vectors)
    distributed.barrier()
    if distributed.on_rank_0():
        with new_directory(kept) as directory:
            partial.rename(directory / VECTORS)
            np.save(directory / KEYS, unique)
    distributed.barrier()
    return index


def copy_rows(kept: Path, rows: np.ndarray, target: Path) -> None:
    """Write these rows of the kept vectors, in this order, as a `.npy` file."""
    size = _read(kept, rows[:1]).shape[1]
    with target.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (len(rows), size)}
        np.lib.format.write_array_header_1_0(file, header)
        for some in _blocks(rows):
            file.write(_read(kept, some).tobytes())


def _key_of(sequence: Iterable[int]) -> bytes:
    return hashlib.blake2b(np.asarray(sequence, dtype="<i4").tobytes(), digest_size=_KEY.itemsize).digest()


def _blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    return (rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE))


def _write(path: Path, rows: np.ndarray, vectors: np.ndarray) -> None:
    """Write the vectors at these rows of a file, to which several ranks write."""
    with path.open("r+b") as file:
        for row, vector in zip(rows, vectors, strict=True):
            file.seek(int(row) * vector.nbytes)
            file.write(vector.tobytes())


def _read(kept: Path, rows: np.ndarray) -> np.ndarray:
    with reading(kept):
        whole = np.memmap(kept / VECTORS, dtype=np.float32, mode="r")
        return np.array(whole.reshape(len(np.load(kept / KEYS, mmap_mode="r")), -1)[rows])


def near_duplicates(vectors: dict[str, Path], threshold: float) -> dict[str, object]:
    """For each pair of splits: how many rows of the second have a neighbour in the first at or above the cosine.

    Texts that nearly repeat a text of another split make a test score look better than it is. vectors: the `.npy` file
    of each split, rows x size. The most similar pairs are listed by row index; the texts stay in `data/processed`.
    """
    pairs = [("train", "validation"), ("train", "test"), ("validation", "test")]
    return {f"{held}_in_{seen}": _one_pair(vectors[seen], vectors[held], threshold) for seen, held in pairs}


def _one_pair(seen: Path, held: Path, threshold: float) -> dict[str, object]:
    blocks = -(-len(np.load(held, mmap_mode="r")) // ROWS_AT_ONCE)  # rounded up
    bar = tqdm(_unit_blocks(held), "near-duplicates", blocks, leave=None, disable=None)
    nearest = [_nearest(seen, block) for _, block in bar]
    best, row_of = (np.concatenate(values) for values in zip(*nearest, strict=True))
    close = np.flatnonzero(best >= threshold - ROUNDING)
    order = close[np.lexsort((close, -best[close]))][:LISTED]
    listed = [{"row": int(row), "neighbour": int(row_of[row]), "cosine": round(float(best[row]), 4)} for row in order]
    return {"rows": len(close), "share": round(len(close) / len(best), 6), "closest": listed}


def _nearest(seen: Path, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest cosine of each row with any row of the file, and the index of that row."""
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
    for start in range(0, len(np.load(path, mmap_mode="r")), ROWS_AT_ONCE):
        block = np.load(path, mmap_mode="r")[start : start + ROWS_AT_ONCE]
        yield start, block / np.linalg.norm(block, axis=1, keepdims=True)
