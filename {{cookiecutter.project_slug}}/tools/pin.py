"""Pin what `fetch` takes: write the hub's commits and the files' sha256 into params.yaml. `make pin`

Look at the difference before you commit it: from then on these files are trusted.
"""

import re
import sys
import tempfile
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from {{ cookiecutter.package_name }}.common.io import sha256_of
from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.paths import PARAMS
from {{ cookiecutter.package_name }}.stages.fetch import COMMIT, download

HUB = re.compile(r"(?P<start>hf://(?P<datasets>datasets/)?(?P<repo>[^@]+)@)(?P<revision>[^/]+)(?P<rest>.*)")


def main() -> int:
    """Pin `fetch.data` and `fetch.model`; 0 when params.yaml is written."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    params = yaml.load(PARAMS.read_text(encoding="utf-8"))
    try:
        for source in params["fetch"].values():
            pin(source)
    except (UserError, HfHubHTTPError) as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 1
    with PARAMS.open("w", encoding="utf-8", newline="\n") as file:
        yaml.dump(params, file)
    return 0


def pin(source: CommentedMap) -> None:
    """Replace a branch by its commit, and every digest by that of the file found now."""
    on_hub = HUB.fullmatch(source["uri"])
    if on_hub and not COMMIT.fullmatch(on_hub["revision"]):
        kind = "dataset" if on_hub["datasets"] else "model"
        commit = HfApi().repo_info(on_hub["repo"], repo_type=kind, revision=on_hub["revision"]).sha
        source["uri"] = f"{on_hub['start']}{commit}{on_hub['rest']}"
    with tempfile.TemporaryDirectory() as directory:
        for name in source["sha256"]:
            copy = Path(directory) / "file"
            download(f"{source['uri']}/{name}", copy)
            source["sha256"][name] = sha256_of(copy)
            print(f"{source['uri']}/{name}\n  {source['sha256'][name]}")


if __name__ == "__main__":
    sys.exit(main())
