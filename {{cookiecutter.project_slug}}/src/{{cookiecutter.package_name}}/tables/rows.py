"""What the readers of all formats share: columns, malformed rows, and what can be reported of raw values."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UserError


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


class Record(NamedTuple):
    """A whole row: the line it begins at (of Parquet: its row, from 1), and its cells by the names of their columns."""

    line: int
    cells: dict[str, Any]


def require(columns: Sequence[Column], names: Sequence[str], source: Path | str) -> None:
    """Refuse a table that lacks one of the columns."""
    for column in columns:
        if column.name not in names:
            raise UserError(
                f"{source} has no column {column.name!r}",
                expected=f"the column that {column.named_by} names",
                found=f"the columns {', '.join(names)}",
                fix=f"name the column: {column.named_by}",
            )


def kind_of(value: object) -> str:
    """What a value is, for a message."""
    if isinstance(value, (bool, int, float)):
        return str(value)
    kinds: dict[type, str] = {type(None): "nothing", str: "text", list: "a list", dict: "an object"}
    return kinds.get(type(value), type(value).__name__)
