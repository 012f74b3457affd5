"""The manifest of a model's directory: which files belong to it, their sha256, and the facts needed to use them.

Whatever loads a model verifies its manifest first, above all for the probe: joblib runs code from the file it reads.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..paths import ONNX
from .io import WEIGHTS_SUFFIX, read_json, sha256_of, write_json

MANIFEST = "manifest.json"
FIX = "dvc checkout --force, or dvc pull; if it stays, dvc repro"
FIX_OF_A_COPY = "take the whole directory again from where it was copied"


def write_manifest(directory: Path, facts: Mapping[str, Any]) -> None:
    """Write the facts, the sha256 and size of every file there, and a digest of the manifest itself."""
    found = sorted(path for path in directory.rglob("*") if path.is_file())
    files = {
        path.relative_to(directory).as_posix(): {"sha256": sha256_of(path), "bytes": path.stat().st_size}
        for path in found
    }
    manifest = {**facts, "files": files}
    write_json(directory / MANIFEST, manifest | {"digest": _digest(manifest)})


Names = tuple[str, ...]


def verified_manifest(directory: Path, needed: Names | Callable[[Collection[str]], Names] = ()) -> dict[str, Any]:
    """The facts, after checking all existing files. Raises UserError if one was changed or a needed one is missing.

    needed: the names of needed files, or a function that chooses them from all names. The weights beside a needed ONNX
    file are needed too, if the manifest names them.
    """
    path = directory / MANIFEST
    if not path.exists():
        fix = _fix(directory)
        fix = fix if path.is_absolute() else f"run it in the project's root; if the file is missing there: {fix}"
        raise UserError(f"no model in {directory}", expected=str(path.absolute()), found="no such file", fix=fix)
    try:
        manifest = read_json(path)
        digest = manifest.pop("digest")
        files = {name: file["sha256"] for name, file in manifest["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        found = f"{type(error).__name__}: {error}"
        raise _changed(directory, MANIFEST, "a manifest as this project writes it", found) from None
    if digest != _digest(manifest):
        raise _changed(directory, MANIFEST, f"digest {digest}", _digest(manifest))
    needed = needed(files) if callable(needed) else needed
    for name in sorted(files.keys() | set(needed)):
        path = directory / name
        found = sha256_of(path) if path.exists() else "no such file"
        if found != files.get(name) and (path.exists() or name.removesuffix(WEIGHTS_SUFFIX) in needed):
            raise _changed(directory, name, f"sha256 {files.get(name)}", found)
    return manifest


def _digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _changed(directory: Path, name: str, expected: str, found: str) -> UserError:
    fix = _fix(directory)
    return UserError(f"{directory / name} is not the file that was shipped", expected=expected, found=found, fix=fix)


def _fix(directory: Path) -> str:
    """What brings a model back: DVC has those of `models/`, and no copy of one."""
    return FIX if directory.absolute().parent.name == ONNX.parent.name else FIX_OF_A_COPY
