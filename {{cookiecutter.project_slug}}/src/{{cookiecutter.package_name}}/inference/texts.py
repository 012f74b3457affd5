"""The texts of a file, one by one, for prediction."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from ..tables import Column, MalformedRow, read_rows
from ..tables.rows import kind_of
from ..text.tokenization import Text


def read_texts(
    source: Path | IO[bytes], column: str, second_column: str | None = None
) -> Iterator[Text | MalformedRow]:
    """The texts under `column`, or pairs with those under `second_column`; malformed rows where they stand."""
    columns = [Column(column, "--column")]
    if second_column is None:
        return read_rows(source, columns, _text)
    return read_rows(source, [*columns, Column(second_column, "--second-column")], _pair)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected text, found {kind_of(value)}")
    return value


def _pair(value: Any, second: Any) -> tuple[str, str]:
    return _text(value), _text(second)
