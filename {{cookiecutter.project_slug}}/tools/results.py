"""Show the four models side by side: `make results`."""

import sys
from pathlib import Path

from {{ cookiecutter.package_name }}.common.io import read_json, size_of
from {{ cookiecutter.package_name }}.config import load_params
from {{ cookiecutter.package_name }}.paths import METRICS
from tools.shared import against_probe, dvc_json, existing, p_value, run, scores_in, shipped_in, stale_stages, table

MODELS = {
    "probe": ("linear probe", Path("models/probe/probe.joblib")),
    "torch": ("fine-tuned, torch", Path("models/fine_tuned/model.safetensors")),
    "onnx_fp32": ("ONNX fp32", Path("models/onnx/onnx/model.onnx")),
    "onnx_int8": ("ONNX int8", Path("models/onnx/onnx/model_int8.onnx")),
}
SHOWN_BELOW = 0.05  # a gain with a smaller p-value counts as shown
NAMES = {"macro_f1": "macro-F1", "micro_f1": "micro-F1", "exact_match": "exact match"}
NAMES |= {"r2": "R²", "rmse": "RMSE", "mae": "MAE"}


def main() -> None:
    """Print one line for each model: scores on the test rows with their 95 % intervals, size, path."""
    existing(METRICS)
    if changed := stale_stages(dvc_json("status")):
        print(f"STALE: the scores of another run (make pull after git pull, else make repro): {', '.join(changed)}\n")
    metrics = read_json(METRICS)
    scores = scores_in(metrics["torch"])
    print(f"{metrics['test_rows']} test rows; in brackets the 95 % interval\n")
    rows = [
        (name, *(with_interval(metrics[key], score) for score in scores), f"{megabytes_of(path):>9}", str(path))
        for key, (name, path) in MODELS.items()
        if key in metrics
    ]
    print(table(("model", *(NAMES.get(score, score) for score in scores), f"{'size':>9}", "file"), rows))
    score = "mae" if (params := load_params()).task == "regression" else params.score
    print(f"\n{verdict(*against_probe(metrics[shipped_in(metrics)]), NAMES.get(score, score))}")


def verdict(gain: float, p: float, score: str) -> str:
    """What the shipped model is worth compared with the probe, which takes seconds to train."""
    shown = f"{p_value(p)} in {score}"
    if p >= SHOWN_BELOW:
        return f"No gain over the probe is shown ({shown}): bring more rows, train longer, or use the probe."
    if gain < 0:
        return f"WORSE than the probe ({shown}): lower fine_tune.learning_rate."
    return f"The shipped model is better than the probe ({shown})."


def with_interval(values: dict[str, float], score: str) -> str:
    """A score and its interval, as in `0.823 [0.799, 0.846]`."""
    return f"{values[score]:.3f} [{values[score + '_low']:.3f}, {values[score + '_high']:.3f}]"


def megabytes_of(path: Path) -> str:
    """The size on disk, or a dash if the file was not pulled."""
    return f"{size_of(path) / 1e6:.2f} MB" if path.exists() else "-"


if __name__ == "__main__":
    sys.exit(run(main))
