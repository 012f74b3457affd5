"""Predict with the shipped model, without torch.

python -m {{ cookiecutter.package_name }}.predict --text "A warm, funny film."
python -m {{ cookiecutter.package_name }}.predict reviews.jsonl

A file, or standard input without one, holds JSON Lines with a key `text`; JSON Lines are printed.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TextIO

from . import paths
from .errors import UserError
from .inference import MODELS, OnnxClassifier

TEXTS_PER_WINDOW = 2048


def main() -> int:
    """Write one JSON line for each text, in order. 0 when all went well, 1 after a user's mistake."""
    arguments = parse()
    try:
        classifier = OnnxClassifier(arguments.directory, arguments.model, arguments.threads)
        texts = iter([arguments.text]) if arguments.text is not None else read_texts(arguments.file)
        while window := list(islice(texts, TEXTS_PER_WINDOW)):
            for prediction in classifier.predict(window):
                print(json.dumps(prediction, ensure_ascii=False))
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 1
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("file", nargs="?", type=argparse.FileType(encoding="utf-8"), default=sys.stdin)
    source.add_argument("--text", help="one text instead of a file")
    parser.add_argument("--model", choices=MODELS, default="int8")
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--directory", type=Path, default=paths.ONNX, help="default: %(default)s")
    return parser.parse_args()


def read_texts(file: TextIO) -> Iterator[str]:
    """The texts of JSON Lines, one by one."""
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            text = json.loads(line)["text"]
        except (json.JSONDecodeError, KeyError, TypeError):
            text = None
        if not isinstance(text, str):
            raise UserError(
                f"line {number} of {file.name} is refused",
                expected='a JSON object with a string under "text"',
                found=line.strip()[:80],
                remedy="mend or remove the line",
            )
        yield text


if __name__ == "__main__":
    sys.exit(main())
