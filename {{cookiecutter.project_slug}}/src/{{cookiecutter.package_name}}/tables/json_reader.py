"""JSON Lines: one object in each line."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

from ..errors import UserError
from .rows import LONGEST, Column, MalformedRow, kind_of, lines_of, require, shown, unicode

Row = TypeVar("Row")


def read_json_lines(
    file: IO[bytes], columns: Sequence[Column], source: Path | str, parse: Callable[..., Row | None]
) -> Iterator[Row | MalformedRow]:
    """What `parse` makes of the rows; `source` is what messages call the file."""
    missing = {column.name: column for column in columns}
    keys: list[str] = []
    for number, line in enumerate(lines_of(file), start=1):
        if number == 1:
            _refuse_array(line, source)
        if not line.strip():
            continue
        try:
            record = _record(line)
            keys = keys or list(record)
            if missing:
                missing = {name: column for name, column in missing.items() if name not in record}
            parsed = parse(*unicode([record.get(column.name) for column in columns]))
            if parsed is not None:
                yield parsed
        except ValueError as error:
            yield MalformedRow(number, str(error), shown([line.decode("utf-8", "surrogateescape")]))
    if keys:
        require(list(missing.values()), keys, source)


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
            found=f"a first line that begins with [: {shown([line[:40].decode('utf-8', 'replace')])}",
            fix=f"jq -c '.[]' {source} > fixed.jsonl, and put that in its place",
        )
