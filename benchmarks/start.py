"""How long until something happens: `dvc repro` with nothing to do, and the start of a light stage.

    python benchmarks/start.py build/review-sentiment

nothing   seconds of `dvc repro` above those of `dvc version`, in the project as it is: all its stages must be done
light     seconds of the whole `prepare` on a table of 400 rows above those of `python -c "import polars"`

Whole commands, from typing to the prompt. No light stage may import torch. (`evaluate` runs the torch model, so its
tables have no start of their own.)
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from machine import machine
from pairs import Measure, Watch, copied, environment, interleaved, keep, medians, package_of, parser, run_items
from preparing import own_table, put_raw, write_table

STAGES = 7


def main() -> None:
    """Measure the items that the command line names."""
    made = parser(__doc__)
    run_items(made, "start", {"nothing": nothing_to_do, "light": light_stage})


def nothing_to_do(arguments: Any, folder: Path) -> None:
    """`dvc repro` in a project whose stages are all done."""
    watch = Watch()
    variables = environment() | {f"DVC_{kind}_DIR": str(folder / kind) for kind in ("SITE_CACHE", "GLOBAL_CONFIG")}
    if subprocess.run(["dvc", "status", "--quiet"], cwd=arguments.project, env=variables, check=False).returncode:
        sys.exit(f"{arguments.project} has stages to run: dvc repro")
    sides = {
        "repro": lambda: seconds(["dvc", "repro"], arguments.project, variables),
        "version": lambda: seconds(["dvc", "version"], arguments.project, variables),
    }
    rounds = interleaved(sides, arguments.pairs)
    above = [found["repro"]["seconds"] - found["version"]["seconds"] for found in rounds]
    keep(
        "start-nothing",
        peer="`dvc version`",
        compared=f"whole commands, {STAGES} stages: {medians(rounds, 'repro'):.2f} s and"
        f" {medians(rounds, 'version'):.2f} s",
        measures=[Measure("seconds above it", above, at_most=1.5, unit="s")],
        machine=machine("dvc"),
        watch=watch,
    )


def light_stage(arguments: Any, folder: Path) -> None:
    """`prepare` with next to nothing to prepare."""
    watch = Watch()
    project = copied(arguments.project, folder / "ours", own_table())
    table = folder / "table.csv"
    write_table(table, 400)
    put_raw(project, table)
    variables = environment(project)
    stage = [sys.executable, "-m", package_of(project), "prepare"]
    sides = {
        "prepare": lambda: seconds(stage, project, variables),
        "polars": lambda: seconds([sys.executable, "-c", "import polars"], project, variables),
    }
    rounds = interleaved(sides, arguments.pairs)
    above = [found["prepare"]["seconds"] - found["polars"]["seconds"] for found in rounds]
    command = [stage[0], "-X", "importtime", *stage[1:]]
    printed = subprocess.run(command, cwd=project, env=variables, capture_output=True, text=True, check=True).stderr
    imported = [line.split("|")[2].strip() for line in printed.splitlines() if line.startswith("import time:")]
    keep(
        "start-light",
        peer='`python -c "import polars"`',
        compared=f"whole commands, `prepare` of 400 rows: {medians(rounds, 'prepare'):.2f} s and"
        f" {medians(rounds, 'polars'):.2f} s",
        measures=[
            Measure("seconds above it", above, at_most=0.5, unit="s"),
            Measure("imports of torch", [float(imported.count("torch"))], at_most=0, unit=""),
        ],
        machine=machine("polars"),
        watch=watch,
    )


def seconds(command: Sequence[str], folder: Path, variables: dict[str, str]) -> dict[str, float]:
    """How long the whole command takes."""
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=variables, capture_output=True, check=True)
    return {"seconds": time.perf_counter() - start}


if __name__ == "__main__":
    main()
