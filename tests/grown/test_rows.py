"""The rows of `prepare`: folds, keys, runs on disk, the order of labels, labels with few test rows.

Run in a grown project.
"""

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
from test_data import NO_ROWS, PREPARE, keys


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
