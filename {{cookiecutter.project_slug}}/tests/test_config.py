"""`params.yaml` is checked as a whole, one line for each wrong key."""

from pathlib import Path

import pytest
from small_project import PARAMS, ROOT

from {{ cookiecutter.package_name }}.config import load_params
from {{ cookiecutter.package_name }}.errors import UserError


def changed(tmp_path: Path, old: str, new: str) -> Path:
    assert old in PARAMS
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS.replace(old, new, 1), encoding="utf-8")
    return path


def test_the_file_of_the_project_is_valid() -> None:
    assert load_params(ROOT / "params.yaml").fine_tune.batch_size > 0


def test_the_small_project_sets_every_parameter(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(PARAMS, encoding="utf-8")
    try:
        load_params(tmp_path / "params.yaml")
    except UserError as refusal:
        pytest.fail(f"PARAMS in tests/small_project.py must hold every parameter of config.Params:\n{refusal}")


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("  epochs: ", "  epoch: ", "fine_tune.epoch: unknown key"),
        ("  epochs: ", "  epoch: ", "fine_tune.epochs: missing"),
        ("  batch_size: ", "  batch_size: many  # ", "fine_tune.batch_size: Input should be a valid integer"),
        ("  weight_decay: ", "  weight_decay: .nan  # ", "fine_tune.weight_decay: Input should be a finite number"),
        ("  label_column: ", "  label_column: 5  # ", "prepare.label_column: Input should be a valid string"),
        ("  fold: ", "  fold: {index: 5, of: 5}  # ", "prepare.fold: Value error, index must be less than of"),
        ("task: ", "task: ranking  # ", "task: Input should be 'single_label'"),
        ("select_by: ", "select_by: r2  # ", "the file: Value error, select_by must be null or one of accuracy"),
    ],
)
def test_a_wrong_key_has_its_line(tmp_path: Path, old: str, new: str, line: str) -> None:
    with pytest.raises(UserError, match="is refused") as refusal:
        load_params(changed(tmp_path, old, new))
    assert f"\n  {line}" in str(refusal.value)
