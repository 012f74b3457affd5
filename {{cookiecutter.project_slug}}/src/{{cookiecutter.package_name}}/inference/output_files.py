"""Write answers as JSON Lines, CSV, TSV or Parquet, by the file's name."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from ..tables.files import format_of
from .outputs import Answer, Answers


def write_json_lines(answers: Iterable[Answer], file: TextIO) -> None:
    """One JSON object per line."""
    for answer in answers:
        file.write(json.dumps(answer, ensure_ascii=False) + "\n")


def write_answers(answers: Iterable[Answer], path: Path, form: Answers) -> None:
    """Write JSON Lines, CSV, TSV or Parquet, by the file's name; to a file beside `path` first, then rename."""
    suffix = format_of(path)
    beside = path.with_name(f".{path.name}.partial")
    try:
        if suffix == ".parquet":
            _write_parquet(answers, beside, form)
        else:
            with beside.open("w", encoding="utf-8", newline="\n") as file:
                if suffix in (".csv", ".tsv"):
                    _write_csv(answers, file, form, "\t" if suffix == ".tsv" else ",")
                else:
                    write_json_lines(answers, file)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _write_csv(answers: Iterable[Answer], file: TextIO, form: Answers, delimiter: str) -> None:
    rows = csv.writer(file, delimiter=delimiter, lineterminator="\n")
    rows.writerow(form.columns())
    rows.writerows(form.cells(answer) for answer in answers)


def _write_parquet(answers: Iterable[Answer], path: Path, form: Answers) -> None:
    """Through a file of JSON Lines, because Parquet is written by columns: memory does not grow with the rows."""
    import polars as pl

    columns = form.columns()
    lines = path.with_name(f"{path.name}.lines")
    try:
        with lines.open("w", encoding="utf-8", newline="\n") as file:
            write_json_lines((dict(zip(columns, form.cells(answer), strict=True)) for answer in answers), file)
        pl.scan_ndjson(
            lines, schema={name: pl.DataType.from_python(kind) for name, kind in columns.items()}
        ).sink_parquet(path)
    finally:
        lines.unlink(missing_ok=True)
