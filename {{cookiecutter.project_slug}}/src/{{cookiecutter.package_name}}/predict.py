"""Predict with the shipped model, without torch.

python -m {{ cookiecutter.package_name }}.predict --text "A warm, funny film."
python -m {{ cookiecutter.package_name }}.predict film.csv --output a.csv

The texts come from a file (JSON Lines, CSV, TSV or Parquet, by its name) or from JSON Lines on standard input. The
predictions go to a file or, as JSON Lines, to standard output, in the order of the texts and as soon as they are ready.
Each row holds its line, all columns of the input, and the prediction. An input column with the name of a prediction's
column gets the prefix `input_`. A malformed row, or one without text, is reported with its line and left out; the other
rows go on. The exit code is 0 if every line was predicted or is in the file of --rejects, else 1.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import tee
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from . import paths
from .errors import UserError, run_command
from .inference.classifier import BATCH_TOKENS, MODELS, OnnxClassifier, require_text
from .inference.outputs import Prediction
from .tables import Column, MalformedRow, Record, read_rows
from .tables.files import FORMATS
from .tables.writer import Row, Types, write_json_lines, write_rows
from .text.tokenization import Text

PREDICTION_COLUMNS = r"line|labels?|value|probabilit(ies|y_.*)|truncated|unknown_tokens"  # the columns of a prediction
MOSTLY = 0.5  # the share of unknown tokens above which a text is reported

Source = tuple[Text, Record | None]


def main() -> int:
    """Run the command and return its exit code, see `run`."""
    return run_command(lambda: run(parse()))


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("file", nargs="?", type=Path, help="texts to label; default: standard input")
    source.add_argument("--text", help="one text instead of a file")
    parser.add_argument("--column", default="text", help="column or key of the texts; default: %(default)s")
    parser.add_argument("--second-text", help="of a pair")
    parser.add_argument("--second-column", default="second_text", help="of pairs; default: %(default)s")
    parser.add_argument("--output", type=Path, help="file of the predictions; default: standard output")
    parser.add_argument("--only", action="store_true", help="write text and prediction, no line and no other column")
    parser.add_argument("--rejects", type=Path, help="file for the malformed rows")
    parser.add_argument("--model", choices=MODELS, help="default: int8 where it is shipped")
    parser.add_argument("--threads", type=int, help="default: all cores that this process may use")
    parser.add_argument("--batch-tokens", type=int, default=BATCH_TOKENS, help="largest batch; default: %(default)s")
    parser.add_argument("--directory", type=Path, default=paths.ONNX, help="of the model; default: %(default)s")
    return parser.parse_args()


def run(arguments: argparse.Namespace) -> int:
    """Predict for the texts that the arguments name. Returns 1 if rows are left out without --rejects, else 0."""
    require_files(arguments)
    classifier = OnnxClassifier(arguments.directory, arguments.model, arguments.threads, arguments.batch_tokens)
    report = Report()
    with (arguments.rejects or Path(os.devnull)).open("w", encoding="utf-8") as file:
        source = report.without_malformed(texts_of(arguments, pairs=classifier.task == "pair"), file)
        predictions = report.counted(predicted(classifier, source))
        rows = (row_of(*pair) for pair in tqdm(predictions, desc="predict", unit="text", disable=None))
        if arguments.output is None:
            write_json_lines(rows, sys.stdout)
        else:
            write_table(rows, arguments, classifier)
    report.show(arguments.rejects)
    return 1 if report.rejects and arguments.rejects is None else 0


def require_files(arguments: argparse.Namespace) -> None:
    """Refuse files that cannot be written, and one file for two purposes, before any work is done."""
    output, rejects, source = arguments.output, arguments.rejects, arguments.file
    if output and output.suffix.lower() not in FORMATS:
        raise UserError(
            f"the format of --output {output} is not known",
            expected=f"a name that ends in {', '.join(FORMATS)}",
            found=output.suffix or "no ending",
            fix=f"--output {output.with_suffix('.csv')}, which spreadsheets open too; or leave it out for JSON Lines",
        )
    for option, path in (("--output", output), ("--rejects", rejects)):
        if path and (path.is_dir() or not path.parent.is_dir()):
            raise UserError(
                f"{option} {path} cannot be written",
                expected="the name of a file in a folder that exists",
                found="a folder" if path.is_dir() else "no such folder",
                fix=f"name a file in it: {option} '{path / 'predictions.csv'}'"
                if path.is_dir()
                else f"mkdir -p '{path.parent}', then type the same again",
            )
    given = [path.resolve() for path in (source, output, rejects) if path]
    if len(set(given)) < len(given):
        raise UserError(
            "the texts, --output and --rejects must be different files",
            expected="different files",
            found=", ".join(map(str, given)),
            fix="name another for --output or --rejects",
        )


def texts_of(arguments: argparse.Namespace, *, pairs: bool) -> Iterable[Source | MalformedRow]:
    """The texts or pairs of texts that the arguments name, each with its input row."""
    if (arguments.second_text is not None) != (pairs and arguments.text is not None):
        raise UserError(
            "the model reads pairs of texts" if pairs else "the model reads one text at a time",
            expected="--text with --second-text" if pairs else "--text alone",
            found="one without the other" if pairs else "--second-text",
            fix="give both" if pairs else "leave --second-text out",
        )

    def source_of(*values: Any) -> Source:
        record, *parts = (None, *values) if arguments.only or arguments.text is not None else values
        text = tuple(parts) if pairs else parts[0]
        require_text(text, pairs=pairs)
        return text, record

    if arguments.text is not None:
        typed = [arguments.text, arguments.second_text] if pairs else [arguments.text]
        try:  # what was typed is UTF-8, however the locale decoded its bytes
            return [source_of(*(os.fsencode(text).decode(errors="surrogateescape") for text in typed))]
        except ValueError as error:
            expected, _, found = str(error).removeprefix("expected ").partition(", found ")
            fix = 'give some words: --text "…", or make predict TEXT="…"'
            raise UserError("--text cannot be read", expected=expected, found=found, fix=fix) from None
    columns = [Column(arguments.column, "--column", (str,)), Column(arguments.second_column, "--second-column", (str,))]
    source = arguments.file or sys.stdin.buffer
    return read_rows(source, columns if pairs else columns[:1], source_of, whole=not arguments.only)


def predicted(classifier: OnnxClassifier, source: Iterable[Source]) -> Iterator[tuple[Prediction, Record | None]]:
    """The prediction for each text, with the text's input row."""
    for_texts, for_records = tee(source)
    predictions = classifier.predict(text for text, _ in for_texts)
    return zip(predictions, (record for _, record in for_records), strict=True)


def row_of(prediction: Prediction, record: Record | None) -> Row:
    """A row of the output: line, input columns and prediction; without a record, the text and its prediction."""
    if record is None:
        return prediction
    own = {name: value for name, value in prediction.items() if name not in ("text", "second_text")}
    return {"line": record.line, **{column_of(name): value for name, value in record.cells.items()}, **own}


def column_of(name: str) -> str:
    """The output name of an input column; different columns get different names."""
    return f"input_{name}" if re.fullmatch(f"(input_)*({PREDICTION_COLUMNS})", name) else name


def write_table(rows: Iterable[Row], arguments: argparse.Namespace, classifier: OnnxClassifier) -> None:
    """Write the rows to the file of --output. From Parquet to Parquet, the input's columns keep their types."""

    def types() -> Types:
        if arguments.file is None or arguments.only or arguments.file.suffix.lower() != ".parquet":
            return {}
        import polars as pl

        schema = pl.scan_parquet(arguments.file, glob=False).collect_schema()
        return {column_of(name): kind for name, kind in schema.items()}

    if arguments.output.suffix.lower() not in (".jsonl", ".ndjson"):
        rows = map(classifier.format.flat, rows)
    texts = {"text": str} | ({"second_text": str} if classifier.task == "pair" else {})
    first = texts if arguments.only else {"line": int}
    write_rows(rows, arguments.output, first | classifier.format.columns(), types)


class Report:
    """Counts rows as they pass, and reports the counts on standard error."""

    def __init__(self) -> None:
        self.rejects = self.texts = self.truncated = self.unknown = 0

    def without_malformed(self, source: Iterable[Source | MalformedRow], file: TextIO) -> Iterator[Source]:
        """The source without its malformed rows, which are reported and written to the file as JSON Lines."""
        for item in source:
            if not isinstance(item, MalformedRow):
                yield item
                continue
            self.rejects += 1
            print(f"line {item.line} is left out: {item.reason}", file=sys.stderr)
            file.write(json.dumps(asdict(item), ensure_ascii=False) + "\n")

    def counted(self, pairs: Iterable[tuple[Prediction, Record | None]]) -> Iterator[tuple[Prediction, Record | None]]:
        """Count the pairs and pass them on."""
        for prediction, record in pairs:
            self.texts += 1
            self.truncated += prediction["truncated"]
            self.unknown += prediction["unknown_tokens"] > MOSTLY
            yield prediction, record

    def show(self, kept: Path | None) -> None:
        """Print how many texts were cut or are mostly unknown, and how many lines were left out."""
        if self.truncated:
            print(f"{self.truncated} of {self.texts} texts were cut: the model reads their beginning", file=sys.stderr)
        if self.unknown:
            found = f"{self.unknown} of {self.texts} texts are mostly of letters or words that the model does not know"
            print(found, file=sys.stderr)
        if self.rejects:
            where = f"see {kept}" if kept else "keep them with --rejects FILE"
            print(f"{self.rejects} lines were left out; {where}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
