"""Parity in detail: the test rows, what the report counts, how far logits may differ, how much int8 may lose."""

from pathlib import Path

import numpy as np
import pytest
from review_sentiment.common.tasks import UNSCALED, TargetScale
from review_sentiment.config import Params
from review_sentiment.errors import UserError
from review_sentiment.export import parity
from small_project import params_with, report


def with_int8_drop(limit: float) -> Params:
    """The parameters of the small project with another limit."""
    params = params_with()
    return params.model_copy(update={"export_onnx": params.export_onnx.model_copy(update={"max_int8_drop": limit})})


@pytest.mark.parametrize("distance", [1e-2, np.nan])
def test_logits_beyond_the_limit_are_refused(distance: float) -> None:
    parity.require_parity(np.array([1e-4]), ["a"], 1e-4)
    with pytest.raises(UserError, match="1 of 2 rows differ; the worst:\\n    row 1 by "):
        parity.require_parity(np.array([1e-7, distance]), ["a", "b"], 1e-4)


def test_the_parity_report_counts_what_differs() -> None:
    """Of four rows torch has all right; fp32 has one other label; int8 two, and a third depends on its batch."""
    logits = {
        name: np.eye(2)[labels]
        for name, labels in {
            "torch": [0, 1, 0, 1],
            "fp32": [0, 1, 0, 0],
            "int8": [0, 1, 1, 0],
            "int8_alone": [1, 1, 1, 0],
        }.items()
    }
    distance = np.array([0.0, 2e-6, 0.0, 1.0, 0.0])
    params = with_int8_drop(0.3)
    arguments = (distance, np.array([0, 1, 0, 1]), logits)
    found = parity.report(*arguments, params)
    assert (found["int8_label_disagreements"], found["int8_batch_dependent_labels"]) == (2, 1)
    assert found["accuracy"] == {"torch": 1.0, "fp32": 0.75, "int8": 0.5}
    assert (found["int8_accuracy_drop"], found["fp32_logit_difference_below"]) == (0.25, 10.0)
    del logits["int8"], logits["int8_alone"]
    assert parity.report(*arguments, params)["accuracy"] == {"torch": 1.0, "fp32": 0.75}


@pytest.mark.slow
def test_onnx_predicts_what_torch_predicts_on_the_test_rows(trained: Path) -> None:
    metrics = report(trained, "metrics.json")
    assert metrics["onnx_fp32"]["accuracy"] == metrics["torch"]["accuracy"]
    assert metrics["onnx_fp32"]["label_disagreements_with_torch"] == 0


@pytest.mark.parametrize(("rows", "lost", "ships"), [(69, 2, True), (69, 6, False), (690, 20, True), (690, 30, False)])
def test_int8_is_refused_only_beyond_chance(
    capsys: pytest.CaptureFixture[str], rows: int, lost: int, ships: bool
) -> None:
    params = with_int8_drop(0.02)
    right = np.arange(rows) % 2
    int8 = np.where(np.arange(rows) < lost, 1 - right, right)
    logits = {"torch": right, "fp32": right, "int8": int8, "int8_alone": int8}
    arguments = (np.zeros(rows), right, {name: np.eye(2)[of] for name, of in logits.items()})
    if ships:
        assert parity.report(*arguments, params)["int8_accuracy_drop"] == round(lost / rows, 6)
        assert f"int8 lowers accuracy by {lost / rows:.4f} on {rows} rows" in capsys.readouterr().err
    else:
        with pytest.raises(UserError, match=r"export_onnx\.int8: false in params\.yaml"):
            parity.report(*arguments, params)


def test_the_limit_grows_with_large_logits() -> None:
    logits = np.array([[-8.0, 9.5], [3.0, -2.0]], dtype=np.float32)
    assert parity.limit_of(UNSCALED, logits, 1e-4) == 1e-4
    assert parity.limit_of(UNSCALED, logits * -30, 1e-4) == pytest.approx((9.5 + 3) / 2 * 3 * 1e-4)


def test_the_limit_of_numbers_is_in_their_unit() -> None:
    expected = np.array([[1_000_000.0], [700_000.0]], dtype=np.float32)
    assert parity.limit_of(TargetScale(900_000.0, 262_144.0), expected, 1e-4) == pytest.approx(26.2144 + 4 * 0.0625)


def test_magnitudes() -> None:
    assert [parity.power_of_ten_above(value) for value in (0.0, 2.1e-6, 9.9e-5, 0.5)] == [1e-11, 1e-5, 1e-4, 1.0]
