"""Sort more rows than fit into memory: sorted runs of bounded size on disk, then one range of keys after the other."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

CHARACTERS_PER_RUN = 2**24
ROWS_PER_RUN = 50_000
CHARACTERS_PER_RANGE = 2**23
_FINEST = 4096  # ranges are whole numbers of these parts of the keys
SCHEMA = {"key": pl.Binary, "text": pl.String, "second_text": pl.String, "label": pl.String, "table": pl.String}
_GROUP = ("key", "table", "label")


class Runs:
    """Rows in any order, given back by ranges of their keys. Rows with equal key, table and label become one."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._rows: list[tuple[bytes, str, str | None, str, str]] = []
        self._characters = 0
        self._total = 0
        self._ends: list[np.ndarray] = []

    def add(self, table: str, row: tuple[bytes, str, str | None, str]) -> None:
        """Take a row of a table: key, text, second text, label."""
        self._rows.append((*row, table))
        self._characters += len(row[1]) + len(row[2] or "")
        if self._characters >= CHARACTERS_PER_RUN or len(self._rows) >= ROWS_PER_RUN:
            self._write()

    def _write(self) -> None:
        columns = dict(zip(SCHEMA, zip(*self._rows, strict=True), strict=True))
        run = _merged(pl.DataFrame(columns, schema=SCHEMA).with_columns(rows=pl.lit(1, pl.UInt64)))
        run.write_ipc(self._path(len(self._ends)), record_batch_size=4096)
        places = np.frombuffer(b"".join(run["key"]), dtype=">u8")[::2]
        parts = np.arange(1, _FINEST, dtype=np.uint64) * np.uint64(2**64 // _FINEST)
        self._ends.append(np.concatenate([[0], np.searchsorted(places, parts), [run.height]]))
        self._total += self._characters
        self._rows, self._characters = [], 0

    def ranges(self) -> Iterator[pl.DataFrame]:
        """All rows by ascending key, with their count as `rows`; rows of one key are in one frame."""
        if self._rows:
            self._write()
        step = max(1, _FINEST * CHARACTERS_PER_RANGE // max(self._total, CHARACTERS_PER_RANGE))
        for first in range(0, _FINEST, step):
            last = min(first + step, _FINEST)
            parts = [
                pl.scan_ipc(self._path(number)).slice(ends[first], ends[last] - ends[first]).collect()
                for number, ends in enumerate(self._ends)
                if ends[first] < ends[last]
            ]
            if parts:
                yield _merged(pl.concat(parts))

    def _path(self, number: int) -> Path:
        return self.directory / f"run-{number}.ipc"


def _merged(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows by key, those with equal key, table and label as one."""
    texts = pl.col("text", "second_text").first()
    return rows.group_by(_GROUP).agg(texts, pl.col("rows").sum()).sort(_GROUP)
