"""Is the CUDA path right? The same bytes in a second run and after a kill, no matter the batch; near the CPU's."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from gpu_projects import Bench, FailedError, environment_of, with_encoder
from pairs import CHECKPOINTS, SPLITS, forget_training

OUTS = ("embeddings", "models/probe", "models/fine_tuned", "reports")
ROWS_ON_CPU = 200
COSINE = {"fp32": 0.99999, "bf16": 0.999}  # at least, of a vector with the one that a CPU computes in fp32
LORA = {"rank": 8, "alpha": 16, "dropout": 0.1}
LOSS = 0.1  # at most, between the training losses of two runs that differ in rounding

Digests = dict[str, str]


@dataclass
class Check:
    """What was checked, and what was found."""

    what: str
    precision: str
    passed: bool
    found: str


def checks(bench: Bench, encoder: Path) -> list[Check]:
    """Run all of them with this base model, several processes on the card at a time."""
    table = bench.mixed(bench.settings.rows)
    changes = {"text__max_length": bench.settings.longest, "fine_tune__epochs": 2}
    whole = bench.project("whole", table, **changes)
    half = bench.project("half", table.gather_every(2), **changes)
    part = bench.project("part", table.head(ROWS_ON_CPU), **changes | {"compute__device": "cpu"})
    longer = bench.settings.longer
    texts, for_long = bench.of_length(longer, bench.settings.long_rows), bench.encoder(bench.settings.small, longer)
    long = bench.project("long", texts, text__max_length=longer)
    few_long = bench.project("few-long", texts.gather_every(3), text__max_length=longer)
    workers = max(1, min(8, (os.cpu_count() or 1) // 2))

    def start(work: Callable, prepared: Path, name: str, precision: str, **more: object) -> Future:
        changes = {"compute__precision": precision, **more}
        base = for_long if prepared in (long, few_long) else encoder
        return pool.submit(work, bench, with_encoder(prepared, bench.folder / name, base, **changes))

    with ThreadPoolExecutor(workers) as pool:
        runs = {
            precision: {
                "again": start(trained_again, whole, f"again-{precision}", precision),
                "lora": start(trained_again, whole, f"lora-{precision}", precision, fine_tune__lora=LORA),
                "first": start(trained, whole, f"first-{precision}", precision),
                "plain": start(trained, whole, f"plain-{precision}", precision, compute__kernels="plain"),
                "half": start(embedded, half, f"half-{precision}", precision),
                "plain half": start(embedded, half, f"plain-half-{precision}", precision, compute__kernels="plain"),
                "long": start(embedded, long, f"long-{precision}", precision),
                "few long": start(embedded, few_long, f"few-long-{precision}", precision),
            }
            for precision in bench.settings.steps
        }
        on_cpu = start(embedded, part, "on-cpu", "fp32")
    return [found for precision, by_name in runs.items() for found in compared(precision, by_name, on_cpu)]


def compared(precision: str, runs: dict[str, Future], on_cpu: Future) -> list[Check]:
    """What the runs in one precision show."""
    first, again, plain, half, plain_half = (runs[name] for name in ("first", "again", "plain", "half", "plain half"))
    cosine, lora, long, few_long = COSINE[precision], runs["lora"], runs["long"], runs["few long"]
    comparisons: dict[str, Callable[[], str]] = {
        "both stages run again: same bytes": lambda: same(first.result()[1], again.result()["unbroken"]),
        "fine_tune killed and run again: same bytes": lambda: same(first.result()[1], again.result()["resumed"]),
        "LoRA, killed and run again: same bytes": lambda: same(lora.result()["unbroken"], lora.result()["resumed"]),
        "half of the rows: same vectors, bit by bit": lambda: same_vectors(first.result()[0], half.result()),
        "the same with kernels: plain": lambda: same_vectors(plain.result()[0], plain_half.result()),
        "a third of the rows, of long texts: the same": lambda: same_vectors(long.result(), few_long.result()),
        "vectors near those of the CPU in fp32": lambda: near(first.result()[0], on_cpu.result(), cosine),
        "vectors near those with kernels: plain": lambda: near(first.result()[0], plain.result()[0], cosine),
        "training loss near that with kernels: plain": lambda: near_loss(first.result()[0], plain.result()[0]),
    }
    found = []
    for what, compare in comparisons.items():
        try:
            found.append(Check(what, precision, True, compare()))
        except FailedError as error:
            found.append(Check(what, precision, False, str(error)))
        print(f"  {'passed' if found[-1].passed else 'FAILED'}: {what}, {precision}: {found[-1].found}", flush=True)
    return found


def embedded(bench: Bench, project: Path) -> Path:
    """The project after `embeddings`."""
    bench.run(project, "embeddings")
    return project


def trained(bench: Bench, project: Path) -> tuple[Path, Digests]:
    """The project after both stages, and its outs."""
    bench.run(project, "embeddings", "fine_tune")
    return project, digests(project)


def trained_again(bench: Bench, project: Path) -> dict[str, Digests]:
    """The outs with another hash seed, `unbroken` and `resumed` after a kill."""
    forget_training(project)
    bench.run(project, "embeddings", "fine_tune", PYTHONHASHSEED="1")
    unbroken = digests(project)
    shutil.rmtree(project / "models/fine_tuned")
    forget_training(project)
    kill_after_checkpoint(bench, project)
    bench.run(project, "fine_tune")
    return {"unbroken": unbroken, "resumed": digests(project)}


def kill_after_checkpoint(bench: Bench, project: Path) -> None:
    """Start `fine_tune` and end it with SIGKILL between its first checkpoint and its end."""
    command = [sys.executable, "-m", bench.package, "fine_tune"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    checkpoints = f"{CHECKPOINTS}/*/step-*.pt"
    with subprocess.Popen(command, cwd=project, env=environment_of(project), **quiet) as running:
        while not any(project.glob(checkpoints)) and running.poll() is None and bench.seconds_left() > 0:
            time.sleep(0.01)
        time.sleep(0.1)
        ended = running.poll() is not None
        if not ended:
            os.killpg(running.pid, signal.SIGKILL)
    if ended or not any(project.glob(checkpoints)):
        raise FailedError("fine_tune could not be killed between a checkpoint and its end")


def digests(project: Path) -> Digests:
    """The sha256 of every file of the outs."""
    files = [path for out in OUTS for path in sorted((project / out).rglob("*")) if path.is_file()]
    return {path.relative_to(project).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def same(one: Digests, other: Digests) -> str:
    """Whether two runs wrote the same bytes."""
    unlike = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    if unlike:
        raise FailedError(f"{len(unlike)} of {len(one)} files differ: {', '.join(unlike[:3])}")
    return f"{len(one)} files"


def common_vectors(first: Path, second: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """The vectors of each text that both projects hold."""
    one, other = vectors_of(first), vectors_of(second)
    found = [(one[text], other[text]) for text in sorted(one.keys() & other.keys())]
    if not found:
        raise FailedError("no common text")
    return found


def vectors_of(project: Path) -> dict[str, np.ndarray]:
    """The vector of each text."""
    found = {}
    for split in SPLITS:
        texts = pl.read_parquet(project / f"data/processed/{split}.parquet", columns=["text"])["text"]
        found |= dict(zip(texts, np.load(project / f"embeddings/{split}.npy"), strict=True))
    return found


def same_vectors(first: Path, second: Path) -> str:
    """Whether the vectors of the texts that both hold have the same bits."""
    pairs = common_vectors(first, second)
    unlike = [np.abs(one - other).max() for one, other in pairs if one.tobytes() != other.tobytes()]
    if unlike:
        raise FailedError(f"{len(unlike)} of {len(pairs)} vectors differ, by at most {max(unlike):.1e}")
    return f"{len(pairs)} vectors"


def near(first: Path, second: Path, least: float) -> str:
    """Whether the vectors of the texts that both hold have nearly the same direction."""
    pairs = common_vectors(first, second)
    cosine = min(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)) for one, other in pairs)
    if not cosine >= least:
        raise FailedError(f"cosine {cosine:.7f}, expected at least {least}; {len(pairs)} texts")
    return f"cosine at least {cosine:.7f}, {len(pairs)} texts"


def near_loss(first: Path, second: Path) -> str:
    """Whether two runs end at about the same training loss."""
    curves = [pl.read_csv(project / "reports/training_curve.csv")["training_loss"] for project in (first, second)]
    ends = [float(np.mean(curve.tail(4).to_numpy())) for curve in curves]
    found = f"{ends[0]:.3f} and {ends[1]:.3f}, means of the last four points"
    if not abs(ends[0] - ends[1]) <= LOSS:
        raise FailedError(found)
    return found
