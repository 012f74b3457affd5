"""The perturbations of the robustness test: what each does to a text, and what the model makes of it."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from review_sentiment.config import Evaluate
from review_sentiment.evaluation import robustness
from small_project import report, sentences

SETTINGS = Evaluate(bootstrap_samples=100, calibration_bins=2, typing_errors=0.1, dropped_words=0.3, kept_share=0.5)
TEXTS = [text for text, _ in sentences(300, seed=5)]


@pytest.mark.parametrize("kind", robustness.PERTURBATIONS)
def test_a_perturbation_depends_on_the_text_alone(kind: str) -> None:
    once = {text: robustness.perturb(kind, text, SETTINGS, seed=1) for text in TEXTS}
    assert {text: robustness.perturb(kind, text, SETTINGS, seed=1) for text in reversed(TEXTS)} == once
    assert robustness.perturbed_text(kind, (TEXTS[0], TEXTS[1]), SETTINGS, 1) == (once[TEXTS[0]], once[TEXTS[1]])
    others = sum(robustness.perturb(kind, text, SETTINGS, seed=2) != once[text] for text in TEXTS)
    assert (others > 200) == (kind in ("typing_errors", "dropped_words"))


def test_perturbations_are_as_strong_as_the_settings() -> None:
    words = [len(robustness.perturb("dropped_words", text, SETTINGS, 1).split()) / len(text.split()) for text in TEXTS]
    assert np.mean(words) == pytest.approx(0.7, abs=0.03)
    cut = [robustness.perturb("truncated", text, SETTINGS, 1) for text in TEXTS]
    assert cut == [text[: math.ceil(len(text) / 2)] for text in TEXTS]
    assert robustness.perturb("upper_case", "warm, funny", SETTINGS, 1) == "WARM, FUNNY"
    text = "letters" * 2000
    length = len(robustness.perturb("typing_errors", text, SETTINGS, 1))
    assert abs(length - len(text)) < 150  # as many omitted as doubled
    kept = Evaluate(**SETTINGS.model_dump() | {"typing_errors": 0.0, "dropped_words": 0.0, "kept_share": 1.0})
    assert {robustness.perturb(kind, "Some words.", kept, 1) for kind in robustness.PERTURBATIONS} == {
        "Some words.",
        "SOME WORDS.",
    }


@given(st.text(max_size=60), st.sampled_from(sorted(robustness.PERTURBATIONS)))
def test_any_text_can_be_perturbed(text: str, kind: str) -> None:
    perturbed = robustness.perturb(kind, text, SETTINGS, seed=3)
    assert isinstance(perturbed, str)
    if kind == "dropped_words":
        assert bool(perturbed) == bool(text.split())


def test_a_typing_error_omits_doubles_or_swaps() -> None:
    settings = Evaluate(**SETTINGS.model_dump() | {"typing_errors": 0.999})
    found = {robustness.perturb("typing_errors", "ab1", settings, seed) for seed in range(60)}
    assert found >= {"1", "aabb1", "ba1", "bb1"}
    assert all("1" in text for text in found)


@pytest.mark.slow
def test_the_model_errs_more_often_on_perturbed_texts(trained: Path) -> None:
    found, measured = report(trained, "robustness.json"), report(trained, "metrics.json")
    # The small tokenizer folds case, so the texts in upper case are the same to the model.
    assert found["upper_case"]["accuracy"] == measured["onnx_int8"]["accuracy"]
    assert found["upper_case"]["label_disagreements"] == 0
    for kind in ("typing_errors", "truncated", "dropped_words"):
        assert 0 < found[kind]["label_disagreements"] < measured["test_rows"]
        assert found[kind]["accuracy"] < measured["onnx_int8"]["accuracy"]
