"""CSV and TSV. Python's `csv` decides what a row is; a row that is torn costs one line, not the file."""

import csv
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TypeVar

from ..errors import UserError
from .files import DELIMITERS
from .rows import LONGEST, Column, MalformedRow, lines_of, require, shown, unicode

csv.field_size_limit(LONGEST)

Row = TypeVar("Row")


def read_csv(
    file: IO[bytes], columns: Sequence[Column], path: Path, parse: Callable[..., Row | None]
) -> Iterator[Row | MalformedRow]:
    """What `parse` makes of the rows; `path` names the file in messages, and its ending the delimiter."""
    delimiter = DELIMITERS[path.suffix.lower()]
    lines = _Lines(file)
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    indices, count = _header(rows, columns, path, delimiter)
    while True:
        lines.row.clear()
        try:
            row = next(rows)
            if len(row) == count:
                parsed = parse(*unicode([row[index] for index in indices]))
                if parsed is not None:
                    yield parsed
            elif row:
                yield MalformedRow(lines.first, f"expected {count} columns, found {len(row)}", shown(lines.row))
        except StopIteration:
            return
        except ValueError as error:
            yield MalformedRow(lines.first, str(error), shown(lines.row))
        except csv.Error as error:
            yield MalformedRow(lines.first, _torn(str(error), lines), shown(lines.row[:1]))
            lines.go_on_after_the_first()
            rows = csv.reader(lines, delimiter=delimiter, strict=True)


class _Lines:
    """The lines of a file as text. Those of the current row are kept, so that a torn row costs only its first."""

    def __init__(self, file: IO[bytes]) -> None:
        self.number = 0
        self.row: list[str] = []
        self._bytes = lines_of(file)
        self._again: deque[str] = deque()

    def __iter__(self) -> Iterator[str]:
        while True:
            if self._again:
                line = self._again.popleft()
            elif raw := next(self._bytes, None):
                # Bytes that are not UTF-8 become lone surrogates: they spoil their own line, not the file.
                line = raw.decode("utf-8", "surrogateescape")
            else:
                return
            self.number += 1
            self.row.append(line)
            if len(line) > LONGEST // 4 and len(line.encode("utf-8", "surrogateescape")) > LONGEST:
                raise csv.Error(f"a line longer than {LONGEST:,} bytes")
            yield line

    def go_on_after_the_first(self) -> None:
        """Read the lines of this row again, without the first."""
        self._again.extendleft(reversed(self.row[1:]))
        self.number -= len(self.row) - 1

    @property
    def first(self) -> int:
        """The number of the row's first line."""
        return self.number - len(self.row) + 1


def _header(rows: Iterator[list[str]], columns: Sequence[Column], path: Path, delimiter: str) -> tuple[list[int], int]:
    """The indices of the columns, and how many there are in all."""
    try:
        names = next(rows, None)
    except csv.Error as error:
        problem = str(error).partition(" - ")[0]
        if "new-line" in problem:
            raise UserError(
                f"the lines of {path} do not end where they should",
                expected="lines that end with a line feed",
                found="a carriage return alone, as old Macintosh programs write it",
                fix=f"tr '\\r' '\\n' < {path} > fixed{path.suffix}, and put that in its place",
            ) from None
        raise UserError(
            f"{path}, line 1: no header can be read",
            expected="the names of the columns",
            found=problem,
            fix="correct the line: quotes are closed, and doubled inside quotes",
        ) from None
    if names is None:
        raise UserError(
            f"{path} is empty", expected="a header and rows", found="no line", fix="put a table in its place"
        )
    other = next((sign for sign in (",", ";", "\t", "|") if len(names) == 1 and sign in names[0]), None)
    if other and names[0] not in [column.name for column in columns]:
        ending = {",": ".csv", "\t": ".tsv"}.get(other)
        convert = f"pl.read_csv('{path}', separator='{other}', infer_schema=False).write_csv('fixed.csv')"
        raise UserError(
            f"the columns of {path} are separated by another sign",
            expected=f"columns separated by {delimiter!r}, as the name says",
            found=f"{other!r} in the header {names[0]!r}",
            fix=f"rename it to {path.stem}{ending}" if ending else f'python -c "import polars as pl; {convert}"',
        )
    require(columns, names, path)
    twice = next((column for column in columns if names.count(column.name) > 1), None)
    if twice:
        raise UserError(
            f"{path} has two columns {twice.name!r}",
            expected=f"one column of the name in {twice.named_by}",
            found=f"the columns {', '.join(names)}",
            fix="rename all but one of them in line 1",
        )
    return [names.index(column.name) for column in columns], len(names)


def _torn(problem: str, lines: _Lines) -> str:
    if "end of data" in problem:
        return f"expected quotes that are closed, found the end of the file at line {lines.number}"
    if "field limit" in problem or "longer" in problem:
        return f"expected cells of at most {LONGEST:,} characters and quotes that are closed, found a longer one"
    return f"expected a row of CSV, found {problem.partition(' - ')[0]} at line {lines.number}"
