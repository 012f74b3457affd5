"""Sort the rows by the keys of their texts; decide for each whether it is kept and to which split it goes.

A text's key is a keyed hash of it. The key decides the split, so that adding, removing or reordering rows never moves
another row, and it finds equal texts without comparing them. More rows than fit into memory are sorted in runs on disk.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import polars as pl

from ..config import Prepare
from ..paths import SPLITS

BYTES_PER_RUN = 2**25  # in memory, about
BYTES_PER_ROW = 100  # beyond its text
CHARACTERS_PER_RANGE = 2**23
SCHEMA = {"text": pl.String, "second_text": pl.String, "label": pl.String}

Row = tuple[str, str | None, str]  # text, second text, label


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


class SortedRows:
    """Clean rows in any order, given back by ascending key. Those with equal key, table and label become one."""

    def __init__(self, directory: Path, split_seed: int) -> None:
        self._directory = directory
        self._split_seed = split_seed
        self._runs: list[Path] = []
        self._characters = 0

    def add(self, table: str, rows: Iterable[Row]) -> None:
        """Take rows of a table."""
        taken: list[Row] = []
        size = 0
        for row in rows:
            taken.append(row)
            size += BYTES_PER_ROW + len(row[0]) + len(row[1] or "")
            if size >= BYTES_PER_RUN:
                self._write_run(table, taken)
                taken, size = [], 0
        if taken:
            self._write_run(table, taken)

    def _write_run(self, table: str, taken: list[Row]) -> None:
        rows = pl.DataFrame(dict(zip(SCHEMA, zip(*taken, strict=True), strict=True)), schema=SCHEMA)
        self._characters += sum(int(rows[name].str.len_chars().sum()) for name in ("text", "second_text"))
        self._runs.append(self._directory / f"run-{len(self._runs)}.ipc")
        run = _merged(rows.with_columns(keys_of(rows, self._split_seed), table=pl.lit(table), rows=1))
        run.write_ipc(self._runs[-1], record_batch_size=4096)

    def ranges(self) -> Iterator[pl.DataFrame]:
        """All rows by ascending key, with their count as `rows`; rows of one key are in one frame."""
        count = max(1, self._characters // CHARACTERS_PER_RANGE)
        bounds = pl.Series([part * 2**128 // count for part in range(1, count)], dtype=pl.UInt128)
        ends = []
        for run in self._runs:
            keys = pl.read_ipc(run, columns=["key"])["key"]
            ends.append([0, *keys.search_sorted(bounds), keys.len()])
        for part in range(count if self._runs else 0):
            slices = [
                pl.scan_ipc(run).slice(end[part], end[part + 1] - end[part])
                for run, end in zip(self._runs, ends, strict=True)
            ]
            yield _merged(pl.concat(pl.collect_all(slices)))


def _merged(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows by key, those with equal key, table and label as one."""
    group = ["key", "table", "label"]
    texts = pl.col("text", "second_text").first()
    return rows.group_by(group).agg(texts, pl.col("rows").sum()).sort(group)


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
