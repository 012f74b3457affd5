"""What a cell of the label column means, for each task; and how the tables store labels.

Between reading and writing, a label is one string, so that equal labels are equal strings: the name (single_label,
pair), the sorted names joined (multi_label), the shortest decimal number (regression).
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import polars as pl

from ..errors import UserError
from ..tables.rows import as_text, kind_of, several
from ..text.cleaning import normalized

MOST_LABELS = 10_000
JOINT = "\x1f"  # occurs in no cleaned name
_WHOLE = re.compile(r"(?:-(?=0+\.))?(-?\d+)\.0+")  # without the sign of -0.0
_PRINTED = re.compile(r"""\[\s*(['"]|[-+.,\d\s]+\]\Z)""")  # a list as Python or NumPy prints it
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


class LabelReader:
    """Reads the label column of one data set, and counts its repairs in `repaired`."""

    def __init__(self, task: str, separator: str, repaired: Counter[str]) -> None:
        self.task = task
        self.separator = separator
        self.repaired = repaired
        repaired.update(trimmed_labels=0, whole_number_labels=0)
        self._seen: set[str] = set()

    def read(self, value: Any) -> str | None:
        """The label in a cell; None if there is none. Raises ValueError for a value that cannot be a label."""
        if self.task == "regression":
            return number_in(value)
        if self.task != "multi_label":
            return self._name(value)
        parts = self._parts(value) if isinstance(value, str) else value
        if isinstance(parts, dict) and parts.keys() == {"choices"}:  # as Label Studio writes several
            parts = parts["choices"]
        names = {self._name(part) or "" for part in (parts if isinstance(parts, list) else [parts])} - {""}
        if ambiguous := [name for name in names if self.separator in name]:
            expected = f"expected labels without prepare.label_separator {self.separator!r}"
            raise ValueError(f"{expected}, found {min(ambiguous)[:40]!r}")
        return JOINT.join(sorted(names))

    def _parts(self, text: str) -> Any:
        """The labels in a cell of text: a JSON list, alone or in an object, or separated."""
        if text.strip()[:1] + text.strip()[-1:] not in ("[]", "{}"):
            return text.split(self.separator)
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            if not _PRINTED.match(text.strip()):  # labels in brackets, such as [TAG]
                return text.split(self.separator)
            expected = f"expected labels separated by {self.separator!r}, or a JSON list"
            raise ValueError(f"{expected}, found {text[:40]!r}") from None

    def _name(self, value: Any) -> str | None:
        finite = not isinstance(value, float) or math.isfinite(value)
        if not finite or not isinstance(value, (str, int, float, type(None))):
            raise ValueError(f"expected a label (text or a number), found {kind_of(value)}")
        name, repair = _name_of(value)
        if repair:
            self.repaired[repair] += 1
        if name:
            self._seen.add(name)
        if len(self._seen) > MOST_LABELS:
            raise UserError(
                f"there are more than {MOST_LABELS:,} labels",
                expected="a column of labels that many rows share",
                found=several(repr(label[:30]) for label in sorted(self._seen)),
                fix="set prepare.label_column in params.yaml to another column; for numbers, task: regression",
            )
        return name


@lru_cache(maxsize=2 * MOST_LABELS, typed=True)
def _name_of(value: str | int | float | None) -> tuple[str | None, str | None]:
    """The name, and what was repaired to get it."""
    text, name = as_text(value) or "", name_in(value)
    if name != normalized(text):
        return name, "whole_number_labels"
    return name or None, "trimmed_labels" if name and name != text else None


def name_in(value: Any) -> str:
    """The value as a name, so that equal values have equal names in every format: white space is folded, 1.0 is 1."""
    name = normalized(as_text(value) or "")
    whole = _WHOLE.fullmatch(name)
    return whole[1] if whole else name


def number_in(value: Any) -> str | None:
    """The number in a cell, as its shortest decimal; None if it is empty. Raises ValueError for anything else."""
    text = normalized(value) if isinstance(value, str) else value
    if text is None or text == "":
        return None
    is_number = _NUMBER.fullmatch(text) if isinstance(text, str) else type(text) in (int, float)  # no bool
    if not is_number or not -1e308 <= (text if isinstance(text, int) else float(text)) <= 1e308:
        raise ValueError(f"expected a finite number, found {kind_of(text)}")
    return repr(float(text) + 0.0)  # -0.0 is 0.0


# The type of the column `label` in the tables; for other tasks an index, UInt32.
KINDS = {"multi_label": pl.List(pl.UInt32), "regression": pl.Float64}


def as_column(labels: pl.Series, names: list[str], task: str) -> pl.Series:
    """Labels as the tables store them: the index of the name, the indices of all names in order, or the number."""
    if task == "regression":
        return labels.cast(pl.Float64)
    index = {name: number for number, name in enumerate(names)}
    if task == "multi_label":
        lists = [sorted(index[name] for name in names_in(label, task)) for label in labels]
        return pl.Series(lists, dtype=KINDS[task])
    return labels.replace_strict(index, return_dtype=pl.UInt32)


def names_in(label: str, task: str) -> list[str]:
    """The names in a label."""
    return [] if task == "regression" else [name for name in label.split(JOINT) if name]


def sorted_names(names: set[str]) -> list[str]:
    """The names in an order that depends only on them: numbers by value, words by code point."""
    if all(name.isascii() and name.isdigit() and len(name) < 19 for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def alike(names: Iterable[str]) -> list[str]:
    """Each two or more names that differ only in upper and lower case and white space, as a message shows them."""
    spellings: dict[str, list[str]] = {}
    for name in names:
        spellings.setdefault(normalized(name).casefold(), []).append(name)
    return [" and ".join(map(repr, same)) for same in spellings.values() if len(same) > 1]


def renamed(labels: list[str], names: dict[str, str] | None) -> list[str]:
    """The names that prepare.label_names gives the labels, in the same order. Refuses names that do not fit them."""
    if names is None:
        return labels
    unnamed, unused = sorted(set(labels) - set(names)), sorted(set(names) - set(labels))
    if unnamed or unused:
        lists = {"without a name": unnamed, "in no row": unused}
        raise UserError(
            "prepare.label_names does not fit the labels of the data",
            expected=f"a name for each of the labels {several(map(repr, labels))}, and for no other",
            found="; ".join(f"{what}: {several(map(repr, which))}" for what, which in lists.items() if which),
            fix="edit prepare.label_names in params.yaml, or set it to null to keep the labels as they are",
        )
    if same := alike(names.values()):
        raise UserError(
            "prepare.label_names holds one name twice",
            expected="names that differ in more than upper and lower case and white space",
            found=several(same),
            fix="edit prepare.label_names in params.yaml",
        )
    return [names[label] for label in labels]
