"""The linear probe: a linear model on frozen embeddings. It is the baseline, and the start of the head."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import joblib
import numpy as np

from ..common.manifest import verified_manifest, write_manifest
from ..config import Task
from ..paths import PROBE_FILE

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression


@dataclass(frozen=True)
class Probe:
    """A linear layer: weight (width x size) and bias (width), float32."""

    weight: np.ndarray
    bias: np.ndarray

    def logits(self, vectors: np.ndarray) -> np.ndarray:
        """What the layer puts out for vectors (rows x size): rows x width, float64."""
        return vectors.astype(np.float64) @ self.weight.T.astype(np.float64) + self.bias


def fit_probe(vectors: np.ndarray, targets: np.ndarray, c: float, task: Task) -> Probe:
    """Fit on vectors (rows x size, float32; may be memory-mapped) and targets (`tasks.targets_of`).

    c: inverse strength of the L2 penalty. Labels are learned by logistic regression, each for itself in multi_label;
    numbers by ridge regression.
    """
    from sklearn.linear_model import Ridge  # here: to load a probe it is not needed, and it takes half a second

    if task == "regression":
        ridge = Ridge(alpha=1 / c).fit(vectors, targets)
        return _probe([ridge.coef_], [ridge.intercept_])
    if task == "multi_label":
        layers = [_one_label(vectors, column, c) for column in targets.T]
        return _probe([weight for weight, _ in layers], [bias for _, bias in layers])
    model = _logistic(vectors, targets, c)
    if len(model.coef_) > 1:
        return _probe(model.coef_, model.intercept_)
    # For two labels scikit-learn keeps one row of weights. Half of it for one label and half of it, negated, for the
    # other give the same probabilities.
    half = np.array([[-0.5], [0.5]])
    return _probe(half * model.coef_, half[:, 0] * model.intercept_)


def _logistic(vectors: np.ndarray, targets: np.ndarray, c: float) -> "LogisticRegression":
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=c, max_iter=2000).fit(vectors, targets)


def _one_label(vectors: np.ndarray, targets: np.ndarray, c: float) -> tuple[np.ndarray, float]:
    """The row of the layer for one label; where every training row has it, only a bias can be learned."""
    if targets.min() == targets.max():
        smoothed = (targets.sum() + 0.5) / (len(targets) + 1)
        return np.zeros(vectors.shape[1]), float(np.log(smoothed / (1 - smoothed)))
    model = _logistic(vectors, targets, c)
    return model.coef_[0], model.intercept_[0]


def _probe(weight: object, bias: object) -> Probe:
    return Probe(np.asarray(weight, dtype=np.float32), np.asarray(bias, dtype=np.float32))


def save_probe(probe: Probe, directory: Path) -> None:
    """Write the probe with joblib, and its manifest."""
    joblib.dump({"weight": probe.weight, "bias": probe.bias}, directory / PROBE_FILE.name)
    write_manifest(directory, {"kind": "linear layer on the vectors in embeddings/"})


def load_probe(directory: Path) -> Probe:
    """Read the probe. joblib runs what it reads, so the file's hash is verified before it is opened."""
    verified_manifest(directory, (PROBE_FILE.name,))
    return Probe(**joblib.load(directory / PROBE_FILE.name))
