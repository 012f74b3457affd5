"""Pin what `fetch` takes: write the hub's commits and the files' sha256 into params.yaml. `make pin`

Look at the difference before you commit it: from then on these files are trusted.
"""

import re
import sys
import tempfile
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from ruamel.yaml.comments import CommentedMap

from {{ cookiecutter.package_name }}.common.io import sha256_of
from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.paths import PARAMS
from {{ cookiecutter.package_name }}.stages.fetch import COMMIT, download
from tools.shared import edited, run

EXAMPLES = {"model": "sentence-transformers/all-MiniLM-L6-v2", "dataset": "cornell-movie-review-data/rotten_tomatoes"}
HUB = re.compile(r"(?P<start>hf://(?P<datasets>datasets/)?(?P<repo>[^@]+)@)(?P<revision>[^/]+)(?P<rest>.*)")


def main() -> int:
    """Pin `fetch.data` and `fetch.model`; 0 when params.yaml is written."""
    return run(pin_all)


def pin_all() -> None:
    """Pin both sources and write params.yaml, whose comments and order stay."""
    with edited(PARAMS) as params:
        for source in params["fetch"].values():
            pin(source)


def pin(source: CommentedMap) -> None:
    """Replace a branch by its commit, and every digest by that of the file found now."""
    on_hub = HUB.fullmatch(source["uri"])
    if on_hub and not COMMIT.fullmatch(on_hub["revision"]):
        kind = "dataset" if on_hub["datasets"] else "model"
        source["uri"] = f"{on_hub['start']}{commit_of(on_hub['repo'], kind, on_hub['revision'])}{on_hub['rest']}"
    with tempfile.TemporaryDirectory() as directory:
        for name in source["sha256"]:
            copy = Path(directory) / "file"
            download(f"{source['uri']}/{name}", copy)
            source["sha256"][name] = sha256_of(copy)
            print(f"{source['uri']}/{name}\n  {source['sha256'][name]}")


def commit_of(name: str, kind: str, revision: str) -> str | None:
    """The commit that a branch or tag on the hub names now. Raises UserError where the hub has none."""
    try:
        return HfApi().repo_info(name, repo_type=kind, revision=revision).sha
    except (HfHubHTTPError, HFValidationError) as error:
        raise UserError(
            f"the hub has no {kind} {name} at {revision}",
            expected=f"the name of a public {kind}, such as {EXAMPLES[kind]}, and one of its branches or tags",
            found=str(error).strip().partition("\n")[0],
            fix="correct `uri` below `fetch` in params.yaml; for a private or gated one, log in first: hf auth login",
        ) from None
    except Exception as error:  # its HTTP library has errors of its own
        raise UserError(
            "the hub cannot be reached",
            expected="an answer from huggingface.co",
            found=str(error).partition("\n")[0],
            fix="see to the network (HF_HUB_OFFLINE must not be set), then type `make pin` again",
        ) from None


if __name__ == "__main__":
    sys.exit(main())
