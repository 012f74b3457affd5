"""The one exact reader of tables: CSV, TSV, JSON or Parquet, row by row, in memory that does not grow with the table.

`prepare` and prediction both read tables here, so a file means the same to both. A malformed row comes as a
`MalformedRow` in its place, and reading goes on after it. A file that is not a table raises UserError. What the reader
detects about a file, such as its delimiter, is logged.
"""

import shlex
from collections.abc import Callable, Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import IO, cast

from ..errors import UserError
from .csv_reader import read_csv
from .files import COMPRESSED, DELIMITERS, format_of, opened, plain_name
from .json_reader import read_json
from .parquet_reader import read_parquet
from .rows import Column, MalformedRow, Row
from .rows import Record as Record


def read_rows(
    source: Path | IO[bytes], columns: Sequence[Column], parse: Callable[..., Row | None], *, whole: bool = False
) -> Iterator[Row | MalformedRow]:
    """Read a file, or JSON Lines in a stream, row by row; yield what `parse` makes of each row's values in the columns.

    A value is what the format has: text, a number, a list; None if there is none. `parse` returns None to leave a row
    out and raises ValueError(reason) for a malformed row. whole: `parse` gets the row's `Record` before the values.
    """
    if not isinstance(source, Path):
        yield from read_json(cast("BufferedReader", source), columns, "standard input", parse, whole=whole)
        return
    plain = plain_name(source)
    suffix = format_of(plain)
    if suffix == ".parquet" != source.suffix.lower():
        raise UserError(
            f"{source} is Parquet in a compressed file",
            expected="Parquet, which is compressed inside",
            found=source.suffix,
            fix=f"{COMPRESSED[source.suffix.lower()][1]} -d {shlex.quote(str(source))}",
        )
    with opened(source) as file:
        if suffix == ".parquet":
            yield from read_parquet(source, columns, parse, whole=whole)
        elif suffix in DELIMITERS:
            yield from read_csv(file, columns, source, parse, whole=whole)
        else:
            yield from read_json(file, columns, source, parse, whole=whole)
