"""Cleaning, splitting and the tables that users bring."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_project import run_stage, sentences, write_params, write_table

from {{ cookiecutter.package_name }} import cleaning
from {{ cookiecutter.package_name }}.label_cells import sorted_names
from {{ cookiecutter.package_name }}.params import Prepare
from {{ cookiecutter.package_name }}.splits import decide, key_of, split_of

PREPARE = Prepare(
    text_column="text",
    label_column="label",
    second_text_column=None,
    label_separator=",",
    keep=None,
    on_bad_row="fail",
    split_seed=7,
    validation_fraction=0.2,
    test_fraction=0.2,
)


def rows_of(pairs: list[tuple[str, str]], tables: list[str] | None = None) -> pl.DataFrame:
    """Rows as `decide` takes them."""
    return pl.DataFrame(
        {
            "text": [text for text, _ in pairs],
            "table": tables or ["all"] * len(pairs),
            "label": [label for _, label in pairs],
            "key": [key_of(text, PREPARE.split_seed) for text, _ in pairs],
            "rows": [1] * len(pairs),
        },
        schema_overrides={"text": pl.String, "table": pl.String, "label": pl.String, "key": pl.Binary},
    )


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


@given(st.lists(st.text(min_size=1), min_size=1, unique=True), st.data())
def test_other_rows_never_move_a_row(texts: list[str], data: st.DataObject) -> None:
    pairs = [(text, "a") for text in texts]
    before = dict(zip(texts, decide(rows_of(pairs), PREPARE, {"all"})[0]["split"], strict=True))
    chosen = data.draw(st.permutations(pairs))[: data.draw(st.integers(1, len(pairs)))]
    after = decide(rows_of(chosen), PREPARE, {"all"})[0]["split"]
    assert [before[text] for text, _ in chosen] == after.to_list()


def test_the_shares_are_those_asked_for() -> None:
    keys = pl.Series([key_of(str(number), 7) for number in range(20_000)])
    shares = split_of(keys, 0.2, 0.1).value_counts(normalize=True)
    found = dict(shares.iter_rows())
    assert found == pytest.approx({"train": 0.7, "validation": 0.2, "test": 0.1}, abs=0.02)


def test_repeated_and_contradicting_texts_are_dropped_and_counted() -> None:
    kept, dropped = decide(rows_of([("x", "a"), ("y", "a"), ("x", "a"), ("y", "b"), ("z", "b")]), PREPARE, {"all"})
    assert kept["text"].to_list() == ["x", "z"]
    assert dropped == {"in_another_split": 0, "contradicting_labels": 2, "duplicates": 1}


def test_a_text_in_two_tables_stays_where_it_is_held_out() -> None:
    pairs = [("x", "a"), ("x", "a"), ("y", "b"), ("z", "b")]
    tables = ["train", "test", "train", "validation"]
    kept, dropped = decide(rows_of(pairs, tables), PREPARE, set(tables))
    assert dict(zip(kept["text"], kept["split"], strict=True)) == {"x": "test", "y": "train", "z": "validation"}
    assert dropped["in_another_split"] == 1


def test_labels_are_sorted_by_value() -> None:
    assert sorted_names({"10", "9", "2", "09"}) == ["2", "09", "9", "10"]
    assert sorted_names({"b", "B", "a"}) == ["B", "a", "b"]


def prepare(project: Path, base_model: Path, **changes: object) -> str:
    write_params(project / "params.yaml", base_model, **changes)
    done = run_stage(project, "prepare")
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_format_gives_the_same_rows(tmp_path: Path, prepared: Path, base_model: Path, suffix: str) -> None:
    table = pl.read_csv(prepared / "data/raw/table.csv").rename({"text": "Satz", "label": "Urteil"})
    raw = tmp_path / "data/raw"
    raw.mkdir(parents=True)
    writers = {
        ".csv": table.write_csv,
        ".tsv": lambda path: table.write_csv(path, separator="\t"),
        ".jsonl": table.write_ndjson,
        ".parquet": table.write_parquet,
    }
    writers[suffix](raw / f"meine{suffix}")
    assert prepare(tmp_path, base_model, prepare__text_column="Satz", prepare__label_column="Urteil") == ""
    for split in ("train", "validation", "test"):
        path = f"data/processed/{split}.parquet"
        assert (tmp_path / path).read_bytes() == (prepared / path).read_bytes()


@pytest.mark.parametrize(
    ("files", "changes", "message"),
    [
        ({}, {}, "found:    no table"),
        ({"a.csv": 50, "b.csv": 50}, {}, "found:    a.csv, b.csv"),
        ({"test.csv": 50}, {}, "found:    test.csv"),
        ({"a.csv": 50}, {"prepare__text_column": "sentence"}, "has no column 'sentence'"),
        ({"a.csv": 50}, {"prepare__keep": {"column": "source", "value": "x"}}, "has no column 'source'"),
        ({"a.csv": 3}, {}, "rows in every split"),
        ({"a.parquet": 50}, {}, "a.parquet cannot be read"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(
    tmp_path: Path, base_model: Path, files: dict[str, int], changes: dict[str, object], message: str
) -> None:
    (tmp_path / "data/raw").mkdir(parents=True)
    for name, rows in files.items():
        write_table(tmp_path / "data/raw" / name, sentences(rows, seed=3))
    assert message in prepare(tmp_path, base_model, **changes)
    assert not (tmp_path / "data/processed").exists()
