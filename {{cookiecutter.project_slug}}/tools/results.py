"""Show the four models side by side: `make results`."""

import json
from pathlib import Path

MODELS = {
    "probe": ("linear probe", Path("models/probe/probe.joblib")),
    "torch": ("fine-tuned, torch", Path("models/fine_tuned/model.safetensors")),
    "onnx_fp32": ("ONNX fp32", Path("models/onnx/model.onnx")),
    "onnx_int8": ("ONNX int8", Path("models/onnx/model.int8.onnx")),
}
NAMES = {"macro_f1": "macro-F1", "micro_f1": "micro-F1", "exact_match": "exact match", "r2": "R²", "rmse": "RMSE"}


def main() -> None:
    """Print one line for each model: scores on the test rows with their 95 % intervals, size, place."""
    metrics = json.loads(Path("reports/metrics.json").read_text(encoding="utf-8"))
    scores = [name.removesuffix("_low") for name in metrics["torch"] if name.endswith("_low")]
    print(f"{metrics['test_rows']} test rows; in brackets the 95 % interval\n")
    header = " ".join(f"{NAMES.get(score, score):<22}" for score in scores)
    print(f"{'model':<18} {header} {'size':>9}  file")
    for key, (name, path) in MODELS.items():
        row = " ".join(f"{with_interval(metrics[key], score):<22}" for score in scores)
        print(f"{name:<18} {row} {size_of(path):>9}  {path}")


def with_interval(values: dict[str, float], score: str) -> str:
    """A score and its interval, as in `0.823 [0.799, 0.846]`."""
    return f"{values[score]:.3f} [{values[score + '_low']:.3f}, {values[score + '_high']:.3f}]"


def size_of(path: Path) -> str:
    """The size on disk, or a dash where the file was not pulled."""
    return f"{path.stat().st_size / 1e6:.2f} MB" if path.exists() else "-"


if __name__ == "__main__":
    main()
