"""Open table files by the endings of their names, and refuse those whose first bytes show something else."""

import bz2
import gzip
import io
import json
import lzma
import shlex
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from ..errors import UserError

DELIMITERS = {".csv": ",", ".tsv": "\t"}
FORMATS = (".jsonl", ".ndjson", *DELIMITERS, ".parquet")  # that can be written
READ = (*FORMATS, ".json")
COMPRESSED = {".gz": (gzip.open, "gzip"), ".bz2": (bz2.open, "bzip2"), ".xz": (lzma.open, "xz")}
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LONGEST = 2**24  # bytes of a line, characters of a cell: a quote that is never closed must not swallow the whole file
_SAMPLE = 2**20  # bytes at the start that are checked
_FEW = 3  # fewer lines that are not UTF-8 mean broken lines, not another encoding
_MARKS = {b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
# The kind of file that the first bytes show, and the ending that such a file should have.
_OTHERS = {
    b"PK\x03\x04": ("a ZIP or Excel file", ".xlsx"),
    b"\xd0\xcf\x11\xe0": ("an old Excel file", ".xls"),
    b"\x1f\x8b": ("a gzip file", ".gz"),
    b"BZh": ("a bzip2 file", ".bz2"),
    b"\xfd7zXZ": ("an xz file", ".xz"),
    b"\x28\xb5\x2f\xfd": ("a Zstandard file", ".zst"),
    b"PAR1": ("a Parquet file", ".parquet"),
}
_POINTER = b"version https://git-lfs.github.com/spec/"


def plain_name(path: Path) -> Path:
    """The path without the ending that names its compression."""
    return path.with_suffix("") if path.suffix.lower() in COMPRESSED else path


def opener_of(path: Path) -> Callable:
    """The function that opens the file, by the ending that names its compression."""
    return COMPRESSED.get(path.suffix.lower(), (io.open, ""))[0]


def format_of(path: Path) -> str:
    """The ending of the file's name. Raises UserError for one that cannot be read."""
    suffix = path.suffix.lower()
    if suffix not in READ:
        raise UserError(
            f"the format of {path} is not known",
            expected=f"a name that ends in {', '.join(READ)}",
            found=suffix or "no ending",
            fix=how_to_read(path) or "rename the file, or send JSON Lines to standard input",
        )
    return suffix


def how_to_read(path: Path, folder: Path | None = None) -> str | None:
    """How to make a table of a file in an unsupported format (of all Arrow files in `folder`); None if not known."""
    suffix, name = path.suffix.lower(), shlex.quote(str(path))
    if suffix in (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"):
        if path.is_file() and _first_bytes(path, 4) not in _OTHERS:
            return f"it is no spreadsheet; if it is CSV: mv {name} {shlex.quote(str(path.with_suffix('.csv')))}"
        converted = to_parquet(path, f"import polars as pl; pl.read_excel({literal(path)})")
        return f"pip install fastexcel && {converted} (it takes the first sheet)"
    if suffix in (".arrow", ".feather"):
        form = "ipc" if path.is_file() and _first_bytes(path, 6) == b"ARROW1" else "ipc_stream"
        files = f"pathlib.Path({literal(folder or path)})"
        files = f'sorted({files}.rglob("*{path.suffix}"))' if folder else f"[{files}]"
        convert = f'pl.read_{form}(p).write_parquet(p.with_suffix(".parquet")), p.rename(str(p) + "~")'
        return python(f"import pathlib, polars as pl; [({convert}) for p in {files}]")
    if folder and suffix in (".txt", ".text", ".label", ".labels"):
        return 'if a line is a text or a label, make a table: docs/data.md, "Tables of another form"'
    unpack = {".zst": f"zstd -dq --rm {name}", ".zip": f"unzip {name} -d {shlex.quote(str(path.parent))} && rm {name}"}
    return unpack.get(suffix)


def python(code: str) -> str:
    """The shell command that runs this Python code."""
    return f"python -c {shlex.quote(code)}"


def to_parquet(path: Path, code: str) -> str:
    """The shell command that writes Parquet of the table that this code reads from a file, and sets that aside."""
    new = path.with_name(f"{plain_name(path).stem}.parquet")
    return f"{python(f'{code}.write_parquet({literal(new)})')} && {_set_aside(path)}"


def _set_aside(path: Path) -> str:
    """The shell command that gives a file a name which Git, DVC and the pipeline ignore."""
    return f"mv {shlex.quote(str(path))} {shlex.quote(f'{path}~')}"


def literal(value: str | Path) -> str:
    """A Python string literal, in double quotes because single quotes enclose the code in a shell."""
    return json.dumps(str(value), ensure_ascii=False)


@contextmanager
def opened(path: Path) -> Iterator[io.BufferedReader]:
    """Open a file and decompress it. Refuse one that is plainly not a table or that cannot be read."""
    try:
        with cast("IO[bytes]", opener_of(path)(path, "rb")) as file:
            _check_start(path, file.read(_SAMPLE))
            file.seek(0)
            yield cast("io.BufferedReader", file)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise UserError(
            f"{path} cannot be read",
            expected="a whole file that may be read, compressed as its ending says",
            found=getattr(error, "strerror", None) or str(error),
            fix="name another; or fetch it again, give it the ending of what it is, or see who may read it (ls -l)",
        ) from None


def lines_of(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file, without its byte order mark. A line that is too long is cut just above the limit."""
    line = file.readline(LONGEST + 1).removeprefix(BYTE_ORDER_MARK)
    while line:
        rest = line
        while rest and rest[-1] != 0x0A:
            rest = file.readline(LONGEST)
        yield line
        line = file.readline(LONGEST + 1)


def _check_start(path: Path, start: bytes) -> None:
    """Refuse a Git LFS pointer and, where text is expected, anything that is plainly not UTF-8 text."""
    if start.startswith(_POINTER):
        raise UserError(
            f"{path} is a pointer of Git LFS, not the file itself",
            expected="a table",
            found=start.splitlines()[0].decode("utf-8", "replace"),
            fix="git lfs pull, or let DVC own the data: git lfs untrack, then dvc add",
        )
    if format_of(plain_name(path)) == ".parquet":
        return
    for name, suffix in (known for mark, known in _OTHERS.items() if start.startswith(mark)):
        suffix = ".zip" if suffix == ".xlsx" and b"xl/" not in start[:4096] else suffix
        plain = plain_name(path)
        renamed = plain.with_name(plain.name + suffix) if suffix in COMPRESSED else plain.with_suffix(suffix)
        raise UserError(
            f"{path} is not what its name says",
            expected="text in UTF-8",
            found=name,
            fix=f"give it its own ending: {_unpack(path)}mv {shlex.quote(str(plain))} {shlex.quote(str(renamed))}",
        )
    if encoding := _wide(start) or _narrow(start):
        raise UserError(
            f"{path} is not in UTF-8",
            expected="text in UTF-8",
            found=f"text that looks like {encoding}",
            fix=f"{iconv(path, encoding)} (or the encoding it was written in)",
        )


def has_byte_order_mark(path: Path) -> bool:
    """Whether a file begins with the byte order mark of UTF-8."""
    return _first_bytes(path, len(BYTE_ORDER_MARK)) == BYTE_ORDER_MARK


def _first_bytes(path: Path, count: int) -> bytes:
    with cast("IO[bytes]", opener_of(path)(path, "rb")) as file:
        return file.read(count)


def iconv(path: Path, encoding: str = "WINDOWS-1252") -> str:
    """The command that converts a file to UTF-8."""
    return in_its_place(path, f"iconv -f {encoding} -t UTF-8")


def in_its_place(path: Path, command: str, suffix: str | None = None) -> str:
    """The command line that unpacks a file and replaces it with what `command`, given the file's name, prints."""
    plain = plain_name(path)
    new = plain.with_suffix(suffix or plain.suffix)
    old, fixed, target = (shlex.quote(str(name)) for name in (plain, f"fixed{new.suffix}", new))
    kept = f"{_set_aside(plain)} && " if new != plain else ""
    return f"{_unpack(path)}{command} {old} > {fixed} && {kept}mv {fixed} {target}"


def _unpack(path: Path) -> str:
    """The beginning of a command line: it unpacks the file if that is compressed."""
    return f"{COMPRESSED[path.suffix.lower()][1]} -d {shlex.quote(str(path))} && " if plain_name(path) != path else ""


def _wide(start: bytes) -> str | None:
    """UTF-16 or UTF-32, recognized by its byte order mark or by the zero bytes of ASCII letters."""
    marked = next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)
    head = start[:4096]
    zeros = head.count(0)
    if marked or zeros * 4 < len(head) or not head:
        return marked
    if zeros * 8 > len(head) * 5:
        return "UTF-32LE" if head[0] else "UTF-32BE"
    return "UTF-16LE" if head[::2].count(0) < head[1::2].count(0) else "UTF-16BE"


def _narrow(start: bytes) -> str | None:
    """A one-byte encoding such as Latin-1, if at least `_FEW` lines, and most non-ASCII ones, are not UTF-8."""
    beyond = [line for line in start.splitlines()[:-1] if not line.isascii()]
    broken = sum(line.decode("utf-8", "ignore").encode() != line for line in beyond)
    return "WINDOWS-1252" if broken > max(_FEW - 1, len(beyond) - broken) else None
