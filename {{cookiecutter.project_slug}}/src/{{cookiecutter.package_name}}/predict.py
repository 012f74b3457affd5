"""Predict with the shipped model, without torch.

python -m {{ cookiecutter.package_name }}.predict --text "A warm, funny film."
python -m {{ cookiecutter.package_name }}.predict film.csv --output a.csv

The texts come from a file (JSON Lines, CSV, TSV or Parquet, by its name) or from JSON Lines on standard input. The
answers go to a file or, as JSON Lines, to standard output: in the order of the texts, as they come. A malformed row is
reported with its line and left out; the rest goes on. The command ends with 0 when every line was answered or stands in
the file of --rejects, else with 1.
"""

import argparse
import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from . import paths
from .errors import UserError
from .inference.classifier import BATCH_TOKENS, MODELS, OnnxClassifier
from .inference.outputs import Answer, Answers
from .tables import Column, MalformedRow, read_rows
from .tables.files import DELIMITERS, format_of
from .tables.rows import kind_of
from .text.tokenization import Text


def main() -> int:
    """Answer every text of the source. 0 when nothing was lost, 1 after a user's mistake, 130 when stopped."""
    arguments = parse()
    try:
        return run(arguments)
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("file", nargs="?", type=Path, help="texts to label; default: standard input")
    source.add_argument("--text", help="one text instead of a file")
    parser.add_argument("--column", default="text", help="column or key of the texts; default: %(default)s")
    parser.add_argument("--second-text", help="of a pair")
    parser.add_argument("--second-column", default="second_text", help="of pairs; default: %(default)s")
    parser.add_argument("--output", type=Path, help="file of the answers; default: standard output")
    parser.add_argument("--rejects", type=Path, help="file for the malformed rows")
    parser.add_argument("--model", choices=MODELS, default="int8", help="default: %(default)s")
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--batch-tokens", type=int, default=BATCH_TOKENS, help="largest batch; default: %(default)s")
    parser.add_argument("--directory", type=Path, default=paths.ONNX, help="of the model; default: %(default)s")
    return parser.parse_args()


def run(arguments: argparse.Namespace) -> int:
    """Answer what the arguments name; 0 when nothing was lost."""
    classifier = OnnxClassifier(arguments.directory, arguments.model, arguments.threads, arguments.batch_tokens)
    source = texts_of(arguments, pairs=classifier.task == "pair")
    with (arguments.rejects or Path(os.devnull)).open("w", encoding="utf-8") as file:
        rejects = Rejects(file)
        answers = tqdm(classifier.predict(rejects.without(source)), desc="predict", unit="text", disable=None)
        if arguments.output is None:
            write_json_lines(answers, sys.stdout)
        else:
            write_answers(answers, arguments.output, classifier.answers)
    if rejects.count:
        kept = f"see {arguments.rejects}" if arguments.rejects else "keep them with --rejects FILE"
        print(f"{rejects.count} lines were left out; {kept}", file=sys.stderr)
    return 1 if rejects.count and arguments.rejects is None else 0


def texts_of(arguments: argparse.Namespace, *, pairs: bool) -> Iterable[Text | MalformedRow]:
    """The texts, or pairs of them, that the arguments name."""
    if (arguments.second_text is not None) != (pairs and arguments.text is not None):
        raise UserError(
            "the model reads pairs of texts" if pairs else "the model reads one text at a time",
            expected="--text with --second-text" if pairs else "--text alone",
            found="one without the other" if pairs else "--second-text",
            fix="give both" if pairs else "leave --second-text out",
        )
    if arguments.text is not None:
        return [(arguments.text, arguments.second_text) if pairs else arguments.text]
    columns = [Column(arguments.column, "--column"), Column(arguments.second_column, "--second-column")]
    return read_rows(arguments.file or sys.stdin.buffer, columns if pairs else columns[:1], text_of)


def text_of(*values: Any) -> Text:
    """The text of a row, or its pair of texts. Raises ValueError for another value."""
    for value in values:
        if not isinstance(value, str):
            raise ValueError(f"expected text, found {kind_of(value)}")
    return (values[0], values[1]) if len(values) > 1 else values[0]


class Rejects:
    """The malformed rows: counted, reported on standard error, and written to a file as JSON Lines."""

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.count = 0

    def without(self, source: Iterable[Text | MalformedRow]) -> Iterator[Text]:
        """The texts of the source, without the malformed rows."""
        for item in source:
            if not isinstance(item, MalformedRow):
                yield item
                continue
            self.count += 1
            print(f"line {item.line} is left out: {item.reason}", file=sys.stderr)
            self.file.write(json.dumps(asdict(item), ensure_ascii=False) + "\n")


def write_json_lines(answers: Iterable[Answer], file: TextIO) -> None:
    """One JSON object per line."""
    for answer in answers:
        file.write(json.dumps(answer, ensure_ascii=False) + "\n")


def write_answers(answers: Iterable[Answer], path: Path, form: Answers) -> None:
    """Write JSON Lines, CSV, TSV or Parquet, by the file's name; to a file beside `path` first, then rename."""
    suffix = format_of(path)
    beside = path.with_name(f".{path.name}.partial")
    columns = form.columns()
    try:
        with beside.open("w", encoding="utf-8", newline="\n") as file:
            if suffix in DELIMITERS:
                rows = csv.writer(file, delimiter=DELIMITERS[suffix], lineterminator="\n")
                rows.writerow(columns)
                rows.writerows(map(form.cells, answers))
            elif suffix == ".parquet":
                write_json_lines((dict(zip(columns, form.cells(one), strict=True)) for one in answers), file)
            else:
                write_json_lines(answers, file)
        if suffix == ".parquet":
            _to_parquet(beside, columns)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _to_parquet(path: Path, columns: dict[str, type]) -> None:
    """Make Parquet of JSON Lines: it is written by columns, and memory is not to grow with the rows."""
    import polars as pl

    lines = path.rename(f"{path}.lines")
    try:
        schema = {name: pl.DataType.from_python(kind) for name, kind in columns.items()}
        pl.scan_ndjson(lines, schema=schema).sink_parquet(path)
    finally:
        lines.unlink()


if __name__ == "__main__":
    sys.exit(main())
