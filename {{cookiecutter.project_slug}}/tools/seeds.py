"""Train with several seeds and show how far the scores spread: `make seeds SEEDS="1 2 3"`.

Each seed is a DVC experiment (`dvc exp show` lists them). The workspace must be committed and comes back as it was.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path

MODELS = ("probe", "torch", "onnx_fp32", "onnx_int8")


def main() -> int:
    """Run one experiment for each seed and print mean ± standard deviation of every model's scores."""
    seeds = sys.argv[1:]
    if len(set(seeds)) < 2 or not all(seed.isdigit() for seed in seeds):
        print('usage: make seeds SEEDS="1 2 3" (two or more different whole numbers)', file=sys.stderr)
        return 2
    changed = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    if changed:
        print(f"error: the workspace must be committed before the seeds run; found:\n{changed}", file=sys.stderr)
        return 1
    try:
        runs = [metrics_with(seed) for seed in seeds]
    finally:
        subprocess.run(["git", "restore", "--staged", "--worktree", "."], check=True)
        subprocess.run(["dvc", "checkout", "--quiet"], check=True)
    print(f"\n{runs[0]['test_rows']} test rows, mean ± standard deviation of seeds {' '.join(seeds)}")
    for score in (name.removesuffix("_low") for name in runs[0]["torch"] if name.endswith("_low")):
        print(score)
        for model in MODELS:
            values = [run[model][score] for run in runs]
            each = " ".join(f"{value:.4f}" for value in values)
            print(f"  {model:<10} {statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}   {each}")
    return 0


def metrics_with(seed: str) -> dict:
    """The metrics of the experiment with this seed."""
    subprocess.run(["dvc", "exp", "run", "--quiet", "-S", f"seed={seed}"], check=True)
    return json.loads(Path("reports/metrics.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
