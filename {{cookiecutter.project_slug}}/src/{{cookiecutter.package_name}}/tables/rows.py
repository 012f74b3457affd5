"""The one exact reader of tables: CSV, TSV, JSON Lines or Parquet, row by row, in memory that does not grow with them.

Preparing and prediction both read through here, so that a file means the same to both. What is no row is given as a
`Rejected` in its place, and the rows after it are read all the same; a file that is no table at all is a UserError.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

from ..errors import UserError
from .delimited import DELIMITERS, Delimited
from .encodings import check_start
from .json_lines import read_json_lines
from .parquet import read_parquet
from .raw_rows import Column, Rejected

FORMATS = (".jsonl", ".ndjson", *DELIMITERS, ".parquet")

Row = TypeVar("Row")


def read_rows(
    source: Path | IO[bytes], columns: Sequence[Column], take: Callable[..., Row | None]
) -> Iterator[Row | Rejected]:
    """What `take` makes of the values of the columns, row by row, from a file or from JSON Lines in a stream.

    A value is what the format has: text, a number, a list, None where there is none. `take` returns None for a row to
    leave out and raises ValueError(reason) for one to reject.
    """
    if not isinstance(source, Path):
        yield from read_json_lines(source, columns, "standard input", take)
        return
    suffix = format_of(source)
    with unchanged(source):
        if suffix == ".parquet":
            yield from read_parquet(source, columns, take)
            return
        with source.open("rb") as file:
            if suffix in DELIMITERS:
                yield from Delimited(file, columns, source).rows(take)
            else:
                yield from read_json_lines(file, columns, source, take)


def format_of(path: Path) -> str:
    """The ending of the file's name, if it is one of FORMATS."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise UserError(
            f"the format of {path} is not known",
            expected=f"a name that ends in {', '.join(FORMATS)}",
            found=suffix or "no ending",
            fix="rename the file, or send JSON Lines to standard input",
        )
    return suffix


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """Refuse a file that is plainly no table, cannot be read, or changes while the block reads it."""
    try:
        before = _state(path)
        check_start(path, text=format_of(path) != ".parquet")
        yield
        changed = _state(path) != before
    except OSError as error:
        raise UserError(
            f"{path} cannot be read",
            expected="a file that may be read",
            found=error.strerror or str(error),
            fix="name another, or see who may read it (ls -l)",
        ) from None
    if changed:
        raise UserError(
            f"{path} changed while it was read",
            expected="a file that nobody writes to",
            found="another size, time or file at the end than at the beginning",
            fix="wait until it is written, then run again",
        )


def _state(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
