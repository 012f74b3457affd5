"""Refuse keys and passwords in what Git would commit: `make keys`, part of `make lint` and of the hooks.

Git's index is searched, so what is staged counts. Places are printed, secrets are not.
"""

import subprocess
import sys
from pathlib import Path

from dvc.config import Config

from tools.shared import run

PATTERNS = {
    "an AWS access key": r"(^|[^A-Za-z0-9])(AKIA|ASIA)[A-Z0-9]{16}([^A-Za-z0-9]|$)",
    "an AWS secret key": r"(aws_)?secret_?(access_?)?key[\"' ]*[:=][\"' ]*[A-Za-z0-9/+_-]{30,}",
    "a private key": r"-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY( BLOCK)?-----",
    "a GitHub token": r"(gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{50,})",
    "a Hugging Face token": r"hf_[A-Za-z0-9]{30,}",
    "a GitLab token": r"glpat-[A-Za-z0-9_-]{20,}",
    "a Google key": r"AIza[A-Za-z0-9_-]{35}",
    "a Slack token": r"xox[abprs]-[A-Za-z0-9-]{10,}",
    "a password in an address": r"[a-z][a-z0-9+.-]*://[^/@: ${}<>…]+:[^/@: ${}<>…]{3,}@[A-Za-z0-9]",
}
IN_DVC_CONFIG = (
    r"^ *(access_key_id|secret_access_key|session_token|sse_customer_key|password|passphrase|account_key|sas_token|"
    r"connection_string|client_secret|gdrive_client_secret|gdrive_service_account_json|token) *="
)
KEPT_SECRET = ("secret_access_key", "session_token", "password", "account_key", "sas_token", "connection_string")


def main() -> int:
    """Print where a key stands; 1 if one does."""
    found = {place: f"looks like {kind}" for kind, pattern in PATTERNS.items() for place in places("-E", pattern)}
    found |= dict.fromkeys(places("-E", IN_DVC_CONFIG, ".dvc/config"), "is a key of a remote")
    for secret in secrets_of_this_checkout():
        found |= dict.fromkeys(places("-F", secret), "is a key from .dvc/config.local")
    for place, kind in sorted(found.items()):
        print(f"error: {place} {kind}", file=sys.stderr)
    if found:
        print(
            "  expected: no key in Git; whoever has the repository would have the key\n"
            "  fix:      take it out and `git add` the file again. Keys of a remote: `dvc remote modify --local …`,\n"
            "            which writes .dvc/config.local, or the environment. A key that was pushed must be replaced.",
            file=sys.stderr,
        )
    return 1 if found else 0


def places(kind: str, pattern: str, *paths: str) -> list[str]:
    """Where the index holds the pattern, as `path:line`."""
    command = ["git", "grep", "--cached", "--text", "--line-number", "--null", kind, "-e", pattern, "--", *paths]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode > 1:
        raise RuntimeError(done.stderr.decode())
    return [b":".join(line.split(b"\0")[:2]).decode() for line in done.stdout.splitlines() if line.count(b"\0") >= 2]


def secrets_of_this_checkout() -> set[str]:
    """The keys that .dvc/config.local holds."""
    if not Path(".dvc/config.local").exists():
        return set()
    remotes = Config(".dvc").load_one("local").get("remote", {}).values()
    return {str(remote[key]) for remote in remotes for key in KEPT_SECRET if len(str(remote.get(key, ""))) > 5}


if __name__ == "__main__":
    sys.exit(run(main))
