"""The one exact reader of tables: CSV, TSV, JSON Lines or Parquet, row by row, in memory that does not grow with them.

Preparing and prediction both read through here, so that a file means the same to both. A malformed row is given as a
`MalformedRow` where it stands, and the rows after it are read all the same; a file that is no table is a UserError.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

from .csv_reader import read_csv
from .files import DELIMITERS, format_of, unchanged
from .json_reader import read_json_lines
from .parquet_reader import read_parquet
from .rows import Column, MalformedRow

Row = TypeVar("Row")

__all__ = ["Column", "MalformedRow", "read_rows"]


def read_rows(
    source: Path | IO[bytes], columns: Sequence[Column], parse: Callable[..., Row | None]
) -> Iterator[Row | MalformedRow]:
    """What `parse` makes of the values of the columns, row by row, from a file or from JSON Lines in a stream.

    A value is what the format has: text, a number, a list, None where there is none. `parse` returns None for a row to
    leave out and raises ValueError(reason) for a malformed one.
    """
    if not isinstance(source, Path):
        yield from read_json_lines(source, columns, "standard input", parse)
        return
    suffix = format_of(source)
    with unchanged(source):
        if suffix == ".parquet":
            yield from read_parquet(source, columns, parse)
            return
        with source.open("rb") as file:
            reader: Any = read_csv if suffix in DELIMITERS else read_json_lines
            yield from reader(file, columns, source, parse)
