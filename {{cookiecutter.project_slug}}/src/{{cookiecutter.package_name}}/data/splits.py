"""Sort the rows by the keys of their texts; decide for each row whether to keep it and which split it goes to.

A text's key is a keyed hash, which finds equal texts without comparing them. A row's position decides its split. It is
the key of its text or of its group as a number in [0, 1), so adding, removing or reordering rows never moves another
row; or the row's time, negated. The lowest positions are held out. Rows that exceed memory are sorted in runs on disk.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from ..config import Fold, Prepare
from ..errors import UserError
from ..paths import RAW, SPLITS
from ..tables.discovery import ADDITIONS

BYTES_PER_RUN = 2**25  # approximate size in memory
BYTES_PER_ROW = 100  # in addition to its text
CHARACTERS_PER_RANGE = 2**23
FIXED = pl.col("table").is_in(["validation", "test", ADDITIONS])  # the table decides the split
TEXTS = ("text", "second_text", "kept")
SCHEMA = {"text": pl.String, "second_text": pl.String, "label": pl.String, "position": pl.Float64, "kept": pl.String}

# Text, second text, label, position (None: that of the text), the kept columns as JSON.
Row = tuple[str, str | None, str, float | None, str | None]  # a NamedTuple slows `prepare` by a twentieth


def keys_of(rows: pl.DataFrame, split_seed: int) -> pl.Series:
    """The keys of clean rows, columns `text` and `second_text`: BLAKE2b of the text, salted with the seed (RFC 7693).

    A key is a number of 16 bytes. No cleaned text contains the character that separates the texts of a pair.
    """
    pairs = rows["second_text"].null_count() < rows.height
    texts = rows["text"] + "\0" + rows["second_text"] if pairs else rows["text"]
    salted = salted_hash(split_seed)
    digests = []
    for text in texts.cast(pl.Binary).to_list():
        digest = salted.copy()  # faster than salting a new one
        digest.update(text)
        digests.append(digest.digest())
    return pl.Series("key", digests, dtype=pl.Binary).bin.reinterpret(dtype=pl.UInt128, endianness="big")


def salted_hash(split_seed: int) -> "hashlib.blake2b":
    """A hash of 16 bytes, salted with the seed."""
    return hashlib.blake2b(digest_size=16, salt=split_seed.to_bytes(hashlib.blake2b.SALT_SIZE, "big"))


def positions_of(keys: pl.Series) -> np.ndarray:
    """The positions of keys: their first 8 bytes, read as a number in [0, 1)."""
    return (keys // 2**64).cast(pl.UInt64).to_numpy() / 2.0**64


def position_of_group(group: str, split_seed: int) -> float:
    """The position of all rows of a group, computed like that of a text."""
    digest = salted_hash(split_seed)
    digest.update(group.encode())
    return int.from_bytes(digest.digest()[:8], "big") / 2.0**64


class SortedRows:
    """Takes clean rows in any order, returns them by ascending key. Rows of equal key, table and label become one."""

    def __init__(self, directory: Path, split_seed: int) -> None:
        self._directory = directory
        self._split_seed = split_seed
        self._runs: list[Path] = []
        self._characters = 0

    def add(self, table: str, rows: Iterable[Row]) -> None:
        """Add the rows of a table."""
        taken: list[Row] = []
        size = 0
        for row in rows:
            text, second_text, _, _, kept = row
            taken.append(row)
            size += BYTES_PER_ROW + len(text) + len(second_text or "") + len(kept or "")
            if size >= BYTES_PER_RUN:
                self._write_run(table, taken)
                taken, size = [], 0
        if taken:
            self._write_run(table, taken)

    def _write_run(self, table: str, taken: list[Row]) -> None:
        rows = pl.DataFrame(dict(zip(SCHEMA, zip(*taken, strict=True), strict=True)), schema=SCHEMA)
        self._characters += sum(int(rows[name].str.len_chars().sum()) for name in TEXTS)
        self._runs.append(self._directory / f"run-{len(self._runs)}.ipc")
        keys = keys_of(rows, self._split_seed)
        position = pl.col("position").fill_null(pl.Series(positions_of(keys)))
        rows = rows.with_columns(keys, table=pl.lit(table), rows=1, position=position, last_position=position)
        _merged(rows).write_ipc(self._runs[-1], record_batch_size=4096)

    def ranges(self) -> Iterator[pl.DataFrame]:
        """All rows by ascending key; those of one key are in one frame. `rows` counts the rows merged into each."""
        count = max(1, self._characters // CHARACTERS_PER_RANGE)
        bounds = pl.Series([part * 2**128 // count for part in range(1, count)], dtype=pl.UInt128)
        ends = []
        for run in self._runs:
            keys = pl.scan_ipc(run, glob=False).select("key").collect()["key"]
            ends.append([0, *keys.search_sorted(bounds), keys.len()])
        for part in range(count if self._runs else 0):
            slices = [
                pl.scan_ipc(run, glob=False).slice(end[part], end[part + 1] - end[part])
                for run, end in zip(self._runs, ends, strict=True)
            ]
            yield _merged(pl.concat(pl.collect_all(slices)))


def _merged(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows sorted by key. Rows of equal key, table and label become one, at the lowest of their positions."""
    group = ["key", "table", "label"]
    first = pl.col("text", "second_text").first()
    lowest = pl.col("position", "kept").min()  # so the order of the rows changes nothing
    return rows.group_by(group).agg(first, pl.col("rows").sum(), lowest, pl.col("last_position").max()).sort(group)


@dataclass(frozen=True)
class Rule:
    """Rows at positions below `test` are test rows; others below `validation` are validation rows.

    With a fold, positions are measured from the start of the fold, in units of one fold. groups: those of tables of
    held-out rows, as positions; None if additions have no groups.
    """

    test: float
    validation: float
    fold: Fold | None = None
    groups: np.ndarray | None = None

    def split_of(self, positions: np.ndarray) -> pl.Series:
        """The split of every position."""
        if self.fold:  # the subtraction is exact, so every position is in exactly one fold
            positions = (positions * self.fold.of - self.fold.index) % self.fold.of
        held_out = [positions < self.test, positions < self.validation]
        return pl.Series("split", np.select(held_out, ["test", "validation"], "train"))

    def without_held_out_groups(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows without additions whose group is not trained on."""
        if self.groups is None:
            return rows
        positions = rows["position"].to_numpy()
        trained = (self.split_of(positions) == "train") & pl.Series(~np.isin(positions, self.groups))
        return rows.filter((rows["table"] != ADDITIONS) | trained)

    def ends(self) -> dict[str, float]:
        """The last position of each split that the rule holds out."""
        bounds = {"test": (-np.inf, self.test), "validation": (self.test, self.validation)}
        return {split: float(np.nextafter(end, -np.inf)) for split, (start, end) in bounds.items() if start < end}


def rule_of(params: Prepare, preset: set[str], rows: SortedRows) -> Rule:
    """The rule for rows whose table does not fix their split. preset: the splits that have their own table."""
    own = sorted(preset & {"validation", "test"})
    if (params.fold and own) or (params.time_column and len(own) == 2):
        key = "fold" if params.fold else "time_column"
        raise UserError(
            f"prepare.{key} cannot split rows that are split already",
            expected="one table of all rows",
            found=f"tables of their own for {' and '.join(own)} in {RAW}",
            fix=f"set prepare.{key}: null in params.yaml, or put the rows of all tables into one",
        )
    validation = 0.0 if "validation" in preset else params.validation_fraction
    test = 0.0 if "test" in preset else params.test_fraction
    if params.time_column:
        return rule_by_time(validation, test, rows)
    groups = None
    if params.additions and params.text_of_group is not None:
        held_out = pl.col("table").is_in(["validation", "test"])
        groups = np.concatenate([part.filter(held_out)["position"] for part in rows.ranges()])
    if params.fold:
        return Rule(1.0, 1.0 + validation * params.fold.of, params.fold, groups)
    return Rule(test, test + validation, groups=groups)


def rule_by_time(validation: float, test: float, rows: SortedRows) -> Rule:
    """The rule that holds out the latest of the kept rows, by the given shares. Rows of equal time stay together."""
    kept = (drop_repeats(part)[0].filter(~FIXED)["position"] for part in rows.ranges())
    positions = np.sort(np.concatenate([np.empty(0), *kept]))
    bound, bounds = -np.inf, []
    for share in (test, validation):
        if count := round(share * len(positions)):
            end = np.searchsorted(positions, bound) + count
            bound = np.nextafter(positions[min(end, len(positions)) - 1], np.inf)
        bounds.append(float(bound))
    return Rule(*bounds)


def drop_repeats(rows: pl.DataFrame, rule: Rule | None = None) -> tuple[pl.DataFrame, dict[str, int]]:
    """Keep one row of each text.

    rows: sorted by `key`, with all rows of each key; columns `table` (a split's name, `all`, `additions`), `label`, and
    `rows`, the number of equal rows that it stands for. Returns the kept rows, in order, and how many were dropped for
    which reason. A text in several tables stays in only one: test before validation before train or `all`, additions
    last. A text with two labels in that table is dropped, and so are additions of groups that the rule holds out.
    """
    rank = pl.col("table").replace_strict({ADDITIONS: -1, "all": 0} | {name: rank for rank, name in enumerate(SPLITS)})
    held = rows.filter(rank == rank.max().over("key"))
    held = rule.without_held_out_groups(held) if rule else held
    agreed = held.filter(pl.len().over("key") == 1)  # equal rows are already one, so two rows have two labels
    read, left, kept = (int(part["rows"].sum()) for part in (rows, held, agreed))
    dropped = {"in_another_split": read - left, "contradicting_labels": left - kept, "duplicates": kept - agreed.height}
    return agreed, dropped


def with_split(rows: pl.DataFrame, rule: Rule) -> pl.DataFrame:
    """The rows with an added column `split`."""
    drawn = rule.split_of(rows["position"].to_numpy())
    return rows.with_columns(split=pl.when(FIXED).then(pl.col("table").replace(ADDITIONS, "train")).otherwise(drawn))
