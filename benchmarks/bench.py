"""Run items of the benchmarks, then write RESULTS.md and RESULTS.png.

    python benchmarks/bench.py build/review-sentiment                    all
    python benchmarks/bench.py build/review-sentiment fine-tune-goal     one
    python benchmarks/bench.py build/review-sentiment embeddings         all that begin so

The project must have been grown from this template as it is, and run. Items of production get one of that scope, grown
over a copy of it.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cookiecutter.main import cookiecutter
from environments import PACKAGES, python_of
from items import ITEMS, PRODUCTION, SCRIPTS
from pairs import HERE


def main() -> int:
    """Run them; 0 when every item was measured, whatever it gave."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("items", nargs="*", help="default: all")
    parser.add_argument("--pairs", type=int, help="turns of each side; default: that of the item")
    arguments = parser.parse_args()
    chosen = [item for item in ITEMS if not arguments.items or item.startswith(tuple(arguments.items))]
    if not chosen:
        sys.exit(f"no such item; there are {', '.join(ITEMS)}")
    require_current(arguments.project)
    for environment in PACKAGES:
        python_of(environment)
    begin, failed = time.monotonic(), []
    larger = grown_over(arguments.project) if any(item in PRODUCTION for item in chosen) else None
    for item in chosen:
        start = time.monotonic()
        project = larger if larger and item in PRODUCTION else arguments.project
        if subprocess.run(command_of(item, project, arguments.pairs), check=False).returncode:
            failed.append(item)
        print(f"  {time.monotonic() - start:.0f} s", flush=True)
    subprocess.run([python_of("peers"), HERE / "results.py"], check=True)
    print(f"{len(chosen)} items in {(time.monotonic() - begin) / 60:.1f} minutes")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def command_of(item: str, project: Path, pairs: int | None) -> list[str]:
    """How one item is run."""
    group = next(name for name in SCRIPTS if item.startswith(name))
    part = item.removeprefix(group).removeprefix("-")
    command = [sys.executable, str(HERE / SCRIPTS[group]), str(project)]
    command += ["--items", part] if part else []
    return command + (["--pairs", str(pairs)] if pairs else [])


def grown_over(project: Path) -> Path:
    """A copy of the project, with what it made, in scope production: its stages are the same."""
    copy = project.parent / "production" / project.name
    shutil.rmtree(copy.parent, ignore_errors=True)
    shutil.copytree(project, copy, symlinks=True, ignore=shutil.ignore_patterns(".git", ".venv"))
    scope = {"scope": "production"}
    cookiecutter(
        str(HERE.parent),
        no_input=True,
        extra_context=scope,
        output_dir=copy.parent,
        overwrite_if_exists=True,
        accept_hooks=False,
    )
    return copy


def require_current(project: Path) -> None:
    """Stop when the project's code is not what this template grows."""
    with tempfile.TemporaryDirectory() as folder:
        grown = Path(cookiecutter(str(HERE.parent), no_input=True, output_dir=folder, accept_hooks=False))
        modules = sorted(path.relative_to(grown) for path in (grown / "src").rglob("*.py"))
        other = [path for path in modules if not same(project / path, grown / path)]
    if other:
        sys.exit(f"{project} is of an older template ({other[0]} differs): make demo")


def same(one: Path, other: Path) -> bool:
    """Whether both are there and hold the same."""
    return one.exists() and one.read_bytes() == other.read_bytes()


if __name__ == "__main__":
    sys.exit(main())
