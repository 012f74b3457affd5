"""The quick way through a table: rows that leave no doubt by the block, all others by the exact reader.

A block of a delimited file is whole lines. Where its bytes show that it can be read in one way only, polars reads it,
and gives what the exact reader would; a test compares the two. Of Parquet, columns of text need no second look.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
import polars as pl

from .delimited import DELIMITERS, Delimited
from .encodings import BYTE_ORDER_MARK
from .parquet import parts_of, rows_of
from .raw_rows import Column, Rejected
from .rows import format_of, read_rows, unchanged

BYTES_PER_BLOCK = 2**22
_LINE_END, _RETURN, _QUOTE = b'\n\r"'

Row = TypeVar("Row")


def read_blocks(
    path: Path,
    columns: Sequence[Column],
    take: Callable[..., Row | None],
    take_all: Callable[[list[pl.Series]], pl.DataFrame],
) -> Iterator[pl.DataFrame | Row | Rejected]:
    """The rows of a file as `read_rows` gives them, but many at once where they leave no doubt.

    Those are what `take_all` makes of the columns, text or null. It raises ValueError if it rejects any of them; they
    are then read one by one.
    """
    suffix = format_of(path)
    if suffix in DELIMITERS:
        with unchanged(path), path.open("rb") as file:
            yield from _of_delimited(file, columns, path, take, take_all)
    elif suffix == ".parquet":
        with unchanged(path):
            yield from _of_parquet(path, columns, take, take_all)
    else:
        yield from read_rows(path, columns, take)


def _of_delimited(
    file: IO[bytes],
    columns: Sequence[Column],
    path: Path,
    take: Callable[..., Row | None],
    take_all: Callable[[list[pl.Series]], pl.DataFrame],
) -> Iterator[pl.DataFrame | Row | Rejected]:
    table = Delimited(file, columns, path)
    while True:
        start = file.tell()
        block = _whole_lines(file)
        if not block:
            return
        cells = regular(block, table.width, table.delimiter)
        try:
            taken = None if cells is None else take_all([cells[str(place)] for place in table.places])
        except ValueError:
            taken = None
        if taken is None:
            file.seek(start)
            yield from table.rows(take, start + len(block))
        else:
            file.seek(start + len(block))
            table.lines.number += block.count(b"\n")
            yield taken


def _whole_lines(file: IO[bytes]) -> bytes:
    """The next block, up to the end of a line; of a line that is longer than a block, its beginning."""
    block = file.read(BYTES_PER_BLOCK)
    end = block.rfind(b"\n") + 1
    if block.count(b'"', 0, end) % 2:  # the last row goes on behind the block
        end = block.rfind(b"\n", 0, block.rfind(b'"', 0, end)) + 1
    return block[:end] or block


def regular(block: bytes, width: int, delimiter: str) -> pl.DataFrame | None:
    """The cells of rows that can be read in one way only, columns "0", "1" and so on; None where there is a doubt.

    No doubt: UTF-8, quotes only around whole cells or doubled inside them, and in every row the same number of cells.
    """
    if width == 1 or not block.endswith(b"\n") or not _is_plain(block):
        return None
    signs = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero((signs == ord(delimiter)) | (signs == _LINE_END))
    quotes = np.flatnonzero(signs == _QUOTE)
    if quotes.size:
        if not _are_closed(signs, quotes, ord(delimiter)):
            return None
        ends = ends[np.searchsorted(quotes, ends) % 2 == 0]  # the others are inside quotes
    if ends.size % width:
        return None
    closes_row = signs[ends].reshape(-1, width) == _LINE_END
    if not closes_row[:, -1].all() or closes_row[:, :-1].any():
        return None
    schema = {str(place): pl.String for place in range(width)}
    try:
        cells = pl.read_csv(block, has_header=False, schema=schema, separator=delimiter, empty_string_is_null=False)
    except pl.exceptions.PolarsError:  # not UTF-8
        return None
    return cells if cells.height == len(closes_row) else None


def _is_plain(block: bytes) -> bool:
    """Whether a block has no zero and no lone carriage return, and no byte order mark begins it."""
    lone = b"\r" in block and block.count(b"\r") > block.count(b"\r\n")
    return not (lone or b"\0" in block or block.startswith(BYTE_ORDER_MARK))


def _are_closed(signs: np.ndarray, quotes: np.ndarray, delimiter: int) -> bool:
    """Whether every first quote opens a cell and every second closes it, those that are doubled left aside."""
    if quotes.size % 2:
        return False
    before = signs[quotes[::2] - 1]  # of the first sign of the block: the last, which ends a line
    after = signs[quotes[1::2] + 1]
    return bool(
        np.isin(before, [delimiter, _LINE_END, _QUOTE]).all()
        and np.isin(after, [delimiter, _LINE_END, _RETURN, _QUOTE]).all()
    )


def _of_parquet(
    path: Path,
    columns: Sequence[Column],
    take: Callable[..., Row | None],
    take_all: Callable[[list[pl.Series]], pl.DataFrame],
) -> Iterator[pl.DataFrame | Row | Rejected]:
    for start, part in parts_of(path, columns):
        cells = [part[column.name] for column in columns]
        try:
            taken = take_all(cells) if {cell.dtype for cell in cells} == {pl.String} else None
        except ValueError:
            taken = None
        if taken is None:
            yield from rows_of(part, start, columns, take)
        else:
            yield taken
