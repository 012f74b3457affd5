"""Prediction beside a plain loop over onnxruntime: throughput, memory, cold start.

    python benchmarks/predict.py build/review-sentiment

The project must have been run (`make demo`). The plain loop is what one would write: 32 texts at a time, as they come,
padded to the longest. Both run in processes of their own, interleaved, on the same texts and threads.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl
import psutil
from machine import machine

PLAIN_LOOP = """
import json, sys, time
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

directory, model, texts = sys.argv[1:]
tokenizer = Tokenizer.from_file(f"{directory}/tokenizer.json")
tokenizer.enable_truncation(128)
tokenizer.enable_padding()
session = onnxruntime.InferenceSession(f"{directory}/{model}", providers=["CPUExecutionProvider"])
texts = [json.loads(line)["text"] for line in open(texts, encoding="utf-8")]
start = time.perf_counter()
labels = []
for place in range(0, len(texts), 32):
    encoded = tokenizer.encode_batch(texts[place : place + 32])
    ids = np.array([one.ids for one in encoded])
    mask = np.array([one.attention_mask for one in encoded])
    logits = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]
    labels += logits.argmax(axis=1).tolist()
print(time.perf_counter() - start)
"""
OURS = """
import json, sys, time
from pathlib import Path
from PACKAGE.inference import OnnxClassifier

directory, model, texts = sys.argv[1:]
classifier = OnnxClassifier(Path(directory), "int8" if "int8" in model else "fp32")
texts = [json.loads(line)["text"] for line in open(texts, encoding="utf-8")]
start = time.perf_counter()
labels = [answer["label"] for answer in classifier.predict(texts)]
print(time.perf_counter() - start)
"""


def main() -> None:
    """Print one line for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--texts", type=int, default=4000, help="for throughput; default: %(default)s")
    parser.add_argument("--many", type=int, default=100_000, help="for memory; default: %(default)s")
    arguments = parser.parse_args()
    project = arguments.project.resolve()
    package = next(path.parent.name for path in project.glob("src/*/predict.py"))
    environment = os.environ | {"PYTHONPATH": str(project / "src")}
    print(machine("onnxruntime", "tokenizers", "numpy"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for count in (1000, arguments.texts, arguments.many):
            write_texts(project, folder / f"{count}.jsonl", count)
        for model in ("onnx/model.onnx", "onnx/model_int8.onnx"):
            command = [str(project / "models/onnx"), model, str(folder / f"{arguments.texts}.jsonl")]
            ratios, speeds = [], []
            for _ in range(arguments.pairs):
                seconds = {
                    code: float(printed(["-c", code.replace("PACKAGE", package), *command], environment))
                    for code in (PLAIN_LOOP, OURS)
                }
                ratios.append(seconds[PLAIN_LOOP] / seconds[OURS])
                speeds.append(arguments.texts / seconds[OURS])
            print(
                f"{model}: {statistics.median(speeds):.0f} texts/s,"
                f" {statistics.median(ratios):.2f} times the plain loop"
                f" ({min(ratios):.2f} to {max(ratios):.2f}; n = {arguments.pairs} pairs of {arguments.texts} texts)",
                flush=True,
            )
        peaks = {
            count: peak_memory(project, package, folder / f"{count}.jsonl", environment)
            for count in (1000, arguments.many)
        }
        grown = peaks[arguments.many] - peaks[1000]
        print(f"peak memory, int8: {peaks[1000]:.0f} MB for 1,000 texts, {grown:+.0f} MB for {arguments.many:,}")
    starts = [cold_start(project, package, environment) for _ in range(arguments.pairs)]
    print(
        f"cold start to the first answer, int8: {statistics.median(starts):.2f} s"
        f" ({min(starts):.2f} to {max(starts):.2f}; n = {arguments.pairs})"
    )


def write_texts(project: Path, path: Path, count: int) -> None:
    """The texts of all splits in a drawn order, over and over, as JSON Lines."""
    tables = [pl.read_parquet(table) for table in sorted((project / "data/processed").glob("*.parquet"))]
    texts = pl.concat(tables)["text"].shuffle(seed=0).to_list()
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            file.write(json.dumps({"text": texts[number % len(texts)]}) + "\n")


def printed(arguments: list[str], environment: dict[str, str]) -> str:
    """What a Python process printed."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def peak_memory(project: Path, package: str, texts: Path, environment: dict[str, str]) -> float:
    """The largest resident memory of the predict command, in MB."""
    command = [sys.executable, "-m", f"{package}.predict", str(texts), "--output", str(texts.with_suffix(".csv"))]
    run = subprocess.Popen(command, cwd=project, env=environment)
    peak = 0
    while run.poll() is None:
        peak = max(peak, psutil.Process(run.pid).memory_info().rss)
        time.sleep(0.02)
    if run.returncode:
        raise subprocess.CalledProcessError(run.returncode, command)
    return peak / 1e6


def cold_start(project: Path, package: str, environment: dict[str, str]) -> float:
    """Seconds from typing the command to its answer for one text."""
    start = time.perf_counter()
    command = [sys.executable, "-m", f"{package}.predict", "--text", "A warm, funny film."]
    subprocess.run(command, cwd=project, env=environment, capture_output=True, check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
