"""What ran once is taken from DVC's cache, not run again."""

from pathlib import Path

import pytest
from workshop import Project, grow

pytestmark = pytest.mark.slow


def test_every_stage_is_restored_without_its_lock(small: Project, tmp_path: Path) -> None:
    """As after a merge whose conflict in dvc.lock was resolved by removing it."""
    project = small.copy(tmp_path)
    before = project.text("dvc.lock")
    (project.path / "dvc.lock").unlink()
    shown = project.run("dvc", "repro")
    assert shown.count("is cached - skipping run") == 7  # its data are added by hand
    assert "Running stage" not in shown
    assert project.text("dvc.lock") == before
    assert project.run("git", "status", "--porcelain") == ""


def test_own_tables_need_no_edit_of_the_pipeline(tmp_path: Path) -> None:
    """A project that was grown for the sample takes tables of its user's after an edit of params.yaml alone."""
    project = grow(tmp_path)
    project.commit("Begin")
    head, rest = project.text("params.yaml").split("  data:", 1)
    params = head + rest[rest.index("  model:") :]
    filters = "    column: source\n    value: rotten_tomatoes\n"
    (project.path / "params.yaml").write_text(params.replace(filters, ""), encoding="utf-8")
    project.set_params(prepare__keep="null", prepare__label_names="null", prepare__text_column="sentence")
    lines = [f"sentence {number} of the table,{'yes' if number % 2 else 'no'}" for number in range(200)]
    (project.path / "data/raw").mkdir(parents=True)
    (project.path / "data/raw/mine.csv").write_text("\n".join(["sentence,label", *lines, ""]), encoding="utf-8")
    project.run("dvc", "add", "data/raw")
    project.run("dvc", "repro", "prepare")
    assert project.text("data/processed/labels.json").split() == ["[", '"no",', '"yes"', "]"]
    assert project.run("git", "diff", "--name-only").split() == ["params.yaml"]
    assert "fetch@data" not in project.run("dvc", "stage", "list", "--name-only")
