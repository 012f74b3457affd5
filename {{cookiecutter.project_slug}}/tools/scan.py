"""Look for code in the model files: `make scan`.

modelscan looks into every format that can hold code. It cannot read the arrays that joblib writes between its
instructions, so the probe is read here, by an allow-list that knows arrays of numbers and nothing else.
"""

import json
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from joblib.numpy_pickle import NumpyArrayWrapper, NumpyUnpickler

from {{ cookiecutter.package_name }}.paths import PROBE_FILE

MODELS = Path("models")
PROGRAM = Path(".supply-chain/bin/modelscan")
NO_CODE = {".json", ".onnx", ".safetensors"}


def main() -> int:
    """Print what was found in every file; 1 unless all are clean."""
    files = sorted(path for path in MODELS.rglob("*") if path.is_file())
    if not files:
        print(f"error: no file in {MODELS}\n  fix:      make pull, or make repro", file=sys.stderr)
        return 1
    found = said_by_modelscan()
    for path in files:
        verdict = "cannot hold code" if path.suffix in NO_CODE else "clean"
        if path == PROBE_FILE:
            found[path] = not_numbers(path)
        print(f"{path}: {found.get(path) or verdict}")
    bad = [path for path in files if found.get(path)]
    for path in bad:
        print(f"error: {path} is not clean: {found[path]}", file=sys.stderr)
    return 1 if bad else 0


def said_by_modelscan() -> dict[Path, str]:
    """What modelscan says against files: what it found, or why it could not read them."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [PROGRAM.absolute(), "scan", "-p", MODELS.resolve(), "-r", "json", "-o", report]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if not report.exists():
            raise SystemExit(f"error: modelscan ended with {done.returncode}: {done.stderr[-500:]}")
        told = json.loads(report.read_text(encoding="utf-8"))
    return {MODELS / one["source"].partition(":")[0]: one["description"] for one in [*told["issues"], *told["errors"]]}


def not_numbers(path: Path) -> str:
    """Why a file of joblib holds more than numbers by name, or nothing."""
    try:
        with path.open("rb") as file:
            Numbers(str(path), file, ensure_native_byte_order=True).load()
    except Exception as error:  # whatever a broken file makes the reader do
        return f"{type(error).__name__}: {error}"
    return ""


class PlainArray(NumpyArrayWrapper):
    """An array whose bytes are numbers; joblib would unpickle the bytes of an array of objects."""

    def read(self, unpickler: Any, ensure_native_byte_order: bool) -> Any:
        """Read it. Raises UnpicklingError for objects."""
        if self.dtype.hasobject:
            raise pickle.UnpicklingError("an array of objects")
        return super().read(unpickler, ensure_native_byte_order)


class Numbers(NumpyUnpickler):
    """joblib's reader with nothing to call but what makes arrays."""

    def find_class(self, module: str, name: str) -> Any:
        """The class of this name. Raises UnpicklingError for any but those of arrays."""
        if (module, name) == ("joblib.numpy_pickle", "NumpyArrayWrapper"):
            return PlainArray
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}")


if __name__ == "__main__":
    sys.exit(main())
