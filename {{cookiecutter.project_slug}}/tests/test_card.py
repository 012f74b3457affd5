"""The model's card: the hub can read it, and it tells what the reports tell."""

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from small_project import report, write_params

from {{ cookiecutter.package_name }}.config import load_params
from {{ cookiecutter.package_name }}.evaluation.card import Facts, model_card

SCORES = {
    "accuracy": 0.75,
    "accuracy_low": 0.7,
    "accuracy_high": 0.8,
    "macro_f1": 0.5,
    "macro_f1_low": 0.4,
    "macro_f1_high": 0.6,
    "calibration_error": 0.125,
    "rows_labelled_unlike_torch": 3,
}
MODELS = ("probe", "torch", "onnx_fp32", "onnx_int8")
SPLIT = {"rows": 9, "per_label": {"a|b": 4, "c": 5}, "characters": {"p50": 20, "p99": 80}}
FACTS = Facts(
    labels=["a|b", "c", "d"],
    metrics={"test_rows": 9} | dict.fromkeys(MODELS, SCORES),
    robustness=dict.fromkeys(("typing_errors", "upper_case", "truncated", "dropped_words"), SCORES),
    profile={"read": 30, "repaired": {"mangled_characters": 2}, "dropped": {"duplicates": 3}}
    | dict.fromkeys(("train", "validation", "test"), SPLIT),
    near_duplicates={"test_in_train": {"rows": 1}},
    parity={"rows": 9, "worst": {"row": 1}},
    sizes=dict.fromkeys(MODELS, 1_500_000),
)


def test_the_hub_reads_where_it_came_from(base_model: Path, tmp_path: Path) -> None:
    source = {"into": "data/raw", "uri": "hf://datasets/owner/rows@main/folder", "sha256": {"a.csv": None}}
    model = {"into": "models/base", "uri": "hf://owner/base@main", "sha256": {"config.json": None}}
    write_params(tmp_path / "params.yaml", base_model, fetch__data=source, fetch__model=model)
    text = model_card(load_params(tmp_path / "params.yaml"), FACTS)
    (tmp_path / "card.md").write_text(text, encoding="utf-8")
    front: Any = ModelCard.load(tmp_path / "card.md").data
    assert front.base_model == "owner/base"
    assert front.datasets == ["owner/rows"]
    assert len(front.eval_results) == 4
    assert "| a\\|b | 4 | 4 | 4 |\n| c | 5 | 5 | 5 |\n| d | 0 | 0 | 0 |\n| all | 9 | 9 | 9 |\n" in text
    assert "| ONNX int8 | 0.750 [0.700, 0.800] | 0.500 [0.400, 0.600] | 0.125 | 1.50 MB |\n" in text
    assert "- rows: 9\n\n" in text


def test_no_path_of_this_machine_is_told(base_model: Path, tmp_path: Path) -> None:
    write_params(tmp_path / "params.yaml", base_model)
    text = model_card(load_params(tmp_path / "params.yaml"), FACTS)
    assert str(base_model) not in text
    assert "fine-tuned from local files" in text


@pytest.mark.slow
def test_the_card_tells_what_the_reports_tell(trained: Path) -> None:
    metrics = report(trained, "metrics.json")
    card = ModelCard.load(trained / "reports/model_card.md")
    front: Any = card.data
    assert front.pipeline_tag == "text-classification"
    told = {result.metric_name: result.metric_value for result in front.eval_results}
    assert told["accuracy, ONNX int8"] == metrics["onnx_int8"]["accuracy"]
    assert told["macro-F1, ONNX fp32"] == metrics["onnx_fp32"]["macro_f1"]
    size = (trained / "models/onnx/model.int8.onnx").stat().st_size
    row = next(line for line in card.text.splitlines() if line.startswith("| ONNX int8 |"))
    assert f"{metrics['onnx_int8']['accuracy_low']:.3f}" in row
    assert row.endswith(f" {size / 1e6:.2f} MB |")
    assert f"{report(trained, 'data_profile.json')['read']} rows read" in card.text
    assert "cut at 32 tokens" in card.text
    assert "learning_rate: 0.001" in card.text
