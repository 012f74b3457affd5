"""Models whose weights lie beside the graph, made as if protobuf could not hold them."""

import shutil
from pathlib import Path

import onnx
import pytest
from review_sentiment.common.io import WEIGHTS_SUFFIX, size_of
from review_sentiment.common.manifest import MANIFEST, verified_manifest, write_manifest
from review_sentiment.errors import UserError
from review_sentiment.export import graph, quantization
from review_sentiment.inference import classifier as inference
from review_sentiment.modeling.fine_tuned import load_fine_tuned
from small_project import sentences

pytestmark = pytest.mark.slow
TEXTS = [text for text, _ in sentences(40, seed=9)]
LIMIT = 10_000  # bytes, instead of 2 GB


@pytest.fixture(scope="module")
def external(trained: Path, sequences: list[list[int]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped directory, its models exported as if protobuf could not hold their weights."""
    directory = shutil.copytree(trained / "models/onnx", tmp_path_factory.mktemp("external") / "onnx")
    facts = verified_manifest(directory)
    (directory / MANIFEST).unlink()
    fp32, int8 = (directory / file for file in inference.MODELS.values())
    model = load_fine_tuned(trained / "models/fine_tuned", "mean", "single_label")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph, "LARGEST_PROTOBUF", LIMIT)
        graph.export(model, fp32, 20, fused=True)
        quantization.quantize(fp32, sequences, int8, threads=1)
    write_manifest(directory, facts)
    return directory


def test_a_model_too_large_for_one_file_predicts_the_same(
    trained: Path, external: Path, sequences: list[list[int]], tmp_path: Path
) -> None:
    one_file = shutil.copytree(trained / "models/onnx", tmp_path / "one_file")
    fp32, int8 = (one_file / file for file in inference.MODELS.values())
    facts = verified_manifest(one_file)
    (one_file / MANIFEST).unlink()
    quantization.quantize(fp32, sequences, int8, threads=1)
    write_manifest(one_file, facts)
    assert sorted(path.name for path in fp32.parent.iterdir()) == ["model.onnx", "model_int8.onnx"]
    for name, file in inference.MODELS.items():
        values = [inference.OnnxClassifier(folder, name, threads=1).values(TEXTS) for folder in (external, one_file)]
        assert values[0].tobytes() == values[1].tobytes()
        assert (external / file).stat().st_size < (one_file / file).stat().st_size / 2
        assert size_of(external / file) > size_of(one_file / file)


def test_external_weights_are_the_same_bytes_again_and_can_be_mapped(
    external: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "LARGEST_PROTOBUF", LIMIT)
    file = external / inference.MODELS["fp32"]
    for _ in range(2):  # the second time over the first
        graph.save(onnx.load(file), tmp_path / file.name)
        for name in (file.name, file.name + WEIGHTS_SUFFIX):
            assert (tmp_path / name).read_bytes() == file.with_name(name).read_bytes()
    assert (tmp_path / (file.name + WEIGHTS_SUFFIX)).stat().st_mode == (tmp_path / file.name).stat().st_mode
    weights = onnx.load(file, load_external_data=False).graph.initializer
    offsets = [int(entry.value) for weight in weights for entry in weight.external_data if entry.key == "offset"]
    assert len(offsets) > 10
    assert not any(offset % 65536 for offset in offsets)


@pytest.mark.parametrize(("name", "other"), [("fp32", "int8"), ("int8", "fp32")])
def test_external_weights_are_needed_and_verified(
    external: Path, tmp_path: Path, name: inference.Model, other: inference.Model
) -> None:
    external = shutil.copytree(external, tmp_path / "onnx")
    weights = external / (inference.MODELS[name] + WEIGHTS_SUFFIX)
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    for opened in (name, other):  # what is there is verified
        with pytest.raises(UserError, match=f"{weights.name} is not the file that was shipped"):
            inference.OnnxClassifier(external, opened)
    weights.unlink()
    with pytest.raises(UserError, match=rf"{weights.name} is not the file that was shipped[^!]*found: +no such file"):
        inference.OnnxClassifier(external, name)
    (external / inference.MODELS[name]).unlink()
    assert inference.OnnxClassifier(external, other).labels == ["bad", "good"]
