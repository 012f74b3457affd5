"""Is the CUDA path right? The same bytes in a second run and after a kill; near the vectors of the CPU."""

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
from pairs import CHECKPOINTS, SPLITS

OUTS = ("embeddings", "models/probe", "models/fine_tuned", "reports")
ROWS_ON_CPU = 200
COSINE = {"fp32": 0.99999, "bf16": 0.999}  # of a vector with the one that a CPU computes in fp32, at least
LOSS = 0.1  # by how much the training losses in bf16 and fp32 may differ, mean of the last points

Digests = dict[str, str]


@dataclass
class Check:
    """What was checked, and what was found."""

    what: str
    precision: str
    passed: bool
    found: str


def checks(bench: Bench) -> list[Check]:
    """Run all of them, several processes on the card at a time."""
    settings = bench.settings
    encoder = bench.encoder(settings.small)
    table = bench.mixed(settings.rows)
    changes = {"text__max_length": settings.longest, "fine_tune__epochs": 2}
    whole = bench.project("whole", table, **changes)
    half = bench.project("half", table.gather_every(2), **changes)
    part = bench.project("part", table.head(ROWS_ON_CPU), **changes | {"compute__device": "cpu"})
    with ThreadPoolExecutor(max(1, min(8, (os.cpu_count() or 1) // 2))) as pool:
        on_cpu = pool.submit(embedded, bench, part, "on-cpu", encoder, "fp32")
        runs = {
            precision: (
                pool.submit(trained, bench, whole, f"first-{precision}", encoder, precision),
                pool.submit(again, bench, whole, f"again-{precision}", encoder, precision),
                pool.submit(embedded, bench, half, f"half-{precision}", encoder, precision),
            )
            for precision in settings.precisions
        }
    found = []
    for precision, (first, second, fewer) in runs.items():
        for what, compare in (
            ("embeddings and fine_tune a second time: same bytes", lambda a=first, b=second: same(a, b, "unbroken")),
            ("fine_tune killed and run again: same bytes", lambda a=first, b=second: same(a, b, "resumed")),
            ("half of the rows: each text's vector has the same bytes", lambda a=first, b=fewer: same_vectors(a, b)),
            ("vectors near those of the CPU", lambda a=first, p=precision: near(a, on_cpu, COSINE[p])),
        ):
            found.append(check(what, precision, compare))
    if len(runs) == len(COSINE):
        first, second = (runs[precision][0] for precision in ("bf16", "fp32"))
        found.append(check("training loss near that of fp32", "bf16", lambda: near_loss(first, second)))
    return found


def check(what: str, precision: str, compare: Callable[[], str]) -> Check:
    """Carry one out: `compare` gives what it found, or raises FailedError."""
    try:
        found = Check(what, precision, True, compare())
    except FailedError as error:
        found = Check(what, precision, False, str(error))
    print(f"  {'passed' if found.passed else 'FAILED'}: {what}, {precision}: {found.found}", flush=True)
    return found


def embedded(bench: Bench, prepared: Path, name: str, encoder: Path, precision: str, **variables: str) -> Path:
    """A project in which `embeddings` has run."""
    project = with_encoder(prepared, bench.folder / name, encoder, compute__precision=precision)
    bench.run(project, "embeddings", **variables)
    return project


def trained(bench: Bench, prepared: Path, name: str, encoder: Path, precision: str) -> tuple[Path, Digests]:
    """A project in which `fine_tune` has run too, and its outs."""
    project = embedded(bench, prepared, name, encoder, precision, PYTHONHASHSEED="1")
    bench.run(project, "fine_tune", PYTHONHASHSEED="1")
    return project, digests(project)


def again(bench: Bench, prepared: Path, name: str, encoder: Path, precision: str) -> dict[str, Digests]:
    """The outs of the same in another directory, `unbroken` and `resumed` after a kill."""
    project = embedded(bench, prepared, name, encoder, precision, PYTHONHASHSEED="2")
    bench.run(project, "fine_tune", PYTHONHASHSEED="2")
    found = {"unbroken": digests(project)}
    shutil.rmtree(project / "models/fine_tuned")
    kill_after_checkpoint(bench, project)
    bench.run(project, "fine_tune")
    return found | {"resumed": digests(project)}


def kill_after_checkpoint(bench: Bench, project: Path) -> None:
    """Start `fine_tune` and end it with SIGKILL between its first checkpoint and its end."""
    command = [sys.executable, "-m", bench.package, "fine_tune"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    with subprocess.Popen(command, cwd=project, env=environment_of(project), **quiet) as running:
        while not any(project.glob(f"{CHECKPOINTS}/*/step-*.pt")):
            if running.poll() is not None or bench.seconds_left() < 0:
                break
            time.sleep(0.01)
        time.sleep(0.1)
        ended = running.poll() is not None
        if not ended:
            os.killpg(running.pid, signal.SIGKILL)
    if ended or not any(project.glob(f"{CHECKPOINTS}/*/step-*.pt")):
        raise FailedError("fine_tune could not be killed between a checkpoint and its end")


def digests(project: Path) -> Digests:
    """The sha256 of every file of the outs."""
    files = [path for out in OUTS for path in sorted((project / out).rglob("*")) if path.is_file()]
    return {path.relative_to(project).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def same(first: Future, second: Future, which: str) -> str:
    """Whether two runs wrote the same bytes."""
    one, other = first.result()[1], second.result()[which]
    unlike = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    if unlike:
        raise FailedError(f"{len(unlike)} of {len(one)} files differ: {', '.join(unlike[:3])}")
    return f"{len(one)} files"


def vectors_of(project: Path) -> dict[str, np.ndarray]:
    """The vector of each text."""
    found = {}
    for split in SPLITS:
        texts = pl.read_parquet(project / f"data/processed/{split}.parquet", columns=["text"])["text"]
        found |= dict(zip(texts, np.load(project / f"embeddings/{split}.npy"), strict=True))
    return found


def same_vectors(first: Future, fewer: Future) -> str:
    """Whether the vectors of the texts that both hold are equal, bit for bit."""
    one, other = vectors_of(first.result()[0]), vectors_of(fewer.result())
    common = one.keys() & other.keys()
    unlike = [np.abs(one[text] - other[text]).max() for text in common if one[text].tobytes() != other[text].tobytes()]
    if unlike or not common:
        raise FailedError(f"{len(unlike)} of {len(common)} vectors differ, by at most {max(unlike, default=0):.1e}")
    return f"{len(common)} vectors"


def near(first: Future, on_cpu: Future, least: float) -> str:
    """Whether the vectors point where those of the CPU point."""
    one, other = vectors_of(first.result()[0]), vectors_of(on_cpu.result())
    common = sorted(one.keys() & other.keys())
    cosines = [one[t] @ other[t] / (np.linalg.norm(one[t]) * np.linalg.norm(other[t])) for t in common]
    found = f"cosine at least {min(cosines, default=0):.7f}, {len(common)} texts"
    if min(cosines, default=0) < least:
        raise FailedError(f"{found}; expected {least}")
    return found


def near_loss(first: Future, second: Future) -> str:
    """Whether two runs end at about the same training loss."""
    ends = []
    for run in (first, second):
        curve = pl.read_csv(run.result()[0] / "reports/training_curve.csv")
        ends.append(float(curve["training_loss"].tail(4).mean()))
    found = f"{ends[0]:.3f} and {ends[1]:.3f}, mean of the last four points"
    if not abs(ends[0] - ends[1]) <= LOSS:
        raise FailedError(found)
    return found
