"""Fingerprints: what is kept between runs belongs to one set of inputs, parameters, code and libraries.

The code is the import closure of one module of this package, so an edit elsewhere does not discard what is kept.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable
from importlib.metadata import version
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

from .io import sha256_of

LIBRARIES = ("numpy", "tokenizers", "torch", "transformers")
PACKAGE = Path(__file__).parent.parent
SOURCE = PACKAGE.parent
# These only validate, name files or describe a folder; `parameters` holds what they decide.
WITHOUT_EFFECT = {
    PACKAGE / name for name in ("__init__.py", "config.py", "errors.py", "paths.py", "stages/__init__.py")
}
KEPT = 2


def import_closure(module: Path) -> set[Path]:
    """The files of the module and of all modules below `src` that it imports, directly or through others."""
    finder = ModuleFinder([str(SOURCE)])
    finder.import_hook(".".join(module.relative_to(SOURCE).with_suffix("").parts))
    modules: Any = finder.modules
    return {Path(found.__file__) for found in modules.values() if found.__file__} - WITHOUT_EFFECT


def fingerprint(module: Path, inputs: Iterable[Path], parameters: dict[str, object]) -> str:
    """A name for the bytes of the inputs and of the module's import closure, the parameters and the libraries."""
    files = {path.as_posix(): sha256_of(path) for path in inputs}
    files |= {path.relative_to(SOURCE).as_posix(): sha256_of(path) for path in import_closure(module)}
    versions = {name: version(name) for name in LIBRARIES}
    return hashlib.sha256(json.dumps([files, parameters, versions], sort_keys=True).encode()).hexdigest()[:16]


def cache_directory(root: Path, name: str) -> Path:
    """The directory of this fingerprint below `root`. Of the others, only the most recent one is kept."""
    directory = root / name
    directory.mkdir(parents=True, exist_ok=True)
    directory.touch()
    by_age = sorted(root.iterdir(), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for old in by_age[KEPT:]:
        shutil.rmtree(old)
    return directory
