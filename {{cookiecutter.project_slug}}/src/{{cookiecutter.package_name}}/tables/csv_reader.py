"""CSV and TSV. Python's `csv` decides what a row is; a row that cannot be read costs one line, not the file.

The file's ending gives the delimiter, unless a first line such as `sep=;` or the header shows another. Quotes enclose
cells (RFC 4180), also after a blank in a file that begins so. TSV is often written without quoting; there, a quote that
does not enclose its whole cell is text.
"""

import csv
import logging
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import count, islice
from pathlib import Path
from typing import IO

from ..errors import UserError
from .files import DELIMITERS, LONGEST, in_its_place, lines_of, literal, opened, opener_of, plain_name, to_parquet
from .rows import Column, MalformedRow, Record, Row, indices_of, matching, require_unicode, shown

OTHERS = (",", ";", "\t", "|")
# The beginning of a reason that data/rows.py explains further.
HOLDS_ROWS = "expected quotes that enclose one cell"
_SAMPLE = 2**20  # bytes in which the usual values of columns are counted
_SEP = re.compile(rb'"?sep=([^"\w\s]|\t)"?\s*', re.IGNORECASE)
csv.field_size_limit(LONGEST)
log = logging.getLogger(__name__)


def read_csv(
    file: IO[bytes], columns: Sequence[Column], path: Path, parse: Callable[..., Row | None], whole: bool
) -> Iterator[Row | MalformedRow]:
    """Yield what `parse` makes of each row. `path` names the file in messages; its ending gives the delimiter."""
    lines = _Lines(file)
    delimiter, names = _header(lines, columns, path)
    indices, cells = indices_of(columns, names, path), len(names)
    names = _numbered(names)
    for row in _rows_of(lines, delimiter, _Quotes(path, delimiter, cells)):
        if not row:
            continue
        try:
            if isinstance(row, str):
                raise ValueError(row)
            if len(row) != cells:
                raise ValueError(f"expected {cells} columns, found {len(row)}")
            record = [Record(lines.first, dict(zip(names, require_unicode(row), strict=True)))] if whole else []
            parsed = parse(*record, *require_unicode([row[index] for index in indices]))
            if parsed is not None:
                yield parsed
        except ValueError as error:
            yield MalformedRow(lines.first, str(error), shown(*lines.row))


def _rows_of(lines: "_Lines", delimiter: str, quotes: "_Quotes") -> Iterator[list[str] | str]:
    """Yield each row, or the reason why it cannot be read. Until the next row is taken, `lines.row` holds its lines."""
    rows = lines.parsed(delimiter)
    while True:
        lines.row.clear()
        try:
            row = next(rows)
            torn = quotes.doubt(row, lines.row) if len(lines.row) > 1 else None
        except StopIteration:
            quotes.report()
            return
        except csv.Error as error:
            row, torn = [], _torn(str(error), lines)
        if torn is None:
            yield row
            continue
        literal = quotes.as_text(row, lines.row, lines.first)
        if literal or not row:
            lines.go_on_after(1)
            rows = lines.parsed(delimiter)
        yield literal or torn


class _Lines:
    """The lines of a file as text. Those of the current row are kept, so that a torn row costs only its first line."""

    def __init__(self, file: IO[bytes]) -> None:
        self.number = 0
        self.row: list[bytes] = []
        self._bytes = lines_of(file)
        self._head = tuple(islice(self._bytes, 3))  # Excel's first line, the header and a row
        self._again = deque(self._head)

    def __iter__(self) -> Iterator[str]:
        while line := self._again.popleft() if self._again else next(self._bytes, None):
            self.number += 1
            self.row.append(line)
            if len(line) > LONGEST:
                raise csv.Error(f"a line longer than {LONGEST:,} bytes")
            # Bytes that are not UTF-8 become lone surrogates: they spoil only their own line.
            yield _text(line)

    def parsed(self, delimiter: str, lines: Iterable[str] | None = None) -> Iterator[list[str]]:
        """The rows of all lines, or of the given ones. Blanks before quotes are skipped in a file that begins so."""
        source = self if lines is None else lines
        return csv.reader(source, delimiter=delimiter, strict=True, skipinitialspace=self._blanks(delimiter))

    def _blanks(self, delimiter: str) -> bool:
        """Whether a cell of the first lines is in quotes with blanks before them."""
        sign = re.escape(delimiter.encode())
        cell = re.compile(sign + rb' +"(?:[^"]|"")+"\s*(?:' + sign + rb"|$)")
        return delimiter != "\t" and any(map(cell.search, self._head))

    def go_on_after(self, count: int) -> None:
        """Keep only the first `count` lines in this row, and read its other lines again."""
        self._again.extendleft(reversed(self.row[count:]))
        self.number -= len(self.row[count:])
        del self.row[count:]

    @property
    def first(self) -> int:
        """The number of the row's first line."""
        return self.number - len(self.row) + 1


def _text(line: bytes) -> str:
    return line.decode("utf-8", "surrogateescape")


class _Quotes:
    """Decides whether several lines are one row with line ends in a cell, or rows merged by quotes that are text.

    If both are possible, the usual values of the columns may show which: if `"Never again,0` and `she said.",1` are
    lines and many rows have the label 0, then this 0 is a label too, not the end of a cell's first line.
    """

    def __init__(self, path: Path, delimiter: str, columns: int) -> None:
        self._path = path
        self._delimiter = delimiter
        self._columns = columns
        self._lines: list[int] = []

    def doubt(self, row: list[str], lines: list[bytes]) -> str | None:
        """Why these lines, read as one row, may be several rows; None if they are one."""
        if self._delimiter == "\t":
            if len(row) != self._columns:
                return f"expected {self._columns} columns, found {len(row)}"
            doubtful = bool(self._merged(row))
        else:
            doubtful = len(row) == self._columns and self._are_rows(row, lines)
        return f"{HOLDS_ROWS}, found whole rows inside one of {len(lines)} lines" if doubtful else None

    def as_text(self, row: list[str], lines: list[bytes], number: int) -> list[str] | None:
        """The first line as a row whose quotes are text, if that is certain: in TSV, if no other reading fits."""
        literal = self._split(lines[0])
        if self._delimiter != "\t" or len(literal) != self._columns:
            return None
        if len(row) == self._columns:
            whole = all(len(self._split(line)) == self._columns for line in lines)
            if not (whole and self._are_rows(row, lines)):
                return None
        self._lines.append(number)
        return literal

    def report(self) -> None:
        """Log which lines had quotes that were read as text."""
        if self._lines:
            found = f"{len(self._lines)} lines, first line {self._lines[0]}"
            log.warning("%s: quotes that do not enclose a cell were read as text (%s)", self._path, found)

    def _split(self, line: bytes) -> list[str]:
        return _text(line).rstrip("\r\n").split(self._delimiter)

    def _merged(self, row: list[str]) -> list[int]:
        """The indices of the cells that may hold more than one row."""
        one = self._columns == 1  # with one column, each line could be a row
        return [index for index, cell in enumerate(row) if "\n" in cell and (one or self._delimiter in cell)]

    def _are_rows(self, row: list[str], lines: list[bytes]) -> bool:
        """Whether the first and the last line are rows by themselves, judged by the values inside the merged cell."""
        merged, start, end = self._merged(row), self._split(lines[0]), self._split(lines[-1])
        if not merged or (len(start), len(end)) != (self._columns, self._columns):
            return False
        inside = [(index, start[index]) for index in range(merged[0] + 1, self._columns)]
        inside += [(index, end[index]) for index in range(merged[0])]
        return any(value and self._usual[index][value] > 1 for index, value in inside)

    @cached_property
    def _usual(self) -> list[Counter[str]]:
        """How often each value occurs in each column at the beginning of the file."""
        with opened(self._path) as file:
            lines = file.read(_SAMPLE).splitlines(keepends=True)
        rows = [row for row in csv.reader(map(_text, lines), delimiter=self._delimiter) if len(row) == self._columns]
        return [Counter(row[index] for row in rows[1:]) for index in range(self._columns)]


def _header(lines: _Lines, columns: Sequence[Column], path: Path) -> tuple[str, list[str]]:
    """The delimiter and the names of all columns. The file's ending gives the delimiter, unless only another fits."""
    delimiter = DELIMITERS[plain_name(path).suffix.lower()]
    found, problem = _first(lines.parsed(delimiter))
    if lines.row and (named := _SEP.fullmatch(lines.row[0])):
        delimiter = named[1].decode()
        lines.go_on_after(1)
        lines.row.clear()
        found, problem = _first(lines.parsed(delimiter))
    if not lines.row:
        raise UserError(
            f"{path} is empty", expected="a header and rows", found="no line", fix="put a table in its place"
        )
    if problem and "new-line" in problem:
        raise UserError(
            f"the lines of {path} do not end where they should",
            expected="lines that end with a line feed",
            found="a carriage return alone, as old Macintosh programs write it",
            fix=in_its_place(path, "tr '\\r' '\\n' <"),
        )
    line = [_text(lines.row[0])]
    others = {other: _first(lines.parsed(other, line))[0] for other in OTHERS if other != delimiter}
    headers = {delimiter: found} | others
    fitting = (sign for sign, names in headers.items() if all(matching(column.name, names) for column in columns))
    if (sign := next(fitting, delimiter)) != delimiter:
        log.warning("%s: columns separated by %r, as the header shows", path, sign)
    elif problem:
        raise UserError(
            f"{path}, line 1: no header can be read",
            expected="the names of the columns",
            found=problem,
            fix="correct the line: quotes are closed, and doubled inside quotes",
        )
    elif not all(matching(column.name, found) for column in columns):
        words = {other: sum(any(map(str.isalnum, name)) for name in names) for other, names in headers.items()}
        return sign, headers[max(words, key=words.__getitem__)]  # the reading with the most names, for the message
    lines.go_on_after(1 if sign != delimiter else len(lines.row))
    return sign, headers[sign]


def _numbered(names: list[str]) -> list[str]:
    """The names. A repeated name gets the next free number appended."""
    found: dict[str, None] = {}
    for name in names:
        free = (f"{name}_{number}" for number in count(2) if f"{name}_{number}" not in {*found, *names})
        found[next(free) if name in found else name] = None
    return list(found)


def _first(rows: Iterator[list[str]]) -> tuple[list[str], str | None]:
    """The cells of the first row, or what is wrong with it."""
    try:
        return next(rows, []), None
    except csv.Error as error:
        return [], str(error).partition(" - ")[0]


def rewritten(path: Path, columns: Sequence[Column]) -> tuple[str, str]:
    """Commands that make Parquet of a file read for these columns: if quotes enclose cells, and if they are text."""
    with opened(path) as file:
        lines = _Lines(file)
        sign, _ = _header(lines, columns, path)
    module = opener_of(path).__module__.lstrip("_")
    read = f'import {module}, polars as pl; pl.read_csv({module}.open({literal(path)}, "rb"), infer_schema=False,'
    read += f" separator={literal(sign)}, skip_rows={lines.first - 1}"
    return to_parquet(path, f"{read})"), to_parquet(path, f"{read}, quote_char=None)")


def _torn(problem: str, lines: _Lines) -> str:
    if "end of data" in problem:
        return f"expected quotes that are closed, found the end of the file at line {lines.number}"
    if "field limit" in problem or "longer" in problem:
        return f"expected cells of at most {LONGEST:,} characters and quotes that are closed, found a longer one"
    return f"expected a row of CSV, found {problem.partition(' - ')[0]} at line {lines.number}"
