"""Baking a project with all defaults beside cookiecutter-data-science.

    python benchmarks/baking.py build/review-sentiment --template path/to/cookiecutter-data-science

Its package on the index holds the command `ccds` but not the template, which `ccds` clones from GitHub. The benchmark
takes a clone of it, so that no network is timed; without one the item is left out, and the result says so.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

from environments import python_of, versions
from machine import machine
from pairs import HERE, Measure, Watch, environment, interleaved, item, keep, medians, parser
from start import seconds


def main() -> None:
    """Bake interleaved."""
    made = parser(__doc__)
    made.add_argument("--template", type=Path, default=HERE.parent / "build/cookiecutter-data-science")
    arguments = made.parse_args()
    with item("baking") as folder:
        watch = Watch()
        sides = {"ours": lambda: bake(folder, [sys.executable, "-m", "cookiecutter"], HERE.parent)}
        theirs = arguments.template.exists()
        if theirs:
            sides["peer"] = lambda: bake(folder, [str(python_of("peers").with_name("ccds"))], arguments.template)
        rounds = interleaved(sides, arguments.pairs)
        times = [found["ours"]["seconds"] / found["peer"]["seconds"] for found in rounds] if theirs else []
        keep(
            "baking",
            peer="cookiecutter-data-science",
            compared=f"all defaults, no input, ours {medians(rounds, 'ours'):.2f} s"
            + (
                f", peer {medians(rounds, 'peer'):.2f} s"
                if theirs
                else "; its package holds no template and none was given (--template): not compared"
            ),
            measures=[Measure("time, ours over the peer's", times, at_most=1.0)],
            machine=f"{machine('cookiecutter')}, {versions('peers', 'cookiecutter-data-science')}",
            watch=watch,
        )


def bake(folder: Path, command: list[str], template: Path) -> dict[str, Any]:
    """Bake into an empty directory; the seconds of the whole command."""
    target = folder / "baked"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    return seconds([*command, "--no-input", "--output-dir", str(target), str(template)], folder, environment())


if __name__ == "__main__":
    main()
