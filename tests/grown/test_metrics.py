"""The metrics of the reports against independent ones: intervals, significance, calibration; targets and values."""

import numpy as np
import polars as pl
import pytest
from review_sentiment.common import tasks
from review_sentiment.evaluation import metrics
from review_sentiment.inference.outputs import PredictionFormat
from review_sentiment.modeling import probe, scores
from scipy import stats
from sklearn import metrics as independent
from small_project import params_with
from test_evaluation import LABELS, PREDICTED


def test_probabilities_of_large_logits_are_finite() -> None:
    logits = np.array([[1000.0, 0.0], [-1000.0, 0.0]])
    one, many = (tasks.predictions_of(task, logits) for task in ("single_label", "multi_label"))
    assert one.sum(axis=1) == pytest.approx([1, 1])
    assert many == pytest.approx(np.array([[1, 0.5], [0, 0.5]]))


def test_label_sets_become_indicator_rows() -> None:
    column = pl.Series([[0, 2], [], [1]], dtype=pl.List(pl.UInt32))
    assert tasks.targets_of(column, "multi_label", 3).tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


def test_intervals_are_those_of_resampled_rows() -> None:
    rng = np.random.default_rng(1)
    draws = [rng.integers(0, 400, 400) for _ in range(500)]
    score = scores.scorer("single_label", LABELS, np.eye(3)[PREDICTED])
    found = metrics.intervals(score, np.arange(400), samples=2000, seed=1)
    for name, score_of in {
        "accuracy": independent.accuracy_score,
        "macro_f1": lambda a, b: independent.f1_score(a, b, average="macro"),
    }.items():
        expected = np.quantile([score_of(LABELS[rows], PREDICTED[rows]) for rows in draws], [0.025, 0.975])
        assert found[name] == pytest.approx(tuple(expected), abs=0.01)
    right = scores.scorer("single_label", LABELS[:36], np.eye(3)[LABELS[:36]])
    low, high = metrics.intervals(right, np.arange(36), samples=100, seed=1)["accuracy"]
    assert (low, high) == pytest.approx((36 / (36 + 1.96**2), 1), abs=1e-4)  # Wilson's of 36 right ones of 36


def test_an_interval_contains_its_score_also_where_labels_are_rare() -> None:
    draw, targets = np.random.default_rng(0), np.repeat(np.arange(1000), 2)
    chosen = np.where(draw.random(2000) < 0.7, targets, draw.integers(0, 1000, 2000))
    score = scores.scorer("single_label", targets, np.eye(1000)[chosen])
    low, high = metrics.intervals(score, np.arange(2000), samples=200, seed=1)["macro_f1"]
    assert low <= score(np.ones(2000))["macro_f1"] < high
    numbers = draw.lognormal(size=20)
    score = scores.scorer("regression", numbers, numbers[:, np.newaxis] * 0.9)
    for name, (low, high) in metrics.intervals(score, np.arange(20), samples=200, seed=1).items():
        assert low <= score(np.ones(20))[name] <= high
        assert high <= 1 if name == "r2" else low >= 0


def test_intervals_of_macro_f1_cover_what_many_rows_give_also_if_few_labels_are_common() -> None:
    draw, shares = np.random.default_rng(2), 1 / np.arange(1, 101)

    def score_of(count: int) -> scores.Scorer:
        targets = draw.choice(100, count, p=shares / shares.sum())
        chosen = np.where(draw.random(count) < 0.7, targets, draw.integers(0, 100, count))
        return scores.scorer("single_label", targets, np.eye(100, dtype=np.float32)[chosen])

    wanted, covered = score_of(400_000)(np.ones(400_000))["macro_f1"], 0
    for seed in range(60):
        low, high = metrics.intervals(score_of(2000), np.arange(2000), samples=200, seed=seed)["macro_f1"]
        covered += low <= wanted <= high
    assert covered >= 48


def mcnemar(better: int, worse: int) -> float:
    return float(metrics.mcnemar_p(min(better, worse), better + worse))


def test_mcnemar_is_exact_for_few_discordant_rows_and_mid_p_for_many() -> None:
    for better, worse in ((0, 0), (3, 1), (0, 6), (10, 10), (20, 4)):
        expected = stats.binomtest(better, better + worse).pvalue if better + worse else 1.0
        assert mcnemar(better, worse) == pytest.approx(expected)
    for better, worse in ((25, 1), (40, 24), (30, 48), (300, 260)):
        discordant = better + worse
        exact = stats.binomtest(better, discordant).pvalue
        found = mcnemar(better, worse)
        assert found == pytest.approx(exact - stats.binom.pmf(better, discordant, 0.5))
        asymptotic = stats.chi2.sf((better - worse) ** 2 / discordant, 1)
        assert found == pytest.approx(asymptotic, rel=0.03, abs=1e-5)
    assert mcnemar(30, 30) == pytest.approx(1.0)


def test_the_metrics_test_with_that_mcnemar() -> None:
    right = np.repeat([True, False, True], [30, 48, 100])
    baseline = np.repeat([False, True, True], [30, 48, 100])
    targets = np.zeros(178, dtype=np.int64)
    values, others = (np.eye(2)[np.where(rows, 0, 1)] for rows in (right, baseline))
    found = metrics.summary(params_with(), targets, values, others, np.arange(178))
    assert found["mcnemar_p_against_probe"] == pytest.approx(0.0422, abs=5e-5)  # exact: 0.0535
    assert found["gain_over_probe"] == pytest.approx((30 - 48) / 178, abs=1e-6)


def test_for_numbers_the_p_value_belongs_to_the_gain_that_is_reported() -> None:
    targets, zeros = np.zeros(40), np.zeros((40, 1))
    worse = np.where(np.arange(40)[:, None] < 32, 0.1, 0.0)  # a little worse on 32 rows, much better on 8
    rows = np.arange(40)
    _, gain, p = metrics.significance("regression", "r2", targets, worse, np.where(worse, 0.0, 10.0), rows)
    better = np.array([-0.1] * 32 + [10.0] * 8)
    assert gain == pytest.approx(better.mean())
    by_hand = better.mean() / (better.std(ddof=1) / 40**0.5)
    assert p == pytest.approx(2 * stats.t.sf(by_hand, 39))
    assert metrics.significance("regression", "r2", targets, zeros, zeros, rows)[1:] == (0, 1)
    one = metrics.significance("regression", "r2", targets[:1], zeros[:1], worse[:1], rows[:1])
    assert one == ("t_test", pytest.approx(0.1), 1)


def test_models_are_compared_in_the_score_that_chooses_the_epoch() -> None:
    rng, rows = np.random.default_rng(0), np.arange(2000)
    rare = rows < 120  # the model finds 84 of the rare rows with 100 false alarms, the probe 24 with 11
    model, probe = (rows < 84) | ((rows >= 120) & (rows < 220)), (rows < 24) | (rows >= 1989)
    values, others = (np.eye(2)[chosen.astype(int)] for chosen in (model, probe))
    asked = (rare.astype(np.int64), values, others, rows)
    test, gain, p = metrics.significance("single_label", "accuracy", *asked)
    assert (test, gain < 0, p < 0.05) == ("mcnemar", True, True)
    test, gain, p = metrics.significance("single_label", "macro_f1", *asked)
    expected = [independent.f1_score(rare, chosen, average="macro") for chosen in (model, probe)]
    assert (test, gain, p < 0.05) == ("swap", pytest.approx(expected[0] - expected[1]), True)
    sets = rng.random((600, 40)) < 0.3  # hardly a row has all of its labels right
    values, others = (np.where(rng.random(sets.shape) < wrong, ~sets, sets).astype(float) for wrong in (0.2, 0.3))
    assert metrics.significance("multi_label", "exact_match", sets, values, others, rows[:600])[2] > 0.05
    test, gain, p = metrics.significance("multi_label", "micro_f1", sets, values, others, rows[:600])
    assert (test, gain > 0.05, p < 0.05) == ("swap", True, True)


def test_repeated_rows_of_a_group_say_no_more_than_one_of_them() -> None:
    rng, groups = np.random.default_rng(0), np.repeat(np.arange(40), 20)
    right, baseline = rng.random(40) < 0.7, rng.random(40) < 0.5
    targets = rng.integers(0, 2, 40)
    values, others = (np.eye(2)[np.where(rows, targets, 1 - targets)] for rows in (right, baseline))
    once = metrics.intervals(scores.scorer("single_label", targets, values), np.arange(40), samples=2000, seed=1)
    many = scores.scorer("single_label", targets[groups], values[groups])
    drawn = metrics.intervals(many, groups, samples=2000, seed=1)
    for name, (low, high) in drawn.items():
        assert high - low == pytest.approx(once[name][1] - once[name][0], rel=0.15)
    _, gain, p = metrics.significance("single_label", "accuracy", targets, values, others, np.arange(40))
    asked = (targets[groups], values[groups], others[groups])
    test, same, swapped = metrics.significance("single_label", "accuracy", *asked, groups)
    assert (test, same) == ("swap", pytest.approx(gain))
    assert swapped == pytest.approx(p, abs=0.03)
    assert metrics.significance("single_label", "accuracy", *asked, np.arange(800))[2] < p / 10
    errors, numbers = (np.abs(np.random.default_rng(seed).normal(size=(40, 1))) for seed in (1, 2))
    test, gain, p = metrics.significance("regression", "r2", np.zeros(800), errors[groups], numbers[groups], groups)
    assert (test, gain) == ("swap", pytest.approx((numbers - errors).mean()))
    assert p == pytest.approx(stats.ttest_1samp((numbers - errors)[:, 0], 0).pvalue, abs=0.03)
    right = scores.scorer("single_label", targets[groups], np.eye(2)[targets[groups]])
    low, _ = metrics.intervals(right, groups, samples=100, seed=1)["accuracy"]
    assert low == pytest.approx(40 / (40 + 1.96**2), abs=1e-4)


def test_equal_targets_leave_nothing_to_explain_also_where_their_mean_is_rounded() -> None:
    targets, values = np.full(7, 0.1), np.linspace(0, 1, 7)[:, np.newaxis]  # the mean of seven times 0.1 is not 0.1
    assert scores.scores("regression", targets, values)["r2"] == 0
    assert scores.scores("regression", targets, targets[:, np.newaxis])["r2"] == 1
    drawn = scores.scorer("regression", np.array([0.1, 0.7, 0.1]), values[:3])
    assert drawn(np.array([7.0, 0.0, 3.0]))["r2"] == 0
    assert drawn(np.array([7.0, 1.0, 3.0]))["r2"] != 0


@pytest.mark.parametrize("unit", [1e7, 1.0, 4e-6])
def test_what_is_decided_about_numbers_does_not_depend_on_their_unit(unit: float) -> None:
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(300, 12)).astype(np.float32)
    targets = (vectors @ rng.normal(size=12) + rng.normal(size=300)).astype(np.float32)
    rows = (vectors[:200], unit * targets[:200]), (vectors[200:], unit * targets[200:])
    found, report = probe.choose_probe(*rows, [0.01, 0.1, 1.0, 10.0], "regression")
    losses = [candidate["loss"] for candidate in report["candidates"]]
    assert report["c"] == 1.0
    assert min(losses) == report["validation"]["loss"] > 0
    assert len({f"{loss:.4g}" for loss in losses}) == 4
    better = found.logits(vectors[200:])
    worse = metrics.summary(params_with(task="regression"), unit * targets[200:], better + unit, better, np.arange(100))
    assert worse["gain_over_probe"] < 0
    [values] = PredictionFormat("regression", [], "").predictions(better[:1])
    assert values["value"] == pytest.approx(float(better[0, 0]), rel=1e-5)


def test_predictions_without_any_label_can_be_joined_with_others() -> None:
    rows = pl.DataFrame({"text": ["one", "two"], "label": pl.Series([[], []], dtype=pl.List(pl.UInt32))})
    values = {"probe": np.zeros((2, 2)), "torch": np.array([[0.9, 0.1], [0.2, 0.8]])}
    found = metrics.predictions_table("multi_label", rows, ["a", "b"], values)
    assert {found.schema[name] for name in ("label", *values)} == {pl.List(pl.String)}
    assert found["torch"].to_list() == [["a"], ["b"]]


def test_one_label_alone_has_its_own_row_of_scores() -> None:
    targets = np.array([[1], [0], [0], [0], [1]], dtype=np.float32)
    values = np.array([[0.9], [0.8], [0.1], [0.2], [0.3]])
    found = metrics.per_class_table("multi_label", targets, values, ["toxic"])
    assert found == [{"label": "toxic", "precision": 0.5, "recall": 0.5, "f1": 0.5, "rows": 2}]


def test_calibration_error_of_a_known_case() -> None:
    probabilities = np.array([[0.9, 0.1]] * 10)
    table = metrics.calibration_table("single_label", np.array([0] * 6 + [1] * 4), probabilities, bins=10)
    assert table == [{"rows": 10, "predicted": 0.9, "observed": 0.6}]
    found = metrics.calibration("single_label", np.array([0] * 6 + [1] * 4), probabilities, bins=10, seed=0)
    assert found == {"calibration_error": pytest.approx(0.3), "calibration_error_by_chance": pytest.approx(0.2)}
    values = np.arange(100.0)[::-1, np.newaxis]
    table = metrics.calibration_table("regression", values[:, 0] + 1, values, bins=4)
    assert [row["rows"] for row in table] == [25] * 4
    assert [row["observed"] - row["predicted"] for row in table] == [1.0] * 4


def test_a_weight_counts_as_a_repeated_row() -> None:
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 4, 400)
    rows = np.repeat(np.arange(400), weights)
    multi = rng.random((400, 3)) < 0.5
    for task, targets, values in (
        ("single_label", LABELS, np.eye(3)[PREDICTED]),
        ("multi_label", multi.astype(np.float32), rng.random((400, 3))),
        ("regression", rng.normal(size=400), rng.normal(size=(400, 1))),
    ):
        weighted = scores.scorer(task, targets, values)(weights.astype(float))
        assert weighted == pytest.approx(scores.scores(task, targets[rows], values[rows]))


def test_labels_that_are_absent_hide_no_error() -> None:
    draw = np.random.default_rng(0)
    values = np.where(np.arange(1000) == draw.integers(0, 1000, (400, 1)), 0.95, 1e-4)
    right = draw.random((400, 1)) < 0.5
    targets = ((values > 0.5) & right).astype(np.float32)
    settings = params_with(task="multi_label")
    few = settings.evaluate.model_copy(update={"bootstrap_samples": 2, "calibration_bins": 15})
    params = settings.model_copy(update={"evaluate": few, "seed": 0})
    found = metrics.summary(params, targets, values, None, np.arange(400))
    assert found["calibration_error"] > 0.4 > 0.05 > found["calibration_error_by_chance"]
    assert metrics.calibration("multi_label", targets, values / 2, bins=15, seed=0) == {}
