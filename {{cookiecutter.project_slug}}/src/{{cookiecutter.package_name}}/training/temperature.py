"""Temperature scaling: make probabilities agree with the share of right predictions (Guo et al. 2017).

One number divides all logits (arXiv:1706.04599). It changes no label, and it becomes part of the head, so every file
made from the model has it.
"""

import math

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from ..config import Task

LOWEST, HIGHEST = 0.1, 10.0
DECIMALS = 4  # rounding gives the same bits wherever the logits have the same bits


def temperature(task: Task, logits: np.ndarray, targets: np.ndarray) -> float:
    """The temperature with the lowest loss on these rows (validation), between 0.1 and 10.

    It is 1 for regression; if the loss falls by less than one standard error of its fall, which may be chance; and if
    the loss falls without end, because all rows are right.
    """
    if task == "regression":
        return 1.0
    plain = row_losses(task, logits, targets, 1.0)
    found = minimize_scalar(
        lambda logarithm: row_losses(task, logits, targets, math.exp(logarithm)).mean(),
        bounds=(math.log(LOWEST), math.log(HIGHEST)),
        method="bounded",
    )
    best = round(math.exp(found.x), DECIMALS)
    if best < 1.01 * LOWEST:
        return 1.0
    gains = plain - row_losses(task, logits, targets, best)
    return best if gains.mean() > gains.std() / math.sqrt(len(gains)) else 1.0


def row_losses(task: Task, logits: np.ndarray, targets: np.ndarray, divisor: float) -> np.ndarray:
    """The loss of every row (float64) after the logits are divided."""
    scaled, wanted = torch.from_numpy(logits.astype(np.float64) / divisor), torch.from_numpy(targets)
    if task == "multi_label":
        losses = binary_cross_entropy_with_logits(scaled, wanted.to(torch.float64), reduction="none").mean(dim=1)
    else:
        losses = cross_entropy(scaled, wanted, reduction="none")
    return losses.numpy()
