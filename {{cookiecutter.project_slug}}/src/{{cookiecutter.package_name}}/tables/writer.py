"""Write rows as JSON Lines, CSV, TSV or Parquet, in memory that does not grow with the number of rows."""

import csv
import io
import json
import math
import pickle
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TextIO

from .files import DELIMITERS

if TYPE_CHECKING:
    import polars as pl

ROWS_PER_PART = 4096
INT64 = range(-(2**63), 2**63)
EXACT = range(-(2**53), 2**53 + 1)  # a float holds each of them

Row = dict[str, Any]
Types = Mapping[str, Any]  # polars types by column name


class Large(int):
    """The type of a whole number that a float may not hold."""


def write_rows(rows: Iterable[Row], path: Path, columns: Mapping[str, type], types: Callable[[], Types]) -> None:
    """Write the rows in the format that the ending of `path` names: to a file beside `path` first, then rename.

    Rows may have different keys: a table gets a column for each, empty where a row lacks it. columns: used if there are
    no rows. types: returns the polars types of Parquet columns; other columns follow their values, or become text.
    """
    suffix = path.suffix.lower()
    beside = path.with_name(f".{path.name}.partial")
    try:
        with beside.open("w", encoding="utf-8", newline="") as file:
            if suffix not in (*DELIMITERS, ".parquet"):
                write_json_lines(rows, file)
            else:
                with tempfile.TemporaryFile(dir=path.parent) as kept:
                    found = _keep(rows, kept) or {name: {kind} for name, kind in columns.items()}
                    if suffix == ".parquet":
                        _write_parquet(_kept(kept), beside, found, types())
                    else:
                        _write_csv(_kept(kept), file, list(found), DELIMITERS[suffix])
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_json_lines(rows: Iterable[Row], file: TextIO) -> None:
    """Write one JSON object per line. If the file's encoding is not UTF-8, write ASCII, which every reader takes."""
    escaped = (file.encoding or "").lower().replace("-", "") != "utf8"
    for row in rows:
        file.write(json.dumps(_json(row), ensure_ascii=escaped, allow_nan=False) + "\n")


def _json(value: Any) -> Any:
    """The value as JSON can hold it: dates, decimals and bytes as text, NaN and infinity as null."""
    if isinstance(value, dict):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (str, int, float)) else str(value)


def _keep(rows: Iterable[Row], file: IO[bytes]) -> dict[str, set[type]]:
    """Store the rows in a file, because the last may have a new key. Returns each key with the types of its values."""
    found: dict[str, set[type]] = {}
    for row in rows:
        pickle.dump(row, file)
        for name, value in row.items():
            large = isinstance(value, int) and value not in EXACT
            found.setdefault(name, set()).add(type(value) if not large else Large if value in INT64 else str)
    return found


def _kept(file: IO[bytes]) -> Iterator[Row]:
    end = file.seek(0, io.SEEK_END)
    file.seek(0)
    while file.tell() < end:
        yield pickle.load(file)  # noqa: S301, this process wrote it


def _write_csv(rows: Iterator[Row], file: TextIO, columns: list[str], delimiter: str) -> None:
    plain = csv.writer(file, delimiter=delimiter, lineterminator="\n")
    quoted = csv.writer(file, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
    plain.writerow(columns)
    for row in rows:
        cells = [_text(row.get(name)) for name in columns]
        # Python before 3.13 does not quote a carriage return, and then refuses to read it.
        (quoted if any("\r" in str(cell) for cell in cells) else plain).writerow(cells)


def _text(value: Any) -> Any:
    """A value as a CSV cell or as Parquet text: lists, objects and booleans as JSON."""
    return json.dumps(_json(value), ensure_ascii=False) if isinstance(value, (bool, list, dict)) else value


def _write_parquet(rows: Iterator[Row], path: Path, found: dict[str, set[type]], types: Types) -> None:
    """Write parts, which polars then joins, because Parquet is written column by column."""
    import polars as pl

    schema = {name: types.get(name) or _type_of(kinds - {type(None)}) for name, kinds in found.items()}
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        parts = [_write_part([], schema, Path(folder) / "0")]
        while some := list(islice(rows, ROWS_PER_PART)):
            parts.append(_write_part(some, schema, Path(folder) / str(len(parts))))
        pl.scan_parquet(parts, glob=False).sink_parquet(path)


def _write_part(rows: list[Row], schema: "Mapping[str, pl.DataType]", path: Path) -> Path:
    import polars as pl

    values = {
        name: [
            str(_text(value)) if kind == pl.String and not (value is None or isinstance(value, str)) else value
            for value in (row.get(name) for row in rows)
        ]
        for name, kind in schema.items()
    }
    pl.DataFrame(values, schema=schema).write_parquet(path)
    return path


def _type_of(kinds: set[type]) -> Any:
    import polars as pl

    if kinds == {float, int}:
        return pl.Float64
    kinds = {int if kind is Large and float not in kinds else kind for kind in kinds}
    known = {bool: pl.Boolean, int: pl.Int64, float: pl.Float64}
    return known.get(next(iter(kinds)), pl.String) if len(kinds) == 1 else pl.String
