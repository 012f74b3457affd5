"""What the readers of all formats share: columns, malformed rows, and raw values in messages."""

import difflib
import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ..errors import UserError
from ..text.cleaning import normalized
from .files import DELIMITERS, plain_name

SHOWN = 10  # names in a message
LONGEST_NAME = 40  # characters of a column's name in a message

Row = TypeVar("Row")  # what the caller makes of a row


@dataclass(frozen=True)
class MalformedRow:
    """The line at which a malformed row begins (in Parquet: its row, from 1), the reason, and the row's content.

    The reason is `expected …, found …`; the part before `, found` is the same for all rows of one kind.
    """

    line: int
    reason: str
    content: str


class Column(NamedTuple):
    """A column to read, the option or parameter that names it, and the types of the values it may hold."""

    name: str
    named_by: str
    takes: tuple[type, ...] = (object,)


class Record(NamedTuple):
    """A whole row: the line at which it begins (in Parquet: its row, from 1), and its cells by column name."""

    line: int
    cells: dict[str, Any]


class MissingColumnError(UserError):
    """A table lacks a column."""

    def __init__(self, column: Column, names: Sequence[str], source: Path | str) -> None:
        near = _nearest(column.name, names)
        others = [name for name in names if name != near]
        has_header = plain_name(Path(source)).suffix.lower() in DELIMITERS
        if_nested = '; for values in objects see docs/data.md, "Tables of another form"' * ("." in column.name)
        more = "; if all names are missing, add a first line" if has_header else if_nested
        super().__init__(
            f"{source} has no column {column.name!r}",
            expected=f"the column that {column.named_by} names",
            found=f"the columns {listed([near, *others] if near else others)}",
            fix=f"set {column.named_by} to " + (repr(_compared(near)) if near else f"one of these, or add it{more}"),
        )
        self.column = column


def indices_of(columns: Sequence[Column], names: Sequence[str], source: Path | str) -> list[int]:
    """The index of each column among the names of a table. Refuses a table that lacks a column or has it twice."""
    found = [matching(column.name, names) for column in columns]
    for column, indices in zip(columns, found, strict=True):
        if not indices:
            raise MissingColumnError(column, names, source)
        if len(indices) > 1:
            raise UserError(
                f"{source} has two columns {column.name!r}",
                expected=f"one column of the name in {column.named_by}",
                found=f"the columns {listed(names)}",
                fix="rename all but one of them in line 1",
            )
    return [indices[0] for indices in found]


def matching(wanted: str, names: Iterable[str]) -> list[int]:
    """The indices of the columns with this name: exactly this name or, if there is none, equal after cleaning."""
    names = list(names)
    exact = [index for index, name in enumerate(names) if name == wanted]
    return exact or [index for index, name in enumerate(names) if _compared(name) == _compared(wanted)]


@lru_cache(maxsize=4096)
def _compared(name: str) -> str:
    """A name in composed form, without invisible characters and without white space around it."""
    return normalized("".join(letter for letter in name if unicodedata.category(letter) != "Cf"))


def _nearest(wanted: str, names: Sequence[str]) -> str | None:
    """The name that was probably meant; None if no name is close."""
    alike = {_compared(name).casefold(): name for name in reversed(names)}
    near = difflib.get_close_matches(_compared(wanted).casefold(), alike, n=1)
    return alike[near[0]] if near else None


def listed(names: Sequence[str]) -> str:
    """Names for a message. Odd names are quoted, with invisible characters escaped; long names and lists are cut."""
    parts = [name[:LONGEST_NAME] + "…" * (len(name) > LONGEST_NAME) for name in names]
    odd = [name != normalized(name) or not name.isprintable() or "," in name or not name for name in parts]
    return several(repr(name) if is_odd else name for name, is_odd in zip(parts, odd, strict=True))


def several(parts: Iterable[str]) -> str:
    """The first parts of a list for a message, and how many more there are."""
    parts = list(parts)
    return ", ".join(parts[:SHOWN]) + (f" and {len(parts) - SHOWN:,} more" if len(parts) > SHOWN else "")


def kind_of(value: object) -> str:
    """What a value is, for a message."""
    if isinstance(value, (bool, int, float)):
        return str(value)
    if isinstance(value, str):
        return repr(value[:40])
    kinds: dict[type, str] = {type(None): "nothing", list: "a list", dict: "an object"}
    return kinds.get(type(value), type(value).__name__)


def as_text(value: Any) -> str | None:
    """A value as text: numbers, lists and objects as JSON, all else as Python writes it."""
    if value is None or isinstance(value, str):
        return value
    of_json = isinstance(value, (bool, int, float, list, dict))
    return json.dumps(value, default=str, ensure_ascii=False) if of_json else str(value)


def require_unicode(values: list[Any]) -> list[Any]:
    """The same values. Raises ValueError if text in them was not UTF-8."""
    for value in values:
        if isinstance(value, (list, dict)):
            require_unicode([*value, *value.values()] if isinstance(value, dict) else value)
        elif isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                byte = ord(value[error.start]) - 0xDC00
                found = f"the byte 0x{byte:02X}" if 0x80 <= byte <= 0xFF else "half of a pair of surrogates"
                raise ValueError(f"expected UTF-8, found {found}") from None
    return values


def shown(*lines: bytes) -> str:
    """Lines as text for a message or a record, with bytes that are not UTF-8 escaped."""
    return b"".join(lines).decode("utf-8", "backslashreplace").rstrip("\r\n")
