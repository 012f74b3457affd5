"""Write files so that a kill at any moment leaves either the whole new one or nothing of it."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

EXTERNAL = ".data"  # ends the name of the file beside an ONNX file that has its weights, where there is one


def sha256_of(path: Path) -> str:
    """The file's sha256 as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size_of(model: Path) -> int:
    """The bytes of a model's file, with those of the weights beside it."""
    beside = model.with_name(model.name + EXTERNAL)
    return sum(path.stat().st_size for path in (model, beside) if path == model or path.exists())


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Give an empty directory beside `path`; put it in place of `path` when the block ends well."""
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
    """Write UTF-8 with the line ends as they are, beside the target first, then rename."""
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
