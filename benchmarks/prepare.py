"""Time and memory of `prepare` against the number of rows.

    python benchmarks/prepare.py build/review-sentiment

The tables are made by code: texts of 5 to 60 words, 200 bytes a row, one in five beyond ASCII, one in twenty with
quotes, commas and a line end, one in fifty the same as the one before it.
"""

import argparse
import csv
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import machine
from ruamel.yaml import YAML


def main() -> None:
    """Print one line for each number of rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    arguments = parser.parse_args()
    project = arguments.project.resolve()
    package = next(path.parent.name for path in project.glob("src/*/predict.py"))
    print(machine("polars", "numpy"))
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_params(project, folder / "params.yaml")
            size = write_table(folder / "data/raw/table.csv", rows)
            seconds, computing, peak = prepare(folder, project, package)
        print(
            f"{rows:>9,} rows, {size / 1e6:5.0f} MB: {seconds:5.1f} s, {computing:5.1f} s of both cores,"
            f" {peak / 1e6:4.0f} MB at most",
            flush=True,
        )


def write_params(project: Path, path: Path) -> None:
    """The project's parameters for the table below."""
    yaml = YAML(typ="safe", pure=True)
    params = yaml.load((project / "params.yaml").read_text(encoding="utf-8"))
    params["prepare"] |= {"text_column": "text", "label_column": "label", "keep": None}
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(params, file)


def write_table(path: Path, rows: int) -> int:
    """Write the rows as CSV; the size in bytes."""
    draw = random.Random(0)
    plain = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(5000)]
    beyond = [*plain, *["Café", "naïve", "“quoted”", "全角", "it\u0092s"] * 200]
    path.parent.mkdir(parents=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["number", "text", "label"])
        text = ""
        for number in range(rows):
            if number % 50:
                text = " ".join(draw.choices(plain if number % 5 else beyond, k=draw.choice([5, 12, 25, 30, 40, 60])))
            if number % 20 == 7:
                text = f'He said "{text}", twice,\nand left'
            table.writerow([number, text, ("good", "bad", "so so")[len(text) % 3]])
    return path.stat().st_size


def prepare(folder: Path, project: Path, package: str) -> tuple[float, float, int]:
    """Seconds, seconds of all cores, and the largest resident memory in bytes of the stage, start-up included."""
    start = time.perf_counter()
    stage = subprocess.Popen(
        [sys.executable, "-m", package, "prepare"], cwd=folder, env=os.environ | {"PYTHONPATH": str(project / "src")}
    )
    _, status, used = os.wait4(stage.pid, 0)
    if status:
        raise SystemExit("prepare failed")
    return time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


if __name__ == "__main__":
    main()
