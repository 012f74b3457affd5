"""Predict with the shipped model, without torch.

python -m {{ cookiecutter.package_name }}.predict --text "A warm, funny film."
python -m {{ cookiecutter.package_name }}.predict film.csv --output a.csv

The texts come from a file (JSON Lines, CSV, TSV or Parquet, by its name) or from JSON Lines on standard input. The
answers go to a file or, as JSON Lines, to standard output: in the order of the texts, as they come. A malformed row is
reported with its line and left out; the rest goes on. The command ends with 0 when every line was answered or stands in
the file of --rejects, else with 1.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from tqdm import tqdm

from . import paths
from .errors import UserError
from .inference.classifier import BATCH_TOKENS, MODELS, OnnxClassifier
from .inference.output_files import write_answers, write_json_lines
from .inference.texts import read_texts
from .tables import MalformedRow
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
    rejects = Rejects(arguments.rejects)
    with rejects, tqdm(desc="predict", unit="text", disable=None) as bar:
        answers = counted(classifier.predict(rejects.without(source)), bar)
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
    if arguments.text is None:
        second = arguments.second_column if pairs else None
        return read_texts(arguments.file or sys.stdin.buffer, arguments.column, second)
    return [(arguments.text, arguments.second_text) if pairs else arguments.text]


def counted(answers: Iterable[dict], bar: tqdm) -> Iterator[dict]:
    """The answers, each moving the bar."""
    for answer in answers:
        yield answer
        bar.update()


class Rejects:
    """The malformed rows: reported on standard error and, where a file is given, written there as JSON Lines."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.count = 0
        self._open = ExitStack()

    def __enter__(self) -> "Rejects":
        self.file = self._open.enter_context(self.path.open("w", encoding="utf-8")) if self.path else None
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def without(self, source: Iterable[Text | MalformedRow]) -> Iterator[Text]:
        """The texts of the source, without the malformed rows."""
        for item in source:
            if not isinstance(item, MalformedRow):
                yield item
                continue
            self.count += 1
            print(f"line {item.line} is left out: {item.reason}", file=sys.stderr)
            if self.file:
                record = {"line": item.line, "reason": item.reason, "content": item.content}
                self.file.write(json.dumps(record, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())
