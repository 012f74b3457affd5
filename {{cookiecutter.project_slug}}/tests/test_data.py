"""Splitting and sorting; the tables of every task."""

import json
import random
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_project import WRITERS, params_with, sentences, write_table

from {{ cookiecutter.package_name }}.config import Fold
from {{ cookiecutter.package_name }}.data import splits
from {{ cookiecutter.package_name }}.data.rows import RowParser
from {{ cookiecutter.package_name }}.stages import prepare

PREPARE = params_with(split_seed=7, validation_fraction=0.2, test_fraction=0.2).prepare
NO_ROWS = splits.SortedRows(Path(), split_seed=7)


def keys(texts: list[str]) -> pl.Series:
    """Their keys."""
    return splits.keys_of(pl.DataFrame({"text": texts, "second_text": None}, schema_overrides={"text": pl.String}), 7)


def rows_of(pairs: list[tuple[str, str]], tables: list[str] | None = None) -> pl.DataFrame:
    """Rows as `splits.drop_repeats` takes them."""
    with tempfile.TemporaryDirectory() as directory:
        rows = splits.SortedRows(Path(directory), split_seed=7)
        for (text, label), table in zip(pairs, tables or ["all"] * len(pairs), strict=True):
            rows.add(table, [(text, None, label, None, None)])
        return pl.concat(rows.ranges())


def test_the_shares_are_those_asked_for() -> None:
    positions = splits.positions_of(keys([str(number) for number in range(20_000)]))
    for fold in (None, Fold(index=0, of=10), Fold(index=9, of=10)):
        rule = splits.rule_of(PREPARE.model_copy(update={"test_fraction": 0.1, "fold": fold}), {"all"}, NO_ROWS)
        found = dict(rule.split_of(positions).value_counts(normalize=True).iter_rows())
        assert found == pytest.approx({"train": 0.7, "validation": 0.2, "test": 0.1}, abs=0.02)


TEXTS_OF_GROUPS = st.lists(st.tuples(st.integers(0, 20), st.sampled_from(["", *"abcde"])), min_size=1, max_size=30)


@given(TEXTS_OF_GROUPS, st.data())
@settings(max_examples=25)
def test_no_group_is_in_two_splits_and_no_text_either(rows: list[tuple[int, str]], data: st.DataObject) -> None:
    """A text of several groups goes with one of them; other rows move it only if they bring it another group."""
    fold = data.draw(st.sampled_from([None, Fold(index=0, of=4), Fold(index=2, of=4)]))
    chosen = data.draw(st.lists(st.sampled_from(rows), min_size=1, unique=True))
    found, later = grouped(rows, fold), grouped(chosen, fold)
    groups = {text: {group for of, group in rows if of == text} for text, _ in rows}
    assert found.keys() == groups.keys()
    assert found == grouped(rows[::-1], fold)
    alone = {text: group for text, (group, *others) in groups.items() if not others}
    for group in "abcde":
        assert len({found[text] for text in alone if alone[text] == group}) <= 1
    for text in groups.keys() - alone.keys():
        assert found[text] in {grouped([(text, group)], fold)[text] for group in groups[text]}
    assert all(later[text] == found[text] for text in alone.keys() & later.keys())


def grouped(rows: list[tuple[int, str]], fold: Fold | None) -> dict[int, str]:
    """The split of every text by its group, as `prepare` gives it."""
    parser = RowParser(params_with(group_column="group", split_seed=7))
    with tempfile.TemporaryDirectory() as directory:
        ordered = splits.SortedRows(Path(directory), split_seed=7)
        ordered.add("all", [row for text, group in rows if (row := parser.parse(str(text), "x", group))])
        rule = splits.rule_of(PREPARE.model_copy(update={"fold": fold}), {"all"}, ordered)
        kept = pl.concat(splits.with_split(splits.drop_repeats(part)[0], rule) for part in ordered.ranges())
    assert kept["text"].n_unique() == kept.height
    return {int(text): split for text, split in kept.select("text", "split").iter_rows()}


def test_repeated_and_contradicting_texts_are_dropped_and_counted() -> None:
    kept, dropped = splits.drop_repeats(rows_of([("x", "a"), ("y", "a"), ("x", "a"), ("y", "b"), ("z", "b")]))
    assert sorted(kept["text"]) == ["x", "z"]
    assert dropped == {"in_another_split": 0, "contradicting_labels": 2, "duplicates": 1}


def test_a_text_in_two_tables_stays_where_it_is_held_out() -> None:
    pairs = [("x", "a"), ("x", "a"), ("y", "b"), ("z", "b")]
    tables = ["train", "test", "train", "validation"]
    kept, dropped = splits.drop_repeats(rows_of(pairs, tables))
    kept = splits.with_split(kept, splits.Rule(0.0, 0.0))
    assert dict(zip(kept["text"], kept["split"], strict=True)) == {"x": "test", "y": "train", "z": "validation"}
    assert dropped["in_another_split"] == 1


def outs_of(project: Path, monkeypatch: pytest.MonkeyPatch, **prepare_params: str) -> dict[str, bytes]:
    """What `prepare` makes of the tables of a project, run here."""
    monkeypatch.chdir(project)
    prepare.run(params_with(**prepare_params))
    return {path.name: path.read_bytes() for path in project.glob("data/processed/*")}


def test_every_format_gives_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pl.DataFrame(sentences(600, seed=1), schema=["Satz", "Urteil"], orient="row")
    found = []
    for suffix in WRITERS:
        (tmp_path / suffix / "data/raw").mkdir(parents=True)
        WRITERS[suffix](table, tmp_path / suffix / f"data/raw/meine{suffix}")
        found.append(outs_of(tmp_path / suffix, monkeypatch, text_column="Satz", label_column="Urteil"))
    assert len(found[0]) == 4
    assert all(outs == found[0] for outs in found)


def test_neither_the_order_nor_the_runs_and_ranges_nor_a_kill_change_a_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = sentences(3000, seed=4)
    rows += [*rows[:500], *((text, "good") for text, _ in rows[500:600])]
    write_table(tmp_path / "data/raw/table.csv", rows)
    before = outs_of(tmp_path, monkeypatch)
    assert len(before) == 4
    random.Random(0).shuffle(rows)
    write_table(tmp_path / "data/raw/table.csv", rows)
    assert outs_of(tmp_path, monkeypatch) == before
    monkeypatch.setattr(splits, "BYTES_PER_RUN", 10_000)
    monkeypatch.setattr(splits, "CHARACTERS_PER_RANGE", 1000)
    scratch = tmp_path / "data/.processed.partial/scratch"  # what a kill leaves
    scratch.mkdir(parents=True)
    (scratch / "run-0.ipc").write_bytes(b"torn")
    assert outs_of(tmp_path, monkeypatch) == before
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["processed", "raw"]


TABLES = {
    "single_label": ("text,label", "{0},{1}", pl.UInt32, ["new", "old"]),
    "pair": ("text,second,label", "{0},other,{1}", pl.UInt32, ["new", "old"]),
    "multi_label": ("text,label", "{0},old;{1}", pl.List(pl.UInt32), ["new", "old"]),
    "regression": ("text,label", "{0},{2}", pl.Float64, []),
}


@pytest.mark.parametrize("task", TABLES)
def test_the_tables_of_every_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    header, row, kind, labels = TABLES[task]
    lines = [header, *(row.format(f"text {n}", ("new", "old")[n % 2], n / 4) for n in range(60))]
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/table.csv").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    second = "second" if task == "pair" else None
    prepare.run(params_with(task=task, label_separator=";", second_text_column=second))
    assert json.loads((tmp_path / "data/processed/labels.json").read_text(encoding="utf-8")) == labels
    table = pl.concat(pl.read_parquet(path) for path in tmp_path.glob("data/processed/*.parquet"))
    texts = {"text": pl.String} | ({"second_text": pl.String} if task == "pair" else {})
    assert dict(table.schema) == texts | {"label": kind}
    numbers = table["text"].str.slice(5).cast(pl.Int64)
    expected = {"multi_label": [[0, 1], [1]], "regression": None}.get(task, [0, 1])
    assert table["label"].to_list() == [expected[n % 2] if expected else n / 4 for n in numbers]
