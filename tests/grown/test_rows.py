"""The rows of `prepare`: folds, keys, runs on disk, labels and their names, malformed rows. Run in a grown project."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from review_sentiment.config import Fold
from review_sentiment.data import splits
from review_sentiment.data.labels import sorted_names
from review_sentiment.data.profile import few_test_rows
from review_sentiment.errors import UserError
from review_sentiment.stages import prepare
from small_project import params_with, run_stage, write_params, write_table
from test_data import NO_ROWS, PREPARE, keys, rows_of

ROWS = [(f"text number {number}", f"{number % 2}.0") for number in range(60)]


def with_fold(index: int, count: int) -> Any:
    return PREPARE.model_copy(update={"fold": Fold(index=index, of=count)})


@given(st.lists(st.floats(0, 1), min_size=1), st.integers(2, 12))
def test_every_row_is_in_one_fold(positions: list[float], count: int) -> None:
    edges = [number / count for number in range(count + 1)]
    near = [float(np.nextafter(edge, side)) for edge in edges for side in (0.0, 1.0)]
    drawn = np.array([*positions, *edges, *near])
    rules = [splits.rule_of(with_fold(index, count), {"all"}, NO_ROWS) for index in range(count)]
    found = np.array([rule.split_of(drawn).to_numpy() == "test" for rule in rules])
    assert (found.sum(axis=0) == 1).all()


def splits_of(pairs: list[tuple[str, str]]) -> dict[str, str]:
    kept, _ = splits.drop_repeats(rows_of(pairs))
    kept = splits.with_split(kept, splits.Rule(0.2, 0.4))
    return dict(zip(kept["text"], kept["split"], strict=True))


@given(st.lists(st.text(min_size=1), min_size=1, unique=True), st.data())
def test_other_rows_never_move_a_row(texts: list[str], data: st.DataObject) -> None:
    pairs = [(text, "a") for text in texts]
    before = splits_of(pairs)
    chosen = data.draw(st.permutations(pairs))[: data.draw(st.integers(1, len(pairs)))]
    after = splits_of(chosen)
    assert len(before) == len(texts)
    assert after == {text: before[text] for text, _ in chosen}


def test_two_pairs_with_the_same_letters_have_different_keys() -> None:
    pairs = pl.DataFrame({"text": ["a b", "a", ""], "second_text": ["c", "b c", "a b c"]})
    assert splits.keys_of(pairs, 7).n_unique() == 3


def test_rows_come_back_from_runs_as_they_went_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "BYTES_PER_RUN", 10 * splits.BYTES_PER_ROW)
    monkeypatch.setattr(splits, "CHARACTERS_PER_RANGE", 20)
    texts = [str(number % 70) for number in range(100)]
    rows = splits.SortedRows(tmp_path, split_seed=7)
    rows.add("all", ((text, None, "a", None, None) for text in texts))
    frames = list(rows.ranges())
    assert len(list(tmp_path.glob("run-*"))) == 10
    assert len(frames) > 3
    assert [key for frame in frames for key in frame["key"]] == sorted(set(keys(texts)))
    assert sum(frame["rows"].sum() for frame in frames) == 100


def test_labels_are_sorted_by_value() -> None:
    assert sorted_names({"10", "9", "2", "09"}) == ["2", "09", "9", "10"]
    assert sorted_names({"b", "B", "a"}) == ["B", "a", "b"]


def test_labels_with_few_test_rows_are_found() -> None:
    found = {"train": {"per_label": {"a": 90, "b": 40, "c": 9}}, "test": {"per_label": {"a": 5, "b": 4}}}
    assert few_test_rows(found) == {"b": 4, "c": 0}
    assert few_test_rows({"train": {"target": {}}, "test": {"target": {}}}) == {}


def test_names_of_labels_change_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_table(Path("data/raw/a.csv"), ROWS)
    tables, labels, counts = [], [], []
    for names in (None, {"1": "better", "0": "worse"}):
        prepare.run(params_with(label_names=names))
        tables.append([path.read_bytes() for path in sorted(tmp_path.glob("data/processed/*.parquet"))])
        labels.append(json.loads(Path("data/processed/labels.json").read_text(encoding="utf-8")))
        profile = json.loads(Path("reports/data_profile.json").read_text(encoding="utf-8"))
        counts.append(profile["train"]["per_label"])
    assert labels == [["0", "1"], ["worse", "better"]]
    assert counts[1] == {"worse": counts[0]["0"], "better": counts[0]["1"]}
    assert tables[0] == tables[1]
    with pytest.raises(UserError, match=r"found: +without a name: '0'\n"):
        prepare.run(params_with(label_names={"1": "better"}))
    with pytest.raises(UserError, match=r"labels '0', '1', and for no other\n  found: +in no row: '2'"):
        prepare.run(params_with(label_names={"1": "better", "0": "worse", "2": "other"}))
    with pytest.raises(UserError, match=r"holds one name twice"):
        prepare.run(params_with(label_names={"1": "same", "0": "same"}))


def test_texts_of_several_labels_are_named_if_they_are_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    several = [(f"text by two annotators {number}", label) for number in range(9) for label in ("0", "1")]
    for rows in (several[:2] * 9, several):
        write_table(Path("data/raw/a.csv"), [*ROWS, *rows])
        prepare.run(params_with())
        named = (
            "18 rows of texts with several labels are dropped, from test too: write one row" in capsys.readouterr().err
        )
        assert named
    write_table(
        Path("data/raw/a.csv"), [*((f"{text} {n}", label) for text, label in ROWS for n in range(4)), *several[:2]]
    )
    prepare.run(params_with())
    assert "several labels" not in capsys.readouterr().err


def test_malformed_rows_are_kept_with_all_that_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_table(Path("data/raw/train.csv"), ROWS)
    with Path("data/raw/train.csv").open("a", encoding="utf-8") as file:
        file.write("alone\n")
    Path("data/raw/test.csv").write_bytes(b"text,label\nnew,1\ncaf\xe9 one,1\n")
    prepare.run(params_with(malformed_rows="quarantine"))
    lines = Path("data/processed/quarantine.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"file": "train.csv", "line": 62, "reason": "expected 2 columns, found 1", "content": "alone"},
        {"file": "test.csv", "line": 3, "reason": "expected UTF-8, found the byte 0xE9", "content": "caf\\xe9 one,1"},
    ]


def test_the_command_prints_a_refusal_without_a_traceback(tmp_path: Path, base_model: Path) -> None:
    write_params(tmp_path / "params.yaml", base_model)
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/a.csv").write_bytes("text,label\ntext,1\n".encode("utf-16"))
    done = run_stage(tmp_path, "prepare")
    assert (done.returncode, done.stderr.count("Traceback")) == (1, 0)
    assert done.stderr.startswith("error: data/raw/a.csv is not in UTF-8\n  expected:")
