"""`predict`: any of four formats in and out with all columns, malformed rows aside, no torch."""

import io
import json
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from small_project import PACKAGE, WRITERS, run_python

from {{ cookiecutter.package_name }}.inference.classifier import OnnxClassifier

pytestmark = pytest.mark.slow
TEXTS = ["a warm funny film", "映画はとても", 'dull, and "stale"\nand tired', "a moving story \U0001f600"]


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
    assert [(line["line"], line["id"]) for line in shown] == [(number, 1) for number in range(1, 5)]
    assert [line["label"] for line in shown][::2] == ["good", "bad"]
    assert [line["unknown_tokens"] for line in shown] == [0, 1, 3 / 8, 1 / 4]
    assert "1 of 4 texts are mostly of letters or words that the model does not know" in done.stderr
    assert sum(shown[0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_a_table_comes_out_with_all_columns(trained: Path, tmp_path: Path) -> None:
    rows = pl.DataFrame({"review": TEXTS, "label": ["x", None, "y", "z"], "id": [1, 2, 3, 2**60]})
    WRITERS[".csv"](rows, tmp_path / "texts.csv")
    labels = [row["label"] for row in OnnxClassifier(trained / "models/onnx").predict(TEXTS)]
    for name, read in {"a.csv": pl.read_csv, "a.parquet": pl.read_parquet}.items():
        done = predict(trained, tmp_path / "texts.csv", "--column", "review", "--output", tmp_path / name)
        assert done.returncode == 0, done.stderr
        found = read(tmp_path / name)
        assert found.columns[:4] == ["line", "review", "input_label", "id"]
        assert found["line"].to_list() == [2, 3, 4, 6]  # the third text has two lines
        assert found["review"].to_list() == TEXTS
        assert found["label"].to_list() == labels
        assert found["id"].cast(pl.Int64).to_list() == [1, 2, 3, 2**60]


def parquet_of(texts: list[str | None]) -> bytes:
    file = io.BytesIO()
    pl.DataFrame({"text": texts}).write_parquet(file)
    return file.getvalue()


# Of each format two good rows, and the lines of the malformed ones.
MALFORMED = {
    "jsonl": (
        b'{"text": "one"}\n{"txt": "b"}\n{"text": 5}\n[1]\n{"text": "caf\xe9"}\n'
        b'{"text": "\\ud800"}\n{\n\n{"text": "two"}\n{"text": " "}\n{"text": "a", "b": {"c": "\\ud800"}}\n',
        [2, 3, 4, 5, 6, 7, 10, 11],
    ),
    "csv": (
        b'id,text\n1,one\n2\n3,a,b\n4,caf\xe9\n\n6,two\n7,\n8,""\n9,"  "\n10,\x01\n\xe9,b\n',
        [3, 4, 5, 8, 9, 10, 11, 12],
    ),
    "parquet": (parquet_of(["one", None, "two", "", "\u2003"]), [2, 4, 5]),
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


def test_the_library_names_the_text_that_it_cannot_read(trained: Path) -> None:
    model = OnnxClassifier(trained / "models/onnx")
    unreadable: list[Any] = ["", " \t\x00", None, 5, ("a", "b"), "\ud800"]
    for bad in unreadable:
        with pytest.raises(ValueError, match=r"^text 2: expected "):
            list(model.predict(["a", "b", bad]))


def test_a_text_that_is_cut_is_counted(trained: Path, tmp_path: Path) -> None:
    texts = tmp_path / "a.csv"
    texts.write_text("text\n" + "film " * 30 + "\n" + "film " * 31 + "\n", encoding="utf-8")
    done = predict(trained, texts)
    assert [json.loads(line)["truncated"] for line in done.stdout.splitlines()] == [False, True]  # of 32, two special
    assert "1 of 2 texts were cut" in done.stderr
