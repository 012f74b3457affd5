"""Scores, intervals and tests against independent ones; perturbations; the probe; the model card."""

import json
import math
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import polars as pl
import pytest
from huggingface_hub import ModelCard
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as independent
from sklearn.linear_model import LogisticRegression
from small_project import report, sentences, write_params

from {{ cookiecutter.package_name }}.common import tasks
from {{ cookiecutter.package_name }}.config import Evaluate, Task, load_params
from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.evaluation import (
    card,
    metrics,
    robustness,
)
from {{ cookiecutter.package_name }}.modeling import scores

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 400)
PREDICTED = np.where(RNG.random(400) < 0.7, LABELS, RNG.integers(0, 3, 400))
SETTINGS = Evaluate(bootstrap_samples=100, calibration_bins=2, typing_errors=0.1, dropped_words=0.3, kept_share=0.5)
TEXTS = [text for text, _ in sentences(300, seed=5)]
MODELS = ("probe", "torch", "onnx_fp32", "onnx_int8")


def test_scores_of_labels_are_those_of_scikit_learn() -> None:
    found = scores.scores("single_label", LABELS, np.eye(3)[PREDICTED])
    assert found["accuracy"] == pytest.approx(independent.accuracy_score(LABELS, PREDICTED))
    assert found["macro_f1"] == pytest.approx(independent.f1_score(LABELS, PREDICTED, average="macro"))


def test_scores_of_label_sets_are_those_of_scikit_learn() -> None:
    targets, values = RNG.random((300, 4)) < 0.3, RNG.random((300, 4))
    targets[:, 3] = values[:, 3] = 0  # a label that never occurs
    found = scores.scores("multi_label", targets.astype(np.float32), values)
    for average in ("micro", "macro"):
        expected = independent.f1_score(targets, values > 0.5, average=average, zero_division=0)
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


def test_bootstrap_intervals_are_those_of_resampled_rows() -> None:
    draws = [RNG.integers(0, 400, 400) for _ in range(2000)]
    score = scores.scorer("single_label", LABELS, np.eye(3)[PREDICTED])
    found = metrics.bootstrap_intervals(score, 400, samples=2000, seed=1)
    for name, score_of in {
        "accuracy": independent.accuracy_score,
        "macro_f1": lambda a, b: independent.f1_score(a, b, average="macro"),
    }.items():
        expected = np.quantile([score_of(LABELS[rows], PREDICTED[rows]) for rows in draws], [0.025, 0.975])
        assert found[name] == pytest.approx(tuple(expected), abs=0.01)


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


def figures(start: float, *names: str) -> dict[str, float]:
    """Scores and intervals that occur nowhere else."""
    found = {}
    for step, name in enumerate(names):
        value = start + step / 50
        found |= {name: value, f"{name}_low": value - 0.005, f"{name}_high": value + 0.005}
    return found


def reports_of(task: Task) -> card.Reports:
    """Reports in which every model, split and perturbation has figures of its own."""
    names = list(card.SCORES[task])
    labels = [] if task == "regression" else ["a|b", "c", "d"]
    by_model: dict[str, Any] = {model: figures(0.5 + n / 10, *names) for n, model in enumerate(MODELS)}
    for n, model in enumerate(MODELS):
        by_model[model] |= {"calibration_error": 0.011 * (n + 1), "label_disagreements_with_torch": 70 + n}
    splits = {
        split: {
            "rows": 9 * n,
            "per_label": {"a|b": 4 * n, "c": 5 * n} if labels else {},
            "characters": {"p50": n, "p99": 9 * n},
        }
        for n, split in enumerate(("train", "validation", "test"), start=101)
    }
    parity = {"rows": 31, "hard_texts": 32, "batch_sizes": [1, 3], "fp32_logit_difference_below": 1e-5}
    parity |= {"fp32_label_disagreements": 33, "int8_label_disagreements": 34, "int8_batch_dependent_labels": 35}
    return card.Reports(
        labels=labels,
        metrics={"test_rows": 999} | by_model,
        robustness={kind: figures(0.91 + n / 100, *names) for n, kind in enumerate(robustness.PERTURBATIONS)},
        profile={"read": 30, "repaired": {"mangled_characters": 2}, "dropped": {"duplicates": 3, "without_text": 4}}
        | splits,
        near_duplicates={"test_in_train": {"rows": 41}},
        parity=parity | {f"int8_{names[0]}_drop": 0.0123},
        probe={"c": 0.25},
        trained={"seed": 42, "fine_tune": {"epochs": 7, "sharded": False}},
        sizes={model: (n + 1) * 1_500_000 for n, model in enumerate(MODELS)},
    )


@pytest.fixture
def params_of(base_model: Path, tmp_path: Path) -> Any:
    def write(**changes: Any) -> Any:
        if changes.get("task") == "pair":
            changes["prepare__second_text_column"] = "second"
        write_params(tmp_path / "params.yaml", base_model, **changes)
        return load_params(tmp_path / "params.yaml")

    return write


def test_each_figure_of_the_card_stands_in_its_place(params_of: Any, tmp_path: Path) -> None:
    source = {"into": "data/raw", "uri": "hf://datasets/owner/rows@main/folder", "sha256": {"a.csv": None}}
    model = {"into": "models/base", "uri": "hf://owner/base@main", "sha256": {"config.json": None}}
    text = card.model_card(params_of(fetch={"data": source, "model": model}), reports_of("single_label"))
    (tmp_path / "card.md").write_text(text, encoding="utf-8")
    front: Any = ModelCard.load(tmp_path / "card.md").data
    assert (front.base_model, front.datasets) == ("owner/base", ["owner/rows"])
    values = {result.metric_name: result.metric_value for result in front.eval_results}
    assert values == {
        "accuracy, ONNX fp32": pytest.approx(0.7),
        "macro-F1, ONNX fp32": pytest.approx(0.72),
        "accuracy, ONNX int8": pytest.approx(0.8),
        "macro-F1, ONNX int8": pytest.approx(0.82),
    }
    for line in (
        "Measured on 999 test rows",
        "| linear probe on frozen embeddings | 0.500 [0.495, 0.505] | 0.520 [0.515, 0.525] | 0.011 | 1.50 MB |",
        "| fine-tuned, torch | 0.600 [0.595, 0.605] | 0.620 [0.615, 0.625] | 0.022 | 3.00 MB |",
        "| ONNX fp32 | 0.700 [0.695, 0.705] | 0.720 [0.715, 0.725] | 0.033 | 4.50 MB |",
        "| ONNX int8 | 0.800 [0.795, 0.805] | 0.820 [0.815, 0.825] | 0.044 | 6.00 MB |",
        "C = 0.25.",
        "30 rows read, 2 of them with repaired characters. Dropped: 3 duplicates, 4 without text. Half of the training"
        " texts have at most 101 characters, 99 % at most 909.",
        "| a\\|b | 404 | 408 | 412 |\n| c | 505 | 510 | 515 |\n| d | 0 | 0 | 0 |\n| all | 909 | 918 | 927 |\n",
        "| unchanged | 0.800 | 0.820 |",
        "of the letters mistyped | 0.910 | 0.930 |\n| in upper case | 0.920 | 0.940 |\n",
        "| 0.930 | 0.950 |\n| 20% of the words dropped | 0.940 | 0.960 |\n",
        "On 31 validation rows and 32 hard texts",
        "- fp32: logits within 1e-05 in batches of 1, 3; 33 label disagreements.\n",
        "- int8: accuracy -0.0123 against fp32 on the validation rows; 34 label disagreements; 35 labels depend on",
        "- int8 and torch disagree on the label of 73 of 999 test rows.\n",
        "- The probabilities of int8 are off by 0.044 on average",
        "- 41 of 999 test rows nearly repeat a training row",
        "| fine_tune.epochs | 7 |\n| fine_tune.sharded | false |\n| prepare.keep | null |\n",
    ):
        assert line in text, line


@pytest.mark.parametrize("task", card.SCORES)
def test_the_card_names_no_fact_that_is_missing(task: Task, params_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jinja leaves out what it does not know; here it must raise. The card of every task is filled."""
    strict = jinja2.Environment(undefined=jinja2.StrictUndefined)  # noqa: S701 - the card is no HTML
    usual = card.model_card(params_of(task=task), reports_of(task))
    monkeypatch.setattr(jinja2, "Template", strict.from_string)
    assert card.model_card(params_of(task=task), reports_of(task)) == usual
    assert "fine-tuned from local files" in usual  # and not the path of this machine
    assert ("calibration" in usual) == ("disagree" in usual) == (task != "regression")
    assert all(line.endswith("|") for line in usual.splitlines() if line.startswith("|"))


def test_a_sentence_in_the_template_is_enough(params_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = tmp_path / "model_card.md"
    text = card.TEMPLATE.read_text(encoding="utf-8")
    monkeypatch.setattr(card, "TEMPLATE", template)
    fact = "{" * 2 + " metrics.onnx_int8.accuracy " + "}" * 2
    template.write_text(f"{text}\nAsk us: int8 has {fact}.\n", encoding="utf-8")
    assert card.model_card(params_of(), reports_of("single_label")).endswith("\nAsk us: int8 has 0.8.\n")
    template.write_text(text + "{" + "% if %}", encoding="utf-8")
    with pytest.raises(UserError, match=r"the model card cannot be written(.|\n)*TemplateSyntaxError"):
        card.model_card(params_of(), reports_of("single_label"))


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
    size = (trained / "models/onnx/model.int8.onnx").stat().st_size
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
