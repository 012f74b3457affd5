"""Make the environment of a snapshot again and run the pipeline in it: `make rebuild SNAPSHOT=snapshots/laptop.json`.

In an empty directory: a clone of the snapshot's commit, a new virtual environment with exactly its packages, a
comparison of what is there now with the snapshot, the sanity tests, and `make reproduce`. Ends with 0 when every out is
the same, and prints the time that each part took.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from env_diff import differences, minor, read_snapshot, show
from reproduce import Place, take_remote_of

from {{ cookiecutter.package_name }}.errors import UserError

# Fast, and they load what computes: numpy, scipy, torch, transformers, tokenizers.
SANITY = ("tests/test_params.py", "tests/test_evaluation.py", "tests/test_model.py")


def main() -> int:
    """Rebuild, test and reproduce; 0 when every byte is the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("snapshot", type=Path, help="a file of `make snapshot`")
    parser.add_argument("--into", type=Path, help="an empty directory; default: ../NAME-rebuilt")
    parser.add_argument("--torch-index", help="take torch from this index, as in `make setup`")
    arguments = parser.parse_args()
    into = (arguments.into or Path.cwd().with_name(f"{Path.cwd().name}-rebuilt")).resolve()
    try:
        return rebuild(read_snapshot(arguments.snapshot), into, arguments.torch_index)
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 1


def rebuild(snapshot: dict[str, Any], into: Path, torch_index: str | None) -> int:
    """Do all parts, print how long each took; 0 when all ended well."""
    check(snapshot, into)
    parts: dict[str, Callable[[], bool]] = {
        "clone": lambda: clone(snapshot["project"]["commit"], into),
        "packages": lambda: install(snapshot["packages"], into, torch_index),
        "comparison": lambda: look(snapshot, into),
        "sanity tests": lambda: run(into, "pytest", "-q", "-m", "not slow", *SANITY),
        "reproduce": lambda: run(into, "python", "tools/reproduce.py"),
    }
    seconds = {}
    for name, part in parts.items():
        print(f"--- {name}", flush=True)
        start = time.monotonic()
        well = part()
        seconds[name] = time.monotonic() - start
        if not well:
            print(f"error: {name} failed; its message stands above, {into} is left as it is", file=sys.stderr)
            return 1
    print(f"\nrebuilt in {into}")
    for name, taken in {**seconds, "together": sum(seconds.values())}.items():
        print(f"{name:<14}{taken:7.1f} s")
    return 0


def check(snapshot: dict[str, Any], into: Path) -> None:
    """Raise UserError for what would fail later."""
    if into.exists() and any(into.iterdir()):
        raise UserError(
            "the place of the rebuilt project is not empty",
            expected="an empty directory, or none",
            found=str(into),
            fix="name another one: make rebuild SNAPSHOT=… INTO=…",
        )
    if not snapshot["project"]["clean"]:
        raise UserError(
            "the snapshot was written beside changes that no commit holds",
            expected="a snapshot of a commit",
            found=f"changes after {snapshot['project']['commit'] or 'nothing'}",
            fix="commit them, then `make snapshot`",
        )
    here = ".".join(map(str, sys.version_info[:2]))
    if minor(snapshot["python"]["version"]) != here:
        raise UserError(
            "another Python",
            expected=snapshot["python"]["version"],
            found=sys.version.split()[0],
            fix="make .venv with that Python: rm -rf .venv && make setup PYTHON=…",
        )


def clone(commit: str, into: Path) -> bool:
    """Clone the commit of this repository, and give the clone this checkout's remote."""
    here = Path.cwd()
    if subprocess.run(["git", "clone", "--quiet", "--no-checkout", here, into], check=False).returncode:
        return False
    if not run(into, "git", "checkout", "--quiet", commit):
        return False
    take_remote_of(Place(here, ""), Place(into, ""))
    return True


def install(packages: dict[str, Any], into: Path, torch_index: str | None) -> bool:
    """Make `.venv` with exactly these packages; what they need is among them, so that pip resolves nothing."""
    # A build tag such as +cpu exists on one index only; the plain version matches every build.
    plain = [f"{name}=={one['version'].partition('+')[0]}" for name, one in packages.items()]
    listed = into / ".venv/snapshot.txt"
    if not run(into, sys.executable, "-m", "venv", ".venv"):
        return False
    listed.write_text("\n".join(plain) + "\n", encoding="utf-8")
    pip = ("python", "-m", "pip", "install", "--quiet", "--no-deps")
    torch = [name for name in plain if name.startswith("torch==")]
    if torch_index and not run(into, *pip, "--index-url", torch_index, *torch):
        return False
    return run(into, *pip, "-r", str(listed)) and run(into, *pip, "--no-build-isolation", "-e", ".")


def look(snapshot: dict[str, Any], into: Path) -> bool:
    """Compare the new environment with the snapshot and tell what differs; whether bits do, `reproduce` will say."""
    path = into / ".venv/snapshot.json"
    if not run(into, "python", "tools/snapshot.py", "--output", str(path)):
        return False
    show(list(differences(snapshot, read_snapshot(path))), snapshot["compute"]["determinism"])
    return True


def run(into: Path, *command: str) -> bool:
    """Run a command in the rebuilt project with its environment first; whether it ended well."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["PATH"] = f"{into / '.venv/bin'}{os.pathsep}{environment['PATH']}"
    return subprocess.run(command, cwd=into, env=environment, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
