"""What is kept between runs, beside the outs, belongs to exactly one set of inputs, parameters, code and libraries."""

import hashlib
import json
import shutil
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from .io import sha256_of

LIBRARIES = ("numpy", "tokenizers", "torch", "transformers")


def identity_of(inputs: Iterable[Path], parameters: dict[str, object]) -> str:
    """One name for all that decides a result: the bytes of the inputs and of this package, parameters, versions."""
    package = Path(__file__).parent.parent
    files = {path.as_posix(): sha256_of(path) for path in inputs}
    files |= {path.relative_to(package).as_posix(): sha256_of(path) for path in sorted(package.rglob("*.py"))}
    versions = {name: version(name) for name in LIBRARIES}
    return hashlib.sha256(json.dumps([files, parameters, versions], sort_keys=True).encode()).hexdigest()[:16]


def own_directory(root: Path, identity: str) -> Path:
    """The directory of this identity. Those of others are removed: they can never be used again."""
    root.mkdir(exist_ok=True)
    for other in root.iterdir():
        if other.name != identity:
            shutil.rmtree(other)
    directory = root / identity
    directory.mkdir(exist_ok=True)
    return directory
