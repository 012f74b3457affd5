"""Temperature scaling: probabilities that are as large as the share of right predictions (Guo et al. 2017).

One number divides all logits (arXiv:1706.04599), so it becomes part of the head, and every file that is made of the
model has it: no label changes.
"""

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from ..config import Task
from ..modeling.classifier import LOSSES

LOWEST, HIGHEST = 0.1, 10.0
DECIMALS = 4  # a rounded one has the same bits wherever the logits have


def temperature(task: Task, logits: np.ndarray, targets: np.ndarray) -> float:
    """The temperature of the lowest loss on these rows (validation), between 0.1 and 10; for numbers 1."""
    if task == "regression":
        return 1.0
    wanted = torch.from_numpy(targets)

    def loss(logarithm: float) -> float:
        return LOSSES[task](torch.from_numpy(logits.astype(np.float64) / np.exp(logarithm)), wanted).item()

    found = minimize_scalar(loss, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded")
    return round(float(np.exp(found.x)), DECIMALS)
