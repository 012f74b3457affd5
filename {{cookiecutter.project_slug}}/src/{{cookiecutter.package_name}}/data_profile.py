"""What the prepared data are like, in numbers; and whether they can be learned from."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from . import paths
from .errors import UserError

QUANTILES = (0, 50, 90, 99, 100)
SHOWN = 10


def check_labels(per_label: Mapping[str, Counter[str]], rows: Mapping[str, int], task: str) -> None:
    """Refuse data that cannot be learned from or measured on. per_label: for each split, the rows of each label."""
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


def _refusal(problem: str, expected: str, found: str, remedy: str) -> UserError:
    return UserError(f"{paths.RAW}: {problem}", expected=expected, found=found, remedy=remedy)


def profile(table: Path, per_label: Counter[str], task: str) -> dict[str, object]:
    """Rows, lengths in characters (quantiles), and rows per label or quantiles of the target, of one split."""
    rows = pl.scan_parquet(table, glob=False)
    columns = {"characters": "text", "second_characters": "second_text"} if task == "pair" else {"characters": "text"}
    lengths = {name: _quantiles(rows, pl.col(column).str.len_chars()) for name, column in columns.items()}
    found: dict[str, object] = {"rows": rows.select(pl.len()).collect().item(), **lengths}
    if task == "regression":
        return found | {"target": _quantiles(rows, pl.col("label"))}
    if task == "multi_label":
        empty = rows.select((pl.col("label").list.len() == 0).sum()).collect().item()
        found["without_any_label"] = empty
    return found | {"per_label": dict(per_label)}


def _quantiles(rows: pl.LazyFrame, values: pl.Expr) -> dict[str, float]:
    wanted = [values.quantile(q / 100, "nearest").alias(f"p{q}") for q in QUANTILES]
    (found,) = rows.select(wanted).collect(engine="streaming").rows(named=True)
    return {name: int(value) if value == int(value) else value for name, value in found.items()}
