"""`make compare` on made-up predictions of every task, and what the pipeline writes for it.

Its statistics are compared with scipy, published values and simulated models.
"""

from typing import Any

import numpy as np
import polars as pl
import pytest
from review_sentiment.errors import UserError
from review_sentiment.evaluation.metrics import key_of, mcnemar_p, predictions_table
from scipy import stats
from tools.evidence.compare import compare, show
from tools.evidence.paired import bootstrap, holm, name_of_mcnemar, power_of_mcnemar, smallest_gain, smallest_gain_by

ROWS = 1066
DRAWS = 200
FEW = ([0.9, 0.5, 0.4], [0.1, 0.1, 0.1])
KEYS = [f"{index:03}" for index in range(200)]


def said(labels: list, answers: list) -> pl.DataFrame:
    """The predictions of one commit."""
    return pl.DataFrame({"key": KEYS[: len(labels)], "label": labels, "onnx_int8": answers})


def test_rows_that_only_one_model_has_right_decide() -> None:
    labels = ["a", "b"] * 100
    first = said(labels, ["b", "b"] * 20 + ["a", "b"] * 80)
    second = said(labels, ["a", "b"] * 90 + ["a", "a"] * 10)
    found = compare(first, second, "onnx_int8", "accuracy")
    assert (found.score, found.better, found.worse) == ("accuracy", 20, 10)
    assert found.gain.mean == pytest.approx(0.05)
    assert found.effect == "odds 2.00"
    assert found.p == pytest.approx(0.0707, abs=1e-4)  # two binomial tails of 10 in 30, less the point: 0.0987 - 0.0280
    assert found.verdict(found.p) == "no difference shown"
    assert found.verdict(0.01) == "better"
    assert compare(second, first, "onnx_int8", "accuracy").verdict(0.01) == "worse"


def test_a_set_of_labels_is_right_when_all_of_it_is() -> None:
    labels = [["a"], ["a", "b"], [], ["b"]] * 50
    answers = [["a"], ["a"], [], ["b", "c"]] * 50
    found = compare(said(labels, answers), said(labels, labels), "onnx_int8", "exact_match")
    assert (found.score, found.first, found.second, found.better) == ("exact match", 0.5, 1.0, 100)


def test_numbers_are_compared_by_their_errors() -> None:
    draw = np.random.default_rng(1)
    labels = draw.normal(size=200)
    first, second = (said(labels.tolist(), (labels + draw.normal(0, spread, 200)).tolist()) for spread in (1, 0.5))
    found = compare(first, second, "onnx_int8", "accuracy")
    errors = [float(np.abs(table["onnx_int8"].to_numpy() - labels).mean()) for table in (first, second)]
    assert (found.score, found.first, found.second) == ("mean absolute error", *map(pytest.approx, errors))
    assert found.gain.mean == pytest.approx(errors[0] - errors[1])
    assert found.verdict(found.p) == "better"
    assert compare(first, first, "onnx_int8", "accuracy").verdict(1.0) == "no difference shown"


def test_three_rows_alone_prove_nothing() -> None:
    labels = [1.0, 2.0, 3.0]
    first, second = (said(labels, [label + off for label, off in zip(labels, offs, strict=True)]) for offs in FEW)
    found = compare(first, second, "onnx_int8", "r2")
    assert (found.better, found.verdict(found.p)) == (3, "no difference shown")
    assert found.p == pytest.approx(stats.ttest_1samp(np.subtract(*FEW), 0).pvalue)


def test_the_score_that_params_yaml_names_decides() -> None:
    labels = ["rare"] * 12 + ["usual"] * 188
    first = said(labels, ["usual"] * 200)
    second = said(labels, ["rare"] * 10 + ["usual"] * 2 + ["rare"] * 16 + ["usual"] * 172)
    assert compare(first, second, "onnx_int8", "accuracy").gain.mean == pytest.approx(-6 / 200)
    found = compare(first, second, "onnx_int8", "macro_f1")
    assert (found.score, found.test, found.better, found.worse) == ("macro-F1", "rows swapped", 10, 16)
    assert found.verdict(found.p) == "better"
    assert found.gain.mean == pytest.approx(found.second - found.first)
    assert found.gain.low < found.gain.mean < found.gain.high
    assert found.smallest is not None
    sets, none = said([[label] for label in labels], [[]] * 200), said([[]] * 200, [[]] * 200)
    assert [compare(one, one, "onnx_int8", "micro_f1").p for one in (sets, none)] == [1, 1]


def test_rows_of_a_group_are_drawn_and_swapped_together() -> None:
    labels = ["a", "b"] * 100
    first, second = said(labels, ["b", "b"] * 20 + ["a", "b"] * 80), said(labels, labels)
    group = pl.Series("group", np.repeat(np.arange(5), 40).astype(float))
    assert compare(first, second, "onnx_int8", "accuracy").p < 0.001
    found = compare(first.with_columns(group), second.with_columns(group), "onnx_int8", "accuracy")
    assert (found.score, found.test, found.smallest) == ("accuracy", "groups swapped", None)
    assert found.p == pytest.approx(1, abs=0.01)  # all in one of five groups, which is swapped or not
    assert found.gain.low == 0


def test_other_test_rows_are_refused() -> None:
    rows = said(["a", "b"] * 100, ["a"] * 200)
    with pytest.raises(UserError, match="200 rows in A and 150 in B, 150 texts in both, 0 of them with another label"):
        compare(rows, rows.head(150), "onnx_int8", "accuracy")
    with pytest.raises(UserError, match="200 texts in both, 100 of them with another label"):
        compare(rows, said(["a"] * 200, ["a"] * 200), "onnx_int8", "accuracy")


def test_other_tasks_are_refused() -> None:
    texts, lists, numbers = (said([label] * 200, [label] * 200) for label in ("a", ["a"], 1.0))
    for base, other in ((texts, lists), (lists, numbers), (numbers, texts)):
        with pytest.raises(UserError, match="the models have different tasks"):
            compare(base, other, "onnx_int8", "accuracy")


def test_several_are_corrected_together(capsys: pytest.CaptureFixture[str]) -> None:
    labels = ["a", "b"] * 100
    first = said(labels, ["b", "b"] * 20 + ["a", "b"] * 80)
    second = said(labels, ["a", "b"] * 91 + ["a", "a"] * 9)
    found = compare(first, second, "onnx_int8", "accuracy")
    assert 0.025 < found.p < 0.05
    show(["one"], [found])
    assert "one: better; p = 0.0" in capsys.readouterr().out
    show(["one", "two"], [found, found])
    shown = capsys.readouterr().out
    assert "one: no difference shown; p = 0.0" in shown
    assert "corrected for 2 comparisons" in shown
    among_five = compare(first, second, "onnx_int8", "accuracy", 0.05 / 5).smallest
    assert found.smallest is not None and among_five is not None
    assert among_five > found.smallest


def test_labels_are_given_by_name_and_pairs_by_both_texts() -> None:
    values = {"torch": np.array([[0.9, 0.6], [0.2, 0.1]])}
    sets = pl.DataFrame({"text": ["x", "y"], "label": [[0], []]}, schema_overrides={"label": pl.List(pl.UInt32)})
    found = predictions_table("multi_label", sets, ["a", "b"], values)
    assert found["label"].to_list() == [["a"], []]
    assert found["torch"].to_list() == [["a", "b"], []]
    pairs = pl.DataFrame({"text": ["x", "y"], "second_text": ["1", "2"], "label": [1, 0]})
    found = predictions_table("pair", pairs, ["a", "b"], values)
    assert found.select("label", "torch").rows() == [("b", "a"), ("a", "a")]
    assert found["key"].to_list() == [key_of(("x", "1")), key_of(("y", "2"))]
    rows = pl.DataFrame({"text": ["x"], "label": [1.5]})
    numbers = predictions_table("regression", rows, [], {"torch": np.array([[2.5]])})
    assert numbers.select("label", "torch").rows() == [(1.5, 2.5)]


def resampled(differences: np.ndarray, samples: int) -> Any:
    rows = np.arange(len(differences))
    return bootstrap(lambda weights: float(weights @ differences / len(differences)), rows, samples=samples)


def two_models(draw: np.random.Generator, *, gain: float, discordance: float) -> tuple[np.ndarray, np.ndarray]:
    """Which rows two models have right; the second is better by `gain`, and they differ on so many rows."""
    only_second, only_first = (discordance + gain) / 2, (discordance - gain) / 2
    kind = draw.choice(3, ROWS, p=[only_first, only_second, 1 - discordance])
    both = draw.random(ROWS) < 0.8
    return np.where(kind == 2, both, kind == 0).astype(int), np.where(kind == 2, both, kind == 1).astype(int)


def p_of(first: np.ndarray, second: np.ndarray) -> float:
    better, worse = int(np.sum(second > first)), int(np.sum(second < first))
    return float(mcnemar_p(min(better, worse), better + worse))


def most_by_chance(rate: float) -> int:
    """What a count of `DRAWS` exceeds once in a thousand times, if its rate is this one."""
    return int(stats.binom.ppf(0.999, DRAWS, rate))


def test_the_form_of_mcnemar_is_named() -> None:
    assert [name_of_mcnemar(12, worse) for worse in (12, 13)] == ["McNemar, exact", "McNemar, mid-p"]


def test_the_bootstrap_interval_is_that_of_scipy() -> None:
    draw = np.random.default_rng(3)
    for differences in (
        draw.choice([-1, 0, 1], 500, p=[0.05, 0.85, 0.1]),
        draw.exponential(size=300) - 0.9,
    ):
        found = resampled(differences, samples=5000)
        expected = stats.bootstrap(
            (differences,), np.mean, n_resamples=5000, method="percentile", rng=np.random.default_rng(1)
        ).confidence_interval
        width = expected.high - expected.low
        assert found.mean == pytest.approx(differences.mean())
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.04 * width)
        assert (found.p < 0.05) == (not found.low <= 0 <= found.high)


@pytest.mark.parametrize("discordance", [0.01, 0.1, 0.3])
def test_equal_models_are_distinguished_in_at_most_1_of_20_draws(discordance: float) -> None:
    draw = np.random.default_rng(11)
    drawn = [two_models(draw, gain=0, discordance=discordance) for _ in range(DRAWS)]
    assert sum(p_of(*models) < 0.05 for models in drawn) <= most_by_chance(0.05)
    rejected = sum(resampled(second - first, samples=250).p < 0.05 for first, second in drawn)
    assert rejected <= most_by_chance(0.05)


@pytest.mark.parametrize(("discordance", "stated"), [(0.06, 0.985), (0.1, 0.88), (0.15, 0.72)])
def test_a_gain_of_3_points_is_found_as_often_as_stated(discordance: float, stated: float) -> None:
    power = power_of_mcnemar(ROWS, 0.03, discordance)
    assert power == pytest.approx(stated, abs=0.005)
    draw = np.random.default_rng(13)
    drawn = [two_models(draw, gain=0.03, discordance=discordance) for _ in range(2 * DRAWS)]
    found = sum(p_of(*models) < 0.05 and models[1].sum() > models[0].sum() for models in drawn)
    low, high = stats.binom.interval(0.999, 2 * DRAWS, power)
    assert low <= found <= high


def test_the_smallest_gain_has_a_power_of_8_in_10() -> None:
    for discordance in (0.05, 0.1, 0.3):
        gain = smallest_gain(ROWS, discordance)
        assert gain is not None
        assert power_of_mcnemar(ROWS, gain, discordance) == pytest.approx(0.8, abs=0.002)
    assert smallest_gain(ROWS, 0) is None
    assert smallest_gain(20, 0.1) is None


def test_the_smallest_gain_by_is_found_about_8_times_in_10() -> None:
    draw = np.random.default_rng(14)
    gain = smallest_gain_by(1 / ROWS**0.5)
    found = sum(resampled(draw.normal(gain, 1, ROWS), samples=200).low > 0 for _ in range(DRAWS))
    low, high = stats.binom.interval(0.9999, DRAWS, 0.8)
    assert low <= found <= high


def test_several_p_values_are_corrected_as_holm_did() -> None:
    # R's p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm").
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
