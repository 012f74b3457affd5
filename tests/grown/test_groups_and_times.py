"""Splits by group, by time, of tables that have their own, and with additions. Run in a grown project."""

import json
from datetime import datetime, timedelta
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from review_sentiment.config import Additions
from review_sentiment.data.rows import time_of
from review_sentiment.errors import UserError
from review_sentiment.evaluation.metrics import groups_of, predictions_table
from review_sentiment.paths import SPLITS
from review_sentiment.stages import prepare
from review_sentiment.tables.discovery import additional_table
from small_project import WRITERS, params_with


def prepared(folder: Path, monkeypatch: pytest.MonkeyPatch, tables: dict[str, pl.DataFrame], **params: Any) -> dict:
    """The profile of tables, by the name of their file; what each split holds is in the folder."""
    (folder / "data/raw").mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        WRITERS[Path(name).suffix](table, folder / "data/raw" / name)
    monkeypatch.chdir(folder)
    prepare.run(params_with(**params))
    return json.loads((folder / "reports/data_profile.json").read_text(encoding="utf-8"))


def numbers_in(folder: Path, split: str) -> list[int]:
    """The numbers in the texts of a split."""
    texts = pl.read_parquet(folder / f"data/processed/{split}.parquet")["text"]
    return sorted(texts.str.slice(5).cast(pl.Int64))


def numbered(count: int, **columns: list[Any]) -> pl.DataFrame:
    """Rows with a text and a label, and further columns."""
    return pl.DataFrame(
        {"text": [f"text {n}" for n in range(count)], "label": ["old", "new"] * (count // 2), **columns}
    )


@pytest.mark.parametrize("suffix", WRITERS)
def test_groups_and_times_mean_the_same_in_every_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    start = datetime(2024, 1, 1)
    days = [start + timedelta(days=n * 37 % 80) for n in range(80)]
    table = numbered(80, day=days, patient=[n // 4 for n in range(80)])
    name = f"table{suffix}"
    profile = prepared(tmp_path, monkeypatch, {name: table}, time_column="day")
    by_time = sorted(range(80), key=lambda n: n * 37 % 80)
    assert numbers_in(tmp_path, "test") == sorted(by_time[70:])
    assert numbers_in(tmp_path, "validation") == sorted(by_time[60:70])
    assert pl.read_parquet(tmp_path / "data/processed/test.parquet").columns == ["text", "label"]
    assert profile["first_times"] == {"test": "2024-03-11T00:00:00+00:00", "validation": "2024-03-01T00:00:00+00:00"}
    profile = prepared(tmp_path, monkeypatch, {name: table}, group_column="patient", split_seed=2)
    salt = (2).to_bytes(16, "big")
    drawn = {n: blake2b(str(n).encode(), digest_size=16, salt=salt).digest()[0] / 256 for n in range(20)}
    held_out = {
        "test": {n for n in drawn if drawn[n] < 1 / 8},
        "validation": {n for n in drawn if 1 / 8 <= drawn[n] < 1 / 4},
    }
    for split, groups in held_out.items():
        assert {n // 4 for n in numbers_in(tmp_path, split)} == groups
        assert profile[split]["groups"] == len(groups) > 0
    test = pl.read_parquet(tmp_path / "data/processed/test.parquet")
    rows = predictions_table("single_label", test, ["new", "old"], {"torch": np.eye(2)[test["label"]]})
    patients = test["text"].str.slice(5).cast(pl.Int64) // 4
    assert groups_of(test).tolist() == groups_of(rows).tolist()
    assert len({*zip(patients, groups_of(rows), strict=True)}) == len({*groups_of(rows)}) == len(held_out["test"])


def test_rows_of_several_groups_or_none_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = numbered(80, group=["", None, *(f"group {n}" for n in range(78))])
    again = table.tail(3).with_columns(group=pl.lit("group 0"))
    profile = prepared(tmp_path, monkeypatch, {"a.csv": pl.concat([table, again])}, group_column="group")
    assert profile["groups"] == {"rows_without_group": 2, "texts_in_several_groups": 3}
    assert profile["dropped"]["duplicates"] == 3
    prepared(tmp_path, monkeypatch, {"a.csv": table})
    by_text = numbers_in(tmp_path, "test")
    prepared(tmp_path, monkeypatch, {"a.csv": table.with_columns(group=pl.lit(""))}, group_column="group")
    assert numbers_in(tmp_path, "test") == by_text


def test_tables_with_splits_of_their_own_keep_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = numbered(80, group=[f"g{n % 40}" for n in range(80)], year=list(range(80)))
    train, test = table.filter(pl.col("year") % 40 >= 10), table.filter(pl.col("year") % 40 < 10)
    prepared(tmp_path, monkeypatch, {"train.csv": train, "test.csv": test}, group_column="group")
    assert numbers_in(tmp_path, "test") == test["year"].to_list()
    assert len({n % 40 for n in numbers_in(tmp_path, "validation")}) * 2 == len(numbers_in(tmp_path, "validation"))
    prepared(tmp_path, monkeypatch, {}, time_column="year")
    assert numbers_in(tmp_path, "validation") == train["year"].to_list()[-8:]
    with pytest.raises(UserError, match=r"prepare.fold cannot split [\s\S]* own for test in"):
        prepared(tmp_path, monkeypatch, {}, fold={"index": 0, "of": 5})
    with pytest.raises(UserError, match=r"every group in one split\n  found: .* in train and test"):
        prepared(tmp_path, monkeypatch, {"train.csv": table[:40], "test.csv": test[10:]}, group_column="group")
    floats = train.head(8).with_columns(pl.col("year").cast(pl.Float64), text="held " + pl.col("text"))
    with pytest.raises(UserError, match=r"every group in one split\n  found: .* 8 in train and test"):
        prepared(tmp_path, monkeypatch, {"train.csv": train, "test.csv": floats}, group_column="year")
    prepared(tmp_path, monkeypatch, {"train.csv": train, "dev.csv": train.head(8)}, group_column=None)
    with pytest.raises(UserError, match=r"prepare.time_column cannot split [\s\S]* validation in"):
        prepared(tmp_path, monkeypatch, {}, time_column="year")


@pytest.mark.parametrize(
    ("columns", "params"),
    [
        ({}, {}),
        ({"group": [f"group {n // 2}" for n in range(80)]}, {"group_column": "group"}),
        ({"year": list(range(80))}, {"time_column": "year", "test_fraction": 0.05}),
        ({"source": ["kept"] * 80}, {"keep": {"column": "source", "value": "kept"}}),
    ],
)
def test_additions_are_training_rows_and_move_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: dict[str, Any], params: dict[str, Any]
) -> None:
    tables = {"a.csv": numbered(80, **columns)}
    prepared(tmp_path, monkeypatch, tables, **params)
    before = {split: numbers_in(tmp_path, split) for split in ("train", "validation", "test")}
    held_out = [before["test"][0], before["validation"][0]]
    more = numbered(300).tail(220).head(200)
    again = pl.DataFrame({"text": [f"text {n}" for n in [*held_out, before["train"][0]]], "label": ["new"] * 3})
    WRITERS[".jsonl"](pl.concat([more, again]), tmp_path / "more.jsonl")
    additions = {"file": "more.jsonl", "sha256": sha256((tmp_path / "more.jsonl").read_bytes()).hexdigest()}
    profile = prepared(tmp_path, monkeypatch, tables, **params, additions=additions)
    assert numbers_in(tmp_path, "train") == sorted([*before["train"], *range(80, 280)])
    assert {split: numbers_in(tmp_path, split) for split in ("validation", "test")} == {
        split: before[split] for split in ("validation", "test")
    }
    assert profile["additions"] == {"read": 203, "rows": 200}
    assert profile["dropped"]["in_another_split"] == 3
    (tmp_path / "more.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match=r"more.jsonl is not the table that prepare.additions names"):
        prepared(tmp_path, monkeypatch, tables, **params, additions=additions)
    with pytest.raises(UserError, match=r"take the old one: dvc pull absent.jsonl"):
        additional_table(Additions(file="absent.jsonl", sha256="0" * 64))
    empty = additions | {"sha256": sha256(b"").hexdigest()}
    assert prepared(tmp_path, monkeypatch, tables, **params, additions=empty)["additions"] == {"read": 0, "rows": 0}
    assert numbers_in(tmp_path, "train") == before["train"]


def test_rows_of_one_time_stay_together_and_a_repeated_text_has_its_latest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    years = [2000 + n // 10 for n in range(80)]
    early = pl.DataFrame({"text": ["text 79"], "label": ["new"], "year": [1990]})
    tables = {"a.jsonl": pl.concat([numbered(80, year=years), early])}
    profile = prepared(tmp_path, monkeypatch, tables, time_column="year", test_fraction=0.05, validation_fraction=0.2)
    assert numbers_in(tmp_path, "test") == list(range(70, 80))
    assert numbers_in(tmp_path, "validation") == list(range(50, 70))
    assert profile["first_times"] == {"test": 2007.0, "validation": 2005.0}


def test_what_is_no_time_is_named_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = numbered(80, day=["2024-01-05"] * 40 + ["last week"] + ["2024-01-06"] * 39)
    with pytest.raises(UserError, match=r"a.csv, line 42: expected an ISO 8601 date .* found 'last week'"):
        prepared(tmp_path, monkeypatch, {"a.csv": table}, time_column="day")
    table = numbered(80, day=["2024-01-05"] * 79 + ["2024"])
    with pytest.raises(UserError, match="dates in 79 rows and numbers in 1 rows"):
        prepared(tmp_path, monkeypatch, {"a.csv": table}, time_column="day")
    with pytest.raises(UserError, match=r"80 rows cannot be read, not one can[\s\S]*set prepare.time_column"):
        prepared(tmp_path, monkeypatch, {"a.csv": table}, time_column="text")


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("1970-01-02", 86400.0),
        ("1970-01-01T01:00:00+01:00", 0.0),
        ("19700102T000000Z", 86400.0),
        (" 12.5 ", 12.5),
        (7, 7.0),
    ],
)
def test_a_time_is_a_date_or_a_number(value: Any, number: float) -> None:
    assert time_of(value)[0] == number


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", "nan", True, [1], "12:30", float("inf"), "2024-02-30"),
        *("9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59.999999"),
    ],
)
def test_anything_else_is_no_time(value: Any) -> None:
    with pytest.raises(ValueError, match="expected an ISO 8601 date or time, or a number, found"):
        time_of(value)


def test_pairs_whose_first_text_is_in_training_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = numbered(80, other=[f"other {n}" for n in range(80)]).with_columns(
        text=pl.Series([f"text {n // 4}" for n in range(80)])
    )
    pair = {"task": "pair", "second_text_column": "other"}
    counts = {}
    for column in (None, "text"):
        profile = prepared(tmp_path, monkeypatch, {"a.csv": table}, **pair, group_column=column)
        texts = {split: numbers_in(tmp_path, split) for split in ("train", "test")}
        counts[column] = sum(text in texts["train"] for text in texts["test"])
        assert profile["test"]["first_texts_in_training"] == counts[column]
        rows = profile["test"]["rows"]
        warned = f"the first text of {counts[column]} of {rows} test rows is in training too: if new ones come in use, "
        assert (f"{warned}set prepare.group_column: text" in capsys.readouterr().err) == (column is None)
    assert counts[None] > counts["text"] == 0


@pytest.mark.parametrize(("group_column", "own_test"), [("text", False), ("other", False), ("text", True)])
def test_additions_bring_no_held_out_text_of_a_pair_into_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group_column: str, own_test: bool
) -> None:
    pairs = numbered(80, source=["kept"] * 80, other=[f"text {n % 20}" for n in range(80)])
    table = pairs.with_columns(text=pl.Series([f"text {n // 4}" for n in range(80)]))
    held_out = pl.col(group_column).is_in(["text 3", "text 4"])
    tables = {"train.csv": table.filter(~held_out), "test.csv": table.filter(held_out)}
    tables = tables if own_test else {"a.csv": table}
    more = table.with_columns(pl.col({"text": "other", "other": "text"}[group_column]) + " again").drop("source")
    WRITERS[".jsonl"](more, tmp_path / "more.jsonl")
    additions = {"file": "more.jsonl", "sha256": sha256((tmp_path / "more.jsonl").read_bytes()).hexdigest()}
    pair = {"task": "pair", "second_text_column": "other", "keep": {"column": "source", "value": "kept"}}
    profile = prepared(tmp_path, monkeypatch, tables, **pair, group_column=group_column, additions=additions)
    column = {"text": "text", "other": "second_text"}[group_column]
    groups = {split: {*pl.read_parquet(tmp_path / f"data/processed/{split}.parquet")[column]} for split in SPLITS}
    assert not groups["train"] & (groups["validation"] | groups["test"])
    trained = more.filter(pl.col(group_column).is_in([*groups["train"]])).height
    assert profile["additions"] == {"read": 80, "rows": trained}
    assert profile["dropped"]["in_another_split"] == 80 - trained > 0
