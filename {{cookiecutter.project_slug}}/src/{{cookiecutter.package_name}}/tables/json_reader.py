"""JSON Lines, or one JSON array of objects. What cannot be read costs one line or element, not the file."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

from ..errors import UserError
from .files import BYTE_ORDER_MARK, LONGEST, in_its_place, lines_of, literal, opener_of, python
from .rows import Column, MalformedRow, MissingColumnError, Record, Row, kind_of, matching, require_unicode, shown

_CHUNK = 2**16  # bytes
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|["\[\]{},]', re.DOTALL)
_ONE_OBJECT = 2**28  # bytes that are read to find the rows in one object, for a message
_READ = "import json, sys; held = json.load(sys.stdin.buffer); [print(json.dumps(row)) for row in %s]"
_CELLS = "(column.values() if isinstance(column, dict) else column for column in held.values())"
_OF_COLUMNS = python(_READ % f"(dict(zip(held, cells)) for cells in zip(*{_CELLS}, strict=True))")
_NAMED = "row if isinstance(row, dict) else dict(zip(%s, row))"
_OF_TABLES = (
    'import json, pathlib, %s as of; old = pathlib.Path(%s); held = json.load(of.open(old)); old.rename(str(old) + "~")'
    '; [old.with_name(key + ".jsonl").write_text("\\n".join(json.dumps(%s) for row in held[key])) for key in held]'
)


def read_json(
    file: BufferedReader, columns: Sequence[Column], source: Path | str, parse: Callable[..., Row | None], whole: bool
) -> Iterator[Row | MalformedRow]:
    """Yield what `parse` makes of each object. Messages call the file `source`."""
    missing = list(columns)
    keys: list[str] = []
    rows, lists, record = 0, 0, {}
    for number, line in _lines_or_elements(file, columns, source):
        rows, lists = rows + 1, lists + line.startswith(b"[")
        try:
            record = _record(line)
            if missing:
                missing = [column for column in missing if not matching(column.name, record)]
            flat = (key for key, value in record.items() if not isinstance(value, dict) or "choices" in value)
            keys = keys or list(flat) or list(record)
            head = [Record(number, *require_unicode([record]))] if whole else []
            parsed = parse(*head, *require_unicode([_value_of(record, column.name) for column in columns]))
            if parsed is not None:
                yield parsed
        except ValueError as error:
            yield MalformedRow(number, str(error), shown(line))
    if rows == lists > 1:
        named = _NAMED % json.dumps([column.name for column in columns])
        raise _refusal("lists without column names", python(_READ % f"({named} for row in held)"), source)
    if rows == 1:
        _require_row(record, columns, source)
    if keys and missing:
        raise MissingColumnError(missing[0], keys, source)


def _lines_or_elements(
    file: BufferedReader, columns: Sequence[Column], source: Path | str
) -> Iterator[tuple[int, bytes]]:
    """The JSON of every row, with the number of the line at which it begins."""
    start = file.peek(_CHUNK).removeprefix(BYTE_ORDER_MARK).lstrip()
    first, ended, _ = start.partition(b"\n")
    if ended and start.startswith(b"{") and first.rstrip().endswith((b"{", b"[", b",")):
        with suppress(ValueError, RecursionError):  # several objects, or the beginning of a large one
            _require_row(json.loads(file.read(_ONE_OBJECT)), columns, source)
        raise _refusal("objects of several lines", "jq -c .", source)
    rows = _elements_of(file, source) if start.startswith(b"[") else enumerate(lines_of(file), start=1)
    return (row for row in rows if row[1].strip())


def _value_of(record: dict[str, Any], name: str) -> Any:
    """The value of a key. Its spelling may vary like that of a column name, see `matching`."""
    if name in record:
        return record[name]
    found = matching(name, record)
    if len(found) > 1:
        raise ValueError(f"expected every key once, found {name!r} in two spellings")
    return list(record.values())[found[0]] if found else None


def _elements_of(file: BufferedReader, source: Path | str) -> Iterator[tuple[int, bytes]]:
    """The elements of an array and the lines at which they begin. What follows the array counts as one more element."""
    held, start, position, depth, line = file.read(_CHUNK), 0, 0, 0, 1
    while True:
        for token in _TOKEN.finditer(held, position):
            if token[0] == b'"':  # the end of the string is not read yet
                break
            position = token.end()
            depth += (token[0] in (b"[", b"{")) - (token[0] in (b"]", b"}"))
            if depth == 0 or (depth == 1 and token[0] in (b",", b"[")):
                element = held[start : token.start()]
                yield _begin(element, line), element.strip().removeprefix(BYTE_ORDER_MARK)
                line, start = line + element.count(b"\n"), position
            if depth == 0:
                rest = held[start:] + file.read(LONGEST)
                yield _begin(rest, line), rest
                return
        if len(held) - start > LONGEST:
            raise UserError(
                f"{source}, line {_begin(held[start:], line)}: an element of the array is too long",
                expected=f"at most {LONGEST:,} bytes",
                found="more",
                fix="leave it out",
            )
        more = file.read(max(_CHUNK, len(held)))
        if not more:
            yield _begin(held[start:], line), held[start:]
            yield line + held[start:].count(b"\n"), b"["  # the array is not closed
            return
        held, start, position = held[start:] + more, 0, position - start


def _begin(element: bytes, line: int) -> int:
    """The number of the line that holds the first character other than white space."""
    return line + element[: len(element) - len(element.lstrip())].count(b"\n")


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


def _require_row(record: dict[str, Any], columns: Sequence[Column], source: Path | str) -> None:
    """Refuse an object that is not a row, but holds all rows or all columns."""
    names = [column.name for column in columns]
    if all(matching(name, record) for name in names):
        if all(isinstance(value, (list, dict)) for value in record.values()):
            raise _refusal("one object of columns", _OF_COLUMNS, source)
        return
    rows = [row for value in record.values() for row in (value if isinstance(value, list) else [None])]
    tables = rows and all(
        len(row) == len(names) if isinstance(row, list) else isinstance(row, dict) and matching(names[0], row)
        for row in rows
    )
    if tables and len(record) > 1 and isinstance(source, Path):
        fix = python(_OF_TABLES % (opener_of(source).__module__, literal(source), _NAMED % json.dumps(names)))
        raise _refusal("several tables", "", source, fix)
    values: list[tuple[str, Any]] = [("", record)]
    for keys, value in values:
        if isinstance(value, dict):
            values += [(f"{keys}[{literal(key)}]", item) for key, item in value.items()]
    lists = [(keys, value) for keys, value in values if isinstance(value, list) and value]
    lists = [(keys, value) for keys, value in lists if all(isinstance(row, dict) for row in value)]
    if lists:  # the one of objects with the columns, or else of most objects
        found, _ = max(lists, key=lambda one: (sum(bool(matching(name, one[1][0])) for name in names), len(one[1])))
        raise _refusal("one object around all rows", python(_READ % f"held{found}"), source)


def _refusal(what: str, command: str, source: Path | str, fix: str = "") -> UserError:
    piped = in_its_place(source, f"{command} <", ".jsonl") if isinstance(source, Path) else f"put {command} before it"
    return UserError(
        f"{source} holds {what}",
        expected="JSON Lines with one object in each line, or one JSON array of objects",
        found=what,
        fix=fix or piped,
    )
