"""Write files so that a kill at any moment leaves either the whole new file or nothing of it."""

import hashlib
import json
import shlex
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import UserError

WEIGHTS_SUFFIX = ".data"  # the ending of the file beside an ONNX file that holds its weights, if there is one


def refuse_links(folders: Iterable[Path]) -> None:
    """Raise UserError if a folder that holds outs is a link, because DVC would refuse its outs only after the work."""
    for folder in folders:
        if folder.is_symlink():
            raise UserError(
                f"{folder} is a link, and DVC keeps nothing behind a link",
                expected="a folder; what is in it may be a link to another disk, such as data/processed",
                found=f"{folder} -> {folder.readlink()}",
                fix=f"rm {folder} && cp -R {shlex.quote(str(folder.readlink()))} {folder}",
            )


def sha256_of(path: Path) -> str:
    """The file's sha256 as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size_of(model: Path) -> int:
    """The size of a model's file in bytes, including weights in a file beside it."""
    beside = model.with_name(model.name + WEIGHTS_SUFFIX)
    return sum(path.stat().st_size for path in (model, beside) if path == model or path.exists())


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Yield an empty directory beside `path`; when the block ends well, put it in place of `path`.

    If `path` is a link, the directory is beside its target, on the same disk. Raises UserError for a mount point.
    """
    path = path.resolve()
    if path.is_mount():
        raise UserError(
            f"{path} is a mount point, and cannot be put in place as a whole",
            expected="a folder, or a link to one on another disk",
            found="a disk mounted there",
            fix="mount the disk elsewhere, and link a folder of it here: ln -s /mnt/disk/folder PATH",
        )
    beside = path.with_name(f".{path.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        yield beside
        shutil.rmtree(path, ignore_errors=True)
        beside.rename(path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 with unchanged line ends, beside the target first, then rename."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file beside the target first, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.partial")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write readable JSON with sorted keys; NaN and infinity are refused, because readers of the file refuse them."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))
