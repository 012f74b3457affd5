"""`predict`: any of four formats in and out, in order, bad lines aside, memory bounded, no torch."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from small_project import PACKAGE, ROOT, sentences

from {{ cookiecutter.package_name }}.inference.classifier import (
    WINDOW,
    OnnxClassifier,
)

pytestmark = pytest.mark.slow
TEXTS = ["a warm funny film", "", 'dull, and "stale"\nand tired', "a moving story \U0001f600"]


def predict(project: Path, *arguments: str | Path, given: str | bytes = "") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", f"{PACKAGE}.predict", *arguments],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        input=given.encode() if isinstance(given, str) else given,
        capture_output=True,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def test_it_needs_no_torch() -> None:
    heavy = {"cryptography", "polars", "pydantic", "torch", "transformers"}
    code = f"import {PACKAGE}.predict, sys; print({heavy} & sys.modules.keys())"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert shown.stdout.strip() == "set()"


def test_json_lines_from_standard_input(trained: Path) -> None:
    done = predict(trained, given="".join(json.dumps({"text": text, "id": 1}) + "\n" for text in TEXTS))
    shown = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert [line["text"] for line in shown] == TEXTS
    assert [line["label"] for line in shown][::2] == ["good", "bad"]
    assert sum(shown[0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv", "parquet"])
def test_every_format_goes_in_and_comes_out(trained: Path, tmp_path: Path, suffix: str) -> None:
    source, output = tmp_path / f"texts.{suffix}", tmp_path / f"answers.{suffix}"
    write_texts(source, "review")
    done = predict(trained, source, "--column", "review", "--output", output)
    assert done.returncode == 0, done.stderr
    answers = read_answers(output)
    assert answers["text"].to_list() == TEXTS
    assert answers["label"].to_list() == [
        row["label"] for row in OnnxClassifier(trained / "models/onnx").predict(TEXTS)
    ]
    if suffix != "jsonl":
        assert answers.columns == ["text", "label", "probability_bad", "probability_good"]
        assert answers["probability_good"].to_list() == pytest.approx(
            (1 - answers["probability_bad"]).to_list(), abs=1e-5
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([source.name, output.name])


def write_texts(path: Path, column: str) -> None:
    table = pl.DataFrame({"number": range(len(TEXTS)), column: TEXTS})
    match path.suffix:
        case ".jsonl":
            table.write_ndjson(path)
        case ".parquet":
            table.write_parquet(path)
        case suffix:
            table.write_csv(path, separator="\t" if suffix == ".tsv" else ",")


def read_answers(path: Path) -> pl.DataFrame:
    match path.suffix:
        case ".jsonl":
            return pl.read_ndjson(path)
        case ".parquet":
            return pl.read_parquet(path)
        case suffix:
            return pl.read_csv(path, separator="\t" if suffix == ".tsv" else ",").fill_null("")


BAD_LINES = {
    "jsonl": (
        b'{"text": "one"}\n{"txt": "b"}\n{"text": 5}\n[1]\n{"text": "caf\xe9"}\n'
        b'{"text": "\\ud800"}\n{\n\n{"text": "two"}\n',
        [2, 3, 4, 5, 6, 7],
    ),
    "csv": (b"id,text\n1,one\n2\n3,a,b\n4,caf\xe9\n\n6,two\n", [3, 4, 5]),
}


@pytest.mark.parametrize("suffix", BAD_LINES)
def test_bad_lines_go_aside_and_the_rest_goes_on(trained: Path, tmp_path: Path, suffix: str) -> None:
    content, bad = BAD_LINES[suffix]
    source, rejects = tmp_path / f"texts.{suffix}", tmp_path / "rejects.jsonl"
    source.write_bytes(content)
    done = predict(trained, source)
    assert done.returncode == 1
    assert [json.loads(line)["text"] for line in done.stdout.splitlines()] == ["one", "two"]
    assert all(f"line {line} is left out: expected " in done.stderr for line in bad)
    assert "keep them with --rejects FILE" in done.stderr
    assert predict(trained, source, "--rejects", rejects).returncode == 0
    assert [json.loads(line)["line"] for line in rejects.read_text(encoding="utf-8").splitlines()] == bad


def test_a_null_in_parquet_goes_aside(trained: Path, tmp_path: Path) -> None:
    pl.DataFrame({"text": ["one", None, "two"]}).write_parquet(tmp_path / "texts.parquet")
    done = predict(trained, tmp_path / "texts.parquet")
    assert done.stdout.count("\n") == 2
    assert "line 2 is left out" in done.stderr


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("texts.csv", "review\nfine\n", "has no column 'text'"),
        ("texts.parquet", "no parquet", "texts.parquet cannot be read"),
        ("texts.xlsx", "", "a name that ends in .jsonl"),
        ("missing.csv", None, "missing.csv cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(trained: Path, tmp_path: Path, name: str, content: str, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    done = predict(trained, tmp_path / name, "--output", tmp_path / "answers.parquet")
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*answers*"))


def test_texts_are_read_as_they_are_needed(trained: Path) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield f"film {taken}"

    answers = OnnxClassifier(trained / "models/onnx").predict(endless())
    assert [next(answers)["text"] for _ in range(3)] == ["film 1", "film 2", "film 3"]
    assert taken == WINDOW


def test_the_size_of_a_batch_changes_no_label_of_fp32(trained: Path) -> None:
    texts = [text for text, _ in sentences(300, seed=11)]
    labels = [
        [answer["label"] for answer in OnnxClassifier(trained / "models/onnx", "fp32", 1, size).predict(texts)]
        for size in (1, 64, 4096)
    ]
    assert labels[0] == labels[1] == labels[2]
