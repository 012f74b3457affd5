"""Texts from a file, one by one: JSON Lines, CSV, TSV or Parquet, by the file's name.

A line that holds no text is given as a `Rejected` in its place; the lines after it are read all the same.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .errors import UserError

ROWS_PER_READ = 4096  # of Parquet
FORMATS = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
csv.field_size_limit(2**30)


@dataclass(frozen=True)
class Rejected:
    """A line that holds no text: its number in the file (of Parquet: of the row, from 1), why, and what it holds."""

    line: int
    reason: str
    content: str


def read_texts(source: Path | IO[bytes], column: str) -> Iterator[str | Rejected]:
    """The texts of a file, or of JSON Lines from a stream, that stand under `column`."""
    if not isinstance(source, Path):
        yield from _json_lines(source, column)
        return
    suffix = format_of(source)
    try:
        if suffix == ".parquet":
            yield from _parquet(source, column)
        else:
            with source.open("rb") as file:
                if suffix in (".csv", ".tsv"):
                    yield from _csv(file, column, source, "\t" if suffix == ".tsv" else ",")
                else:
                    yield from _json_lines(file, column)
    except OSError as error:
        raise UserError(
            f"{source} cannot be read", expected="a file", found=error.strerror or str(error), remedy="name another"
        ) from None


def format_of(path: Path) -> str:
    """The ending of a file's name, if it is one of FORMATS; UserError if not."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise UserError(
            f"the format of {path} is not known",
            expected=f"a name that ends in {', '.join(FORMATS)}",
            found=suffix or "no ending",
            remedy="rename the file, or send JSON Lines to standard input",
        )
    return suffix


def _json_lines(file: IO[bytes], column: str) -> Iterator[str | Rejected]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except (ValueError, RecursionError) as error:
            yield Rejected(number, f"expected JSON in UTF-8, found: {error}", _shown(line))
            continue
        text = record.get(column) if isinstance(record, dict) else None
        if isinstance(text, str) and _is_unicode(text):
            yield text
        else:
            yield Rejected(number, f'expected an object with a string under "{column}"', _shown(line))


def _csv(file: IO[bytes], column: str, path: Path, delimiter: str) -> Iterator[str | Rejected]:
    # Bytes that are not UTF-8 become lone surrogates: they spoil their own line, not the file.
    lines = (line.decode("utf-8-sig", "surrogateescape") for line in file)
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    header = next(rows, [])
    _require(column, header, path)
    place = header.index(column)
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield Rejected(rows.line_num, f"expected a row of CSV, found: {error}", "")
            continue
        content = _shown(delimiter.join(row).encode("utf-8", "surrogateescape"))
        if len(row) != len(header):
            if row:
                yield Rejected(rows.line_num, f"expected {len(header)} columns, found {len(row)}", content)
        elif not _is_unicode(row[place]):
            yield Rejected(rows.line_num, "expected UTF-8", content)
        else:
            yield row[place]


def _parquet(path: Path, column: str) -> Iterator[str | Rejected]:
    import polars as pl

    try:
        table = pl.scan_parquet(path)
        names = table.collect_schema().names()
        _require(column, names, path)
        rows = table.select(pl.len()).collect().item()
        for start in range(0, rows, ROWS_PER_READ):
            values = table.select(column).slice(start, ROWS_PER_READ).collect()[column].to_list()
            for number, value in enumerate(values, start=start + 1):
                yield value if isinstance(value, str) else Rejected(number, "expected a string", repr(value))
    except pl.exceptions.PolarsError as error:
        raise UserError(
            f"{path} cannot be read", expected="Parquet", found=str(error).splitlines()[0], remedy="mend the file"
        ) from None


def _require(column: str, names: Sequence[str], path: Path) -> None:
    if column not in names:
        raise UserError(
            f"{path} has no column {column!r}",
            expected="a header with the column that --column names",
            found=f"the columns {', '.join(names)}",
            remedy="name the column of the texts: --column NAME",
        )


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _shown(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace").rstrip("\r\n")
