"""The texts of a file, one by one, for prediction."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from ..tables.raw_rows import Column, Rejected, kind_of
from ..tables.rows import read_rows
from ..text.tokenization import Text


def read_texts(source: Path | IO[bytes], column: str, second_column: str | None = None) -> Iterator[Text | Rejected]:
    """The texts under `column`, or pairs with those under `second_column`; what holds no text in its place."""
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
