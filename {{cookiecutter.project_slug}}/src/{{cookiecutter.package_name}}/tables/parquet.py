"""The exact reader of Parquet. It has no lines that could be mended, only whole files."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..errors import UserError
from .raw_rows import Column, Rejected, require

if TYPE_CHECKING:
    import polars as pl

ROWS_PER_READ = 4096
# Some damaged files make polars end its process instead of raising, so a process of its own reads every file first.
_READ_ALL = """
import sys
import polars as pl
path, size, *columns = sys.argv[1:]
table = pl.scan_parquet(path, glob=False)
columns = [name for name in table.collect_schema().names() if name in columns]
for start in range(0, table.select(pl.len()).collect().item(), int(size)):
    table.select(columns).slice(start, int(size)).collect()
"""

Row = TypeVar("Row")


def read_parquet(path: Path, columns: Sequence[Column], take: Callable[..., Row | None]) -> Iterator[Row | Rejected]:
    """What `take` makes of the rows."""
    for start, part in parts_of(path, columns):
        yield from rows_of(part, start, columns, take)


def parts_of(path: Path, columns: Sequence[Column]) -> Iterator[tuple[int, "pl.DataFrame"]]:
    """The wanted columns, a few rows at a time, each part with the number of its first row, from 0."""
    import polars as pl

    wanted = list(dict.fromkeys(column.name for column in columns))
    command = [sys.executable, "-c", _READ_ALL, str(path), str(ROWS_PER_READ), *wanted]
    tried = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if tried.returncode:
        told = [line for line in tried.stderr.splitlines() if "Error: " in line]
        raise UserError(
            f"{path} cannot be read",
            expected="a whole file of Parquet",
            found=told[-1].partition("Error: ")[2] if told else "damaged data",
            fix="make or fetch the file again",
        )
    table = pl.scan_parquet(path, glob=False)
    require(columns, table.collect_schema().names(), path)
    rows = table.select(pl.len()).collect().item()
    for start in range(0, rows, ROWS_PER_READ):
        yield start, table.select(wanted).slice(start, ROWS_PER_READ).collect()


def rows_of(
    part: "pl.DataFrame", start: int, columns: Sequence[Column], take: Callable[..., Row | None]
) -> Iterator[Row | Rejected]:
    """What `take` makes of the rows of a part."""
    names = [column.name for column in columns]
    for number, values in enumerate(zip(*(part[name].to_list() for name in names), strict=True), start=start + 1):
        try:
            taken = take(*values)
            if taken is not None:
                yield taken
        except ValueError as error:
            content = dict(zip(names, values, strict=True))
            yield Rejected(number, str(error), json.dumps(content, ensure_ascii=False, default=repr))
