"""Cleaning, splitting and sorting; the tables of every task."""

import json
import random
import tempfile
import unicodedata
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_project import WRITERS, params_with, sentences, write_table

from {{ cookiecutter.package_name }}.data import splits
from {{ cookiecutter.package_name }}.data.labels import sorted_names
from {{ cookiecutter.package_name }}.stages import prepare
from {{ cookiecutter.package_name }}.text import cleaning

PREPARE = params_with(split_seed=7, validation_fraction=0.2, test_fraction=0.2).prepare
REPAIRED = {code: bytes([code]).decode("cp1252", errors="ignore") or " " for code in range(0x80, 0xA0)}
REPLACED = REPAIRED | dict.fromkeys([*range(0x20), 0x7F], " ")


def exactly_cleaned(text: str) -> str:
    """What cleaning is, without its fast path."""
    return " ".join(unicodedata.normalize("NFC", text.translate(REPLACED)).split())


def keys(texts: list[str]) -> pl.Series:
    """Their keys."""
    return splits.keys_of(pl.DataFrame({"text": texts, "second_text": None}, schema_overrides={"text": pl.String}), 7)


def rows_of(pairs: list[tuple[str, str]], tables: list[str] | None = None) -> pl.DataFrame:
    """Rows as `splits.decide` takes them."""
    with tempfile.TemporaryDirectory() as directory:
        rows = splits.SortedRows(Path(directory), split_seed=7)
        for (text, label), table in zip(pairs, tables or ["all"] * len(pairs), strict=True):
            rows.add(table, [(text, None, label)])
        return pl.concat(rows.ranges())


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("  two\t words\n", "two words"),
        ("Cafe\u0301", "Café"),
        ("it\u0092s \u0093fine\u0094\u0085", "it’s “fine”…"),
        ("a\x00b\x07c", "a b c"),
        ("\u3000全角　空白", "全角 空白"),
        ("", ""),
    ],
)
def test_cleaning(raw: str, clean: str) -> None:
    assert cleaning.clean(raw) == clean


@given(st.text())
def test_the_fast_path_of_cleaning_is_exact(text: str) -> None:
    assert cleaning.clean(text) == exactly_cleaned(text)


def test_every_character_is_cleaned() -> None:
    characters = map(chr, [*range(0x3100), *range(0xF900, 0x10000), *range(0x10000, 0x110000, 997)])
    texts = [form.format(character) for character in characters for form in ("{0}", "a{0}b {0}", "{0} a")]
    assert [text for text in texts if cleaning.clean(text) != exactly_cleaned(text)] == []


def splits_of(pairs: list[tuple[str, str]]) -> dict[str, str]:
    kept, _ = splits.decide(rows_of(pairs), PREPARE, {"all"})
    return dict(zip(kept["text"], kept["split"], strict=True))


@given(st.lists(st.text(min_size=1), min_size=1, unique=True), st.data())
def test_other_rows_never_move_a_row(texts: list[str], data: st.DataObject) -> None:
    pairs = [(text, "a") for text in texts]
    before = splits_of(pairs)
    chosen = data.draw(st.permutations(pairs))[: data.draw(st.integers(1, len(pairs)))]
    after = splits_of(chosen)
    assert len(before) == len(texts)
    assert after == {text: before[text] for text, _ in chosen}


def test_the_shares_are_those_asked_for() -> None:
    shares = splits.split_of(keys([str(number) for number in range(20_000)]), 0.2, 0.1).value_counts(normalize=True)
    found = dict(shares.iter_rows())
    assert found == pytest.approx({"train": 0.7, "validation": 0.2, "test": 0.1}, abs=0.02)


def test_repeated_and_contradicting_texts_are_dropped_and_counted() -> None:
    kept, dropped = splits.decide(
        rows_of([("x", "a"), ("y", "a"), ("x", "a"), ("y", "b"), ("z", "b")]), PREPARE, {"all"}
    )
    assert sorted(kept["text"]) == ["x", "z"]
    assert dropped == {"in_another_split": 0, "contradicting_labels": 2, "duplicates": 1}


def test_a_text_in_two_tables_stays_where_it_is_held_out() -> None:
    pairs = [("x", "a"), ("x", "a"), ("y", "b"), ("z", "b")]
    tables = ["train", "test", "train", "validation"]
    kept, dropped = splits.decide(rows_of(pairs, tables), PREPARE, set(tables))
    assert dict(zip(kept["text"], kept["split"], strict=True)) == {"x": "test", "y": "train", "z": "validation"}
    assert dropped["in_another_split"] == 1


def test_labels_are_sorted_by_value() -> None:
    assert sorted_names({"10", "9", "2", "09"}) == ["2", "09", "9", "10"]
    assert sorted_names({"b", "B", "a"}) == ["B", "a", "b"]


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


def test_rows_come_back_from_runs_as_they_went_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "BYTES_PER_RUN", 10 * splits.BYTES_PER_ROW)
    monkeypatch.setattr(splits, "CHARACTERS_PER_RANGE", 20)
    texts = [str(number % 70) for number in range(100)]
    rows = splits.SortedRows(tmp_path, split_seed=7)
    rows.add("all", ((text, None, "a") for text in texts))
    frames = list(rows.ranges())
    assert len(list(tmp_path.glob("run-*"))) == 10
    assert len(frames) > 3
    assert [key for frame in frames for key in frame["key"]] == sorted(set(keys(texts)))
    assert sum(frame["rows"].sum() for frame in frames) == 100


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


def test_two_pairs_with_the_same_letters_have_different_keys() -> None:
    pairs = pl.DataFrame({"text": ["a b", "a", ""], "second_text": ["c", "b c", "a b c"]})
    assert splits.keys_of(pairs, 7).n_unique() == 3
