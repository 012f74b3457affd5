"""`predict` in detail: unlike rows, files that cannot be read, how many texts it holds, batches of any size.

And what a run keeps of its predictions.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl
import pytest
from review_sentiment.evaluation.metrics import key_of
from review_sentiment.inference.classifier import WINDOW, OnnxClassifier
from small_project import report, sentences
from test_inference import predict

pytestmark = pytest.mark.slow


def test_the_predictions_of_a_run_say_what_the_metrics_count(trained: Path) -> None:
    found = pl.read_parquet(trained / "reports/predictions.parquet")
    metrics, texts = report(trained, "metrics.json"), pl.read_parquet(trained / "data/processed/test.parquet")["text"]
    for model in ("probe", "torch", "onnx_fp32", "onnx_int8"):
        assert (found[model] == found["label"]).mean() == pytest.approx(metrics[model]["accuracy"], abs=1e-6)
    assert found["key"].to_list() == [key_of(text) for text in texts]
    assert found["key"].n_unique() == len(texts)
    written = (trained / "reports/predictions.parquet").read_bytes()
    assert not [text for text in texts if text.encode() in written]


def test_rows_of_unlike_keys_have_a_column_for_each(trained: Path, tmp_path: Path) -> None:
    rows = [
        {"text": "one", "a": 1, "b": [1, {"c": None}]},
        {"text": "two", "a": 0.5, "z": True},
        {"text": "three", "a": 2**70},
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "b.csv").write_text("text,n,n,n_2\none,1,2,3\n", encoding="utf-8")
    for form in (".csv", ".parquet"):
        assert predict(trained, tmp_path / "a.jsonl", "--output", tmp_path / f"a{form}").returncode == 0
    assert predict(trained, tmp_path / "b.csv", "--output", tmp_path / "b.jsonl").returncode == 0
    expected = [["1", "0.5", str(2**70)], ['[1, {"c": null}]', None, None], [None, "true", None]]
    assert [pl.read_csv(tmp_path / "a.csv", infer_schema=False)[name].to_list() for name in "abz"] == expected
    table = pl.read_parquet(tmp_path / "a.parquet")
    assert [table[name].to_list() for name in "abz"] == [*expected[:2], [None, True, None]]
    assert {"n": "1", "n_3": "2", "n_2": "3"}.items() <= json.loads((tmp_path / "b.jsonl").read_text()).items()


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


@pytest.mark.parametrize("one", ["a warm film", {"text": "a warm film"}])
def test_one_text_in_place_of_a_list_is_refused(trained: Path, one: Iterable[str]) -> None:
    """It would be read as a list of its letters, or keys."""
    with pytest.raises(ValueError, match="expected a list of texts, found one"):
        next(OnnxClassifier(trained / "models/onnx").predict(one))


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
