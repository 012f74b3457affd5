"""Sort more rows than fit into memory: sorted runs of bounded size on disk, then one range of keys after the other."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl

from .splits import keys_of

BYTES_PER_RUN = 2**25  # in memory, about
BYTES_PER_ROW = 100  # beyond its text
CHARACTERS_PER_RANGE = 2**23
SCHEMA = {"text": pl.String, "second_text": pl.String, "label": pl.String}

Row = tuple[str, str | None, str]  # text, second text, label


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
