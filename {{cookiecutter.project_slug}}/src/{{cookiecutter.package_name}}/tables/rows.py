"""What the readers of all formats share: columns, malformed rows, and what can be reported of raw values."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from ..errors import UserError
from .files import BYTE_ORDER_MARK

LONGEST = 2**24  # bytes of a line, characters of a cell: a quote that is never closed must not take the file with it


@dataclass(frozen=True)
class MalformedRow:
    """The line it begins at (of Parquet: its row, from 1), the reason, and its content.

    The reason is `expected …, found …`; what stands before `, found` is the same for all rows of one kind.
    """

    line: int
    reason: str
    content: str


class Column(NamedTuple):
    """A column to read, and the option or parameter that names it."""

    name: str
    named_by: str


def lines_of(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file without its byte order mark; of a line that is too long only as much as shows that it is."""
    line = file.readline(LONGEST + 1).removeprefix(BYTE_ORDER_MARK)
    while line:
        rest = line
        while rest and rest[-1] != 0x0A:
            rest = file.readline(LONGEST)
        yield line
        line = file.readline(LONGEST + 1)


def require(columns: Sequence[Column], names: Sequence[str], source: Path | str) -> None:
    """Refuse a table that lacks one of the columns."""
    column = next((column for column in columns if column.name not in names), None)
    if column:
        raise UserError(
            f"{source} has no column {column.name!r}",
            expected=f"the column that {column.named_by} names",
            found=f"the columns {', '.join(names)}",
            fix=f"name the column: {column.named_by}",
        )


def unicode(values: list[Any]) -> list[Any]:
    """The values; ValueError if text in them was not UTF-8."""
    for value in values:
        if isinstance(value, str):
            if not value.isascii():
                _check_unicode(value)
        elif isinstance(value, list):
            unicode(value)
    return values


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        byte = ord(text[error.start]) - 0xDC00
        found = f"the byte 0x{byte:02X}" if 0x80 <= byte <= 0xFF else "half of a pair of surrogates"
        raise ValueError(f"expected UTF-8, found {found}") from None


def kind_of(value: object) -> str:
    """What a value is, for a message."""
    if isinstance(value, (bool, int, float)):
        return str(value)
    kinds: dict[type, str] = {type(None): "nothing", str: "text", list: "a list", dict: "an object"}
    return kinds.get(type(value), type(value).__name__)


def shown(lines: list[str]) -> str:
    """Lines as a message or a record may hold them, whatever bytes they had."""
    text = "".join(lines).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return text.rstrip("\r\n")
