"""Turn the values of a raw row into a clean row; count what is repaired, left out or malformed."""

import json
import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from shlex import quote
from typing import Any, TextIO

from ..config import Params
from ..errors import UserError
from ..tables import Column, MalformedRow
from ..tables.csv_reader import HOLDS_ROWS, rewritten
from ..tables.discovery import ADDITIONS
from ..tables.files import iconv
from ..tables.rows import as_text, kind_of
from ..text.cleaning import CONTROL, MANGLED, clean
from .labels import LabelReader, name_in, number_in
from .splits import Row, position_of_group

SHOWN = 5
# The beginnings of reasons that concern one value.
OF_A_VALUE = ("expected text", "expected a label", "expected a finite number")
TIME = "expected an ISO 8601 date or time, or a number"


class RowParser:
    """Parses the rows of one data set, in any order."""

    def __init__(self, params: Params) -> None:
        prepare = params.prepare
        self.accepted = 0
        self.repaired = Counter({"mangled_characters": 0, "control_characters": 0})
        self.dropped = Counter({"without_text": 0, "without_label": 0})
        self.labelled: Counter[bool] = Counter()  # rows with and without a label
        self.without_group = 0
        self.times: Counter[str] = Counter()  # what the time column holds: dates, numbers
        self._labels = LabelReader(params.task, prepare.label_separator, self.repaired)
        self._filter = prepare.keep
        self._filter_value = name_in(prepare.keep.value) if prepare.keep else None
        self._extra_columns = prepare.keep_columns
        self._pair = params.task == "pair"
        self._seed = prepare.split_seed
        self._text_of_group = prepare.text_of_group
        self._position = self._of_group if prepare.group_column else self._of_time if prepare.time_column else None
        columns = {  # parse() takes their values in this order
            "text_column": (prepare.text_column, str),
            "label_column": (prepare.label_column, str, int, float, *([list] if params.task == "multi_label" else [])),
            "second_text_column": (prepare.second_text_column, str),
            "group_column": (None if prepare.text_of_group is not None else prepare.group_column, str, int, float),
            "time_column": (prepare.time_column, str, int, float, date),
            **{f"keep_columns[{number}]": (name, object) for number, name in enumerate(prepare.keep_columns)},
            "keep.column": (prepare.keep.column if prepare.keep else None, object),
        }
        self.columns = [
            Column(name, f"prepare.{key} in params.yaml", tuple(takes))
            for key, (name, *takes) in columns.items()
            if name
        ]

    def parse(self, text: Any, label: Any, *more: Any) -> Row | None:
        """The clean row, or None for a row that is left out. Raises ValueError for a malformed row.

        more: the values of the other columns; of the additions, only the second text of a pair.
        """
        others = more[self._pair :]
        if others and self._filter and name_in(others[-1]) != self._filter_value:
            return None
        cleaned = _cleaned(text)
        second = _cleaned(more[0]) if self._pair else None
        target = self._labels.read(label)
        self.labelled[bool(target)] += 1
        if not cleaned or second == "" or target is None:
            self.dropped["without_label" if cleaned and second != "" else "without_text"] += 1
            return None
        if self._text_of_group is not None:
            others = ((cleaned, second)[self._text_of_group], *others)
        position = self._position(others[0]) if others and self._position else None
        kept = dict(zip(self._extra_columns, map(as_text, others[bool(self._position) :]), strict=False))
        raw = f"{text}{more[0]}" if self._pair else text
        if raw != cleaned and not raw.isprintable():
            self.repaired["mangled_characters"] += bool(MANGLED.search(raw))
            self.repaired["control_characters"] += bool(CONTROL.search(raw))
        self.accepted += 1
        return cleaned, second, target, position, json.dumps(kept, ensure_ascii=False) if kept else None

    def reader_of(self, table: str) -> tuple[list[Column], Callable[..., Row | None]]:
        """The columns to read from a table, and the function that parses their values."""
        return self.columns[: 2 + self._pair] if table == ADDITIONS else self.columns, self.parse

    def _of_group(self, value: Any) -> float | None:
        """The position of the rows of a group; None for a row without a group."""
        if isinstance(value, (list, dict)) or value != value:
            raise ValueError(f"expected a group (text or a number), found {kind_of(value)}")
        group = name_in(value)
        self.without_group += not group
        return position_of_group(group, self._seed) if group else None

    def _of_time(self, value: Any) -> float:
        """The position of a row by its time, the latest first."""
        time, kind = time_of(value)
        self.times[kind] += 1
        return -time

    def time_at(self, position: float) -> str | float:
        """The time at a position: a number, or an ISO 8601 time if the column holds dates."""
        return -position if self.times["numbers"] else datetime.fromtimestamp(-position, UTC).isoformat()

    def check_times(self) -> None:
        """Refuse a time column that mixes dates and numbers, because nothing orders them."""
        if len(self.times) > 1:
            raise UserError(
                "the column of prepare.time_column holds two kinds of times",
                expected="ISO 8601 dates or times in every row, or numbers in every row",
                found=" and ".join(f"{kind} in {count} rows" for kind, count in sorted(self.times.items())),
                fix="write them alike, or set prepare.time_column in params.yaml to another column",
            )

    def no_rows(self, path: Path) -> UserError:
        """The error for a table that gives no rows."""
        keep = self._filter
        return UserError(
            f"{path} gives no rows" + (f" with {keep.value!r} in the column {keep.column!r}" if keep else ""),
            expected="rows with a text and a label",
            found=", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in self.dropped.items()),
            fix="add rows, or set prepare.text_column, label_column and keep in params.yaml",
        )


def time_of(value: Any) -> tuple[float, str]:
    """The number in a cell, or the seconds since 1970 of its ISO 8601 time (UTC without a zone); and which it is."""
    text = value.isoformat() if isinstance(value, date) else value
    with suppress(ValueError):
        if number := number_in(text):
            return float(number), "numbers"
    with suppress(ValueError, TypeError, OverflowError):
        found = datetime.fromisoformat(text)
        seconds = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
        datetime.fromtimestamp(seconds, UTC)  # raises for a time that UTC writes with the year 0 or 10000
        return seconds, "dates"
    raise ValueError(f"{TIME}, found {kind_of(text)}")


def _cleaned(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"expected text, found {kind_of(value)}")
    return clean(value)


def unlabelled(table: str, files: list[Path], params: Params, found: str) -> UserError:
    """The error for a table without labels, such as the test table of a competition."""
    columns = f"--column {quote(params.prepare.text_column)}"
    if params.prepare.second_text_column:
        columns += f" --second-column {quote(params.prepare.second_text_column)}"
    return UserError(
        f"{files[0]} has no labels, so nothing can be measured on it",
        expected=f"labels in the column {params.prepare.label_column!r}, as in the table of the training rows",
        found=found,
        fix=f"take it out: mv {' '.join(quote(str(path)) for path in files)} .;"
        f" {table} rows are then split off the others. Label it with the trained model:"
        f" python -m {__name__.split('.')[0]}.predict {quote(files[0].name)} {columns}",
    )


class MalformedRows:
    """Counts the malformed rows of all files, and writes them as JSON Lines."""

    def __init__(self, file: TextIO) -> None:
        self.counts: Counter[str] = Counter()
        self._first: list[tuple[Path, MalformedRow, list[Column]]] = []
        self._file = file

    def add(self, path: Path, row: MalformedRow, columns: list[Column]) -> None:
        """Write a malformed row, and count it under the part of its reason that all rows of its kind share."""
        self.counts[row.reason.partition(", found")[0]] += 1
        self._file.write(json.dumps({"file": path.name, **asdict(row)}, ensure_ascii=False) + "\n")
        if len(self._first) < SHOWN:
            self._first.append((path, row, columns))

    def refuse(self, accepted: int) -> None:
        """Raise UserError if there are malformed rows; `accepted`: the number of rows that are not malformed."""
        if not self._first:
            return
        total = self.counts.total()
        lines = [f"\n    {path}, line {row.line}: {row.reason}" for path, row, _ in self._first]
        more = f"\n    and {total - len(lines)} more" if total > len(lines) else ""
        raise UserError(
            f"{total} row{'s' if total > 1 else ''} cannot be read{'' if accepted else ', not one can'}",
            expected="a text and a label in every row, as task and prepare in params.yaml say",
            found="".join(lines) + more,
            fix=self._fix(accepted),
        )

    def _fix(self, accepted: int) -> str:
        """What to do about most of the rows; `accepted`: see `refuse`."""
        reasons = [row.reason for _, row, _ in self._first]
        [(kind, count)] = self.counts.most_common(1)
        if kind.startswith("expected labels separated") and count > accepted:
            formats = 'JSON Lines or Parquet (to_json(orient="records", lines=True), to_parquet)'
            return f"Python printed these lists: write the table as {formats}, or its lists with json.dumps"
        if accepted:
            kept = "they are then kept apart in data/processed/quarantine.jsonl and counted"
            return f"correct the lines{self._hint()}; or set prepare.malformed_rows: quarantine in params.yaml: {kept}"
        if count == self.counts.total() and kind.startswith((*OF_A_VALUE, TIME)):
            columns = "prepare.time_column" if kind == TIME else "prepare.text_column, prepare.label_column and task"
            return f"set {columns} in params.yaml to what the file holds, or write what they ask for (0.5, not 0,5)"
        if kind.startswith("expected labels without"):
            return "set prepare.label_separator in params.yaml to a sign that no label holds"
        cells = [re.fullmatch(r"expected (\d+) columns, found (\d+)", reason) for reason in reasons]
        if all(found and int(found[2]) == int(found[1]) + 1 for found in cells):
            header = f"name all columns in line 1 of {self._first[0][0]}: it has one name too few"
            return f"{header} (R leaves out the first, of the row names); or quote the texts that hold the delimiter"
        return f"correct the lines{self._hint()}"

    def _hint(self) -> str:
        """What else may be wrong, apart from the lines."""
        for path, row, columns in self._first:
            if row.reason.startswith("expected UTF-8, found the byte"):
                return f"; if all of the file is in another encoding: {iconv(path)}"
            if row.reason.startswith(HOLDS_ROWS):
                quoted, literal = rewritten(path, columns)
                return f"; if the quotes of the file are text: {literal}; if they enclose cells: {quoted}"
        return ""
