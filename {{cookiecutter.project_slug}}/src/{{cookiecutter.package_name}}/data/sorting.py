"""Sort more rows than fit into memory: sorted runs of bounded size on disk, then one range of keys after the other."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self

import polars as pl

from .splits import keys_of, repeated

CHARACTERS_PER_RUN = 2**24
ROWS_PER_RUN = 200_000
ROWS_AT_ONCE = 4096  # of those that come one by one
CHARACTERS_PER_RANGE = 2**23
_FINEST = 4096  # ranges are whole numbers of these parts of the keys
_BOUNDS = pl.Series([part * 2**128 // _FINEST for part in range(1, _FINEST)], dtype=pl.UInt128)
SCHEMA = {"text": pl.String, "second_text": pl.String, "label": pl.String}
_GROUP = ("key", "table", "label")

Row = tuple[str, str | None, str]  # text, second text, label


class Runs:
    """Clean rows in any order, given back by ranges of their keys. Those with equal key, table and label become one.

    Keys, sorting and files are the work of a second thread, while the caller reads on; it has ended when the block has.
    """

    def __init__(self, directory: Path, split_seed: int) -> None:
        self.directory = directory
        self._split_seed = split_seed
        self._rows: list[tuple[str, str | None, str, str]] = []
        self._parts: list[pl.DataFrame] = []
        self._height = 0
        self._characters = 0
        self._total = 0
        self._ends: list[list[int]] = []
        self._thread = ThreadPoolExecutor(1)
        self._work: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the thread: nobody may remove the directory under it."""
        self._thread.shutdown(cancel_futures=True)

    def add(self, table: str, row: Row) -> None:
        """Take a row of a table."""
        self._rows.append((*row, table))
        if len(self._rows) == ROWS_AT_ONCE:
            self._gather()

    def add_all(self, table: str, rows: pl.DataFrame) -> None:
        """Take rows of a table, columns as in SCHEMA."""
        self._hand_over(rows.with_columns(table=pl.lit(table)))

    def _gather(self) -> None:
        columns = zip([*SCHEMA, "table"], zip(*self._rows, strict=True), strict=True)
        self._hand_over(pl.DataFrame(dict(columns), schema=SCHEMA | {"table": pl.String}))
        self._rows = []

    def _hand_over(self, rows: pl.DataFrame) -> None:
        """Let the other thread keep these rows, when it has kept those before."""
        self._wait()
        self._work = self._thread.submit(self._keep, rows)

    def _wait(self) -> None:
        if self._work:
            self._work.result()

    def _keep(self, rows: pl.DataFrame) -> None:
        self._parts.append(rows.with_columns(keys_of(rows, self._split_seed), rows=pl.lit(1, pl.UInt64)))
        self._height += rows.height
        self._characters += sum(int(rows[name].str.len_bytes().sum()) for name in ("text", "second_text"))
        if self._characters >= CHARACTERS_PER_RUN or self._height >= ROWS_PER_RUN:
            self._write()

    def _write(self) -> None:
        run = _merged(pl.concat(self._parts))
        run.write_ipc(self._path(len(self._ends)), record_batch_size=4096)
        self._ends.append([0, *run["key"].search_sorted(_BOUNDS), run.height])
        self._total += self._characters
        self._parts, self._height, self._characters = [], 0, 0

    def ranges(self) -> Iterator[pl.DataFrame]:
        """All rows by ascending key, with their count as `rows`; rows of one key are in one frame."""
        if self._rows:
            self._gather()
        self._wait()
        if self._height:
            self._write()
        step = max(1, _FINEST * CHARACTERS_PER_RANGE // max(self._total, CHARACTERS_PER_RANGE))
        bounds = [(first, min(first + step, _FINEST)) for first in range(0, _FINEST, step)]
        ahead: Future[pl.DataFrame | None] | None = None
        for following in [*bounds, None]:
            ready, ahead = ahead, self._thread.submit(self._range, *following) if following else None
            if ready and (rows := ready.result()) is not None:
                yield rows

    def _range(self, first: int, last: int) -> pl.DataFrame | None:
        parts = [
            pl.scan_ipc(self._path(number)).slice(ends[first], ends[last] - ends[first])
            for number, ends in enumerate(self._ends)
            if ends[first] < ends[last]
        ]
        return _merged(pl.concat(pl.collect_all(parts))) if parts else None

    def _path(self, number: int) -> Path:
        return self.directory / f"run-{number}.ipc"


def _merged(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows by key, those with equal key, table and label as one."""
    rows = rows.sort("key")
    several = repeated(rows["key"])
    texts = pl.col("text", "second_text").first()
    merged = rows.filter(several).group_by(_GROUP).agg(texts, pl.col("rows").sum()).select(rows.columns)
    return rows.filter(~several).merge_sorted(merged.sort(_GROUP), "key")
