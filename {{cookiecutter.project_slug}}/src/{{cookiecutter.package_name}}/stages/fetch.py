"""Fetch the data and the base model from the addresses in params.yaml, and check every file's sha256.

The base model is converted to one form, see sources/base_model.py. sources/addresses.py explains the addresses.
"""

from pathlib import Path

from tqdm import tqdm

from ..common.io import new_directory, sha256_of
from ..config import Params, Source
from ..errors import UserError
from ..paths import BASE_MODEL
from ..sources.addresses import download
from ..sources.base_model import to_one_form


def run(params: Params, *only: str) -> None:
    """Write `data/raw` (if `fetch.data` is set) and `models/base`, or only the ones named: `data`, `model`."""
    for name in only or ("data", "model"):
        if source := getattr(params.fetch, name):
            fetch_source(source, Path(source.into), key=f"fetch.{name}")


def fetch_source(source: Source, directory: Path, *, key: str) -> None:
    """Fetch every file of the source into the directory. If any file is wrong, nothing is written."""
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
        if directory == BASE_MODEL:
            to_one_form(new)


def _lines(digests: dict[str, str]) -> str:
    return "".join(f"\n    {name}: {digest}" for name, digest in digests.items())
