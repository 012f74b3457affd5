"""CSV, TSV and JSON Lines. Python's `csv` decides what a row is; one that cannot be read costs a line, not the file."""

import csv
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import IO, Any, TypeVar

from ..errors import UserError
from .files import BYTE_ORDER_MARK, DELIMITERS
from .rows import Column, MalformedRow, Record, kind_of, require

LONGEST = 2**24  # bytes of a line, characters of a cell: a quote that is never closed must not take the file with it
csv.field_size_limit(LONGEST)

Row = TypeVar("Row")


def read_csv(
    file: IO[bytes], columns: Sequence[Column], path: Path, parse: Callable[..., Row | None], *, whole: bool = False
) -> Iterator[Row | MalformedRow]:
    """What `parse` makes of the rows; `path` names the file in messages, and its ending the delimiter."""
    delimiter = DELIMITERS[path.suffix.lower()]
    lines = _Lines(file)
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    names = _header(rows, columns, path, delimiter)
    indices, cells = [names.index(column.name) for column in columns], len(names)
    names = _numbered(names)
    while True:
        lines.row.clear()
        try:
            row = next(rows)
            if len(row) == cells:
                record = [Record(lines.first, dict(zip(names, _unicode(row), strict=True)))] if whole else []
                parsed = parse(*record, *_unicode([row[index] for index in indices]))
                if parsed is not None:
                    yield parsed
            elif row:
                yield MalformedRow(lines.first, f"expected {cells} columns, found {len(row)}", _shown(*lines.row))
        except StopIteration:
            return
        except ValueError as error:
            yield MalformedRow(lines.first, str(error), _shown(*lines.row))
        except csv.Error as error:
            yield MalformedRow(lines.first, _torn(str(error), lines), _shown(lines.row[0]))
            lines.go_on_after_the_first()
            rows = csv.reader(lines, delimiter=delimiter, strict=True)


class _Lines:
    """The lines of a file as text. Those of the current row are kept, so that a torn row costs only its first."""

    def __init__(self, file: IO[bytes]) -> None:
        self.number = 0
        self.row: list[bytes] = []
        self._bytes = _lines_of(file)
        self._again: deque[bytes] = deque()

    def __iter__(self) -> Iterator[str]:
        while line := self._again.popleft() if self._again else next(self._bytes, None):
            self.number += 1
            self.row.append(line)
            if len(line) > LONGEST:
                raise csv.Error(f"a line longer than {LONGEST:,} bytes")
            # Bytes that are not UTF-8 become lone surrogates: they spoil their own line, not the file.
            yield line.decode("utf-8", "surrogateescape")

    def go_on_after_the_first(self) -> None:
        """Read the lines of this row again, without the first."""
        self._again.extendleft(reversed(self.row[1:]))
        self.number -= len(self.row) - 1

    @property
    def first(self) -> int:
        """The number of the row's first line."""
        return self.number - len(self.row) + 1


def _lines_of(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file without its byte order mark; of a line that is too long only as much as shows that it is."""
    line = file.readline(LONGEST + 1).removeprefix(BYTE_ORDER_MARK)
    while line:
        rest = line
        while rest and rest[-1] != 0x0A:
            rest = file.readline(LONGEST)
        yield line
        line = file.readline(LONGEST + 1)


def _header(rows: Iterator[list[str]], columns: Sequence[Column], path: Path, delimiter: str) -> list[str]:
    """The names of all columns; the wanted ones are there once."""
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
    return names


def _numbered(names: list[str]) -> list[str]:
    """The names, a repeated one with the next free number behind it."""
    found: dict[str, None] = {}
    for name in names:
        free = (f"{name}_{number}" for number in count(2) if f"{name}_{number}" not in {*found, *names})
        found[next(free) if name in found else name] = None
    return list(found)


def _torn(problem: str, lines: _Lines) -> str:
    if "end of data" in problem:
        return f"expected quotes that are closed, found the end of the file at line {lines.number}"
    if "field limit" in problem or "longer" in problem:
        return f"expected cells of at most {LONGEST:,} characters and quotes that are closed, found a longer one"
    return f"expected a row of CSV, found {problem.partition(' - ')[0]} at line {lines.number}"


def read_json_lines(
    file: IO[bytes],
    columns: Sequence[Column],
    source: Path | str,
    parse: Callable[..., Row | None],
    *,
    whole: bool = False,
) -> Iterator[Row | MalformedRow]:
    """What `parse` makes of the objects, one in each line; `source` is what messages call the file."""
    missing = list(columns)
    keys: list[str] = []
    for number, line in enumerate(_lines_of(file), start=1):
        if number == 1 and line.lstrip().startswith(b"["):
            raise UserError(
                f"{source} holds one JSON array",
                expected="JSON Lines: one object in each line",
                found=f"a first line that begins with [: {_shown(line[:40])}",
                fix=f"jq -c '.[]' {source} > fixed.jsonl, and put that in its place",
            )
        if not line.strip():
            continue
        try:
            record = _record(line)
            keys = keys or list(record)
            if missing:
                missing = [column for column in missing if column.name not in record]
            head = [Record(number, *_unicode([record]))] if whole else []
            parsed = parse(*head, *_unicode([record.get(column.name) for column in columns]))
            if parsed is not None:
                yield parsed
        except ValueError as error:
            yield MalformedRow(number, str(error), _shown(line))
    if keys:
        require(missing, keys, source)


def _record(line: bytes) -> dict[str, Any]:
    if len(line) > LONGEST:
        raise ValueError(f"expected at most {LONGEST:,} bytes, found more")
    try:
        record = json.loads(line.decode("utf-8"), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise ValueError(f"expected UTF-8, found the byte 0x{line[error.start]:02X}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"expected JSON, found {error}") from None
    if not isinstance(record, dict):
        raise ValueError(f"expected an object, found {kind_of(record)}")
    return record


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError("a key twice")
    return record


def _unicode(values: list[Any]) -> list[Any]:
    """The values; ValueError if text in them was not UTF-8."""
    for value in values:
        if isinstance(value, (list, dict)):
            _unicode([*value, *value.values()] if isinstance(value, dict) else value)
        elif isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                byte = ord(value[error.start]) - 0xDC00
                found = f"the byte 0x{byte:02X}" if 0x80 <= byte <= 0xFF else "half of a pair of surrogates"
                raise ValueError(f"expected UTF-8, found {found}") from None
    return values


def _shown(*lines: bytes) -> str:
    """Lines as a message or a record may hold them, whatever bytes they had."""
    return b"".join(lines).decode("utf-8", "backslashreplace").rstrip("\r\n")
