"""Changed texts: by their own text alone, as much as asked, and measured on the model that is shipped."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_project import report, sentences

from {{ cookiecutter.package_name }}.config import Evaluate
from {{ cookiecutter.package_name }}.evaluation import robustness
from {{ cookiecutter.package_name }}.evaluation.robustness import (
    CHANGES,
    change,
)

KNOBS = Evaluate(bootstrap_samples=100, calibration_bins=2, typing_errors=0.1, dropped_words=0.3, kept_share=0.5)
TEXTS = [text for text, _ in sentences(300, seed=5)]


@pytest.mark.parametrize("kind", CHANGES)
def test_a_text_decides_alone_what_becomes_of_it(kind: str) -> None:
    once = {text: change(kind, text, KNOBS, seed=1) for text in TEXTS}
    assert {text: change(kind, text, KNOBS, seed=1) for text in reversed(TEXTS)} == once
    assert robustness.changed_text(kind, (TEXTS[0], TEXTS[1]), KNOBS, 1) == (once[TEXTS[0]], once[TEXTS[1]])
    others = sum(change(kind, text, KNOBS, seed=2) != once[text] for text in TEXTS)
    assert (others > 200) == (kind in ("typing_errors", "dropped_words"))


def test_as_much_changes_as_was_asked_for() -> None:
    words = [len(change("dropped_words", text, KNOBS, 1).split()) / len(text.split()) for text in TEXTS]
    assert np.mean(words) == pytest.approx(0.7, abs=0.03)
    cut = [change("truncated", text, KNOBS, 1) for text in TEXTS]
    assert cut == [text[: math.ceil(len(text) / 2)] for text in TEXTS]
    assert change("upper_case", "warm, funny", KNOBS, 1) == "WARM, FUNNY"
    text = "letters" * 2000
    length = len(change("typing_errors", text, KNOBS, 1))
    assert abs(length - len(text)) < 150  # as many left out as doubled
    kept = Evaluate(**KNOBS.model_dump() | {"typing_errors": 0.0, "dropped_words": 0.0, "kept_share": 1.0})
    assert {change(kind, "Some words.", kept, 1) for kind in CHANGES} == {"Some words.", "SOME WORDS."}


@given(st.text(max_size=60), st.sampled_from(sorted(CHANGES)))
def test_any_text_can_be_changed(text: str, kind: str) -> None:
    changed = change(kind, text, KNOBS, seed=3)
    assert isinstance(changed, str)
    if kind == "dropped_words":
        assert bool(changed) == bool(text.split())


def test_a_typing_error_leaves_out_doubles_or_exchanges() -> None:
    knobs = Evaluate(**KNOBS.model_dump() | {"typing_errors": 0.999})
    found = {change("typing_errors", "ab1", knobs, seed) for seed in range(60)}
    assert found >= {"1", "aabb1", "ba1", "bb1"}
    assert all("1" in text for text in found)


@pytest.mark.slow
def test_the_metric_is_that_of_the_shipped_model(trained: Path) -> None:
    found, metrics = report(trained, "robustness.json"), report(trained, "metrics.json")
    assert set(found) == set(CHANGES)
    # The small tokenizer folds case, so the texts in upper case are read as they were.
    assert found["upper_case"]["accuracy"] == metrics["onnx_int8"]["accuracy"]
    assert found["upper_case"]["label_disagreements"] == 0
    for kind in ("typing_errors", "truncated", "dropped_words"):
        assert 0 < found[kind]["label_disagreements"] < metrics["test_rows"]
        assert found[kind]["accuracy"] < metrics["onnx_int8"]["accuracy"]
    assert "| in upper case |" in (trained / "reports/model_card.md").read_text(encoding="utf-8")
