"""Columns that go along into the prepared tables and the predictions, and rows that weigh by them.

Run in a grown project.
"""

import random
import shutil
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
import torch
from in_process import run_here
from pydantic import ValidationError
from review_sentiment import paths
from review_sentiment.config import Params, RowWeights
from review_sentiment.errors import UserError
from review_sentiment.evaluation import metrics
from review_sentiment.stages import embeddings, evaluate, export_onnx, fine_tune, prepare
from review_sentiment.tables import Column, read_rows
from review_sentiment.training import batches, loss
from small_project import WRITERS, sentences, values_with, write_params
from test_groups_and_times import prepared

SOURCES = ("forum", "shop", None)


def table_of(rows: list[tuple[str, str]]) -> pl.DataFrame:
    """The rows with a source, a language, a day and the number of the row."""
    columns = {"text": [text for text, _ in rows], "label": [label for _, label in rows]}
    sources, languages = ([values[n % len(values)] for n in range(len(rows))] for values in (SOURCES, ("de", "en")))
    days = [date(2024, 1, 1) + timedelta(days=n) for n in range(len(rows))]
    return pl.DataFrame(columns | {"source": sources, "language": languages, "day": days, "number": range(len(rows))})


@pytest.mark.parametrize("suffix", WRITERS)
def test_kept_columns_are_those_of_the_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    rows = sorted(set(sentences(300, seed=3)))
    settings = {"keep_columns": ["number", "source", "day"], "keep": {"column": "language", "value": "en"}}
    prepared(tmp_path, monkeypatch, {f"table{suffix}": table_of(rows)}, **settings)
    found = pl.concat(pl.read_parquet(paths.split_table(split)) for split in paths.SPLITS)
    assert found["kept"].dtype == pl.Struct(dict.fromkeys(("number", "source", "day"), pl.String))
    blank = "" if suffix in (".csv", ".tsv") else None
    kept = dict(found.select("text", "kept").iter_rows())
    english = [(n, text) for n, (text, _) in enumerate(rows) if n % 2]
    assert kept == {
        text: {"number": str(n), "source": SOURCES[n % 3] or blank, "day": f"{date(2024, 1, 1) + timedelta(days=n)}"}
        for n, text in english
    }


def test_equal_texts_keep_the_same_values_in_any_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of(sentences(100, seed=4) * 2)
    written = []
    for number, order in enumerate((range(200), random.Random(0).sample(range(200), 200))):
        tables = {"table.csv": table[list(order)]}
        prepared(tmp_path / str(number), monkeypatch, tables, keep_columns=["source"])
        written.append([paths.split_table(split).read_bytes() for split in paths.SPLITS])
    assert written[0] == written[1]


@pytest.mark.slow
def test_rows_that_weigh_nothing_teach_nothing(
    trained: Path, base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One source labels at random, which nothing can learn; where it hardly weighs, the loss falls all the same."""
    draw = random.Random(1)
    rows = [
        (text, draw.choice(["good", "bad"]) if n % 3 == 0 else label)
        for n, (text, label) in enumerate(sentences(600, seed=1))
    ]
    project = shutil.copytree(trained, tmp_path / "project")
    table_of(rows).write_csv(project / "data/raw/table.csv")
    weighted = {"column": "source", "weights": {"forum": 0.001}}
    changes: dict[str, Any] = {"prepare__keep_columns": ["source"], "fine_tune__row_weights": weighted}
    write_params(project / "params.yaml", base_model, **changes)
    run_here(monkeypatch, project, prepare, embeddings, fine_tune, export_onnx, evaluate)
    by_column = pl.read_csv("reports/evaluation/by_column.csv")
    predictions = pl.read_parquet("reports/predictions.parquet").unnest("kept")
    assert by_column["column"].unique().to_list() == ["source"]
    right = (
        predictions.with_columns(right=pl.col("torch") == pl.col("label"))
        .group_by("source")
        .agg(pl.len(), pl.col("right").mean())
    )
    expected = {source: (rows, round(share, 6)) for source, rows, share in right.iter_rows()}
    assert {
        value or "": (rows, share)
        for _, value, rows, share in by_column.select("column", "value", "rows", "torch").iter_rows()
    } == expected
    curve = pl.read_csv("reports/training_curve.csv")
    assert curve["training_loss"].tail(5).mean() < 0.25


@pytest.mark.parametrize("task", ["single_label", "multi_label", "regression"])
def test_a_row_counts_as_often_as_it_weighs(task: str) -> None:
    logits = torch.randn(4, 1 if task == "regression" else 3, generator=torch.Generator().manual_seed(1))
    targets = {
        "single_label": torch.tensor([0, 2, 1, 1]),
        "multi_label": torch.tensor([[1.0, 0, 0], [0, 0, 0], [1, 1, 0], [0, 0, 1]]),
        "regression": torch.tensor([0.5, -1.0, 2.0, 0.0]),
    }[task]
    params = Params.model_validate(values_with(task=task))
    alike = SimpleNamespace(labels=["a", "b", "c"], weights=None)
    weighted = SimpleNamespace(labels=["a", "b", "c"], weights=np.ones(4))
    plain, by_rows = (
        loss.training_loss(cast("batches.SplitDataset", one), params, torch.device("cpu")) for one in (alike, weighted)
    )
    repeated = [0, 0, 0, 1, 2, 3]
    found = by_rows(logits, targets, torch.tensor([3.0, 1.0, 1.0, 1.0]))
    assert found.item() * 4 == pytest.approx(plain(logits[repeated], targets[repeated]).item() * 6)


@pytest.mark.parametrize("name", ["*", "^a$", "a b", "source"])
def test_a_column_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    paths.split_table("train").parent.mkdir(parents=True)
    table = pl.DataFrame({"kept": [{name: ""}, {name: "a"}]})
    table.write_parquet(paths.split_table("train"))
    assert batches.weights_of("train", RowWeights(column=name, weights={"": 3.0})) == pytest.approx([1.5, 0.5])
    targets, values = np.array([0, 1]), {"torch": np.array([[0.9, 0.1], [0.8, 0.2]])}
    found = metrics.scores_by_column("single_label", table, targets, values, "accuracy")
    assert [(row["column"], row["value"], row["rows"], row["torch"]) for row in found] == [
        (name, "", 1, 1.0),
        (name, "a", 1, 0.0),
    ]
    pl.DataFrame({name: ["x"], "text": ["y"]}).write_parquet("a.parquet")
    column = Column(name, "prepare.text_column")
    assert list(read_rows(Path("a.parquet"), [column], lambda value: value)) == ["x"]


def test_a_column_of_many_values_has_no_table() -> None:
    rows = pl.DataFrame({"kept": [{"id": str(n)} for n in range(60)]})
    values = {"torch": np.eye(2)[np.zeros(60, int)]}
    assert metrics.scores_by_column("single_label", rows, np.zeros(60, int), values, "accuracy") == []


def test_weights_are_1_on_average_and_unknown_values_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths.split_table("train").parent.mkdir(parents=True)
    kept = [{"source": source} for source in ("forum", "shop", "shop", None)]
    pl.DataFrame({"kept": kept}).write_parquet(paths.split_table("train"))
    found = batches.weights_of("train", RowWeights(column="source", weights={"forum": 5.0}))
    assert found == pytest.approx([2.5, 0.5, 0.5, 0.5])
    with pytest.raises(UserError, match=r"expected: values of the column 'source': 'forum', 'shop'\n +found: +'mail'"):
        batches.weights_of("train", RowWeights(column="source", weights={"mail": 5.0}))
    with pytest.raises(ValidationError, match=r"must be one of prepare\.keep_columns"):
        Params.model_validate(values_with(fine_tune__row_weights={"column": "source", "weights": {"forum": 5.0}}))
