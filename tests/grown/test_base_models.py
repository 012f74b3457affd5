"""A base model or a tokenizer that cannot be used is refused with a message. Run in a grown project."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from review_sentiment.config import Params, TextSettings
from review_sentiment.errors import UserError
from review_sentiment.modeling.classifier import load_base
from review_sentiment.modeling.encoder import load_encoder
from review_sentiment.stages import check_model
from review_sentiment.text.tokenization import load_tokenizer
from safetensors.torch import load_file, save_file
from small_project import params_with, values_with
from tokenizers import AddedToken, Tokenizer
from transformers import (
    BartConfig,
    BartModel,
    CLIPConfig,
    CLIPModel,
    OPTConfig,
    OPTModel,
    RobertaConfig,
    RobertaModel,
    ViTConfig,
    ViTModel,
)

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


def more_weights(*names: str) -> Callable[[Path], object]:
    """Add weights to the base model's."""

    def change(model: Path) -> None:
        path = model / "model.safetensors"
        save_file(load_file(path) | {name: torch.ones(4, 4) for name in names}, path, metadata={"format": "pt"})

    return change


TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
SMALL_BART = BartConfig(vocab_size=50, d_model=16, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=16)
SMALL_CLIP = CLIPConfig(text_config=TINY | {"vocab_size": 50}, vision_config=TINY | {"image_size": 32})
SMALL_OPT = OPTConfig(vocab_size=50, ffn_dim=16, word_embed_proj_dim=8, **TINY)
SMALL_ROBERTA = RobertaConfig(vocab_size=600, max_position_embeddings=64, type_vocab_size=1, **TINY)
SMALL_VIT = ViTConfig(image_size=32, **TINY)
DISTANCES = "encoder.layer.0.attention.self.distance_embedding.weight"
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
    "a model of texts and pictures": (lambda model: CLIPModel(SMALL_CLIP).save_pretrained(model), "has no hidden_size"),
    "weights of 4 bits": (config_with(quantization_config={"quant_method": "gptq", "bits": 4}), "quantized weights"),
    "weights of fp8": (config_with(quantization_config={"quant_method": "fp8"}), "quantized weights"),
    "weights of another kind of layer": (more_weights(DISTANCES), f"BertModel, which has no use for {DISTANCES}"),
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
        load_base(model, 2, TextSettings(max_length=32, pooling="mean", prefix=""), "single_label")
    assert found in str(refused.value)


def test_weights_outside_the_layers_are_left_out(base_model: Path, tmp_path: Path) -> None:
    """Of heads, and what training has left in some models of the hub (mDeBERTa-v3)."""
    model = shutil.copytree(base_model, tmp_path / "model")
    more_weights("lm_head.0.weight", "embeddings.word_embeddings._weight", "encoder.layer.0.attention.bias")(model)
    load_encoder(model)


def check(base: Path, monkeypatch: pytest.MonkeyPatch, max_length: int = 32) -> None:
    """Run the stage `check_model` on `models/base` of a folder."""
    monkeypatch.chdir(base.parents[1])
    check_model.run(Params.model_validate(values_with(text__max_length=max_length)))


def test_states_of_another_width_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    OPTModel(SMALL_OPT).save_pretrained(tmp_path / "models/base")
    with pytest.raises(UserError, match="OPTModel, whose states have 8 numbers each"):
        check(tmp_path / "models/base", monkeypatch)


def test_tokens_of_texts_have_vectors(base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A control token that the tokenizer itself does not add needs none: no text has it."""
    model = shutil.copytree(base_model, tmp_path / "models/base")
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.add_tokens([AddedToken("<pad>", special=True)])
    tokenizer.save(str(model / "tokenizer.json"))
    check(model, monkeypatch)
    tokenizer.add_tokens(["covid"])
    tokenizer.save(str(model / "tokenizer.json"))
    with pytest.raises(UserError, match=r"vectors, and none for the tokens covid\n.*resize_token_embeddings"):
        check(model, monkeypatch)


def test_the_length_that_a_refusal_names_is_accepted(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positions are counted from 2 on, and a batch is padded to a multiple of 8."""
    RobertaModel(SMALL_ROBERTA).save_pretrained(tmp_path / "models/base")
    shutil.copy(base_model / "tokenizer.json", tmp_path / "models/base")
    with pytest.raises(UserError, match="at most 56 tokens"):
        check(tmp_path / "models/base", monkeypatch, 62)
    check(tmp_path / "models/base", monkeypatch, 56)


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


def test_code_that_a_model_brings_along_is_named(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = shutil.copytree(base_model, tmp_path / "models/base")
    config_with(auto_map={"AutoModel": "modeling.OtherModel"})(model)
    check(model, monkeypatch)
    assert "which is never run: BertModel of transformers" in capsys.readouterr().out
