"""`predict` reads and writes every format, with all columns and their types. Run in a grown project."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from review_sentiment.inference.classifier import OnnxClassifier
from small_project import WRITERS
from test_inference import TEXTS, predict

pytestmark = pytest.mark.slow

READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".csv": pl.read_csv,
    ".tsv": lambda path: pl.read_csv(path, separator="\t"),
    ".jsonl": pl.read_ndjson,
    ".parquet": pl.read_parquet,
}


ROWS = pl.DataFrame(
    {
        "review": TEXTS,
        "label": ["x", None, "y", "z"],
        "input_label": [1, 2, 3, 2**60],
        "day": [date(2024, 1, 31), None, date(1, 1, 1), date(2025, 2, 28)],
        "share": [0.1, None, 1e-300, -2.5],
        "who\r": ["a\rb", "a\nb", 'a"b', " "],
    }
)
NAMES = ["line", "review", "input_label", "input_input_label", "day", "share", "who\r"]
OWN = ["label", "probability_bad", "probability_good", "truncated", "unknown_tokens"]


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_format_goes_in_and_comes_out_with_all_columns(trained: Path, tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"texts [1]{suffix}"
    WRITERS[suffix](ROWS, source)
    labels = [row["label"] for row in OnnxClassifier(trained / "models/onnx").predict(TEXTS)]
    for form, read in READERS.items():
        output = tmp_path / f"predictions{form}"
        done = predict(trained, source, "--column", "review", "--output", output)
        assert done.returncode == 0, done.stderr
        found = read(output)
        assert found.columns == [*NAMES, *OWN] if form != ".jsonl" else found.columns[:7] == NAMES
        assert found["review"].to_list() == TEXTS
        assert found["label"].to_list() == labels
        assert found["input_input_label"].cast(pl.Int64).to_list() == ROWS["input_label"].to_list()
        assert found["share"].cast(pl.Float64, strict=False).to_list() == ROWS["share"].to_list()
        assert found["day"].cast(pl.String).fill_null("").to_list() == ["2024-01-31", "", "0001-01-01", "2025-02-28"]
        assert found["who\r"].to_list() == ROWS["who\r"].to_list()
        if suffix == form == ".parquet":
            typed = found.select("day", "share", input_label="input_input_label")
            assert typed.equals(ROWS.select("day", "share", "input_label"))
        line = found["line"].to_list()
        assert line == ([1, 2, 3, 4] if suffix in (".jsonl", ".parquet") else [2, 3, 5, 7])
    again = predict(trained, source, "--column", "review", "--output", tmp_path / "only.csv", "--only")
    assert again.returncode == 0, again.stderr
    assert pl.read_csv(tmp_path / "only.csv").columns == ["text", *OWN]
    assert len([*tmp_path.iterdir()]) == 6
