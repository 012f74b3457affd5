"""A student as the project's docs/student.md has it: made from the fine-tuned model, then through the pipeline."""

import json

import pytest
from ruamel.yaml import YAML
from workshop import Project

pytestmark = pytest.mark.slow


def out_of(project: Project) -> dict[str, str]:
    """What DVC knows of the student."""
    return YAML(typ="safe").load(project.text("models/student.dvc"))["outs"][0]


def test_a_student_goes_through_the_pipeline(small: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    project = small.copy(tmp_path_factory.mktemp("student"))
    project.set_params(compute__device="cuda")
    assert "the results are stale" in project.try_to("make", "student", "LAYERS=1").stderr
    project.run("dvc", "commit", "--force", "--quiet")
    assert "torch finds no GPU" in project.try_to("make", "student", "LAYERS=1", CUDA_VISIBLE_DEVICES="").stderr
    project.run("git", "checkout", "--quiet", ".")
    refused = project.try_to("make", "student", "LAYERS=9")
    assert "expected: LAYERS from 0 to 1" in refused.stderr
    assert not (project.path / "models/student").exists()

    code = "import polars; print(polars.read_parquet('data/processed/test.parquet')['text'][0])"
    held_out = project.run("python", "-c", code)  # ends its line
    (project.path / "more.csv").write_text(f"text\n{held_out}a film, in two\na film without a label\n", "utf-8")
    printed = project.run("make", "student", "LAYERS=1", "TEXTS=more.csv")
    rows = json.loads(project.text("reports/data_profile.json"))["train"]["rows"]
    assert "more.csv: left out 1 malformed rows, the first in line 3: expected 1 columns, found 2" in printed
    made = out_of(project)
    assert made["desc"].startswith("1 layers, ")
    assert f", on {rows + 1} texts, among them those of more.csv, " in made["desc"]
    assert made["desc"] in printed
    project.run("make", "student", "LAYERS=1", "TEXTS=more.csv")
    assert out_of(project) == made  # every byte again

    project.run("make", "student", "LAYERS=0")
    teacher = json.loads(project.text("reports/metrics.json"))
    size = (project.path / "models/onnx/onnx/model.onnx").stat().st_size
    params = project.text("params.yaml")
    start = params.index("  model:\n    into: models/base")
    end = params.index("\nprepare:")
    digests = "".join(f"      {name}: null\n" for name in ("config.json", "model.safetensors", "tokenizer.json"))
    block = f"  model:\n    into: models/base\n    uri: models/student\n    sha256:\n{digests}"
    (project.path / "params.yaml").write_text(params[:start] + block + params[end:], encoding="utf-8")
    project.run("make", "pin")
    project.run_pipeline()
    student = json.loads(project.text("reports/metrics.json"))
    assert student["onnx_fp32"]["accuracy"] > 0.9 * teacher["onnx_fp32"]["accuracy"]
    assert (project.path / "models/onnx/onnx/model.onnx").stat().st_size < size
    assert json.loads(project.text("models/base/config.json"))["num_hidden_layers"] == 0
    project.commit("A student")
    assert "shipped on the same" in project.run("make", "compare", "A=HEAD^", "B=HEAD")
