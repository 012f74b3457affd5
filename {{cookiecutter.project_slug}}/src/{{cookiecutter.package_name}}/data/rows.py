"""From the values of a raw row to a clean row; what is repaired, left out or malformed is counted."""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from ..config import Params
from ..errors import UserError
from ..tables import Column, MalformedRow
from ..tables.csv_reader import HOLDS_ROWS, rewritten
from ..tables.files import iconv
from ..tables.rows import kind_of
from ..text.cleaning import CONTROL, MANGLED, clean
from .labels import LabelReader
from .splits import Row

SHOWN = 5


class RowParser:
    """Parses the rows of one data set, in any order."""

    def __init__(self, params: Params) -> None:
        prepare = params.prepare
        self.accepted = 0
        self.repaired = Counter({"mangled_characters": 0, "control_characters": 0})
        self.dropped = Counter({"without_text": 0, "without_label": 0})
        self._labels = LabelReader(params.task, prepare.label_separator, self.repaired)
        self._keep = prepare.keep
        self._pair = params.task == "pair"
        columns = {
            "text_column": (prepare.text_column, str),
            "label_column": (prepare.label_column, str, int, float, *([list] if params.task == "multi_label" else [])),
            "second_text_column": (prepare.second_text_column, str),
            "keep.column": (prepare.keep.column if prepare.keep else None, object),
        }
        self.columns = [
            Column(name, f"prepare.{key} in params.yaml", tuple(takes))
            for key, (name, *takes) in columns.items()
            if name
        ]

    def parse(self, text: Any, label: Any, *more: Any) -> Row | None:
        """The clean row, or None for one that is left out. Raises ValueError for a malformed one."""
        if self._keep:
            given = more[-1] if isinstance(more[-1], str) else json.dumps(more[-1], default=str)
            if given != self._keep.value:
                return None
        cleaned = _cleaned(text)
        second = _cleaned(more[0]) if self._pair else None
        target = self._labels.read(label)
        if not cleaned or second == "" or target is None:
            self.dropped["without_label" if cleaned and second != "" else "without_text"] += 1
            return None
        raw = f"{text}{more[0]}" if self._pair else text
        if raw != cleaned and not raw.isprintable():
            self.repaired["mangled_characters"] += bool(MANGLED.search(raw))
            self.repaired["control_characters"] += bool(CONTROL.search(raw))
        self.accepted += 1
        return cleaned, second, target


def _cleaned(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"expected text, found {kind_of(value)}")
    return clean(value)


class MalformedRows:
    """The malformed rows of all files, written as JSON Lines and counted."""

    def __init__(self, file: TextIO) -> None:
        self.counts: Counter[str] = Counter()
        self._first: list[tuple[Path, MalformedRow]] = []
        self._file = file

    def add(self, path: Path, row: MalformedRow) -> None:
        """Count a malformed row of a file, by the part of its reason that all rows of its kind share."""
        self.counts[row.reason.partition(", found")[0]] += 1
        self._file.write(json.dumps({"file": path.name, **asdict(row)}, ensure_ascii=False) + "\n")
        if len(self._first) < SHOWN:
            self._first.append((path, row))

    def refuse(self, accepted: int) -> None:
        """Raise UserError if there are malformed rows; `accepted`: how many rows are not."""
        if not self._first:
            return
        total = self.counts.total()
        lines = [f"\n    {path}, line {row.line}: {row.reason}" for path, row in self._first]
        more = f"\n    and {total - len(lines)} more" if total > len(lines) else ""
        kinds = ("expected text", "expected a label", "expected a finite number")
        none = not accepted and len(self.counts) == 1 and all(row.reason.startswith(kinds) for _, row in self._first)
        raise UserError(
            f"{total} row{'s' if total > 1 else ''} cannot be read{', not one can' if none else ''}",
            expected="a text and a label in every row, as task and prepare in params.yaml say",
            found="".join(lines) + more,
            fix="set prepare.text_column, prepare.label_column and task in params.yaml to what the file holds"
            if none
            else f"correct the lines{self._hint()}; or set prepare.malformed_rows: quarantine in params.yaml: they are"
            " then kept apart in data/processed/quarantine.jsonl and counted",
        )

    def _hint(self) -> str:
        """What else than the lines may be at fault."""
        for path, row in self._first:
            if row.reason.startswith("expected UTF-8, found the byte"):
                return f"; if all of the file is in another encoding: {iconv(path)}"
            if row.reason.startswith(HOLDS_ROWS):
                quoted, literal = rewritten(path)
                return f"; if the quotes of the file are text: {literal}; if they enclose cells: {quoted}"
        return ""
