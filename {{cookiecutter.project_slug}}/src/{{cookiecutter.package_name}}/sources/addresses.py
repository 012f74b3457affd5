"""Where files come from, by the form of their address.

pkg://python_package/path        a file inside an installed Python package; its code is not run
hf://owner/name@revision/path      a file of a model on the Hugging Face hub, see hub.py
hf://datasets/owner/name@revision/path      a file of a data set there
s3://bucket/key, https://host/path (as a proxy of the environment and ~/.netrc say), or a path on this machine
"""

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import fsspec
from aiohttp import ClientTimeout

from ..errors import OF_THIS_DISK, UserError
from . import hub
from .causes import HTTP, S3, quieten_botocore, refusal


def download(address: str, target: Path) -> None:
    """Copy the file at the address to the target path. Raises UserError when that fails."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if address.startswith("hf://"):
            shutil.copyfile(hub.file_at(address), target)
        elif address.startswith("pkg://"):
            shutil.copyfile(_in_package(address), target)
        else:
            store, path = _store_of(address)
            store.get_file(path, str(target))
    except Exception as error:  # each store has its own errors
        if isinstance(error, UserError) or getattr(error, "errno", None) in OF_THIS_DISK:
            raise
        if address.startswith("hf://"):
            raise hub.refusal(f"cannot fetch {address}", error) from None
        settings = S3 if address.startswith("s3://") else HTTP
        raise refusal(f"cannot fetch {address}", error, "a file that can be read", settings) from None


def files_below(address: str) -> list[str] | None:
    """The names of the files below an address; None if the store lists none, like most web servers."""
    if address.startswith("hf://"):
        return hub.files_below(address)
    if address.startswith("pkg://"):
        folder = _in_package(address)
        return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    try:
        store, path = _store_of(address)
        return [name.removeprefix(f"{path.rstrip('/')}/") for name in store.find(path, maxdepth=2)] or None
    except Exception:  # each store has its own errors; `download` reports what is wrong
        return None


def _store_of(address: str) -> tuple[Any, str]:
    """The store that reads the address, and the path in it."""
    quieten_botocore()
    # A large file may take hours, so only a minute without a byte is too long.
    http = {"client_kwargs": {"trust_env": True, "timeout": ClientTimeout(sock_connect=60, sock_read=60)}}
    return fsspec.url_to_fs(address, **(http if address.startswith(("http://", "https://")) else {}))


def _in_package(address: str) -> Path:
    package, _, path = address.removeprefix("pkg://").partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"cannot fetch {address}",
            expected=f"the Python package {package} to be installed",
            found="it is not",
            fix=f"make setup, or for another package than the sample's: pip install {package.replace('_', '-')}",
        )
    return Path(spec.submodule_search_locations[0]) / path
