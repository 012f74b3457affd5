"""A base model or a tokenizer that cannot be used is refused with a message. Run in a grown project."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from review_sentiment.config import Text
from review_sentiment.errors import UserError
from review_sentiment.modeling.classifier import load_base
from review_sentiment.text.tokenization import load_tokenizer
from small_project import params_with
from transformers import BartConfig, BartModel, ViTConfig, ViTModel

pytestmark = pytest.mark.slow


def config_with(**values: object) -> Callable[[Path], object]:
    """Change the base model's configuration."""

    def change(model: Path) -> None:
        path = model / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")

    return change


def weights_as(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Change the base model's weights."""
    return lambda model: (model / "model.safetensors").write_bytes(change((model / "model.safetensors").read_bytes()))


SMALL_BART = BartConfig(vocab_size=50, d_model=16, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=16)
SMALL_VIT = ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32)
MODELS = {
    "no weights": (lambda model: (model / "model.safetensors").unlink(), "no file named model.safetensors"),
    "truncated weights": (weights_as(lambda weights: weights[:1000]), "header"),
    "empty weights": (weights_as(lambda _: b""), "header too small"),
    "a pickle": (weights_as(lambda _: pickle.dumps({"weight": [1.0] * 100})), "header too large"),
    "no configuration": (lambda model: (model / "config.json").unlink(), "model_type"),
    "a broken configuration": (lambda model: (model / "config.json").write_text("{"), "not a valid JSON"),
    "an unknown model": (config_with(model_type="nobody-knows"), "nobody-knows"),
    "another architecture": (config_with(model_type="distilbert"), "no weights for"),
    "an encoder and a decoder": (lambda model: BartModel(SMALL_BART).save_pretrained(model), "BartConfig"),
    "a model of pictures": (lambda model: ViTModel(SMALL_VIT).save_pretrained(model), "ViTModel"),
    "more layers than weights": (config_with(num_hidden_layers=3), "no weights for encoder.layer.2"),
    "another hidden size": (config_with(hidden_size=128), "ignore_mismatched_sizes"),
    "a hidden size in words": (config_with(hidden_size="wide"), "hidden_size"),
}


@pytest.mark.parametrize(("change", "found"), MODELS.values(), ids=MODELS)
def test_a_model_that_cannot_be_used_is_refused(
    base_model: Path, tmp_path: Path, change: Callable[[Path], object], found: str
) -> None:
    model = shutil.copytree(base_model, tmp_path / "model")
    change(model)
    with pytest.raises(UserError, match="does not hold a transformer encoder") as refused:
        load_base(model, 2, Text(max_length=32, pooling="mean", prefix=""), "single_label")
    assert found in str(refused.value)


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff\xfe\0", b"[" * 10_000])
def test_a_tokenizer_that_cannot_be_used_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(UserError, match="holds no tokenizer"):
        load_tokenizer(tmp_path / "tokenizer.json", 8)


def test_code_that_a_model_brings_along_is_neither_run_nor_asked_about(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(base_model, tmp_path / "model")
    config_with(model_type="new", auto_map={"AutoConfig": "acme/impl--configuration.NewConfig"})(tmp_path / "model")
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "n")
    with pytest.raises(UserError, match="does not hold a transformer encoder"):
        load_base(tmp_path / "model", 2, params_with().text, "single_label")
    assert asked == []
