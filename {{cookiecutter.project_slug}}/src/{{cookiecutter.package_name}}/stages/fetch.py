"""Take the data and the base model from where `params.yaml` says, and let nothing in whose sha256 differs."""

from pathlib import Path

from tqdm import tqdm

from .. import paths
from ..common.io import new_directory, sha256_of
from ..config import Params, Source
from ..data.sources import download
from ..errors import UserError


def run(params: Params) -> None:
    """Write `data/raw` (unless it is added by hand) and `models/base`."""
    if params.fetch.data is not None:
        fetch_source(params.fetch.data, paths.RAW, key="fetch.data")
    fetch_source(params.fetch.model, paths.BASE_MODEL, key="fetch.model")


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
