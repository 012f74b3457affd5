"""The one exact reader of tables: CSV, TSV, JSON Lines or Parquet, row by row, in memory that does not grow with them.

Preparing and prediction both read through here, so that a file means the same to both. What is no row is given as a
`Rejected` in its place, and the rows after it are read all the same; a file that is no table at all is a UserError.
"""

import csv
import json
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

from .encodings import BYTE_ORDER_MARK, check_start
from .errors import UserError

DELIMITERS = {".csv": ",", ".tsv": "\t"}
FORMATS = (".jsonl", ".ndjson", *DELIMITERS, ".parquet")
LONGEST = 2**24  # bytes of a line, characters of a cell: a quote that is never closed must not take the file with it
ROWS_PER_READ = 4096  # of Parquet
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
csv.field_size_limit(LONGEST)

Row = TypeVar("Row")


@dataclass(frozen=True)
class Rejected:
    """What is no row: the line it begins at (of Parquet: its row, from 1), why, and what it holds.

    The reason is `expected …, found …`; what stands before `, found` is the same for all rows of one kind.
    """

    line: int
    reason: str
    content: str


class Column(NamedTuple):
    """A column to read, and the option or parameter that names it."""

    name: str
    named_by: str


def read_rows(
    source: Path | IO[bytes], columns: Sequence[Column], take: Callable[..., Row | None]
) -> Iterator[Row | Rejected]:
    """What `take` makes of the values of the columns, row by row, from a file or from JSON Lines in a stream.

    A value is what the format has: text, a number, a list, None where there is none. `take` returns None for a row to
    leave out and raises ValueError(reason) for one to reject.
    """
    if not isinstance(source, Path):
        yield from _json_lines(source, columns, "standard input", take)
        return
    suffix = format_of(source)
    try:
        before = _state(source)
        check_start(source, text=suffix != ".parquet")
        if suffix == ".parquet":
            yield from _parquet(source, columns, take)
        else:
            with source.open("rb") as file:
                if suffix in DELIMITERS:
                    yield from _delimited(file, columns, source, take)
                else:
                    yield from _json_lines(file, columns, source, take)
        changed = _state(source) != before
    except OSError as error:
        raise UserError(
            f"{source} cannot be read",
            expected="a file that may be read",
            found=error.strerror or str(error),
            remedy="name another, or see who may read it (ls -l)",
        ) from None
    if changed:
        raise UserError(
            f"{source} changed while it was read",
            expected="a file that nobody writes to",
            found="another size, time or file at the end than at the beginning",
            remedy="wait until it is written, then run again",
        )


def format_of(path: Path) -> str:
    """The ending of the file's name, if it is one of FORMATS."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise UserError(
            f"the format of {path} is not known",
            expected=f"a name that ends in {', '.join(FORMATS)}",
            found=suffix or "no ending",
            remedy="rename the file, or send JSON Lines to standard input",
        )
    return suffix


class _Lines:
    """The lines of a file as text. Those of the row under way are kept, so that a torn row costs only its first."""

    def __init__(self, file: IO[bytes]) -> None:
        self.number = 0
        self.row: list[str] = []
        self._bytes = _limited(file)
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


def _limited(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file without its byte order mark; of a line that is too long only as much as shows that it is."""
    line = file.readline(LONGEST + 1).removeprefix(BYTE_ORDER_MARK)
    while line:
        yield line
        while line and line[-1] != 0x0A:
            line = file.readline(LONGEST)
        line = file.readline(LONGEST + 1)


def _delimited(
    file: IO[bytes], columns: Sequence[Column], path: Path, take: Callable[..., Row | None]
) -> Iterator[Row | Rejected]:
    delimiter = DELIMITERS[path.suffix.lower()]
    lines = _Lines(file)
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    places, width = _header(rows, columns, path, delimiter)
    while True:
        lines.row.clear()
        try:
            row = next(rows)
            if len(row) == width:
                taken = take(*_unicode([row[place] for place in places]))
                if taken is not None:
                    yield taken
            elif row:
                yield Rejected(lines.first, f"expected {width} columns, found {len(row)}", _shown(lines.row))
        except StopIteration:
            return
        except ValueError as error:
            yield Rejected(lines.first, str(error), _shown(lines.row))
        except csv.Error as error:
            yield Rejected(lines.first, _torn(str(error), lines), _shown(lines.row[:1]))
            lines.go_on_after_the_first()
            rows = csv.reader(lines, delimiter=delimiter, strict=True)


def _header(rows: Iterator[list[str]], columns: Sequence[Column], path: Path, delimiter: str) -> tuple[list[int], int]:
    """Where the columns are, and how many there are in all."""
    try:
        names = next(rows, None)
    except csv.Error as error:
        problem = str(error).partition(" - ")[0]
        if "new-line" in problem:
            raise UserError(
                f"the lines of {path} do not end where they should",
                expected="lines that end with a line feed",
                found="a carriage return alone, as old Macintosh programs write it",
                remedy=f"tr '\\r' '\\n' < {path} > mended{path.suffix}, and put that in its place",
            ) from None
        raise UserError(
            f"{path}, line 1: no header can be read",
            expected="the names of the columns",
            found=problem,
            remedy="mend the line: quotes are closed, and doubled inside quotes",
        ) from None
    if names is None:
        raise UserError(
            f"{path} is empty", expected="a header and rows", found="no line", remedy="put a table in its place"
        )
    other = next((sign for sign in (",", ";", "\t", "|") if len(names) == 1 and sign in names[0]), None)
    if other and names[0] not in [column.name for column in columns]:
        ending = {",": ".csv", "\t": ".tsv"}.get(other)
        convert = f"pl.read_csv('{path}', separator='{other}', infer_schema=False).write_csv('mended.csv')"
        raise UserError(
            f"the columns of {path} are separated by another sign",
            expected=f"columns separated by {delimiter!r}, as the name says",
            found=f"{other!r} in the header {names[0]!r}",
            remedy=f"rename it to {path.stem}{ending}" if ending else f'python -c "import polars as pl; {convert}"',
        )
    _require(columns, names, path)
    twice = next((column for column in columns if names.count(column.name) > 1), None)
    if twice:
        raise UserError(
            f"{path} has two columns {twice.name!r}",
            expected=f"one column of the name in {twice.named_by}",
            found=f"the columns {', '.join(names)}",
            remedy="rename all but one of them in line 1",
        )
    return [names.index(column.name) for column in columns], len(names)


def _torn(problem: str, lines: _Lines) -> str:
    if "end of data" in problem:
        return f"expected quotes that are closed, found the end of the file at line {lines.number}"
    if "field limit" in problem or "longer" in problem:
        return f"expected cells of at most {LONGEST:,} characters and quotes that are closed, found a longer one"
    return f"expected a row of CSV, found {problem.partition(' - ')[0]} at line {lines.number}"


def _json_lines(
    file: IO[bytes], columns: Sequence[Column], source: Path | str, take: Callable[..., Row | None]
) -> Iterator[Row | Rejected]:
    missing = {column.name: column for column in columns}
    keys: list[str] = []
    for number, line in enumerate(_limited(file), start=1):
        if number == 1:
            _refuse_array(line, source)
        if not line.strip():
            continue
        try:
            record = _record(line)
            keys = keys or list(record)
            if missing:
                missing = {name: column for name, column in missing.items() if name not in record}
            taken = take(*_unicode([record.get(column.name) for column in columns]))
            if taken is not None:
                yield taken
        except ValueError as error:
            yield Rejected(number, str(error), _shown([line.decode("utf-8", "surrogateescape")]))
    if keys:
        _require(list(missing.values()), keys, source)


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


def _refuse_array(line: bytes, source: Path | str) -> None:
    if line.lstrip().startswith(b"["):
        raise UserError(
            f"{source} holds one JSON array",
            expected="JSON Lines: one object in each line",
            found=f"a first line that begins with [: {_shown([line[:40].decode('utf-8', 'replace')])}",
            remedy=f"jq -c '.[]' {source} > mended.jsonl, and put that in its place",
        )


def _parquet(path: Path, columns: Sequence[Column], take: Callable[..., Row | None]) -> Iterator[Row | Rejected]:
    import polars as pl

    names = [column.name for column in columns]
    wanted = list(dict.fromkeys(names))
    command = [sys.executable, "-c", _READ_ALL, str(path), str(ROWS_PER_READ), *wanted]
    tried = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if tried.returncode:
        told = [line for line in tried.stderr.splitlines() if "Error: " in line]
        raise UserError(
            f"{path} cannot be read",
            expected="a whole file of Parquet",
            found=told[-1].partition("Error: ")[2] if told else "damaged data",
            remedy="make or fetch the file again",
        )
    table = pl.scan_parquet(path, glob=False)
    _require(columns, table.collect_schema().names(), path)
    rows = table.select(pl.len()).collect().item()
    for start in range(0, rows, ROWS_PER_READ):
        part = table.select(wanted).slice(start, ROWS_PER_READ).collect()
        for number, values in enumerate(zip(*(part[name].to_list() for name in names), strict=True), start=start + 1):
            try:
                taken = take(*values)
                if taken is not None:
                    yield taken
            except ValueError as error:
                content = dict(zip(names, values, strict=True))
                yield Rejected(number, str(error), json.dumps(content, ensure_ascii=False, default=repr))


def _require(columns: Sequence[Column], names: Sequence[str], source: Path | str) -> None:
    column = next((column for column in columns if column.name not in names), None)
    if column:
        raise UserError(
            f"{source} has no column {column.name!r}",
            expected=f"the column that {column.named_by} names",
            found=f"the columns {', '.join(names)}",
            remedy=f"name the column: {column.named_by}",
        )


def _unicode(values: list[Any]) -> list[Any]:
    """The values, if what is text in them is Unicode."""
    for value in values:
        if isinstance(value, list):
            _unicode(value)
        elif isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                byte = ord(value[error.start]) - 0xDC00
                found = f"the byte 0x{byte:02X}" if 0x80 <= byte <= 0xFF else "half of a pair of surrogates"
                raise ValueError(f"expected UTF-8, found {found}") from None
    return values


def kind_of(value: object) -> str:
    """What a value is, for a message."""
    if isinstance(value, (bool, int, float)):
        return str(value)
    kinds: dict[type, str] = {type(None): "nothing", str: "text", list: "a list", dict: "an object"}
    return kinds.get(type(value), type(value).__name__)


def _shown(lines: list[str]) -> str:
    text = "".join(lines).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return text.rstrip("\r\n")


def _state(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
