"""Parquet. A damaged file is refused as a whole, because it has no lines that could be corrected."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from itertools import repeat
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, cast

from ..errors import UserError
from .files import literal, python
from .rows import Column, MalformedRow, Record, Row, indices_of, listed

if TYPE_CHECKING:
    import polars as pl

ROWS_PER_READ = 4096
# On some damaged files polars ends its process instead of raising. So a separate process reads every file first.
_READ_ALL = """
import sys
import polars as pl
from polars import selectors as cs
path, size, *wanted = sys.argv[1:]
table = pl.scan_parquet(path, glob=False)
names = table.collect_schema().names()
columns = [name for name in names if name in wanted] if wanted and {*wanted} <= {*names} else names
for start in range(0, table.select(pl.len()).collect().item(), int(size)):
    table.select(cs.by_name(*columns)).slice(start, int(size)).collect()
"""

_WORDS = {str: "text", int: "whole numbers", float: "numbers", list: "lists", date: "dates"}


def read_parquet(
    path: Path, columns: Sequence[Column], parse: Callable[..., Row | None], whole: bool
) -> Iterator[Row | MalformedRow]:
    """Yield what `parse` makes of each row."""
    import polars as pl
    from polars import selectors as cs

    _check(path, [] if whole else [column.name for column in columns])
    table = pl.scan_parquet(path, glob=False)
    schema = table.collect_schema()
    all_names = schema.names()
    names = [all_names[index] for index in indices_of(columns, all_names, path)]
    for column, name in zip(columns, names, strict=True):
        _require_type(column, name, schema, path)
    wanted = pl.all() if whole else cs.by_name(*dict.fromkeys(names))  # pl.col takes ^text$ for a pattern
    for start in range(0, table.select(pl.len()).collect().item(), ROWS_PER_READ):
        part = table.select(wanted).slice(start, ROWS_PER_READ).collect()
        records = part.iter_rows(named=True) if whole else repeat({})
        rows = zip(zip(*(_values(part[name]) for name in names), strict=True), records, strict=False)
        for number, (values, cells) in enumerate(rows, start + 1):
            try:
                parsed = parse(*([Record(number, cells)] if whole else []), *values)
                if parsed is not None:
                    yield parsed
            except ValueError as error:
                content = dict(zip(names, values, strict=True))
                yield MalformedRow(number, str(error), json.dumps(content, ensure_ascii=False, default=repr))


def _values(column: "pl.Series") -> list[Any]:
    """The values of a column; decimals become int or float."""
    values, dtype = column.to_list(), cast("Any", column.dtype)
    if not dtype.is_decimal():
        return values
    number = float if dtype.scale else int
    return [None if value is None else number(value) for value in values]


def _require_type(column: Column, name: str, schema: "pl.Schema", path: Path) -> None:
    """Refuse a column whose type is not one of those that it may have."""
    kinds = {other: float if dtype.is_decimal() else dtype.to_python() for other, dtype in schema.items()}
    if issubclass(kinds[name], (*column.takes, type(None))):
        return
    others = [other for other, kind in kinds.items() if issubclass(kind, column.takes)]
    fix = f"set {column.named_by} to another column"
    if str in column.takes and not schema[name].is_nested():
        text = f"pl.read_parquet({literal(path)}, glob=False).with_columns(pl.col({literal(name)}).cast(pl.String))"
        text += '.write_parquet("fixed.parquet")'
        fix += f"; or make text of it: {python(f'import polars as pl; {text}')} && mv fixed.parquet {quote(str(path))}"
    raise UserError(
        f"the column {name!r} of {path} cannot be used",
        expected=f"{', '.join(_WORDS[kind] for kind in column.takes)} in the column that {column.named_by} names",
        found=f"{schema[name]}; of such a type: {listed(others) or 'no column'}",
        fix=fix,
    )


def _check(path: Path, columns: list[str]) -> None:
    """Raise OSError for a file that polars cannot read to its end."""
    command = [sys.executable, "-c", _READ_ALL, str(path), str(ROWS_PER_READ), *columns]
    tried = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if tried.returncode:
        errors = [line for line in tried.stderr.splitlines() if "Error: " in line]
        found = errors[-1].partition("Error: ")[2] if errors else "damaged data"
        raise OSError(f"no whole file of Parquet: {found}")
