"""From the values of a raw row to a clean row; counts what is mended and what is left out."""

import json
from collections import Counter
from typing import Any

import polars as pl

from ..config import Params
from ..tables.raw_rows import Column, kind_of
from ..text.cleaning import CONTROL, MANGLED, clean
from .labels import Cells
from .sorting import SCHEMA, Row

_MAY_CHANGE = "[^ -~]|  |^ | $"  # printable ASCII with single spaces inside is clean


class Intake:
    """Takes the rows of one data set, in any order."""

    def __init__(self, params: Params) -> None:
        prepare = params.prepare
        self.accepted = 0
        self.mended = Counter({"mangled_characters": 0, "control_characters": 0})
        self.dropped = Counter({"without_text": 0, "without_label": 0})
        self._cells = Cells(params.task, prepare.label_separator)
        self._keep = prepare.keep
        self._pair = params.task == "pair"
        names = {
            "text_column": prepare.text_column,
            "label_column": prepare.label_column,
            "second_text_column": prepare.second_text_column,
            "keep.column": prepare.keep.column if prepare.keep else None,
        }
        self.columns = [Column(name, f"prepare.{key} in params.yaml") for key, name in names.items() if name]

    def take(self, text: Any, label: Any, *more: Any) -> Row | None:
        """The clean row, or None for one that is left out. Raises ValueError for one that cannot be used."""
        if self._keep and _as_text(more[-1]) != self._keep.value:
            return None
        texts = [_cleaned(value) for value in (text, more[0])] if self._pair else [_cleaned(text)]
        target = self._cells.read(label)
        if not all(texts):
            self.dropped["without_text"] += 1
            return None
        if target is None:
            self.dropped["without_label"] += 1
            return None
        raw = f"{text}{more[0]}" if self._pair else text
        if not raw.isprintable():
            self._count_mending(raw)
        self.accepted += 1
        return texts[0], texts[1] if self._pair else None, target

    def take_all(self, columns: list[pl.Series]) -> pl.DataFrame:
        """The clean rows of columns of text, as `take` makes them one by one. Raises ValueError if it would."""
        text, label, *more = columns
        rows = pl.DataFrame({"text": text, "second_text": more[0] if self._pair else None, "label": label})
        if self._keep:
            rows = rows.filter(more[-1].fill_null("null") == self._keep.value)
        labels = self._cells.read_all(rows["label"])
        names = ["text", "second_text"] if self._pair else ["text"]
        raw = [rows[name].fill_null("") for name in names]
        odd = [column.str.contains(_MAY_CHANGE) for column in raw]
        texts = [_mended(*both) for both in zip(raw, odd, strict=True)]
        no_text = (texts[0] == "") | (texts[-1] == "")
        no_label = labels.is_null() & ~no_text
        self.dropped["without_text"] += int(no_text.sum())
        self.dropped["without_label"] += int(no_label.sum())
        good = ~(no_text | no_label)
        for text in (raw[0] + raw[1] if self._pair else raw[0]).filter(good & (odd[0] | odd[-1])).to_list():
            if not text.isprintable():
                self._count_mending(text)
        self.accepted += int(good.sum())
        second = texts[1] if self._pair else None
        return pl.DataFrame({"text": texts[0], "second_text": second, "label": labels}, schema=SCHEMA).filter(good)

    def _count_mending(self, raw: str) -> None:
        self.mended["mangled_characters"] += bool(MANGLED.search(raw))
        self.mended["control_characters"] += bool(CONTROL.search(raw))

    def all_mended(self) -> dict[str, int]:
        """How many rows were mended, by what was wrong."""
        labels = {"trimmed_labels": 0, "whole_number_labels": 0} | self._cells.mended
        return dict(self.mended) | labels


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _cleaned(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"expected text, found {kind_of(value)}")
    return clean(value)


def _mended(raw: pl.Series, odd: pl.Series) -> pl.Series:
    """The texts, the odd ones clean."""
    places = odd.arg_true()
    return raw.clone().scatter(places, [clean(text) for text in raw.gather(places).to_list()])
