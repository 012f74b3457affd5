"""Cleaning, splitting and the tables that users bring."""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_project import PACKAGE, ROOT, params_with, run_stage, sentences, write_params, write_table

from {{ cookiecutter.package_name }}.data import splits
from {{ cookiecutter.package_name }}.data.labels import sorted_names
from {{ cookiecutter.package_name }}.data.splits import (
    decide,
    keys_of,
    split_of,
)
from {{ cookiecutter.package_name }}.inference.classifier import (
    OnnxClassifier,
)
from {{ cookiecutter.package_name }}.stages import prepare as stage
from {{ cookiecutter.package_name }}.text import cleaning

PREPARE = params_with(split_seed=7, validation_fraction=0.2, test_fraction=0.2).prepare
REPAIRED = {code: bytes([code]).decode("cp1252", errors="ignore") or " " for code in range(0x80, 0xA0)}
REPLACED = REPAIRED | dict.fromkeys([*range(0x20), 0x7F], " ")


def plainly_cleaned(text: str) -> str:
    """What cleaning is, without a way around the work."""
    return " ".join(unicodedata.normalize("NFC", text.translate(REPLACED)).split())


def keys(texts: list[str]) -> pl.Series:
    """Their keys."""
    return keys_of(pl.DataFrame({"text": texts, "second_text": None}, schema_overrides={"text": pl.String}), 7)


def rows_of(pairs: list[tuple[str, str]], tables: list[str] | None = None) -> pl.DataFrame:
    """Rows as `decide` takes them."""
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
def test_cleaning_takes_no_way_around_that_shows(text: str) -> None:
    assert cleaning.clean(text) == plainly_cleaned(text)


def test_every_character_is_cleaned() -> None:
    characters = map(chr, [*range(0x3100), *range(0xF900, 0x10000), *range(0x10000, 0x110000, 997)])
    texts = [form.format(character) for character in characters for form in ("{0}", "a{0}b {0}", "{0} a")]
    assert [text for text in texts if cleaning.clean(text) != plainly_cleaned(text)] == []


def splits_of(pairs: list[tuple[str, str]]) -> dict[str, str]:
    kept, _ = decide(rows_of(pairs), PREPARE, {"all"})
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
    shares = split_of(keys([str(number) for number in range(20_000)]), 0.2, 0.1).value_counts(normalize=True)
    found = dict(shares.iter_rows())
    assert found == pytest.approx({"train": 0.7, "validation": 0.2, "test": 0.1}, abs=0.02)


def test_repeated_and_contradicting_texts_are_dropped_and_counted() -> None:
    kept, dropped = decide(rows_of([("x", "a"), ("y", "a"), ("x", "a"), ("y", "b"), ("z", "b")]), PREPARE, {"all"})
    assert sorted(kept["text"]) == ["x", "z"]
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


WRITERS = {
    ".csv": pl.DataFrame.write_csv,
    ".tsv": lambda table, path: table.write_csv(path, separator="\t"),
    ".jsonl": pl.DataFrame.write_ndjson,
    ".parquet": pl.DataFrame.write_parquet,
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_format_gives_the_same_rows(tmp_path: Path, prepared: Path, base_model: Path, suffix: str) -> None:
    table = pl.read_csv(prepared / "data/raw/table.csv").rename({"text": "Satz", "label": "Urteil"})
    raw = tmp_path / "data/raw"
    raw.mkdir(parents=True)
    WRITERS[suffix](table, raw / f"meine{suffix}")
    assert prepare(tmp_path, base_model, prepare__text_column="Satz", prepare__label_column="Urteil") == ""
    for split in ("train", "validation", "test"):
        path = f"data/processed/{split}.parquet"
        assert (tmp_path / path).read_bytes() == (prepared / path).read_bytes()


# As a user would add a rule: every caller of `clean` must get it.
RULE = """

_without_the_rule = clean


def clean(text: str) -> str:
    return _without_the_rule(text).replace("film", "FILMX")
"""


@pytest.mark.slow
def test_a_rule_added_to_clean_reaches_training_and_prediction(
    tmp_path: Path, untrained: Path, trained: Path, base_model: Path
) -> None:
    source = shutil.copytree(ROOT / "src", tmp_path / "src")
    with (source / PACKAGE / "text/cleaning.py").open("a", encoding="utf-8") as file:
        file.write(RULE)
    table = pl.read_csv(untrained / "data/raw/table.csv")
    expected = {text.replace("film", "FILMX") for text in table["text"]}
    assert expected != set(table["text"])
    for suffix in WRITERS:
        project = tmp_path / suffix
        (project / "data/raw").mkdir(parents=True)
        WRITERS[suffix](table, project / f"data/raw/table{suffix}")
        write_params(project / "params.yaml", base_model)
        done = run_stage(project, "prepare", PYTHONPATH=str(source))
        assert done.returncode == 0, done.stderr
        assert set(pl.concat(map(pl.read_parquet, project.glob("data/processed/*.parquet")))["text"]) == expected
    texts = table["text"][:20].to_list()
    command = [sys.executable, "-m", f"{PACKAGE}.predict", "texts.jsonl", "--output", "found.jsonl"]
    pl.DataFrame({"text": texts}).write_ndjson(tmp_path / "texts.jsonl")
    command += ["--directory", str(trained / "models/onnx")]
    subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(source)}, check=True)
    found = pl.read_ndjson(tmp_path / "found.jsonl")["probabilities"].struct.field("good").to_list()
    shipped = OnnxClassifier(trained / "models/onnx")
    replaced, plain = (
        [row["probabilities"]["good"] for row in shipped.predict(given)]
        for given in ([text.replace("film", "FILMX") for text in texts], texts)
    )
    assert found == pytest.approx(replaced, abs=1e-5)
    assert found != pytest.approx(plain, abs=1e-5)


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


def outs_of(project: Path, rows: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What `prepare` makes of rows, run here."""
    write_table(project / "data/raw/table.csv", rows)
    monkeypatch.chdir(project)
    stage.run(params_with())
    return {path.name: path.read_bytes() for path in project.glob("data/processed/*")}


def test_neither_the_order_nor_the_runs_and_ranges_change_a_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = sentences(3000, seed=4)
    rows += [*rows[:500], *((text, "good") for text, _ in rows[500:600])]
    before = outs_of(tmp_path, rows, monkeypatch)
    assert len(before) == 4
    random.Random(0).shuffle(rows)
    assert outs_of(tmp_path, rows, monkeypatch) == before
    monkeypatch.setattr(splits, "BYTES_PER_RUN", 10_000)
    monkeypatch.setattr(splits, "CHARACTERS_PER_RANGE", 1000)
    assert outs_of(tmp_path, rows, monkeypatch) == before
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


def test_what_a_kill_leaves_is_no_hindrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = outs_of(tmp_path, sentences(100, seed=4), monkeypatch)
    scratch = tmp_path / "data/.processed.partial/scratch"
    scratch.mkdir(parents=True)
    (scratch / "run-0.ipc").write_bytes(b"torn")
    assert outs_of(tmp_path, sentences(100, seed=4), monkeypatch) == before
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
    stage.run(params_with(task=task, label_separator=";", second_text_column=second))
    assert json.loads((tmp_path / "data/processed/labels.json").read_text(encoding="utf-8")) == labels
    table = pl.concat(pl.read_parquet(path) for path in tmp_path.glob("data/processed/*.parquet"))
    texts = {"text": pl.String} | ({"second_text": pl.String} if task == "pair" else {})
    assert dict(table.schema) == texts | {"label": kind}
    numbers = table["text"].str.slice(5).cast(pl.Int64)
    expected = {"multi_label": [[0, 1], [1]], "regression": None}.get(task, [0, 1])
    assert table["label"].to_list() == [expected[n % 2] if expected else n / 4 for n in numbers]


def test_a_pair_is_told_from_another_with_the_same_letters() -> None:
    pairs = pl.DataFrame({"text": ["a b", "a", ""], "second_text": ["c", "b c", "a b c"]})
    assert keys_of(pairs, 7).n_unique() == 3
