"""Kill the default pipeline at random moments and see whether it ends with the bytes of an unbroken run.

    python benchmarks/kills.py build/review-sentiment --kills 20

The project must have been run and committed (`make demo`). Everything is run again from nothing in a clone; each time a
SIGKILL ends DVC and its stage together, and `dvc repro` is typed again. Every stage is killed once, the other kills
fall on the stages by how long they take. Lost work is counted in processor seconds since the last checkpoint (or the
start of the stage), because a busy machine stretches the others.
"""

import argparse
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

STAGES = ("fetch", "check_model", "prepare", "embeddings", "fine_tune", "export_onnx", "evaluate")
KILLS_PER_PASS = 10


def main() -> int:
    """Print one line for each kill; 0 when every pass ended with the committed dvc.lock."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        cost = unbroken(arguments.project, Path(folder) / "unbroken")
        for stage, (seconds, processor) in cost.items():
            print(f"{stage}: {seconds:.1f} s unbroken, {processor:.1f} processor seconds", flush=True)
        same, lost = [], []
        kills = plan(draw, arguments.kills, cost)
        for start in range(0, len(kills), KILLS_PER_PASS):
            planned = sorted(kills[start : start + KILLS_PER_PASS], key=lambda kill: (STAGES.index(kill[0]), kill[1]))
            ended_the_same, losses = one_pass(arguments.project, Path(folder) / f"pass-{start}", planned, cost)
            same += [ended_the_same] * len(planned)
            lost += losses
    print(f"{sum(same)} of {len(same)} kills ended with the same dvc.lock")
    print(f"most of fine_tune that one kill lost: {max(lost, default=0):.1%}")
    return 0 if all(same) else 1


def plan(draw: random.Random, kills: int, cost: dict[str, tuple[float, float]]) -> list[tuple[str, float]]:
    """Which stage each kill strikes and after which fraction of it."""
    rest = draw.choices(STAGES, [seconds for seconds, _ in cost.values()], k=max(0, kills - len(STAGES)))
    stages = [*STAGES, *rest][:kills]
    draw.shuffle(stages)
    return [(stage, draw.uniform(0.0, 0.95)) for stage in stages]


def clone(project: Path, target: Path) -> dict[str, str]:
    """Clone the commit, without any output; the environment to run it in."""
    subprocess.run(["git", "clone", "--quiet", project, target], check=True)
    directories = {
        f"DVC_{kind}_DIR": str(target.parent / f"{target.name}-{kind}") for kind in ("SITE_CACHE", "GLOBAL_CONFIG")
    }
    return os.environ | directories | {"PYTHONPATH": str(target / "src"), "PYTHONUNBUFFERED": "1"}


def unbroken(project: Path, target: Path) -> dict[str, tuple[float, float]]:
    """Seconds and processor seconds that each stage takes when nothing kills it."""
    environment = clone(project, target)
    cost = {}
    for stage in STAGES:
        start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        command = ["dvc", "repro", "--quiet", "--force", "--single-item", stage]
        subprocess.run(command, cwd=target, env=environment, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        cost[stage] = time.monotonic() - start, processor
    shutil.rmtree(target)
    return cost


def one_pass(
    project: Path, target: Path, planned: list[tuple[str, float]], cost: dict[str, tuple[float, float]]
) -> tuple[bool, list[float]]:
    """One run with the planned kills; whether its dvc.lock is the committed one, and what fine_tune lost each time."""
    environment = clone(project, target)
    committed = (target / "dvc.lock").read_text(encoding="utf-8")
    (target / "dvc.lock").unlink()
    losses = []
    reached = dict.fromkeys(STAGES, 0.0)
    for stage, fraction in planned:
        run = subprocess.Popen(
            ["dvc", "repro"],
            cwd=target,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert run.stdout
        for line in run.stdout:
            if line.startswith(f"Running stage '{stage}'"):
                break
        loss = work_after_checkpoints(run.pid, target, (fraction - reached[stage]) * cost[stage][0]) / cost[stage][1]
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        reached[stage] = fraction
        if stage == "fine_tune":
            losses.append(loss)
        print(f"{target.name}: killed {stage} at {fraction:.0%}; lost {loss:.1%} of its work", flush=True)
    subprocess.run(["dvc", "repro", "--quiet"], cwd=target, env=environment, check=True)
    same = (target / "dvc.lock").read_text(encoding="utf-8") == committed
    print(f"{target.name}: dvc.lock is {'the same' if same else 'ANOTHER'}", flush=True)
    shutil.rmtree(target)
    return same, losses


def work_after_checkpoints(pid: int, target: Path, seconds: float) -> float:
    """Wait; then the processor seconds of DVC's children since the last checkpoint that was completed meanwhile."""
    end = time.monotonic() + seconds
    marks, kept = marks_of(target), processor_seconds(pid)
    while time.monotonic() < end:
        time.sleep(0.05)
        if marks_of(target) - marks:
            marks, kept = marks_of(target), processor_seconds(pid)
    return processor_seconds(pid) - kept


def marks_of(target: Path) -> set[Path]:
    """The checkpoints that are whole."""
    return set(target.glob(".checkpoints/*/step-*.pt"))


def processor_seconds(pid: int) -> float:
    """What the process and all below it have used so far."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(times.user + times.system for times in (process.cpu_times() for process in family))


if __name__ == "__main__":
    sys.exit(main())
