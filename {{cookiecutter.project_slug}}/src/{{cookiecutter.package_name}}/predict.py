"""Predict with the shipped model, without torch.

python -m {{ cookiecutter.package_name }}.predict --text "A warm, funny film."
python -m {{ cookiecutter.package_name }}.predict film.csv --output a.csv

The texts come from a file (JSON Lines, CSV, TSV or Parquet, by its name) or from JSON Lines on standard input. The
predictions go to a file or, as JSON Lines, to standard output: in the order of the texts, as they come. Each row has
its line, all columns of the input, then the prediction; an input's column that is called like one of a prediction gets
`input_` before its name. A malformed row, or one without text, is reported with its line and left out; the rest goes
on. The command ends with 0 when every line was predicted or stands in the file of --rejects, else with 1.
"""

import argparse
import json
import os
import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from . import paths
from .errors import UserError, run_command
from .inference.classifier import BATCH_TOKENS, MODELS, OnnxClassifier, require_text
from .inference.outputs import Answer
from .tables import Column, MalformedRow, Record, read_rows
from .tables.files import FORMATS
from .tables.writer import Row, Types, write_json_lines, write_rows
from .text.tokenization import Text

OWN = r"line|labels?|value|probabilit(ies|y_.*)|truncated|unknown_tokens"  # the columns of a prediction
MOSTLY = 0.5  # share of unknown tokens

Source = tuple[Text, Record | None]


def main() -> int:
    """Predict for every text of the source; 0 when nothing was lost."""
    return run_command(lambda: run(parse()))


def parse() -> argparse.Namespace:
    """The command line."""
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
    """Predict what the arguments name; 0 when nothing was lost."""
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
    """Refuse, before any work, files that cannot be written, and one file for two purposes."""
    output, rejects, source = arguments.output, arguments.rejects, arguments.file
    if output and output.suffix.lower() not in FORMATS:
        raise UserError(
            f"the format of --output {output} is not known",
            expected=f"a name that ends in {', '.join(FORMATS)}",
            found=output.suffix or "no ending",
            fix=f"--output {output.with_suffix('.csv')}, which spreadsheets open too; or leave it out for JSON Lines",
        )
    for option, path in (("--output", output), ("--rejects", rejects)):
        if path and not path.parent.is_dir():
            raise UserError(
                f"{option} {path} cannot be written",
                expected=f"a folder {path.parent}",
                found="no such folder",
                fix=f"mkdir -p '{path.parent}', then type the same again",
            )
        if path and path.is_dir():
            raise UserError(
                f"{option} {path} cannot be written",
                expected="the name of a file",
                found="a folder",
                fix=f"name a file in it: {option} '{path / 'predictions.csv'}'",
            )
    given = [path.resolve() for path in (source, output, rejects) if path]
    if len(set(given)) < len(given):
        raise UserError(
            "one file cannot be two of texts, --output and --rejects",
            expected="different files",
            found=", ".join(map(str, given)),
            fix="name another for --output or --rejects",
        )


def texts_of(arguments: argparse.Namespace, *, pairs: bool) -> Iterable[Source | MalformedRow]:
    """The texts, or pairs of them, that the arguments name, each with its row."""
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
        try:  # what was typed is UTF-8, whatever the locale made of its bytes
            return [source_of(*(os.fsencode(text).decode(errors="surrogateescape") for text in typed))]
        except ValueError as error:
            expected, _, found = str(error).removeprefix("expected ").partition(", found ")
            fix = 'give some words: --text "…", or make predict TEXT="…"'
            raise UserError("--text cannot be read", expected=expected, found=found, fix=fix) from None
    columns = [Column(arguments.column, "--column", (str,)), Column(arguments.second_column, "--second-column", (str,))]
    source = arguments.file or sys.stdin.buffer
    return read_rows(source, columns if pairs else columns[:1], source_of, whole=not arguments.only)


def predicted(classifier: OnnxClassifier, source: Iterable[Source]) -> Iterator[tuple[Answer, Record | None]]:
    """The prediction for each text, with the row of the text."""
    waiting: deque[Record | None] = deque()

    def texts() -> Iterator[Text]:
        for text, record in source:
            waiting.append(record)
            yield text

    for answer in classifier.predict(texts()):
        yield answer, waiting.popleft()


def row_of(answer: Answer, record: Record | None) -> Row:
    """A row of the output: the line, the input's columns and the prediction; or the text and its prediction."""
    if record is None:
        return answer
    own = {name: value for name, value in answer.items() if name not in ("text", "second_text")}
    return {"line": record.line, **{column_of(name): value for name, value in record.cells.items()}, **own}


def column_of(name: str) -> str:
    """What a column of the input is called in the output, different for different columns."""
    return f"input_{name}" if re.fullmatch(f"(input_)*({OWN})", name) else name


def write_table(rows: Iterable[Row], arguments: argparse.Namespace, classifier: OnnxClassifier) -> None:
    """Write the rows into the file of --output; the columns of Parquet keep their types in Parquet."""

    def types() -> Types:
        if arguments.file is None or arguments.only or arguments.file.suffix.lower() != ".parquet":
            return {}
        import polars as pl

        return {column_of(name): kind for name, kind in pl.read_parquet_schema(arguments.file).items()}

    if arguments.output.suffix.lower() not in (".jsonl", ".ndjson"):
        rows = map(classifier.answers.flat, rows)
    first = {"text": str} if arguments.only else {"line": int}
    write_rows(rows, arguments.output, first | classifier.answers.columns(), types)


class Report:
    """What is counted while the rows pass, and reported on standard error."""

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

    def counted(self, pairs: Iterable[tuple[Answer, Record | None]]) -> Iterator[tuple[Answer, Record | None]]:
        """The same pairs."""
        for answer, record in pairs:
            self.texts += 1
            self.truncated += answer["truncated"]
            self.unknown += answer["unknown_tokens"] > MOSTLY
            yield answer, record

    def show(self, kept: Path | None) -> None:
        """Print what was not as it should be."""
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
