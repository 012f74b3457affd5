"""The tokenizer as a graph against the tokenizers library, which prediction uses; and `make text-graph`."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime_extensions", reason="onnxruntime-extensions is not installed: make text-graph")

import onnx
from onnxruntime import InferenceSession
from small_project import ROOT, sentences
from tokenizers import Tokenizer, models, normalizers
from tools.text_graph import build
from tools.text_graph.build import KINDS, open_text_session, token_ids, tokenized_unlike_predict
from tools.text_graph.graph import tokenizing

from {{ cookiecutter.package_name }}.common.manifest import (
    MANIFEST,
    verified_manifest,
    write_manifest,
)
from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.inference.classifier import (
    OnnxClassifier,
)
from {{ cookiecutter.package_name }}.text.cleaning import clean
from {{ cookiecutter.package_name }}.text.tokenization import (
    encode,
    load_tokenizer,
)

pytestmark = pytest.mark.slow
TEXTS = [text for text, _ in sentences(70, seed=4)] + [text for texts in KINDS.values() for text in texts]


@pytest.fixture(scope="module")
def tokenizer(base_model: Path) -> Tokenizer:
    return load_tokenizer(base_model / "tokenizer.json", 32)


@pytest.fixture(scope="module")
def session(tokenizer: Tokenizer) -> InferenceSession:
    return open_text_session(tokenizing(tokenizer, 32).SerializeToString())


def test_every_kind_of_text_becomes_the_same_tokens(tokenizer: Tokenizer) -> None:
    found = tokenized_unlike_predict(tokenizer, 32)
    assert list(found) == list(KINDS)
    assert not any(found.values())


def test_every_character_becomes_the_same_tokens(tokenizer: Tokenizer, session: InferenceSession) -> None:
    assert characters_that_differ(tokenizer, session, range(0xFFFF)) == []


def test_a_tokenizer_that_keeps_case_and_accents(tokenizer: Tokenizer) -> None:
    cased = Tokenizer.from_str(tokenizer.to_str())
    cased.normalizer = normalizers.BertNormalizer(lowercase=False)
    session = open_text_session(tokenizing(cased, 32).SerializeToString())
    assert characters_that_differ(cased, session, range(0x3100)) == []


def characters_that_differ(tokenizer: Tokenizer, session: InferenceSession, codes: range) -> list[str]:
    characters = [chr(code) for code in codes if not 0xD800 <= code < 0xE000]
    texts = [f"war{character}m film" for character in characters]
    expected = encode(tokenizer, [clean(text) for text in texts])
    found = [tokens for start in range(0, len(texts), 4096) for tokens in token_ids(session, texts[start:][:4096])]
    return [f"U+{ord(c):04X}" for c, a, b in zip(characters, expected, found, strict=True) if a != b]


def test_a_batch_is_padded_and_cut(tokenizer: Tokenizer, session: InferenceSession) -> None:
    texts = ["warm film", "", "a dull story " * 40]
    ids, mask = (np.asarray(value) for value in session.run(None, {"text": np.array(texts, dtype=object)}))
    assert ids.shape == mask.shape == (3, 32)
    assert mask.sum(axis=1).tolist() == [len(tokens) for tokens in encode(tokenizer, texts)]
    assert mask.sum(axis=1)[1:].tolist() == [2, 32]
    assert not ids[mask == 0].any()
    assert token_ids(session, [""]) == encode(tokenizer, [""])


def test_a_kind_with_other_tokens_is_reported(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "clean", lambda text: text.replace("warm", "cold"))
    found = tokenized_unlike_predict(tokenizer, 32)
    assert found["plain"]  # "A warm, funny film."
    assert not found["empty"]


def test_another_tokenizer_is_refused(tokenizer: Tokenizer) -> None:
    other = Tokenizer.from_str(tokenizer.to_str())
    other.model = models.BPE()
    with pytest.raises(UserError, match=r"found: +BPE, BertNormalizer"):
        tokenizing(other, 32)


@pytest.fixture(scope="module")
def built(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained project after the tool ran."""
    project = tmp_path_factory.mktemp("text_graph") / "project"
    shutil.copytree(trained, project)
    done = run_tool(project)
    assert done.returncode == 0, done.stderr
    assert f"kinds of text tokenized unlike `predict`: none of {len(KINDS)}" in done.stdout
    return project


def run_tool(project: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.text_graph.build"],
        cwd=project,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_texts_get_the_probabilities_of_predict(built: Path) -> None:
    model = built / "models/text_graph/model.text.onnx"
    onnx.checker.check_model(model, full_check=True)
    session = open_text_session(model)
    assert [output.name for output in session.get_outputs()] == ["probabilities", "logits"]
    texts = random.Random(0).sample(TEXTS, len(TEXTS))
    expected = OnnxClassifier(built / "models/onnx", "fp32", threads=1).values(texts)
    found = build.probabilities_of(session, texts)
    alone = np.concatenate([build.probabilities_of(session, [text]) for text in texts])
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).all()
    assert found == pytest.approx(expected, abs=1e-5)
    assert alone == pytest.approx(expected, abs=1e-5)


def test_the_report_names_the_model_and_git_ignores_both(built: Path) -> None:
    report = json.loads((built / "models/text_graph/report.json").read_text(encoding="utf-8"))
    manifest = json.loads((built / "models/onnx" / MANIFEST).read_text(encoding="utf-8"))
    assert report["made_from"] == {name: manifest["files"][name]["sha256"] for name in report["made_from"]}
    assert report["tokenized_unlike_predict"] == dict.fromkeys(KINDS, False)
    assert report["largest_difference"] < 1e-5
    subprocess.run(["git", "init", "--quiet"], cwd=built, check=True)
    shown = subprocess.run(["git", "status", "--porcelain", "models/text_graph"], cwd=built, capture_output=True)
    assert (shown.returncode, shown.stdout) == (0, b"")


def test_what_is_not_the_fp32_model_is_refused(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(built)
    before = (built / "models/text_graph/report.json").read_bytes()
    monkeypatch.setattr("tools.text_graph.graph.clean", lambda text: text.replace("w", "x"))
    with pytest.raises(UserError, match=r"found: +\d+ of \d+ test rows differ, row \d+ by "):
        build.build(Path("models/onnx"), Path("models/text_graph"))
    assert (built / "models/text_graph/report.json").read_bytes() == before


@pytest.mark.parametrize("task", ["pair", "regression"])
def test_other_tasks_are_refused(built: Path, tmp_path: Path, task: str) -> None:
    project = tmp_path / "project"
    shutil.copytree(built / "models/onnx", project / "models/onnx")
    facts = verified_manifest(project / "models/onnx")
    (project / "models/onnx" / MANIFEST).unlink()
    write_manifest(project / "models/onnx", facts | {"task": task})
    done = run_tool(project)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"found:    task {task}" in done.stderr
    assert not (project / "models/text_graph").exists()


def test_without_test_rows_or_a_model_the_fix_is_named(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built / "models/onnx", tmp_path / "models/onnx")
    done = run_tool(tmp_path)
    assert (done.returncode, done.stderr.count("make pull")) == (1, 1)
    (tmp_path / "models/onnx/model.onnx").unlink()
    done = run_tool(tmp_path)
    assert (done.returncode, done.stderr.count("dvc pull")) == (1, 1)
