"""Predicting with the shipped model, as `predict` does, in the process that prints the seconds.

    python benchmarks/classify.py review_sentiment TEXTS.jsonl OUT.json --model fp32 --threads 2

In the project's root, its src on PYTHONPATH. Importing, loading and a few texts come before the clock.
"""

import argparse
import importlib
import json
import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from machine import peak
from stage import SPIN

ONNXRUNTIMES_SPIN = "-1"  # its default


def main() -> None:
    """Write the labels."""
    parser = argparse.ArgumentParser()
    parser.add_argument("package")
    parser.add_argument("texts", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--one-by-one", action="store_true")
    parser.add_argument("--drop", action="store_true", help="do not keep the answers: only memory and time count")
    arguments = parser.parse_args()
    inference = importlib.import_module(f"{arguments.package}.inference")
    if SPIN in os.environ:
        importlib.import_module(f"{arguments.package}.inference.classifier").SPIN_MICROSECONDS = ONNXRUNTIMES_SPIN
    classifier = inference.OnnxClassifier(Path("models/onnx"), arguments.model, arguments.threads)
    list(classifier.predict(["A few", "texts to", "warm up with."]))
    start, before = time.perf_counter(), time.process_time()
    if arguments.one_by_one:
        answers = [next(classifier.predict([text])) for text in texts_in(arguments.texts)]
    elif arguments.drop:
        answers = deque(classifier.predict(texts_in(arguments.texts)), maxlen=1)
    else:
        answers = list(classifier.predict(texts_in(arguments.texts)))
    seconds, processor = time.perf_counter() - start, time.process_time() - before
    arguments.out.write_text(json.dumps([answer["label"] for answer in answers]), encoding="utf-8")
    print(json.dumps({"seconds": seconds, "processor": processor, "peak": peak()}))


def texts_in(path: Path) -> Iterator[str]:
    """The texts, one after the other."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)["text"]


if __name__ == "__main__":
    main()
