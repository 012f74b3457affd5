"""Fingerprints: what is kept between runs belongs to one set of inputs, parameters, code and libraries.

The code is the import closure of one module of this package, so an edit elsewhere does not discard what is kept.
"""

import ast
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from ..errors import UserError, raise_if_memory
from .io import sha256_of

LIBRARIES = ("numpy", "tokenizers", "torch", "transformers")
PACKAGE = Path(__file__).parent.parent
# These only validate, name files, give a parameter its default or start a stage; `parameters` holds what they decide.
WITHOUT_EFFECT = {PACKAGE / name for name in ("__init__.py", "__main__.py", "config.py", "errors.py", "paths.py")}


def import_closure(module: Path) -> set[Path]:
    """The files of the module and of all modules of this package that it imports, directly or through others."""
    found, new = set[Path](), {module}
    while new:
        found |= new
        new = {path for one in new for path in imported_by(one)} - found - WITHOUT_EFFECT
    return found


def imported_by(module: Path) -> list[Path]:
    """The files of this package that the module's imports name, and the packages that they are in."""
    sources: list[Path] = []
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            sources += [PACKAGE.parent.joinpath(*alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = module.parents[node.level - 1] if node.level else PACKAGE.parent
            sources += [start.joinpath(*(node.module or "").split("."), alias.name) for alias in node.names]
    modules = {path for source in sources for path in (source, *source.parents) if path.is_relative_to(PACKAGE)}
    return [path for one in modules for path in (one.with_suffix(".py"), one / "__init__.py") if path.exists()]


def fingerprint(module: Path, inputs: Iterable[Path], parameters: dict[str, object]) -> str:
    """A name for the bytes of inputs, import closure and data files beside it, for the parameters and the libraries."""
    code = import_closure(module)
    for room in {path.parent for path in code} - {PACKAGE}:
        beside = (path for path in room.rglob("[!.]*[!~]") if path.suffix not in (".md", ".py", ".pyc"))
        code |= {path for path in beside if path.is_file() and path.parent.name != "__pycache__"}
    files = {path.as_posix(): sha256_of(path) for path in inputs}
    files |= {path.relative_to(PACKAGE).as_posix(): sha256_of(path) for path in code}
    versions = {name: version(name) for name in LIBRARIES}
    return hashlib.sha256(json.dumps([files, parameters, versions], sort_keys=True).encode()).hexdigest()[:16]


def cache_directory(root: Path, name: str) -> Path:
    """The directory of this fingerprint below `root`. Of the others, only the most recent one is kept."""
    directory = root / name
    directory.mkdir(parents=True, exist_ok=True)
    directory.touch()
    keep_only(directory, others=1)
    return directory


def keep_only(directory: Path, others: int) -> None:
    """Delete the directories beside this one, except the most recent ones. A kill leaves no half under a name."""
    root = directory.parent
    for half in root.glob("*.old/"):
        shutil.rmtree(half)
    beside = [path for path in root.glob("*/") if path != directory]
    for old in sorted(beside, key=lambda path: path.stat().st_mtime_ns, reverse=True)[others:]:
        shutil.rmtree(old.rename(root / f"{old.name}.old"))


@contextmanager
def reading(directory: Path) -> Iterator[None]:
    """Read what is kept there. Raises UserError with the way out if it is damaged, as a loss of power may leave it."""
    try:
        yield
    except OSError:  # of the disk or the permissions: the files may be whole
        raise
    except Exception as error:  # numpy, torch, pickle and safetensors have errors of their own
        raise_if_memory(error)
        raise UserError(
            f"{directory} is damaged",
            expected="what an earlier run kept there",
            found=f"{type(error).__name__}: {error}".partition("\n")[0],
            fix=f"rm -r {directory}, then type the same again: it is made anew",
        ) from None
