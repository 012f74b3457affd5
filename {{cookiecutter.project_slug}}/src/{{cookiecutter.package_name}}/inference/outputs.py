"""What prediction answers, by task: a record for each text, and the same as the row of a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..common.tasks import decisions_of
from ..text.tokenization import Text

if TYPE_CHECKING:
    from ..config import Task

DECIMALS = 6

Answer = dict[str, Any]


@dataclass(frozen=True)
class Answers:
    """How the answers of one model look.

    single_label  {"text": …, "label": …, "probabilities": {label: …}}
    pair          the same, with "second_text"
    multi_label   {"text": …, "labels": […], "probabilities": {label: …}}; in a table the labels are joined
    regression    {"text": …, "value": …}
    """

    task: "Task"
    labels: Sequence[str]
    separator: str

    def of(self, text: Text, values: np.ndarray) -> Answer:
        """The answer to a text from its values (outputs), see `tasks.values_of`."""
        answer: Answer = {"text": text} if isinstance(text, str) else {"text": text[0], "second_text": text[1]}
        return answer | self.prediction(values)

    def prediction(self, values: np.ndarray) -> Answer:
        """The same without the text."""
        rounded = [round(float(value), DECIMALS) for value in values]
        if self.task == "regression":
            return {"value": rounded[0]}
        chosen = decisions_of(self.task, values[np.newaxis])[0]
        if self.task == "multi_label":
            decision: Answer = {"labels": [name for name, given in zip(self.labels, chosen, strict=True) if given]}
        else:
            decision = {"label": self.labels[chosen[0]]}
        return decision | {"probabilities": dict(zip(self.labels, rounded, strict=True))}

    def columns(self) -> dict[str, type]:
        """The columns of a table of answers, and what they hold."""
        texts: dict[str, type] = {"text": str, "second_text": str} if self.task == "pair" else {"text": str}
        if self.task == "regression":
            return texts | {"value": float}
        label = "labels" if self.task == "multi_label" else "label"
        return texts | {label: str} | {f"probability_{label}": float for label in self.labels}

    def cells(self, answer: Answer) -> list[Any]:
        """The row of a table with these columns."""
        *first, last = answer.values()
        if self.task == "regression":
            return [*first, last]
        if self.task == "multi_label":
            first[-1] = self.separator.join(first[-1])
        return [*first, *last.values()]
