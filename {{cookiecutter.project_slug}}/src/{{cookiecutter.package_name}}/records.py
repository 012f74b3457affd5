"""Texts from a file, one by one, and predictions into one: JSON Lines, CSV, TSV or Parquet, by the file's name."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, TextIO

from .rows import Column, Rejected, format_of, kind_of, read_rows

Prediction = dict[str, Any]


def read_texts(source: Path | IO[bytes], column: str) -> Iterator[str | Rejected]:
    """The texts of a file, or of JSON Lines from a stream, that stand under `column`; what is none in its place."""
    return read_rows(source, [Column(column, "--column")], _text)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected text, found {kind_of(value)}")
    return value


def write_json_lines(predictions: Iterable[Prediction], file: TextIO) -> None:
    """One JSON object per line."""
    for prediction in predictions:
        file.write(json.dumps(prediction, ensure_ascii=False) + "\n")


def write_predictions(predictions: Iterable[Prediction], path: Path, labels: Sequence[str]) -> None:
    """Write to a file beside `path`, then rename. Tables have the columns text, label and one for each label."""
    suffix = format_of(path)
    beside = path.with_name(f".{path.name}.partial")
    try:
        if suffix == ".parquet":
            _write_parquet(predictions, beside, labels)
        else:
            with beside.open("w", encoding="utf-8", newline="\n") as file:
                if suffix in (".csv", ".tsv"):
                    _write_csv(predictions, file, labels, "\t" if suffix == ".tsv" else ",")
                else:
                    write_json_lines(predictions, file)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _write_csv(predictions: Iterable[Prediction], file: TextIO, labels: Sequence[str], delimiter: str) -> None:
    rows = csv.writer(file, delimiter=delimiter, lineterminator="\n")
    rows.writerow(_columns(labels))
    rows.writerows(_cells(prediction) for prediction in predictions)


def _write_parquet(predictions: Iterable[Prediction], path: Path, labels: Sequence[str]) -> None:
    """Through a file of JSON Lines, because Parquet is written by columns: memory does not grow with the rows."""
    import polars as pl

    columns = _columns(labels)
    lines = path.with_name(f"{path.name}.lines")
    try:
        with lines.open("w", encoding="utf-8", newline="\n") as file:
            write_json_lines((dict(zip(columns, _cells(row), strict=True)) for row in predictions), file)
        schema = dict.fromkeys(columns[:2], pl.String) | dict.fromkeys(columns[2:], pl.Float64)
        pl.scan_ndjson(lines, schema=schema).sink_parquet(path)
    finally:
        lines.unlink(missing_ok=True)


def _columns(labels: Sequence[str]) -> list[str]:
    return ["text", "label", *(f"probability_{label}" for label in labels)]


def _cells(prediction: Prediction) -> list[Any]:
    return [prediction["text"], prediction["label"], *prediction["probabilities"].values()]
