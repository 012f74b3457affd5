"""Kill the default pipeline at random moments and see whether it ends with the bytes of an unbroken run.

    python benchmarks/kills.py build/review-sentiment --kills 20

The project must have been run and committed (`make demo`). Everything is run again from nothing in a clone; each time a
SIGKILL ends DVC and its stage together, and `dvc repro` is typed again. Kills fall in every stage.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STAGES = ("fetch", "prepare", "embeddings", "fine_tune", "export_onnx", "evaluate")


def main() -> int:
    """Print one line for each kill; 0 when every pass ended with the committed dvc.lock."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        seconds = unbroken(arguments.project, Path(folder) / "unbroken")
        print("seconds of the unbroken stages:", {stage: round(value, 1) for stage, value in seconds.items()})
        lost, same, passes = [], [], 0
        while len(lost) < arguments.kills:
            passes += 1
            planned = plan(draw, min(arguments.kills - len(lost), 5))
            ended_the_same, losses = one_pass(arguments.project, Path(folder) / f"pass-{passes}", planned, seconds)
            lost += losses
            same += [ended_the_same] * len(losses)
    worst = max((loss for stage, loss in lost if stage == "fine_tune"), default=0.0)
    print(f"{sum(same)} of {len(same)} kills ended with the same dvc.lock")
    print(f"most of fine_tune that one kill lost: {worst:.1%}")
    return 0 if all(same) else 1


def plan(draw: random.Random, kills: int) -> list[tuple[str, float]]:
    """The stages to kill in one pass and after which fraction of them, in order; a long stage may be met again."""
    weights = [1, 1, 2, 4, 2, 2]
    stages = draw.choices(STAGES, weights, k=kills)
    return sorted(
        ((stage, draw.uniform(0.0, 0.95)) for stage in stages), key=lambda kill: (STAGES.index(kill[0]), kill[1])
    )


def clone(project: Path, target: Path) -> dict[str, str]:
    """Clone the commit, without any output; the environment to run it in."""
    subprocess.run(["git", "clone", "--quiet", project, target], check=True)
    directories = {
        f"DVC_{kind}_DIR": str(target.parent / f"{target.name}-{kind}") for kind in ("SITE_CACHE", "GLOBAL_CONFIG")
    }
    return os.environ | directories | {"PYTHONPATH": str(target / "src"), "PYTHONUNBUFFERED": "1"}


def unbroken(project: Path, target: Path) -> dict[str, float]:
    """Seconds that each stage takes when nothing kills it."""
    environment = clone(project, target)
    seconds = {}
    for stage in STAGES:
        start = time.monotonic()
        command = ["dvc", "repro", "--quiet", "--force", "--single-item", stage]
        subprocess.run(command, cwd=target, env=environment, check=True)
        seconds[stage] = time.monotonic() - start
    shutil.rmtree(target)
    return seconds


def one_pass(
    project: Path, target: Path, planned: list[tuple[str, float]], seconds: dict[str, float]
) -> tuple[bool, list[tuple[str, float]]]:
    """One run of the whole pipeline with the planned kills; whether its lock is the committed one, and each loss."""
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
        wait = (fraction - reached[stage]) * seconds[stage]
        reached[stage] = fraction
        time.sleep(wait)
        marks = [path.stat().st_mtime for path in target.glob(".checkpoints/*/checkpoint-*/complete")]
        loss = (min(wait, time.time() - max(marks)) if marks else wait) / seconds[stage]
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        losses.append((stage, loss))
        print(
            f"{target.name}: killed {stage} at {fraction:.0%}, after {wait:.1f} s; lost {loss:.1%} of the stage",
            flush=True,
        )
    subprocess.run(["dvc", "repro", "--quiet"], cwd=target, env=environment, check=True)
    same = (target / "dvc.lock").read_text(encoding="utf-8") == committed
    print(f"{target.name}: dvc.lock is {'the same' if same else 'ANOTHER'}", flush=True)
    shutil.rmtree(target)
    return same, losses


if __name__ == "__main__":
    sys.exit(main())
