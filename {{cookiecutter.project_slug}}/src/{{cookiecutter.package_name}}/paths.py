"""All paths, relative to the project's root. `dvc.yaml` names the same paths; a test checks that the two agree."""

from pathlib import Path

PARAMS = Path("params.yaml")

RAW = Path("data/raw")
BASE_MODEL = Path("models/base")
BASE_FILES = tuple(BASE_MODEL / name for name in ("config.json", "model.safetensors", "tokenizer.json"))
ENCODER = Path("reports/encoder.json")

PROCESSED = Path("data/processed")
TOKENS = Path(".tokens")
LABELS = PROCESSED / "labels.json"
QUARANTINE = PROCESSED / "quarantine.jsonl"
DATA_PROFILE = Path("reports/data_profile.json")

EMBEDDINGS = Path("embeddings")
VECTORS = Path(".vectors")
PROBE = Path("models/probe")
PROBE_FILE = PROBE / "probe.joblib"
PROBE_REPORT = Path("reports/probe.json")
NEAR_DUPLICATES = Path("reports/near_duplicates.json")

FINE_TUNED = Path("models/fine_tuned")
TRAINING_CURVE = Path("reports/training_curve.csv")
CHECKPOINTS = Path(".checkpoints")

ONNX = Path("models/onnx")
PARITY = Path("reports/parity.json")

METRICS = Path("reports/metrics.json")
EVALUATION = Path("reports/evaluation")
PREDICTIONS = Path("reports/predictions.parquet")
ROBUSTNESS = Path("reports/robustness.json")
MODEL_CARD = Path("reports/model_card.md")

SPLITS = ("train", "validation", "test")


def split_table(split: str) -> Path:
    """The rows of one split: columns `text`, `second_text` (only for pairs), `label` (see data/labels.py)."""
    return PROCESSED / f"{split}.parquet"


def split_embeddings(split: str) -> Path:
    """The vectors of one split, in the order of its rows: float32, rows x hidden size."""
    return EMBEDDINGS / f"{split}.npy"
