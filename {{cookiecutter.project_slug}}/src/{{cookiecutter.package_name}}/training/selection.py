"""Which epoch to keep, judged by the validation rows: the best one, or the last if that may be worse only by chance.

In the last epoch of the plan the learning rate has fallen to 0, so it should be the best; on few rows, another may look
better by chance. Hence the one-standard-error rule (Breiman et al. 1984, Classification and Regression Trees, 3.4.3).
It does not apply to the model before the first step: no epoch that is worse than this model is kept.
"""

from typing import Any

import numpy as np

from ..common.tasks import values_of
from ..config import Params
from ..modeling.scores import leads, scores

SAMPLES = 200


def standing(row: dict[str, Any], params: Params) -> tuple[float, float]:
    """How good the model at this row of the curve is: by its score, and of equal scores by the lower loss."""
    return row[f"validation_{params.score}"], -row["validation_loss"]


def may_be_chance(params: Params, targets: np.ndarray, best: np.ndarray, last: np.ndarray) -> bool:
    """Whether the last epoch's score is lower by at most one standard error of the difference (paired bootstrap).

    targets: in the unit of both models' logits (rows x outputs).
    """
    task, score = params.task, params.score
    before, after = (values_of(task, logits) for logits in (best, last))
    lead = scores(task, targets, before)[score] - scores(task, targets, after)[score]
    return lead <= float(leads(task, score, targets, before, after, SAMPLES).std())
