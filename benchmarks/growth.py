"""How do time and memory of every stage grow with the rows?

    python benchmarks/growth.py build/review-sentiment

Draws docs/growth.png and prints its numbers. The data are made up, and the model is that of the grown project's own
tests (two small layers), so that what is seen is the stages and not the transformer. Every stage is a process of its
own, as DVC starts it; its memory is the largest resident set that was seen, its time includes the start.
"""

import argparse
import os
import runpy
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from machine import machine

STAGES = ("fetch", "check_model", "prepare", "embeddings", "fine_tune", "export_onnx", "evaluate")
SECONDS_BETWEEN_LOOKS = 0.02


def main() -> None:
    """Measure, print the table, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path, help="a grown project")
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 3000, 10_000, 30_000, 100_000])
    parser.add_argument("--output", type=Path, default=Path("docs/growth.png"))
    arguments = parser.parse_args()
    project = arguments.project.resolve()
    where = machine("torch", "transformers", "polars")
    print(f"{where}\n")
    print(f"{'rows':>9} " + "".join(f"{stage:>20}" for stage in STAGES))
    found: dict[int, dict[str, tuple[float, float]]] = {}
    for rows in sorted(arguments.rows):
        with tempfile.TemporaryDirectory() as folder:
            found[rows] = measure(project, Path(folder), rows)
        cells = [f"{seconds:.1f} s {megabytes:.0f} MB" for seconds, megabytes in found[rows].values()]
        print(f"{rows:>9,} " + "".join(f"{cell:>20}" for cell in cells), flush=True)
    draw(found, where, arguments.output)
    print(f"\n{arguments.output}: {arguments.output.stat().st_size / 1e3:.0f} kB")


def measure(project: Path, folder: Path, rows: int) -> dict[str, tuple[float, float]]:
    """Seconds and megabytes of every stage on a made-up table."""
    names = runpy.run_path(str(project / "tests/small_project.py"))
    names["write_base_model"](folder / "model")
    names["write_table"](folder / "data/raw/table.csv", names["sentences"](rows, seed=1))
    names["write_params"](folder / "params.yaml", folder / "model", fine_tune__epochs=1)
    return {stage: run(project, folder, stage) for stage in STAGES}


def run(project: Path, folder: Path, stage: str) -> tuple[float, float]:
    """Run one stage; its seconds, and the most resident megabytes of it and its children together."""
    package = next(path.parent.name for path in project.glob("src/*/__main__.py"))
    start, peak = time.monotonic(), 0
    with (folder / "messages").open("w+", encoding="utf-8") as messages:
        process = subprocess.Popen(
            [sys.executable, "-m", package, stage],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(project / "src")},
            stderr=messages,
        )
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            peak = max(peak, resident(watched))
            time.sleep(SECONDS_BETWEEN_LOOKS)
        messages.seek(0)
        if process.returncode:
            sys.exit(f"{stage} failed\n{messages.read()}")
    return time.monotonic() - start, peak / 1e6


def resident(process: psutil.Process) -> int:
    """The resident bytes of a process and all below it."""
    total = 0
    try:
        for one in [process, *process.children(recursive=True)]:
            total += one.memory_info().rss
    except psutil.NoSuchProcess:  # it ended meanwhile
        pass
    return total


def draw(found: dict[int, dict[str, tuple[float, float]]], where: str, output: Path) -> None:
    """Two panels against the rows: seconds and megabytes, one line for each stage."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    for panel, place, unit in zip(panels, (0, 1), ("seconds", "most resident memory, MB"), strict=True):
        for stage in STAGES:
            panel.plot(
                list(found), [found[rows][stage][place] for rows in found], marker="o", markersize=3, label=stage
            )
        panel.set(xscale="log", xlabel="rows", ylabel=unit)
        panel.grid(alpha=0.3)
    panels[0].set_yscale("log")
    panels[1].set_ylim(bottom=0)
    panels[0].legend(frameon=False, fontsize=8)
    figure.supxlabel(f"{where}; two small layers, made-up sentences", fontsize=7)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=100, metadata={"Software": None})


if __name__ == "__main__":
    main()
