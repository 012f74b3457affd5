"""Vectors that were computed before, found again by their content.

A vector is a function of the text's tokens, the model and the parameters alone (see `tokens.fixed_shape_batches`), so
one that was kept equals one computed anew: when rows are added, only theirs are embedded.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from .files import new_directory

KEYS, VECTORS = "keys.npy", "vectors.npy"
_KEY = np.dtype("S16")  # compared as 16 bytes, filled up with zeros

Sequences = Sequence[Sequence[int]]


def embed_new(sequences: Sequences, kept: Path, embed: Callable[[Sequences], np.ndarray]) -> np.ndarray:
    """The vectors of all sequences (rows x size, float32); `embed` is asked for those that `kept` does not hold.

    kept: a directory of this identity; afterwards it holds exactly the vectors of these sequences.
    """
    keys = np.array([_key_of(sequence) for sequence in sequences], dtype=_KEY)
    unique, first, place = np.unique(keys, return_index=True, return_inverse=True)
    known, vectors = _find(unique, kept)
    if not known.all():
        fresh = embed([sequences[row] for row in first[~known]])
        found = vectors
        vectors = np.empty((len(unique), fresh.shape[1]), dtype=np.float32)
        if known.any():
            vectors[known] = found
        vectors[~known] = fresh
    with new_directory(kept) as new:
        np.save(new / KEYS, unique)
        np.save(new / VECTORS, vectors)
    return vectors[place]


def _key_of(sequence: Sequence[int]) -> bytes:
    return hashlib.blake2b(np.asarray(sequence, dtype="<i4").tobytes(), digest_size=_KEY.itemsize).digest()


def _find(keys: np.ndarray, kept: Path) -> tuple[np.ndarray, np.ndarray]:
    """Which of the sorted keys are kept (bool), and the vectors of those."""
    if not (kept / VECTORS).exists():
        return np.zeros(len(keys), dtype=bool), np.empty((0, 0), dtype=np.float32)
    old_keys, old_vectors = np.load(kept / KEYS), np.load(kept / VECTORS, mmap_mode="r")
    at = np.minimum(np.searchsorted(old_keys, keys), len(old_keys) - 1)
    known = old_keys[at] == keys
    return known, old_vectors[at[known]]
