"""Which files are tables: found by their names, refused where their first bytes show that they are something else."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .. import paths
from ..errors import UserError

DELIMITERS = {".csv": ",", ".tsv": "\t"}
FORMATS = (".jsonl", ".ndjson", *DELIMITERS, ".parquet")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SAMPLE = 2**20  # bytes that are looked at
_FEW = 3  # fewer lines that are not UTF-8 are broken lines, not another encoding
_MARKS = {b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_OTHERS = {b"PK\x03\x04": "a ZIP or Excel file", b"\x1f\x8b": "a gzip file", b"PAR1": "a Parquet file"}
_POINTER = b"version https://git-lfs.github.com/spec/"
_SHARD = re.compile(r"(?<=.)-(?P<number>\d{5})-of-(?P<count>\d{5})\Z")


def find_tables(directory: Path) -> dict[str, list[Path]]:
    """The files of each split, or of one table under the name `all` where the pipeline is to split it.

    A table may lie in shards, as in `train-00000-of-00003.parquet`; they are given in order.
    """
    found = sorted(path for path in directory.glob("*") if path.suffix.lower() in FORMATS)
    by_name: dict[str, list[Path]] = {}
    for path in found:
        by_name.setdefault(_SHARD.sub("", path.stem).lower(), []).append(path)
    for files in by_name.values():
        _require_all_shards(files)
    if "train" in by_name and by_name.keys() <= set(paths.SPLITS):
        return by_name
    if len(by_name) == 1 and not by_name.keys() & {"validation", "test"}:
        return {"all": next(iter(by_name.values()))}
    raise UserError(
        f"cannot tell the tables in {directory}",
        expected="one table, or train.* and, if you have them, validation.* and test.*"
        f" ({', '.join(FORMATS)}); shards as in train-00000-of-00003.parquet",
        found=", ".join(path.name for path in found) or "no table",
        fix=f"put the tables there (then: dvc add {directory}) and remove what is none of them",
    )


def _require_all_shards(files: list[Path]) -> None:
    """Refuse two files for one table, unless they are its shards and all are there."""
    shards = [_SHARD.search(path.stem) for path in files]
    numbers = [(int(shard["number"]), int(shard["count"])) if shard else (0, 1) for shard in shards]
    if numbers != [(number, numbers[0][1]) for number in range(numbers[0][1])]:
        raise UserError(
            f"the files of one table in {files[0].parent} do not belong together",
            expected="one file, or all its shards: 00000-of-00003, 00001-of-00003, 00002-of-00003",
            found=", ".join(path.name for path in files),
            fix="fetch what is missing, remove what is too much",
        )


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
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file. Refuse one that is plainly no table or cannot be read."""
    try:
        with path.open("rb") as file:
            _check_start(path, file.read(_SAMPLE))
            file.seek(0)
            yield file
    except OSError as error:
        raise UserError(
            f"{path} cannot be read",
            expected="a file that may be read",
            found=error.strerror or str(error),
            fix="name another, or see who may read it (ls -l)",
        ) from None


def _check_start(path: Path, start: bytes) -> None:
    """Refuse a Git LFS pointer and, where text is expected, what is plainly not text in UTF-8."""
    if start.startswith(_POINTER):
        raise UserError(
            f"{path} is a pointer of Git LFS, not the file itself",
            expected="a table",
            found=start.splitlines()[0].decode("utf-8", "replace"),
            fix="git lfs pull, or let DVC own the data: git lfs untrack, then dvc add",
        )
    if format_of(path) == ".parquet":
        return
    other = next((name for mark, name in _OTHERS.items() if start.startswith(mark)), None)
    if other:
        raise UserError(
            f"{path} is not what its name says",
            expected="text in UTF-8",
            found=other,
            fix="rename a Parquet file to *.parquet; unpack the others, or save them as CSV",
        )
    encoding = _wide(start) or _narrow(start)
    if encoding:
        raise UserError(
            f"{path} is not in UTF-8",
            expected="text in UTF-8",
            found=f"text that looks like {encoding}",
            fix=f"{iconv(path, encoding)} (or the encoding it was written in), and put that in its place",
        )


def has_byte_order_mark(path: Path) -> bool:
    """Whether a file begins with the byte order mark of UTF-8."""
    with path.open("rb") as file:
        return file.read(len(BYTE_ORDER_MARK)) == BYTE_ORDER_MARK


def iconv(path: Path, encoding: str = "WINDOWS-1252") -> str:
    """The command that makes UTF-8 of a file."""
    return f"iconv -f {encoding} -t UTF-8 {path} > fixed{path.suffix}"


def _wide(start: bytes) -> str | None:
    """UTF-16 or UTF-32, by the mark at the beginning or by the zeros of plain letters."""
    marked = next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)
    head = start[:4096]
    zeros = head.count(0)
    if marked or zeros * 4 < len(head) or not head:
        return marked
    if zeros * 8 > len(head) * 5:
        return "UTF-32LE" if head[0] else "UTF-32BE"
    return "UTF-16LE" if head[::2].count(0) < head[1::2].count(0) else "UTF-16BE"


def _narrow(start: bytes) -> str | None:
    """An encoding of one byte a letter, as Latin-1: several lines beyond ASCII, and none of them UTF-8."""
    beyond = [line for line in start.splitlines()[:-1] if not line.isascii()]
    broken = sum(line.decode("utf-8", "ignore").encode() != line for line in beyond)
    return "WINDOWS-1252" if broken > max(_FEW - 1, len(beyond) - broken) else None
