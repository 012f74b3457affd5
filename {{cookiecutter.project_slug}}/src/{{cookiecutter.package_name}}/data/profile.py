"""Statistics of the prepared data, and whether a model can learn from them."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from .. import paths
from ..config import Params, Task
from ..errors import UserError
from ..tables.rows import several
from .labels import alike, names_in

QUANTILES = (0, 50, 90, 99, 100)
LARGEST = 1e30  # of a target; float32 ends at 3.4e38
SMALLEST_SPREAD = 1e-4  # of the targets, as a share of the largest: float32 has 7 digits, the model needs the last
_UNLABELLED = f"if %s has no labels: take its table out of {paths.RAW}, and label it with predict"
FEW = 5  # test rows of a label: with so few, each row moves its F1 by a fifth


class SplitCounts:
    """Counts the rows of one split and their labels as they pass."""

    def __init__(self, task: Task, *, grouped: bool) -> None:
        self.task = task
        self.groups = [np.empty(0)] if grouped else None  # the positions of the groups
        self.rows = 0
        self.per_label: Counter[str] = Counter()
        self.unlabelled = 0

    def add(self, part: pl.DataFrame) -> None:
        """Count rows by the column `label`, and groups by `position`."""
        self.rows += part.height
        if self.groups:
            self.groups.append(part["position"].unique().to_numpy())
        if self.task != "regression":
            for label, count in part["label"].value_counts().iter_rows():
                names = names_in(label, self.task)
                self.per_label.update(dict.fromkeys(names, count))
                self.unlabelled += 0 if names else count

    def profile(self, table: Path, names: Mapping[str, str]) -> dict[str, Any]:
        """Rows, quantiles of lengths in characters, and rows per label or quantiles of the target; table: the rows."""
        found: dict[str, Any] = {"rows": self.rows, "characters": _quantiles(table, pl.col("text").str.len_chars())}
        if self.groups:
            found["groups"] = len(np.unique(np.concatenate(self.groups)))
        if self.task == "pair":
            found["second_characters"] = _quantiles(table, pl.col("second_text").str.len_chars())
            train = table.with_name(paths.split_table("train").name)  # written before the others
            own, known = (pl.scan_parquet(path, glob=False).select(pl.col("text").hash()) for path in (table, train))
            found["first_texts_in_training"] = own.join(known, on="text", how="semi").collect(engine="streaming").height
        if self.task == "regression":
            return found | {"target": _quantiles(table, pl.col("label"))}
        if self.task == "multi_label":
            found["without_any_label"] = self.unlabelled
        return found | {"per_label": {names[label]: count for label, count in self.per_label.items()}}


def _quantiles(table: Path, number: pl.Expr) -> dict[str, Any]:
    """For each quantile, the value among all rows that is nearest to it."""
    rows = pl.scan_parquet(table, glob=False)  # a folder of the path may hold a pattern
    ordered = rows.select(number.sort()).collect(engine="streaming").to_series()
    return {f"p{q}": ordered[round((len(ordered) - 1) * q / 100)] for q in QUANTILES}


def check_learnable(counts: Mapping[str, SplitCounts], params: Params, own: list[str], dropped: Counter[str]) -> None:
    """Refuse data that a model cannot learn from or be measured on; `own`: the held-out splits with their own table."""
    task = params.task
    rows = {split: split_counts.rows for split, split_counts in counts.items()}
    labels = sorted(set().union(*(split_counts.per_label for split_counts in counts.values())))
    untrained = [label for label in labels if not counts["train"].per_label[label]]
    if not any(rows.values()):
        repeated = f"{dropped['contradicting_labels']} rows of a text that has several labels"
        fix = "write one row for each text, with the label that most of its rows have"
        raise _refusal("no row is left", "the same label wherever a text is repeated", repeated, fix)
    if same := alike(labels):
        problem = "some labels differ only in upper and lower case"
        expected = "one spelling of each label, because two would be learned as two labels"
        raise _refusal(problem, expected, several(same), "write them alike")
    if task != "regression" and len(labels) < (1 if task == "multi_label" else 2):
        learned = f"the label {labels[0]!r} alone" if labels else "no label"
        fix = "add rows of other labels, or set prepare.label_column in params.yaml"
        raise _refusal("there is nothing to tell apart", "at least two labels", learned, fix)
    if not all(rows.values()):
        fix = "add rows, or change prepare.validation_fraction and prepare.test_fraction in params.yaml"
        for key in ("time_column", "group_column"):
            if getattr(params.prepare, key):
                fix += f"; rows of one value stay together: set prepare.{key} to null, or to a column of more values"
        raise _refusal("a split would be empty", "rows in every split", _by_split(rows), fix)
    if untrained:
        raise _cannot_be_learned(untrained, counts, own)


def _cannot_be_learned(labels: list[str], counts: Mapping[str, SplitCounts], own: list[str]) -> UserError:
    """The error for labels without training rows."""
    fix = "add rows with these labels, or remove theirs; or set prepare.label_column in params.yaml to another column;"
    fix += " for numbers, task: regression"
    setting = {"multi_label": "prepare.label_separator", "single_label": "task: multi_label"}.get(counts["train"].task)
    if setting and {*",;|"} & {*"".join(labels)}:
        fix += f"; for several labels in a cell, {setting}"
    for split in own:
        if sum(counts[split].per_label[label] for label in labels) >= counts[split].rows:
            fix = _UNLABELLED % split
    shown = [
        f"{one!r} ({_by_split({split: found.per_label[one] for split, found in counts.items()})})" for one in labels
    ]
    return _refusal("some labels cannot be learned", "training rows for every label", several(shown), fix)


def few_test_rows(profile: Mapping[str, Any]) -> dict[str, int]:
    """The labels with fewer than `FEW` test rows, and how many they have."""
    rows = profile["test"].get("per_label", {})
    return {label: rows.get(label, 0) for label in profile["train"].get("per_label", {}) if rows.get(label, 0) < FEW}


def warnings(profile: Mapping[str, Any], params: Params) -> Iterator[str]:
    """What makes the scores say less than they seem to."""
    several_labels = profile["dropped"]["contradicting_labels"]
    if several_labels > profile["read"] / 100:
        fix = "write one row a text (majority, mean, or all)"
        yield f"{several_labels} rows of texts with several labels are dropped, from test too: {fix}"
    found = [profile[split] for split in paths.SPLITS]
    if params.task == "multi_label" and all(
        split["rows"] == split["without_any_label"] + sum(split["per_label"].values()) for split in found
    ):
        yield "no text has two labels: is prepare.label_separator that of the file?"
    if few := profile.get("few_test_rows"):
        shown = several(f"{label!r} {rows}" for label, rows in few.items())
        yield f"{len(few)} of {len(profile['train']['per_label'])} labels have too few test rows to judge by: {shown}"
    known, rows = profile["test"].get("first_texts_in_training", 0), profile["test"]["rows"]
    if known > rows / 100:
        fix = f"if new ones come in use, set prepare.group_column: {params.prepare.text_column}"
        yield f"the first text of {known} of {rows} test rows is in training too: {fix}"


def check_groups(counts: Mapping[str, SplitCounts]) -> None:
    """Refuse groups that are in two splits, which can happen if the data come as one table per split."""
    groups = {split: np.concatenate(found.groups or [np.empty(0)]) for split, found in counts.items()}
    shared = {f"{a} and {b}": len(np.intersect1d(groups[a], groups[b])) for a, b in combinations(groups, 2)}
    if any(shared.values()):
        found = ", ".join(f"{count} in {pair}" for pair, count in shared.items() if count)
        fix = "put all rows into one table; or keep these splits: set prepare.group_column: null in params.yaml"
        raise _refusal("groups are in tables of two splits", "every group in one split", found, fix)


def check_targets(profile: Mapping[str, Any], own: list[str]) -> None:
    """Refuse regression targets that float32 cannot hold, or that are all equal in training or in a table of `own`."""
    if "target" not in profile["train"]:
        return
    for split in (*own, "train"):
        low, high = (profile[split]["target"][quantile] for quantile in ("p0", "p100"))
        if low == high:
            found, fix = f"{low} in every row of {split}", "add rows, or set prepare.label_column in params.yaml"
            fix = f"{_UNLABELLED % split}; else add rows to it" if split != "train" else fix
            raise _refusal("there is nothing to tell apart", "numbers that differ", found, fix)
    largest = max(abs(low), abs(high))
    if largest > LARGEST or 0 < high - low < SMALLEST_SPREAD * largest:
        found, fix = f"numbers from {low} to {high}", "subtract a number from all of them, and divide by another"
        raise _refusal("float32 cannot hold the targets", "numbers that differ in their first 4 digits", found, fix)


def _by_split(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{split}: {count}" for split, count in counts.items())


def _refusal(problem: str, expected: str, found: str, fix: str) -> UserError:
    return UserError(f"{paths.RAW}: {problem}", expected=expected, found=found, fix=fix)
