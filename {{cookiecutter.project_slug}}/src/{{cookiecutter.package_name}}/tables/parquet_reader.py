"""Parquet. A damaged file is refused as a whole: it has no lines that could be corrected."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from ..errors import UserError
from .rows import Column, MalformedRow, Record, require

ROWS_PER_READ = 4096
# Some damaged files make polars end its process instead of raising, so a process of its own reads every file first.
_READ_ALL = """
import sys
import polars as pl
path, size, *columns = sys.argv[1:]
table = pl.scan_parquet(path, glob=False)
names = table.collect_schema().names()
columns = [name for name in names if name in columns] or names
for start in range(0, table.select(pl.len()).collect().item(), int(size)):
    table.select(columns).slice(start, int(size)).collect()
"""

Row = TypeVar("Row")


def read_parquet(
    path: Path, columns: Sequence[Column], parse: Callable[..., Row | None], *, whole: bool = False
) -> Iterator[Row | MalformedRow]:
    """What `parse` makes of the rows."""
    import polars as pl

    names = [column.name for column in columns]
    _check(path, [] if whole else names)
    table = pl.scan_parquet(path, glob=False)
    require(columns, table.collect_schema().names(), path)
    wanted = pl.all() if whole else pl.col(*dict.fromkeys(names))
    for start in range(0, table.select(pl.len()).collect().item(), ROWS_PER_READ):
        part = table.select(wanted).slice(start, ROWS_PER_READ).collect()
        for number, cells in enumerate(part.iter_rows(named=True), start + 1):
            try:
                record = [Record(number, cells)] if whole else []
                parsed = parse(*record, *(cells[name] for name in names))
                if parsed is not None:
                    yield parsed
            except ValueError as error:
                yield MalformedRow(
                    number,
                    str(error),
                    json.dumps({name: cells[name] for name in names}, ensure_ascii=False, default=repr),
                )


def _check(path: Path, columns: list[str]) -> None:
    """Refuse a file that polars cannot read to its end."""
    command = [sys.executable, "-c", _READ_ALL, str(path), str(ROWS_PER_READ), *columns]
    tried = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if tried.returncode:
        errors = [line for line in tried.stderr.splitlines() if "Error: " in line]
        raise UserError(
            f"{path} cannot be read",
            expected="a whole file of Parquet",
            found=errors[-1].partition("Error: ")[2] if errors else "damaged data",
            fix="make or fetch the file again",
        )
