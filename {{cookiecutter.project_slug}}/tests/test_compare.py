"""`make compare` on made-up predictions of every task, and what the pipeline writes for it."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from compare import compare, show
from small_project import report

from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.evaluation.predictions import (
    key_of,
    predictions,
)

KEYS = [f"{place:03}" for place in range(200)]


def said(labels: list, answers: list) -> pl.DataFrame:
    """The predictions of one commit."""
    return pl.DataFrame({"key": KEYS, "label": labels, "onnx_int8": answers})


def test_rows_that_only_one_model_has_right_decide() -> None:
    labels = ["a", "b"] * 100
    first = said(labels, ["b", "b"] * 20 + ["a", "b"] * 80)
    second = said(labels, ["a", "b"] * 90 + ["a", "a"] * 10)
    found = compare(first, second, "onnx_int8")
    assert (found.score, found.better, found.worse) == ("accuracy", 20, 10)
    assert found.gain.mean == pytest.approx(0.05)
    assert found.effect == "odds 2.00"
    assert found.p == pytest.approx(0.0707, abs=1e-4)  # two binomial tails of 10 in 30, less the point: 0.0987 - 0.0280
    assert found.verdict(found.p) == "no difference shown"
    assert found.verdict(0.01) == "better"
    assert compare(second, first, "onnx_int8").verdict(0.01) == "worse"


def test_a_set_of_labels_is_right_when_all_of_it_is() -> None:
    labels = [["a"], ["a", "b"], [], ["b"]] * 50
    answers = [["a"], ["a"], [], ["b", "c"]] * 50
    found = compare(said(labels, answers), said(labels, labels), "onnx_int8")
    assert (found.score, found.first, found.second, found.better) == ("exact match", 0.5, 1.0, 100)


def test_numbers_are_compared_by_their_errors() -> None:
    draw = np.random.default_rng(1)
    labels = draw.normal(size=200)
    first, second = (said(labels.tolist(), (labels + draw.normal(0, spread, 200)).tolist()) for spread in (1, 0.5))
    found = compare(first, second, "onnx_int8")
    errors = [float(np.abs(table["onnx_int8"].to_numpy() - labels).mean()) for table in (first, second)]
    assert (found.score, found.first, found.second) == ("mean absolute error", *map(pytest.approx, errors))
    assert found.gain.mean == pytest.approx(errors[0] - errors[1])
    assert found.verdict(found.p) == "better"
    assert compare(first, first, "onnx_int8").verdict(1.0) == "no difference shown"


def test_other_test_rows_are_refused() -> None:
    rows = said(["a", "b"] * 100, ["a"] * 200)
    with pytest.raises(UserError, match="200 rows in A and 150 in B, 150 texts in both, 0 of them with another label"):
        compare(rows, rows.head(150), "onnx_int8")
    with pytest.raises(UserError, match="200 texts in both, 100 of them with another label"):
        compare(rows, said(["a"] * 200, ["a"] * 200), "onnx_int8")


def test_several_are_corrected_together(capsys: pytest.CaptureFixture[str]) -> None:
    labels = ["a", "b"] * 100
    first = said(labels, ["b", "b"] * 20 + ["a", "b"] * 80)
    second = said(labels, ["a", "b"] * 91 + ["a", "a"] * 9)
    found = compare(first, second, "onnx_int8")
    assert 0.025 < found.p < 0.05
    show(["one"], [found])
    assert "one: better; p = 0.0" in capsys.readouterr().out
    show(["one", "two"], [found, found])
    shown = capsys.readouterr().out
    assert "one: no difference shown; p = 0.0" in shown
    assert "corrected for 2 comparisons" in shown


@pytest.mark.slow
def test_the_predictions_say_what_the_metrics_count(trained: Path) -> None:
    found = pl.read_parquet(trained / "reports/predictions.parquet")
    metrics, texts = report(trained, "metrics.json"), pl.read_parquet(trained / "data/processed/test.parquet")["text"]
    for model in ("probe", "torch", "onnx_fp32", "onnx_int8"):
        assert (found[model] == found["label"]).mean() == pytest.approx(metrics[model]["accuracy"], abs=1e-6)
    assert found["key"].to_list() == [key_of(text) for text in texts]
    assert found["key"].n_unique() == len(texts)
    written = (trained / "reports/predictions.parquet").read_bytes()
    assert not [text for text in texts if text.encode() in written]


def test_labels_are_told_by_name_and_pairs_by_both_texts() -> None:
    values = {"torch": np.array([[0.9, 0.6], [0.2, 0.1]])}
    sets = pl.DataFrame({"text": ["x", "y"], "label": [[0], []]}, schema_overrides={"label": pl.List(pl.UInt32)})
    found = predictions("multi_label", sets, ["a", "b"], values)
    assert found["label"].to_list() == [["a"], []]
    assert found["torch"].to_list() == [["a", "b"], []]
    pairs = pl.DataFrame({"text": ["x", "y"], "second_text": ["1", "2"], "label": [1, 0]})
    found = predictions("pair", pairs, ["a", "b"], values)
    assert found.select("label", "torch").rows() == [("b", "a"), ("a", "a")]
    assert found["key"].to_list() == [key_of(("x", "1")), key_of(("y", "2"))]
    numbers = predictions("regression", pl.DataFrame({"text": ["x"], "label": [1.5]}), [], {"torch": np.array([[2.5]])})
    assert numbers.select("label", "torch").rows() == [(1.5, 2.5)]
