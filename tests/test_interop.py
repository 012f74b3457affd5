"""What the pipeline wrote opens in other libraries: the same weights, vectors, logits and labels there."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from workshop import Project

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent / "opened"
SENTENCE_TRANSFORMERS = ["sentence-transformers==6.2.0"]
# optimum-onnx needs transformers 4; torch, onnxruntime and the rest are those of this environment.
OPTIMUM = ["optimum-onnx==0.1.0", "optimum==2.1.0", "transformers==4.57.6", "huggingface-hub<1", "tokenizers==0.22.2"]
TRANSFORMERS_JS = "@huggingface/transformers@4.3.2"


@pytest.fixture(scope="module")
def expected(demo: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the project itself computes of all test rows, and of texts that are long or have typed special tokens."""
    path = tmp_path_factory.mktemp("expected") / "expected.json"
    demo.run("python", str(HERE / "ours.py"), str(path))
    assert len(json.loads(path.read_text(encoding="utf-8"))["texts"]) > 1000
    return path


def beside(folder: Path, packages: list[str]) -> str:
    """A directory with these packages, without what they depend on, for PYTHONPATH."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *packages]
    subprocess.run(command, check=True)
    return str(folder)


def test_torch_libraries_open_the_fine_tuned_model(demo: Project, expected: Path, tmp_path: Path) -> None:
    packages = beside(tmp_path / "packages", SENTENCE_TRANSFORMERS)
    said = demo.run("python", str(HERE / "in_torch.py"), str(expected), PYTHONPATH=f"{demo.path}/src:{packages}")
    assert "AutoModel, AutoTokenizer, SentenceTransformer, HubClassifier and HubPipeline agree" in said


def test_a_pipeline_without_the_folders_own_code_stops(demo: Project) -> None:
    code = "import transformers; transformers.pipeline('text-classification', 'models/fine_tuned')"
    done = demo.try_to("python", "-c", code)
    assert done.returncode != 0
    assert "trust_remote_code" in done.stderr


def test_optimum_opens_the_shipped_model(demo: Project, expected: Path, tmp_path: Path) -> None:
    packages = beside(tmp_path / "packages", OPTIMUM)
    said = demo.run("python", str(HERE / "in_optimum.py"), str(expected), PYTHONPATH=packages)
    assert "fp32 and int8 agree" in said


def test_transformers_js_opens_the_shipped_model(demo: Project, expected: Path, tmp_path: Path) -> None:
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are not installed: nothing opens the model in JavaScript")
    quiet = ["--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0", "--fetch-timeout=60000"]
    done = subprocess.run(["npm", "install", *quiet, "--prefix", tmp_path, TRANSFORMERS_JS], check=False, timeout=300)
    if done.returncode:
        pytest.skip(f"npm could not fetch {TRANSFORMERS_JS}: nothing opens the model in JavaScript")
    script = shutil.copy(HERE / "in_transformers_js.mjs", tmp_path)
    said = demo.run("node", str(script), str(demo.path / "models/onnx"), str(expected))
    assert "fp32 and int8 agree on 200 rows" in said
