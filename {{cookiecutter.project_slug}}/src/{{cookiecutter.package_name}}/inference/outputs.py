"""What a prediction looks like, by task: a record for each text, and the same as a row of a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

import numpy as np

from ..common.tasks import as_written, labels_above_threshold
from ..text.tokenization import Coverage, Text

if TYPE_CHECKING:
    from ..config import Task

DECIMALS = 6

Prediction = dict[str, Any]


@dataclass(frozen=True)
class PredictionFormat:
    """Builds the predictions of one model.

    single_label  {"text": …, "label": …, "probabilities": {label: …}, "truncated": …, "unknown_tokens": …}
    pair          the same, with "second_text"
    multi_label   "labels": […] instead of "label"; in a table the labels are joined
    regression    "value": … instead of label and probabilities

    The label is None if it is less probable than its threshold.

    truncated: the model reads only the beginning of the text. unknown_tokens: the share that its vocabulary lacks.
    """

    task: "Task"
    labels: Sequence[str]
    separator: str
    thresholds: np.ndarray | None = None

    def of(self, text: Text, prediction: Prediction, coverage: Coverage) -> Prediction:
        """The prediction for a text from its decision and probabilities."""
        texts: Prediction = {"text": text} if isinstance(text, str) else {"text": text[0], "second_text": text[1]}
        return texts | prediction | coverage._asdict()

    def predictions(self, values: np.ndarray) -> list[Prediction]:
        """The decisions and their probabilities alone, from values (rows x outputs), see `tasks.predictions_of`."""
        if self.task == "regression":
            return [{"value": as_written(value)} for [value] in values.tolist()]
        found: list[Prediction] = []
        chosen = labels_above_threshold(self.task, values, self.thresholds).tolist()
        for row, given in zip(values.tolist(), chosen, strict=True):
            names = [name for name, is_given in zip(self.labels, given, strict=True) if is_given]
            rounded = [round(value, DECIMALS) for value in row]
            key, label = ("labels", names) if self.task == "multi_label" else ("label", names[0] if names else None)
            found.append({key: label, "probabilities": dict(zip(self.labels, rounded, strict=True))})
        return found

    def columns(self) -> dict[str, type]:
        """The columns of a table of predictions, without the texts, and the types of their values."""
        coverage = dict(get_type_hints(Coverage))
        if self.task == "regression":
            return {"value": float} | coverage
        label = "labels" if self.task == "multi_label" else "label"
        return {label: str} | {f"probability_{label}": float for label in self.labels} | coverage

    def flat(self, prediction: Prediction) -> Prediction:
        """The prediction as a row of a table."""
        row = {}
        for name, value in prediction.items():
            if name == "probabilities":
                row |= {f"probability_{label}": probability for label, probability in value.items()}
            else:
                row[name] = self.separator.join(value) if name == "labels" else value
        return row
