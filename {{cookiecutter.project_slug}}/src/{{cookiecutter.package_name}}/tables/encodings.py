"""What the first bytes of a file tell: whether it is a table in UTF-8, or what else, and how to make one of it."""

from pathlib import Path

from ..errors import UserError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SAMPLE = 2**20  # bytes that are looked at
_FEW = 3  # fewer lines that are not UTF-8 are broken lines, not another encoding
_MARKS = {b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_OTHERS = {b"PK\x03\x04": "a ZIP or Excel file", b"\x1f\x8b": "a gzip file", b"PAR1": "a Parquet file"}
_POINTER = b"version https://git-lfs.github.com/spec/"


def check_start(path: Path, *, text: bool) -> None:
    """Refuse a Git LFS pointer and, where text is expected, what is plainly not text in UTF-8."""
    with path.open("rb") as file:
        start = file.read(_SAMPLE)
    if start.startswith(_POINTER):
        raise UserError(
            f"{path} is a pointer of Git LFS, not the file itself",
            expected="a table",
            found=start.splitlines()[0].decode("utf-8", "replace"),
            fix="git lfs pull, or let DVC own the data: git lfs untrack, then dvc add",
        )
    if not text:
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


def iconv(path: Path, encoding: str = "WINDOWS-1252") -> str:
    """The command that makes UTF-8 of a file."""
    return f"iconv -f {encoding} -t UTF-8 {path} > mended{path.suffix}"


def _wide(start: bytes) -> str | None:
    """UTF-16 or UTF-32, by the mark at the beginning or by the zeros of plain letters."""
    marked = next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)
    if marked:
        return marked
    head = start[:4096]
    zeros = head.count(0)
    if zeros * 4 < len(head) or not head:
        return None
    if zeros * 8 > len(head) * 5:
        return "UTF-32LE" if head[0] else "UTF-32BE"
    return "UTF-16LE" if head[::2].count(0) < head[1::2].count(0) else "UTF-16BE"


def _narrow(start: bytes) -> str | None:
    """An encoding of one byte a letter, as Latin-1: several lines beyond ASCII, and none of them UTF-8."""
    beyond = [line for line in start.splitlines()[:-1] if not line.isascii()]
    broken = sum(1 for line in beyond if not _is_utf8(line))
    return "WINDOWS-1252" if broken > max(_FEW - 1, len(beyond) - broken) else None


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
