"""What the prepared data are like, in numbers; and whether they can be learned from."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from .. import paths
from ..config import Task
from ..errors import UserError
from .labels import names_in

QUANTILES = (0, 50, 90, 99, 100)
SHOWN = 10


class SplitCounts:
    """What is counted of the rows of one split while they pass."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.rows = 0
        self.per_label: Counter[str] = Counter()
        self.without_any_label = 0
        self.characters: Counter[int] = Counter()
        self.second_characters: Counter[int] = Counter()

    def add(self, part: pl.DataFrame) -> None:
        """Count rows: columns `text`, `second_text`, `label`."""
        self.rows += part.height
        self.characters.update(_lengths(part["text"]))
        if self.task == "pair":
            self.second_characters.update(_lengths(part["second_text"]))
        if self.task != "regression":
            for label, count in part["label"].value_counts().iter_rows():
                names = names_in(label, self.task)
                self.per_label.update(dict.fromkeys(names, count))
                self.without_any_label += 0 if names else count

    def profile(self, table: Path, names: Mapping[str, str]) -> dict[str, Any]:
        """Rows, lengths in characters (quantiles), and rows per label or quantiles of the target, which are in `table`.

        names: what each label is called.
        """
        found: dict[str, Any] = {"rows": self.rows, "characters": _quantiles(self.characters)}
        if self.task == "pair":
            found["second_characters"] = _quantiles(self.second_characters)
        if self.task == "regression":
            return found | {"target": _quantiles(Counter(pl.read_parquet(table, columns=["label"])["label"]))}
        if self.task == "multi_label":
            found["without_any_label"] = self.without_any_label
        return found | {"per_label": {names[label]: count for label, count in self.per_label.items()}}


def _lengths(texts: pl.Series) -> dict[int, int]:
    """How many texts have so many characters."""
    return dict(texts.str.len_chars().value_counts().iter_rows())


def _quantiles(counts: Counter[Any]) -> dict[str, Any]:
    """The values that stand nearest to the quantiles in the order of all values, each as often as it was counted."""
    values = sorted(counts)
    ends = np.cumsum([counts[value] for value in values])
    ranks = {q: round((ends[-1] - 1) * q / 100) for q in QUANTILES}
    return {f"p{q}": values[int(np.searchsorted(ends, rank, "right"))] for q, rank in ranks.items()}


def check_learnable(counts: Mapping[str, SplitCounts], task: Task) -> None:
    """Refuse data that cannot be learned from or measured on."""
    per_label = {split: counts[split].per_label for split in paths.SPLITS}
    rows = {split: counts[split].rows for split in paths.SPLITS}
    labels = sorted(set().union(*per_label.values()))
    empty = [split for split in paths.SPLITS if not rows[split]]
    untrained = [label for label in labels if not per_label["train"][label]]
    alike = _alike(labels)
    if not any(rows.values()):
        raise _refusal("no row is left", "rows with a text and one label", "none", "look at the text and label columns")
    if alike:
        raise _refusal(
            "some labels differ only in upper and lower case",
            "one spelling of each label, because two would be learned as two labels",
            alike,
            "write them alike",
        )
    if task != "regression" and len(labels) < (1 if task == "multi_label" else 2):
        raise _refusal(
            "there is nothing to tell apart",
            "at least two labels",
            f"the label {labels[0]!r} alone" if labels else "no label",
            "add rows of other labels, or set prepare.label_column in params.yaml",
        )
    if empty:
        raise _refusal(
            "a split would be empty",
            "rows in every split",
            ", ".join(f"{split}: {rows[split]}" for split in paths.SPLITS),
            "add rows, or change prepare.validation_fraction and prepare.test_fraction in params.yaml",
        )
    if untrained:
        raise _refusal(
            "some labels cannot be learned",
            "training rows for every label",
            _several([f"{label!r} ({_where(per_label, label)})" for label in untrained]),
            "add rows with these labels, or remove theirs",
        )


def _alike(labels: list[str]) -> str:
    spellings: dict[str, list[str]] = {}
    for label in labels:
        spellings.setdefault(label.casefold(), []).append(label)
    return _several([" and ".join(map(repr, same)) for same in spellings.values() if len(same) > 1])


def _where(per_label: Mapping[str, Counter[str]], label: str) -> str:
    return ", ".join(f"{split}: {per_label[split][label]}" for split in paths.SPLITS)


def _several(found: list[str]) -> str:
    return "; ".join(found[:SHOWN]) + (f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else "")


def _refusal(problem: str, expected: str, found: str, fix: str) -> UserError:
    return UserError(f"{paths.RAW}: {problem}", expected=expected, found=found, fix=fix)


def check_targets(train: Mapping[str, Any]) -> None:
    """Refuse a regression whose training rows all have one number; `train` is their profile."""
    target = train.get("target")
    if target and target["p0"] == target["p100"]:
        raise _refusal(
            "there is nothing to tell apart",
            "numbers that differ",
            f"{target['p0']} in every training row",
            "set prepare.label_column in params.yaml",
        )
