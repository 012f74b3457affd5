"""Where files come from, by the form of their address:

pkg://python_package/path        a file inside an installed Python package; its code is not run
hf://owner/name@revision/path      a file of a model on the Hugging Face hub, see hub.py
hf://datasets/owner/name@revision/path      a file of a data set there
s3://bucket/key, https://host/path, or a path on this machine
"""

import importlib.util
import shutil
from pathlib import Path

import fsspec

from ..errors import UserError


def download(address: str, target: Path) -> None:
    """Copy the file at the address to the target path. Raises UserError when it cannot be had."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if address.startswith("hf://"):
            from . import hub

            shutil.copyfile(hub.file_at(address), target)
        elif address.startswith("pkg://"):
            shutil.copyfile(_in_package(address), target)
        else:
            store, path = fsspec.url_to_fs(address)
            store.get_file(path, str(target))
    except UserError:
        raise
    except Exception as error:  # each store has its own errors; all of them mean that the file cannot be had
        raise UserError(
            f"cannot fetch {address}",
            expected="a file that can be read",
            found=f"{type(error).__name__}: {error}",
            fix="check the address in params.yaml, the network and the credentials",
        ) from None


def files_below(address: str) -> list[str] | None:
    """The names of the files below an address; None where the store does not list any, as most web servers."""
    if address.startswith("hf://"):
        from . import hub

        return hub.files_below(address)
    if address.startswith("pkg://"):
        folder = _in_package(address)
        return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    store, path = fsspec.url_to_fs(address)
    try:
        return [name.removeprefix(f"{path.rstrip('/')}/") for name in store.find(path, maxdepth=2)] or None
    except Exception:  # each store has its own errors; `download` reports what is wrong
        return None


def _in_package(address: str) -> Path:
    package, _, path = address.removeprefix("pkg://").partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"cannot fetch {address}",
            expected=f"the Python package {package} to be installed",
            found="it is not",
            fix="make setup",
        )
    return Path(spec.submodule_search_locations[0]) / path
