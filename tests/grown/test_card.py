"""Every figure of the model card stands in its place; its template is filled strictly. Run in a grown project."""

from pathlib import Path
from typing import Any

import jinja2
import pytest
from huggingface_hub import ModelCard
from review_sentiment.config import Task, load_params
from review_sentiment.errors import UserError
from review_sentiment.evaluation import card, robustness
from small_project import report, write_params
from tools.results import NAMES, verdict

MODELS = ("probe", "torch", "onnx_fp32", "onnx_int8")


def figures(start: float, *names: str) -> dict[str, float]:
    """Scores and intervals that occur nowhere else."""
    found = {}
    for step, name in enumerate(names):
        value = start + step / 50
        found |= {name: value, f"{name}_low": value - 0.005, f"{name}_high": value + 0.005}
    return found


def reports_of(task: Task) -> dict[str, Any]:
    """Reports in which every model, split and perturbation has figures of its own."""
    names = list(card.SCORES[task])
    labels = [] if task == "regression" else ["a|b", "<c>", "d"]
    by_model: dict[str, Any] = {model: figures(0.5 + n / 10, *names) for n, model in enumerate(MODELS)}
    for n, model in enumerate(MODELS):
        by_model[model] |= {"calibration_error": 0.011 * (n + 1), "label_disagreements_with_torch": 70 + n}
        by_model[model]["calibration_error_by_chance"] = 0.012 + n / 1000
        test = "t_test" if task == "regression" else "mcnemar"
        by_model[model] |= {"gain_over_probe": 0.1 - n / 50, f"{test}_p_against_probe": n / 100}
    by_model["torch"]["calibration_error_unscaled"] = 0.077
    splits = {
        split: {
            "rows": 9 * n,
            "per_label": {"a|b": 4 * n, "<c>": 5 * n} if labels else {},
            "characters": {"p50": n, "p99": 9 * n},
            "first_texts_in_training": 48,
        }
        for n, split in enumerate(("train", "validation", "test"), start=101)
    }
    parity = {"rows": 31, "hard_texts": 32, "batch_sizes": [1, 3], "fp32_logit_difference_below": 1e-5}
    parity |= {"int8_label_disagreements": 34, "int8_batch_dependent_labels": 35}
    return {
        "labels": labels,
        "metrics": {"test_rows": 999} | by_model,
        "robustness": {kind: figures(0.91 + n / 100, *names) for n, kind in enumerate(robustness.PERTURBATIONS)},
        "profile": {
            "read": 30,
            "repaired": {"mangled_characters": 2},
            "dropped": {"contradicting_labels": 3, "without_text": 4},
            "few_test_rows": {"d": 0},
            **splits,
        },
        "near_duplicates": {"test_in_train": {"rows": 41}, "cut_texts": {"train": 45, "validation": 46, "test": 47}},
        "parity": parity | {f"int8_{names[0]}_drop": 0.0123},
        "probe": {"c": 0.25},
        "temperature": 1.2345,
        "trained": {"seed": 42, "fine_tune": {"epochs": 7, "max_grad_norm": 0.5}},
        "sizes": {model: (n + 1) * 1_500_000 for n, model in enumerate(MODELS)},
    }


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
        "ONNX int8 against the linear probe: +0.040 in accuracy, p = 0.0300.\n",
        "C = 0.25. The logits of the fine-tuned model are divided by 1.2345,",
        "the calibration error of torch is 0.022, without it 0.077.\n",
        "- Too few test rows to judge by: d 0.\n",
        "- Texts are cut at 32 tokens: 45 of 909 training texts and 47 of 999 test texts.\n",
        "30 rows read, 2 of them with repaired characters. Dropped: 3 contradicting labels, 4 without text."
        " Texts with several labels are not in the test rows either. Half of the training texts have at most 101"
        " characters, 99 % at most 909.",
        "| a\\|b | 404 | 408 | 412 |\n| \\<c> | 505 | 510 | 515 |\n| d | 0 | 0 | 0 |\n| all | 909 | 918 | 927 |\n",
        "| unchanged | 0.800 | 0.820 |",
        "of the letters mistyped | 0.910 | 0.930 |\n| in upper case | 0.920 | 0.940 |\n",
        "| 0.930 | 0.950 |\n| 20% of the words dropped | 0.940 | 0.960 |\n",
        "On 31 validation rows and 32 hard texts",
        "- fp32: logits within 1e-05 in batches of 1, 3.\n",
        "- int8: accuracy -0.0123 against fp32 on the validation rows; 34 label disagreements; 35 labels depend on",
        "- int8 and torch disagree on the label of 73 of 999 test rows.\n",
        "- The probabilities of int8 are off by 0.044 on average (expected calibration error; chance alone gives up to"
        " 0.015 on so many rows).\n",
        "- 41 of 999 test rows nearly repeat a training row",
        "| fine_tune.epochs | 7 |\n| fine_tune.max_grad_norm | 0.5 |\n| prepare.additions | null |\n| prepare.fold |",
    ):
        assert line in text, line


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"prepare__group_column": "who"}, " either. Rows with the same `who` are in one split. Half"),
        ({"prepare__group_column": "who"}, "in brackets the 95 % interval (bootstrap of their 17 groups)."),
        ({}, "in brackets the 95 % interval (Wilson's for shares of rows, bootstrap for other scores)."),
        ({"prepare__fold": {"index": 1, "of": 5}}, " fold 1 of 5, on which robustness is not measured. Half"),
        ({"prepare__time_column": "at"}, " either. Split by `at`: test from 2024, validation from 2023.5. Half"),
    ],
)
def test_the_card_says_what_split_the_rows(params_of: Any, changes: dict[str, Any], sentence: str) -> None:
    reports = reports_of("single_label")
    if "prepare__group_column" in changes:
        reports["profile"]["test"]["groups"] = 17
    reports["profile"]["first_times"] = {"test": 2024, "validation": 2023.5}
    if "prepare__fold" in changes:
        reports["robustness"] = {}
    text = card.model_card(params_of(**changes), reports)
    assert sentence in text
    assert ("\n\n## Robustness\n\n" in text) == bool(reports["robustness"])
    assert "|\n\n## ONNX against torch\n" in text


@pytest.mark.parametrize("task", card.SCORES)
def test_the_card_names_no_fact_that_is_missing(task: Task, params_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jinja leaves out what it does not know; here it must raise. The card of every task is filled."""
    strict = jinja2.Environment(undefined=jinja2.StrictUndefined)
    usual = card.model_card(params_of(task=task), reports_of(task))
    monkeypatch.setattr(jinja2, "Template", strict.from_string)
    assert card.model_card(params_of(task=task), reports_of(task)) == usual
    assert ("The first text of 48 test rows is in training too." in usual) == (task == "pair")
    assert ("calibration error of predicted labels;" in usual) == (task == "multi_label")
    assert "without the thresholds" not in usual
    assert "fine-tuned from local files" in usual  # and not the path of this machine
    assert ("calibration" in usual) == ("disagree" in usual) == (task != "regression")
    assert all(line.endswith("|") for line in usual.splitlines() if line.startswith("|"))


@pytest.mark.slow
def test_the_card_of_a_run_has_the_figures_of_its_reports(trained: Path) -> None:
    measured = report(trained, "metrics.json")
    text = (trained / "reports/model_card.md").read_text(encoding="utf-8")
    size = (trained / "models/onnx/onnx/model_int8.onnx").stat().st_size
    row = next(line for line in text.splitlines() if line.startswith("| ONNX int8 |"))
    assert f"| {measured['onnx_int8']['accuracy']:.3f} [{measured['onnx_int8']['accuracy_low']:.3f}, " in row
    assert row.endswith(f" {size / 1e6:.2f} MB |")
    assert "cut at 32 tokens" in text
    assert "| fine_tune.learning_rate | 0.001 |" in text


def test_the_card_of_fp32_alone_names_no_int8_and_the_card_of_a_model_that_abstains_its_coverage(
    params_of: Any,
) -> None:
    reports = reports_of("single_label")
    del reports["metrics"]["onnx_int8"]
    reports["metrics"]["thresholds"] = {"coverage": 0.61, "precision": 0.93}
    text = card.model_card(params_of(export_onnx__int8=False, export_onnx__min_precision=0.9), reports)
    assert "int8" not in text
    assert "gives it a precision of 0.9 on the validation rows; on the test rows the coverage is 0.610 and" in text
    assert " Scores are those of the most probable label, without the thresholds of Limits.\n" in text
    reports = reports_of("multi_label")
    del reports["metrics"]["onnx_int8"]
    for model in MODELS[:3]:  # none predicts a label
        del reports["metrics"][model]["calibration_error"]
    reports["metrics"]["thresholds"] = {"recall": 0.0}
    changes = {"task": "multi_label", "export_onnx__int8": False, "export_onnx__min_precision": 0.9}
    text = card.model_card(params_of(**changes), reports)
    assert "] | - | 1.50 MB |" in text
    assert " Scores are those of the labels above one half, without the thresholds of Limits.\n" in text
    assert "on the test rows the recall is 0.000.\n" in text


@pytest.mark.parametrize(("gain", "p", "words"), [(0.1, 0.001, ""), (0.0, 0.4, "No difference"), (-0.1, 0.01, "worse")])
def test_the_card_says_when_the_probe_would_do(params_of: Any, gain: float, p: float, words: str) -> None:
    reports = reports_of("single_label")
    reports["metrics"]["onnx_int8"] |= {"gain_over_probe": gain, "mcnemar_p_against_probe": p}
    text = card.model_card(params_of(), reports)
    assert [word for word in ("No difference", "worse") if word in text] == [words] * bool(words)
    shipped = reports["metrics"]["onnx_int8"]
    shipped["swap_p_against_probe"] = shipped.pop("mcnemar_p_against_probe")
    reports["parity"]["int8_macro_f1_drop"] = 0.0
    assert f"{gain:+.3f} in macro-F1, p = {p:.4f}." in card.model_card(params_of(select_by="macro_f1"), reports)


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


@pytest.mark.parametrize(
    ("gain", "p", "words"),
    [(0.1, 1e-9, "better than the probe (p < 0.0001 in macro-F1)"), (0.1, 0.3, "No gain"), (-0.1, 0.01, "WORSE")],
)
def test_the_results_say_what_the_probe_is_worth(gain: float, p: float, words: str) -> None:
    assert words in verdict(gain, p, "macro-F1")


def test_the_results_call_the_scores_what_the_card_calls_them() -> None:
    names = {score: shown for scores in card.SCORES.values() for score, (shown, _) in scores.items()}
    assert {score: NAMES.get(score, score) for score in names} == names
