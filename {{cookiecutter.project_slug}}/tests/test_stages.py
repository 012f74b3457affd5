"""All six stages on a small project, run as DVC runs them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest
from small_project import PACKAGE, ROOT, report, run_stage, sentences, write_params

from {{ cookiecutter.package_name }}.inference import OnnxClassifier

pytestmark = pytest.mark.slow


def test_the_probe_starts_the_head_and_every_model_learns(trained: Path) -> None:
    metrics = report(trained, "metrics.json")
    for model in ("probe", "torch", "onnx_fp32", "onnx_int8"):
        assert metrics[model]["accuracy"] > 0.8
        assert metrics[model]["accuracy_low"] <= metrics[model]["accuracy"] <= metrics[model]["accuracy_high"]


def test_onnx_says_what_torch_says(trained: Path) -> None:
    metrics = report(trained, "metrics.json")
    assert metrics["onnx_fp32"]["accuracy"] == metrics["torch"]["accuracy"]
    assert report(trained, "parity.json")["fp32_rows_with_another_label"] == 0


def test_the_graph_takes_any_batch_and_length(trained: Path) -> None:
    session = onnxruntime.InferenceSession(trained / "models/onnx/model.onnx")
    assert [value.shape for value in session.get_inputs()] == [["batch", "sequence"]] * 2


def test_prediction_without_torch(trained: Path) -> None:
    heavy = ["pydantic", "torch", "transformers"]
    code = f"import sys, {PACKAGE}.predict; print([name for name in {heavy} if name in sys.modules])"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert shown.stdout.strip() == "[]"
    texts = [text for text, _ in sentences(40, seed=9)]
    classifier = OnnxClassifier(trained / "models/onnx")
    assert [line["text"] for line in classifier.predict(texts)] == texts


def predict(project: Path, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"{PACKAGE}.predict", *arguments],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )


def test_json_lines_in_and_out(trained: Path) -> None:
    lines = [json.dumps({"text": text, "id": 1}) for text in ("a warm funny film", "", "dull and stale")]
    done = predict(trained, text="\n".join(lines))
    shown = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["text"] for line in shown] == ["a warm funny film", "", "dull and stale"]
    assert shown[0]["label"] == "good"
    assert sum(shown[0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_a_bad_line_is_named(trained: Path) -> None:
    done = predict(trained, text='{"text": "a"}\n{"txt": "b"}\n')
    assert done.returncode == 1
    assert "line 2 of <stdin> is refused" in done.stderr


def test_a_changed_model_is_refused(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "models/onnx", tmp_path / "onnx")
    model = tmp_path / "onnx/model.int8.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    done = predict(tmp_path, "--directory", "onnx", "--text", "x")
    assert done.returncode == 1
    assert "model.int8.onnx is not the file that was shipped" in done.stderr


def test_a_wrong_digest_is_told_and_nothing_is_written(untrained: Path, base_model: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(untrained, project)
    write_params(project / "params.yaml", base_model)
    text = (project / "params.yaml").read_text(encoding="utf-8")
    start = text.index("config.json: ") + len("config.json: ")
    right = text[start : start + 64]
    (project / "params.yaml").write_text(text.replace(right, "f" * 64), encoding="utf-8")
    done = run_stage(project, "fetch")
    assert done.returncode == 1
    assert right in done.stderr
    assert "f" * 64 in done.stderr
    assert not list((project / "models").glob("*"))


def test_nothing_of_this_machine_is_in_the_outs(trained: Path) -> None:
    strange = [str(trained).encode(), str(ROOT).encode(), str(Path.home()).encode() + b"/", b"stack_trace"]
    folders = ("data/processed", "embeddings", "models", "reports")
    for path in (path for folder in folders for path in trained.glob(f"{folder}/**/*") if path.is_file()):
        content = path.read_bytes()
        assert not [name for name in strange if name in content], path
