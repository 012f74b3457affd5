"""The linear probe: logistic regression on frozen embeddings. It is the baseline, and the start of the head."""

from pathlib import Path

import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression

from .manifest import verified_manifest, write_manifest
from .paths import PROBE_FILE


def fit_probe(vectors: np.ndarray, labels: np.ndarray, c: float) -> LogisticRegression:
    """Fit on vectors (rows x size, float32) and labels (rows). `c` is the inverse strength of the L2 penalty."""
    return LogisticRegression(C=c, max_iter=2000).fit(vectors.astype(np.float64), labels)


def head_of(probe: LogisticRegression) -> tuple[np.ndarray, np.ndarray]:
    """The probe as a linear layer: weight (labels x size) and bias (labels), float32.

    For two labels scikit-learn keeps one row of weights; half of it for one label and half of it, negated, for the
    other give the same probabilities.
    """
    weight, bias = probe.coef_, probe.intercept_
    if len(weight) == 1:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return weight.astype(np.float32), bias.astype(np.float32)


def save_probe(probe: LogisticRegression, directory: Path) -> None:
    """Write the probe with joblib, and its manifest."""
    joblib.dump(probe, directory / PROBE_FILE.name)
    write_manifest(directory, {"kind": "logistic regression on the vectors in embeddings/"})


def load_probe(directory: Path) -> LogisticRegression:
    """Read the probe. joblib runs what it reads, so the file's hash is verified before it is opened."""
    verified_manifest(directory, (PROBE_FILE.name,))
    return joblib.load(directory / PROBE_FILE.name)
