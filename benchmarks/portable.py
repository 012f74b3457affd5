"""Portable mode: are the bytes the same on other CPUs, and what does it cost?

    python benchmarks/portable.py build/review-sentiment            both questions
    python benchmarks/portable.py build/review-sentiment --skip-places

Other CPUs are emulated by `qemu-x86_64` (Debian: qemu-user): an Intel and an AMD one, neither with AVX-512. There, and
here on one core that another process keeps busy, the small project of the tests runs with four threads; the hashes of
all its outs are compared. The cost is the time of `fine_tune` on a part of the real sentences, machine and portable
mode in turn.
"""

import argparse
import hashlib
import os
import runpy
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from machine import machine

PLACES = {
    "this CPU": (),
    "one busy core": ("taskset", "-c", "0"),
    "Haswell": ("qemu-x86_64", "-cpu", "Haswell"),
    "EPYC-Rome": ("qemu-x86_64", "-cpu", "EPYC-Rome"),
}
STAGES = ("check_model", "prepare", "embeddings", "fine_tune", "export_onnx", "evaluate")
OUTS = ("data/processed", "embeddings", "models/probe", "models/fine_tuned", "models/onnx", "reports")


def main() -> int:
    """Print both tables; 0 when every out is the same in every place."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path, help="a grown project")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1350)
    parser.add_argument("--skip-places", action="store_true")
    parser.add_argument("--skip-cost", action="store_true")
    arguments = parser.parse_args()
    project = arguments.project.resolve()
    print(f"{machine('torch', 'numpy')}\n")
    with tempfile.TemporaryDirectory() as folder:
        same = arguments.skip_places or compare_places(project, Path(folder))
        if not arguments.skip_cost:
            measure_cost(project, Path(folder) / "cost", arguments.pairs, arguments.rows)
    return 0 if same else 1


def run(project: Path, where: Path, stage: str, *prefix: str) -> None:
    """Run one stage of the project's code in a directory."""
    package = next(path.name for path in (project / "src").iterdir() if (path / "__main__.py").exists())
    command = [*prefix, os.path.realpath(sys.executable) if prefix else sys.executable, "-m", package, stage]
    site = next(path for path in sys.path if path.endswith("site-packages"))
    environment = os.environ | {"PYTHONPATH": f"{project / 'src'}{os.pathsep}{site}"}
    done = subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")


def small_project(project: Path, where: Path) -> None:
    """The small project of the grown project's own tests, in portable mode."""
    names = runpy.run_path(str(project / "tests/small_project.py"))
    names["write_base_model"](where / "models/base")
    names["write_table"](where / "data/raw/table.csv", names["sentences"](300, seed=1))
    names["write_params"](
        where / "params.yaml", where / "models/base", compute__determinism="portable", compute__threads=4
    )


def compare_places(project: Path, folder: Path) -> bool:
    """Run the small project in every place; whether all outs are the same."""
    small_project(project, folder / "start")
    found = {}
    for place, prefix in PLACES.items():
        where = folder / place
        shutil.copytree(folder / "start", where)
        start = time.monotonic()
        with busy_core() if place == "one busy core" else nullcontext():
            for stage in STAGES:
                run(project, where, stage, *prefix)
        print(f"{place}: {time.monotonic() - start:.0f} s", flush=True)
        found[place] = {out: digest_of(where / out) for out in OUTS}
    print(f"\n{'out':<20}" + "".join(f"{place:<15}" for place in found))
    for out in OUTS:
        print(f"{out:<20}" + "".join(f"{found[place][out][:10]:<15}" for place in found))
    return all(found[place] == found["this CPU"] for place in PLACES)


@contextmanager
def busy_core() -> Iterator[None]:
    """Keep the first core busy with something else."""
    load = subprocess.Popen(["taskset", "-c", "0", sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        load.kill()
        load.wait()


def digest_of(directory: Path) -> str:
    """One sha256 for the names and bytes of a directory."""
    total = hashlib.sha256()
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        total.update(path.relative_to(directory).as_posix().encode() + path.read_bytes())
    return total.hexdigest()


def measure_cost(project: Path, where: Path, pairs: int, rows: int) -> None:
    """Time `fine_tune` in both modes in turn, on some rows of the project's data."""
    (where / "data/raw").mkdir(parents=True)
    shutil.copytree(project / "models/base", where / "models/base")
    text = (project / "params.yaml").read_text(encoding="utf-8")
    for table in (project / "data/raw").iterdir():
        shutil.copyfile(table, where / "data/raw" / table.name)
    seconds: dict[str, list[float]] = {"machine": [], "portable": []}
    (where / "params.yaml").write_text(text, encoding="utf-8")
    run(project, where, "prepare")
    shorten(where, rows)
    run(project, where, "embeddings")
    for _ in range(pairs):
        for mode, times in seconds.items():
            changed = text.replace("determinism: machine", f"determinism: {mode}")
            (where / "params.yaml").write_text(changed, encoding="utf-8")
            start = time.monotonic()
            run(project, where, "fine_tune")
            times.append(time.monotonic() - start)
    ratios = [b / a for a, b in zip(seconds["machine"], seconds["portable"], strict=True)]
    print(f"\nfine_tune, fp32, {rows} rows, {pairs} pairs in turn, start-up included")
    for mode, times in seconds.items():
        print(f"  {mode:<9} median {statistics.median(times):.1f} s")
    print(f"  portable / machine: median {statistics.median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}")


def shorten(where: Path, rows: int) -> None:
    """Keep only some of the training rows."""
    import polars as pl

    path = where / "data/processed/train.parquet"
    pl.read_parquet(path).sample(rows, seed=0).write_parquet(path)


if __name__ == "__main__":
    sys.exit(main())
