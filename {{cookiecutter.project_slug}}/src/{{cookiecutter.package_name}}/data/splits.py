"""Decide for every row whether it is kept and to which split it goes, from the row's own text alone.

A text's key is a keyed hash of it. The key decides the split, so that adding, removing or reordering rows never moves
another row, and it finds equal texts without comparing them.
"""

import hashlib

import numpy as np
import polars as pl

from ..config import Prepare
from ..paths import SPLITS


def keys_of(rows: pl.DataFrame, split_seed: int) -> pl.Series:
    """The keys of clean rows, columns `text` and `second_text`: BLAKE2b of the text, salted with the seed (RFC 7693).

    A key is a number of 16 bytes. No cleaned text holds the character that stands between those of a pair.
    """
    pairs = rows["second_text"].null_count() < rows.height
    texts = rows["text"] + "\0" + rows["second_text"] if pairs else rows["text"]
    salt = split_seed.to_bytes(hashlib.blake2b.SALT_SIZE, "big")
    salted = hashlib.blake2b(digest_size=16, salt=salt)
    digests = []
    for text in texts.cast(pl.Binary).to_list():
        digest = salted.copy()  # faster than to salt a new one
        digest.update(text)
        digests.append(digest.digest())
    return pl.Series("key", digests, dtype=pl.Binary).bin.reinterpret(dtype=pl.UInt128, endianness="big")


def split_of(keys: pl.Series, validation_fraction: float, test_fraction: float) -> pl.Series:
    """The split of every key: its first 8 bytes, read as a number in [0, 1), against the fractions."""
    position = (keys // 2**64).cast(pl.UInt64).to_numpy() / 2.0**64
    held_out = [position < test_fraction, position < test_fraction + validation_fraction]
    return pl.Series("split", np.select(held_out, ["test", "validation"], "train"))


def decide(rows: pl.DataFrame, params: Prepare, preset: set[str]) -> tuple[pl.DataFrame, dict[str, int]]:
    """Keep one row of each text and give it a split.

    rows: sorted by `key`, all rows of each; columns `table` (a split's name, or `all`), `label`, and `rows`, how many
    equal rows it stands for. preset: the splits that have a table of their own. Returns the kept rows with their
    `split`, in order, and how many rows were dropped for which reason. A text in several tables stays in the one that
    is held out most; a text with two labels there is dropped.
    """
    rank = pl.col("table").replace_strict({"all": 0} | {name: rank for rank, name in enumerate(SPLITS)})
    held = rows.filter(rank == rank.max().over("key"))
    agreed = held.filter(pl.len().over("key") == 1)  # equal rows are one already, so two have two labels
    read, left, kept = (int(part["rows"].sum()) for part in (rows, held, agreed))
    dropped = {"in_another_split": read - left, "contradicting_labels": left - kept, "duplicates": kept - agreed.height}
    drawn = split_of(
        agreed["key"],
        0.0 if "validation" in preset else params.validation_fraction,
        0.0 if "test" in preset else params.test_fraction,
    )
    fixed = pl.col("table").is_in(["validation", "test"])
    return agreed.with_columns(split=pl.when(fixed).then("table").otherwise(drawn)), dropped
