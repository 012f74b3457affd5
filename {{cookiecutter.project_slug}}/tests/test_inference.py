"""`predict`: any of four formats in and out, in order, malformed rows aside, memory bounded, no torch."""

import io
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from small_project import PACKAGE, WRITERS, run_python, sentences

from {{ cookiecutter.package_name }}.inference.classifier import (
    WINDOW,
    OnnxClassifier,
)

pytestmark = pytest.mark.slow
TEXTS = ["a warm funny film", "", 'dull, and "stale"\nand tired', "a moving story \U0001f600"]


def predict(project: Path, *arguments: str | Path, given: str = "") -> subprocess.CompletedProcess[str]:
    return run_python(project, "-m", f"{PACKAGE}.predict", *arguments, given=given)


def test_it_needs_no_torch(tmp_path: Path) -> None:
    heavy = {"cryptography", "polars", "pydantic", "torch", "transformers"}
    done = run_python(tmp_path, "-c", f"import {PACKAGE}.predict, sys; print({heavy} & sys.modules.keys())")
    assert done.stdout.strip() == "set()", done.stderr


def test_json_lines_from_standard_input(trained: Path) -> None:
    done = predict(trained, given="".join(json.dumps({"text": text, "id": 1}) + "\n" for text in TEXTS))
    shown = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert [line["text"] for line in shown] == TEXTS
    assert [line["label"] for line in shown][::2] == ["good", "bad"]
    assert sum(shown[0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)


READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".csv": pl.read_csv,
    ".tsv": lambda path: pl.read_csv(path, separator="\t"),
    ".jsonl": pl.read_ndjson,
    ".parquet": pl.read_parquet,
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_format_goes_in_and_comes_out(trained: Path, tmp_path: Path, suffix: str) -> None:
    source, output = tmp_path / f"texts{suffix}", tmp_path / f"predictions{suffix}"
    WRITERS[suffix](pl.DataFrame({"number": range(len(TEXTS)), "review": TEXTS}), source)
    done = predict(trained, source, "--column", "review", "--output", output)
    assert done.returncode == 0, done.stderr
    found = READERS[suffix](output)
    assert found["text"].fill_null("").to_list() == TEXTS
    assert found["label"].to_list() == [row["label"] for row in OnnxClassifier(trained / "models/onnx").predict(TEXTS)]
    if suffix != ".jsonl":
        assert found.columns == ["text", "label", "probability_bad", "probability_good"]
        assert (found["probability_good"] + found["probability_bad"]).to_list() == pytest.approx([1] * 4, abs=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([source.name, output.name])


def parquet_of(texts: list[str | None]) -> bytes:
    file = io.BytesIO()
    pl.DataFrame({"text": texts}).write_parquet(file)
    return file.getvalue()


# Of each format two good rows, and the lines of the malformed ones.
MALFORMED = {
    "jsonl": (
        b'{"text": "one"}\n{"txt": "b"}\n{"text": 5}\n[1]\n{"text": "caf\xe9"}\n'
        b'{"text": "\\ud800"}\n{\n\n{"text": "two"}\n',
        [2, 3, 4, 5, 6, 7],
    ),
    "csv": (b"id,text\n1,one\n2\n3,a,b\n4,caf\xe9\n\n6,two\n", [3, 4, 5]),
    "parquet": (parquet_of(["one", None, "two"]), [2]),
}


@pytest.mark.parametrize("suffix", MALFORMED)
def test_malformed_rows_go_aside_and_the_rest_goes_on(trained: Path, tmp_path: Path, suffix: str) -> None:
    content, lines = MALFORMED[suffix]
    source, rejects = tmp_path / f"texts.{suffix}", tmp_path / "rejects.jsonl"
    source.write_bytes(content)
    done = predict(trained, source)
    assert done.returncode == 1
    assert [json.loads(line)["text"] for line in done.stdout.splitlines()] == ["one", "two"]
    assert all(f"line {line} is left out: expected " in done.stderr for line in lines)
    assert "keep them with --rejects FILE" in done.stderr
    assert predict(trained, source, "--rejects", rejects).returncode == 0
    assert [json.loads(line)["line"] for line in rejects.read_text(encoding="utf-8").splitlines()] == lines


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("texts.csv", "review\nfine\n", "has no column 'text'"),
        ("texts.parquet", "no parquet", "texts.parquet cannot be read"),
        ("texts.xlsx", "", "a name that ends in .jsonl"),
        ("missing.csv", None, "missing.csv cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(
    trained: Path, tmp_path: Path, name: str, content: str, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    done = predict(trained, tmp_path / name, "--output", tmp_path / "predictions.parquet")
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*predictions*"))


def test_texts_are_read_as_they_are_needed(trained: Path) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield f"film {taken}"

    predictions = OnnxClassifier(trained / "models/onnx").predict(endless())
    assert [next(predictions)["text"] for _ in range(3)] == ["film 1", "film 2", "film 3"]
    assert taken == WINDOW


def test_the_size_of_a_batch_changes_no_label_of_fp32(trained: Path) -> None:
    texts = [text for text, _ in sentences(300, seed=11)]
    labels = [
        [row["label"] for row in OnnxClassifier(trained / "models/onnx", "fp32", 1, size).predict(texts)]
        for size in (1, 64, 4096)
    ]
    assert labels[0] == labels[1] == labels[2]
