"""Scores, intervals and tests against independent ones; perturbations; the probe; the reports of the pipeline."""

import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as independent
from sklearn.linear_model import LogisticRegression
from small_project import report, sentences

from {{ cookiecutter.package_name }}.common import tasks
from {{ cookiecutter.package_name }}.config import Evaluate, load_params
from {{ cookiecutter.package_name }}.evaluation import metrics, robustness
from {{ cookiecutter.package_name }}.modeling import scores

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 400)
PREDICTED = np.where(RNG.random(400) < 0.7, LABELS, RNG.integers(0, 3, 400))
SETTINGS = Evaluate(bootstrap_samples=100, calibration_bins=2, typing_errors=0.1, dropped_words=0.3, kept_share=0.5)
TEXTS = [text for text, _ in sentences(300, seed=5)]


def test_scores_of_labels_are_those_of_scikit_learn() -> None:
    found = scores.scores("single_label", LABELS, np.eye(3)[PREDICTED])
    assert found["accuracy"] == pytest.approx(independent.accuracy_score(LABELS, PREDICTED))
    assert found["macro_f1"] == pytest.approx(independent.f1_score(LABELS, PREDICTED, average="macro"))
    right = np.eye(4)[LABELS]  # of the fourth label there is no row
    assert scores.scores("single_label", LABELS, right) == {"accuracy": 1, "macro_f1": 1}


def test_scores_of_label_sets_are_those_of_scikit_learn() -> None:
    targets, values = RNG.random((300, 4)) < 0.3, RNG.random((300, 4))
    targets[:, 3] = values[:, 3] = 0  # a label that never occurs counts nowhere
    found = scores.scores("multi_label", targets.astype(np.float32), values)
    for average in ("micro", "macro"):
        expected = independent.f1_score(targets[:, :3], values[:, :3] > 0.5, average=average)
        assert found[f"{average}_f1"] == pytest.approx(expected)
    assert found["exact_match"] == pytest.approx(independent.accuracy_score(targets, values > 0.5))


def test_scores_of_numbers_are_those_of_scikit_learn() -> None:
    targets = RNG.normal(size=300)
    values = (targets + RNG.normal(size=300))[:, np.newaxis]
    found = scores.scores("regression", targets, values)
    assert found["r2"] == pytest.approx(independent.r2_score(targets, values))
    assert found["rmse"] == pytest.approx(independent.root_mean_squared_error(targets, values))
    assert found["mae"] == pytest.approx(independent.mean_absolute_error(targets, values))


def test_a_weight_counts_as_a_repeated_row() -> None:
    weights = RNG.integers(0, 4, 400)
    rows = np.repeat(np.arange(400), weights)
    multi = RNG.random((400, 3)) < 0.5
    for task, targets, values in (
        ("single_label", LABELS, np.eye(3)[PREDICTED]),
        ("multi_label", multi.astype(np.float32), RNG.random((400, 3))),
        ("regression", RNG.normal(size=400), RNG.normal(size=(400, 1))),
    ):
        weighted = scores.scorer(task, targets, values)(weights.astype(float))
        assert weighted == pytest.approx(scores.scores(task, targets[rows], values[rows]))


def test_probabilities_of_large_logits_are_finite() -> None:
    logits = np.array([[1000.0, 0.0], [-1000.0, 0.0]])
    one, many = (tasks.values_of(task, logits) for task in ("single_label", "multi_label"))
    assert one.sum(axis=1) == pytest.approx([1, 1])
    assert many == pytest.approx(np.array([[1, 0.5], [0, 0.5]]))


def test_label_sets_become_indicator_rows() -> None:
    column = pl.Series([[0, 2], [], [1]], dtype=pl.List(pl.UInt32))
    assert tasks.targets_of(column, "multi_label", 3).tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


def test_intervals_are_those_of_resampled_rows() -> None:
    draws = [RNG.integers(0, 400, 400) for _ in range(500)]
    score = scores.scorer("single_label", LABELS, np.eye(3)[PREDICTED])
    found = metrics.intervals(score, 400, samples=2000, seed=1)
    for name, score_of in {
        "accuracy": independent.accuracy_score,
        "macro_f1": lambda a, b: independent.f1_score(a, b, average="macro"),
    }.items():
        expected = np.quantile([score_of(LABELS[rows], PREDICTED[rows]) for rows in draws], [0.025, 0.975])
        assert found[name] == pytest.approx(tuple(expected), abs=0.01)
    right = scores.scorer("single_label", LABELS[:36], np.eye(3)[LABELS[:36]])
    low, high = metrics.intervals(right, 36, samples=100, seed=1)["accuracy"]
    assert (low, high) == pytest.approx((36 / (36 + 1.96**2), 1), abs=1e-4)  # Wilson's of 36 right ones of 36


def test_mcnemar_is_exact_for_few_discordant_rows_and_mid_p_for_many() -> None:
    for better, worse in ((0, 0), (3, 1), (0, 6), (10, 10), (20, 4)):
        expected = stats.binomtest(better, better + worse).pvalue if better + worse else 1.0
        assert metrics.mcnemar(better, worse) == pytest.approx(expected)
    for better, worse in ((25, 1), (40, 24), (30, 48), (300, 260)):
        discordant = better + worse
        exact = stats.binomtest(better, discordant).pvalue
        found = metrics.mcnemar(better, worse)
        assert found == pytest.approx(exact - stats.binom.pmf(better, discordant, 0.5))
        asymptotic = stats.chi2.sf((better - worse) ** 2 / discordant, 1)
        assert found == pytest.approx(asymptotic, rel=0.03, abs=1e-5)
    assert metrics.mcnemar(30, 30) == pytest.approx(1.0)


def test_the_metrics_test_with_that_mcnemar() -> None:
    right = np.repeat([True, False, True], [30, 48, 100])
    baseline = np.repeat([False, True, True], [30, 48, 100])
    targets = np.zeros(178, dtype=np.int64)
    values, others = (np.eye(2)[np.where(rows, 0, 1)] for rows in (right, baseline))
    found = metrics.summary("single_label", targets, values, others, bins=2, samples=100, seed=0)
    assert found["mcnemar_p_against_probe"] == pytest.approx(0.0422, abs=5e-5)  # exact: 0.0535
    assert found["gain_over_probe"] == pytest.approx((30 - 48) / 178, abs=1e-6)


def test_calibration_error_of_a_known_case() -> None:
    probabilities = np.array([[0.9, 0.1]] * 10)
    table = metrics.calibration_table("single_label", np.array([0] * 6 + [1] * 4), probabilities, bins=10)
    assert table == [{"rows": 10, "predicted": 0.9, "observed": 0.6}]
    assert metrics.calibration_error(table) == pytest.approx(0.3)
    values = np.arange(100.0)[::-1, np.newaxis]
    table = metrics.calibration_table("regression", values[:, 0] + 1, values, bins=4)
    assert [row["rows"] for row in table] == [25] * 4
    assert [row["observed"] - row["predicted"] for row in table] == [1.0] * 4


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
def test_the_reports_are_those_of_the_models(trained: Path) -> None:
    found, measured = report(trained, "robustness.json"), report(trained, "metrics.json")
    assert set(found) == set(robustness.PERTURBATIONS)
    # The small tokenizer folds case, so the texts in upper case are the same to the model.
    assert found["upper_case"]["accuracy"] == measured["onnx_int8"]["accuracy"]
    assert found["upper_case"]["label_disagreements"] == 0
    for kind in ("typing_errors", "truncated", "dropped_words"):
        assert 0 < found[kind]["label_disagreements"] < measured["test_rows"]
        assert found[kind]["accuracy"] < measured["onnx_int8"]["accuracy"]
    text = (trained / "reports/model_card.md").read_text(encoding="utf-8")
    size = (trained / "models/onnx/onnx/model_int8.onnx").stat().st_size
    row = next(line for line in text.splitlines() if line.startswith("| ONNX int8 |"))
    assert f"| {measured['onnx_int8']['accuracy']:.3f} [{measured['onnx_int8']['accuracy_low']:.3f}, " in row
    assert row.endswith(f" {size / 1e6:.2f} MB |")
    assert "cut at 32 tokens" in text
    assert "| fine_tune.learning_rate | 0.001 |" in text


@pytest.mark.slow
def test_the_probe_has_the_lowest_validation_loss(trained: Path) -> None:
    vectors, labels = {}, {}
    for split in ("train", "validation"):
        vectors[split] = np.load(trained / f"embeddings/{split}.npy")
        labels[split] = pl.read_parquet(trained / f"data/processed/{split}.parquet")["label"].to_numpy()
    losses = {}
    for c in load_params(trained / "params.yaml").embeddings.probe_c:
        model = LogisticRegression(C=c, max_iter=2000).fit(vectors["train"], labels["train"])
        losses[c] = independent.log_loss(labels["validation"], model.predict_proba(vectors["validation"]))
    found = report(trained, "probe.json")
    assert {candidate["c"]: candidate["loss"] for candidate in found["candidates"]} == pytest.approx(losses, abs=1e-4)
    assert found["c"] == min(losses, key=losses.__getitem__)
    assert {"c": found["c"]} | found["validation"] in found["candidates"]
    manifest = json.loads((trained / "models/probe/manifest.json").read_text(encoding="utf-8"))
    assert manifest["c"] == found["c"]
