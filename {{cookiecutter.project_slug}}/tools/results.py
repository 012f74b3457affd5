"""Show the four models side by side: `make results`. Scores of other code, data or models are called stale."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

METRICS = Path("reports/metrics.json")
MODELS = {
    "probe": ("linear probe", Path("models/probe/probe.joblib")),
    "torch": ("fine-tuned, torch", Path("models/fine_tuned/model.safetensors")),
    "onnx_fp32": ("ONNX fp32", Path("models/onnx/model.onnx")),
    "onnx_int8": ("ONNX int8", Path("models/onnx/model.int8.onnx")),
}
NAMES = {"macro_f1": "macro-F1", "micro_f1": "micro-F1", "exact_match": "exact match", "r2": "R²", "rmse": "RMSE"}
ABSENT = {"deleted", "not in cache"}  # in DVC's words


def main() -> int:
    """Print what is stale, then a line for each model: scores on the test rows with 95 % intervals, size, file."""
    if not METRICS.exists():
        print(
            f"error: there are no results\n  expected: {METRICS}\n  found:    no such file\n  fix:      make repro",
            file=sys.stderr,
        )
        return 1
    metrics = json.loads(METRICS.read_text(encoding="utf-8"))
    for reason in reasons_to_be_stale():
        print(f"stale: {reason}")
    scores = [name.removesuffix("_low") for name in metrics["torch"] if name.endswith("_low")]
    print(f"{metrics['test_rows']} test rows; in brackets the 95 % interval\n")
    header = " ".join(f"{NAMES.get(score, score):<22}" for score in scores)
    print(f"{'model':<18} {header} {'size':>9}  file")
    for key, (name, path) in MODELS.items():
        row = " ".join(f"{with_interval(metrics[key], score):<22}" for score in scores)
        print(f"{name:<18} {row} {size_of(path):>9}  {path}")
    return 0


def reasons_to_be_stale() -> Iterator[str]:
    """Why the scores may not be those of the code, parameters, data and models here; nothing if they are."""
    command = [sys.executable, "-m", "dvc", "status", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        yield f"nobody knows, dvc status failed: {done.stderr.strip().partition(chr(10))[0]}"
    elif changed := [stage for stage, entries in json.loads(done.stdout).items() if differs(entries)]:
        yield f"these are scores of an earlier run; changed since then: {', '.join(changed)} (make repro)"
    missing = [str(path) for _, path in MODELS.values() if not path.exists()]
    if missing:
        yield f"missing here: {', '.join(missing)} (make pull, or make repro)"


def differs(entries: list) -> bool:
    """Whether something of a stage differs from dvc.lock; what is only absent does not count."""
    return any(state not in ABSENT for entry in entries for state in leaves(entry))


def leaves(tree: Any) -> Iterator[str]:
    """The states at the ends of what `dvc status` reports."""
    if isinstance(tree, dict):
        for branch in tree.values():
            yield from leaves(branch)
    else:
        yield str(tree)


def with_interval(values: dict[str, float], score: str) -> str:
    """A score and its interval, as in `0.823 [0.799, 0.846]`."""
    return f"{values[score]:.3f} [{values[score + '_low']:.3f}, {values[score + '_high']:.3f}]"


def size_of(path: Path) -> str:
    """The size on disk, or a dash where the file is missing."""
    return f"{path.stat().st_size / 1e6:.2f} MB" if path.exists() else "-"


if __name__ == "__main__":
    sys.exit(main())
