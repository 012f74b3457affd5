"""Vectors that were computed before, found again by their content. They are written to disk as they come.

A vector is a function of the text's tokens, the model and the parameters alone (see `tokens.fixed_shape_batches`), so
one that was kept equals one computed anew, by whichever process: when rows are added, only theirs are embedded.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..common import distributed
from ..common.io import new_directory
from ..text.tokenization import Sequences

KEYS, VECTORS = "keys.npy", "vectors.npy"
ROWS_AT_ONCE = 4096
_KEY = np.dtype("S16")  # compared as 16 bytes, filled up with zeros

Embedded = Iterable[tuple[np.ndarray, np.ndarray]]


class Chosen:
    """Some of the sequences, without a copy."""

    def __init__(self, sequences: Sequences, rows: np.ndarray) -> None:
        self.sequences = sequences
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> np.ndarray:
        return np.asarray(self.sequences[int(self.rows[row])])


def embed_new(sequences: Sequences, kept: Path, embed: Callable[[Sequences], Embedded]) -> np.ndarray:
    """Bring `kept` up to date; the row of each sequence's vector in it, to be read with `read_rows`.

    kept: a directory of this identity; afterwards it holds exactly the vectors of these sequences.
    embed: called with those that `kept` does not hold; yields this rank's part of them in batches: their indices among
    those, and rows x size, float32.
    """
    keys = np.array([_key_of(sequences[row]) for row in range(len(sequences))], dtype=_KEY)
    unique, first, index = np.unique(keys, return_index=True, return_inverse=True)
    old = np.load(kept / KEYS) if (kept / VECTORS).exists() else np.empty(0, dtype=_KEY)
    at = np.searchsorted(old, unique)
    known = np.isin(unique, old, assume_unique=True)
    if not np.array_equal(unique, old):
        new = np.flatnonzero(~known)
        if len(new):
            _write_own(embed(Chosen(sequences, first[new])), kept, len(new))
        distributed.barrier()
        if distributed.on_rank_0():
            with new_directory(kept) as directory:
                np.save(directory / KEYS, unique)
                for rows, vectors in _read_all(kept) if len(new) else ():
                    _put(directory / VECTORS, new[rows], vectors, len(unique))
                for rows in _blocks(np.flatnonzero(known)):
                    _put(directory / VECTORS, rows, read_rows(kept / VECTORS, at[rows]), len(unique))
        distributed.barrier()
    return index


def read_rows(path: Path, rows: np.ndarray | slice) -> np.ndarray:
    """Some rows of a `.npy` file, mapped for that moment only: mapped pages count as memory of the process."""
    return np.array(np.load(path, mmap_mode="r")[rows])


def copy_rows(source: Path, rows: np.ndarray, target: Path) -> None:
    """Write a `.npy` file with these rows of another, in this order."""
    shape = (len(rows), np.load(source, mmap_mode="r").shape[1])
    with target.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for some in _blocks(rows):
            file.write(read_rows(source, some).tobytes())


def _key_of(sequence: Iterable[int]) -> bytes:
    return hashlib.blake2b(np.asarray(sequence, dtype="<i4").tobytes(), digest_size=_KEY.itemsize).digest()


def _blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), ROWS_AT_ONCE):
        yield rows[start : start + ROWS_AT_ONCE]


def _write_own(batches: Embedded, kept: Path, total: int) -> None:
    """Write this rank's vectors one after another, and their indices."""
    bar = tqdm(
        total=total // distributed.world_size(),
        desc="vectors",
        unit="text",
        disable=None if distributed.on_rank_0() else True,
    )
    rows_file, vectors_file = _files(kept, distributed.rank())
    with rows_file.open("wb") as rows_out, vectors_file.open("wb") as vectors_out, bar:
        for rows, vectors in batches:
            rows_out.write(rows.astype(np.int64).tobytes())
            vectors_out.write(vectors.astype(np.float32).tobytes())
            bar.update(len(rows))


def _read_all(kept: Path) -> Embedded:
    """What all ranks wrote."""
    for rank in range(distributed.world_size()):
        rows_file, vectors_file = _files(kept, rank)
        rows = np.fromfile(rows_file, dtype=np.int64)
        with vectors_file.open("rb") as file:
            for some in _blocks(rows):
                count = len(some) * (vectors_file.stat().st_size // 4 // len(rows))
                yield some, np.fromfile(file, dtype=np.float32, count=count).reshape(len(some), -1)


def _files(kept: Path, rank: int) -> tuple[Path, Path]:
    return kept / f"rows-{rank}.int64", kept / f"vectors-{rank}.float32"


def _put(path: Path, rows: np.ndarray, vectors: np.ndarray, total: int) -> None:
    """Write some rows of a `.npy` file of `total` rows."""
    if path.exists():
        mapped = np.load(path, mmap_mode="r+")
    else:
        mapped = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(total, vectors.shape[1]))
    mapped[rows] = vectors
