"""Families of encoders, tiny and seeded, through every stage; or refused before training, with the reason.

Run in a grown project. The base models are those of families.py, the parameters those of its small project.
"""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from families import FAMILIES, KINDS, tokenizer_of, write_family
from hypothesis import given
from hypothesis import strategies as st
from review_sentiment import paths
from review_sentiment.common.io import read_json
from review_sentiment.config import Params
from review_sentiment.errors import UserError
from review_sentiment.inference import OnnxClassifier
from review_sentiment.inference.classifier import run_in_order
from review_sentiment.modeling.classifier import load_base
from review_sentiment.modeling.encoder import auto_class, load_encoder, require_bf16, small_copy
from review_sentiment.modeling.fine_tuned import load_fine_tuned
from review_sentiment.modeling.forward import Padded, run_over
from review_sentiment.stages import check_model, embeddings, export_onnx, fine_tune, prepare
from review_sentiment.text.tokenization import encode, load_tokenizer
from small_project import sentences, values_with, write_table
from torch.onnx._internal.exporter._registration import ONNXRegistry

PARAMS = Params.model_validate(
    # int8 of so small a model on so few rows says nothing.
    values_with(
        text__max_length=64,
        embeddings__probe_c=[1.0],
        fine_tune__epochs=1,
        export_onnx__max_int8_drop=0.9,
        compute__threads=1,
    )
)
STAGES = (check_model, prepare, embeddings, fine_tune, export_onnx)
TEXTS = ["", "a", "a warm film", "and the clever actor of this tender, bright scene " * 9, "[SEP] </s> <pad> <eos>"]
# Those that everybody uses, and one of each other kind. EVERY_FAMILY=1 tries all of them: twice the time.
USUAL = [
    *("albert", "bert", "bert_with_head", "camembert", "deberta", "deberta_v2", "distilbert", "electra"),
    *("embedding_gemma", "eurobert", "gpt2", "jina_v3", "modernbert", "mpnet", "nomic_bert", "qwen3"),
    *("rembert", "roberta", "roformer", "t5", "xlm", "xlm_roberta"),
]
# Those whose attention becomes one operator.
FUSED = {
    *("albert", "bert", "bert_with_head", "camembert", "distilbert", "electra", "jina_v3", "nomic_bert", "roberta"),
    *("data2vec", "ernie", "esm", "gte", "roberta_prelayernorm", "roc_bert", "xlm_roberta", "xlm_roberta_xl", "xmod"),
}
REFUSED = {
    "big_bird": "depend on padding",
    "convbert": "depend on padding",
    "funnel": "depend on padding",
    "fnet": "FNetModel, which takes no attention_mask",
    "bart": "for this kind of AutoModel: AutoModelForTextEncoding",
    "longformer": "torch cannot export the model",
    "mixtral": "torch cannot export the model",
    "mobilebert": "depend on padding",
    "nystromformer": "depend on padding",
    "xlnet": "torch cannot export the model",
    "xmod_without_language": "XmodModel, which fails: Input language unknown",
    "yoso": "depend on padding",
}
PASSING = sorted(FAMILIES.keys() - REFUSED) if "EVERY_FAMILY" in os.environ else USUAL
WORDS = st.lists(st.sampled_from(["a", "warm film", " ", ".", "<", "[", "é"]), max_size=4).map("".join)


@pytest.fixture(scope="module", autouse=True)
def one_table_of_operators() -> Iterator[None]:
    """Every export builds it, the same each time: a second for each of some fifty exports."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(cache(ONNXRegistry.from_torchlib)))
        yield


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project; it is the current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("family", PASSING)
def test_a_family_goes_through_every_stage(project: Path, family: str) -> None:
    write_family(family, paths.BASE_MODEL)
    write_table(project / "data/raw/table.csv", sentences(120, seed=1))
    for stage in STAGES:
        stage.run(PARAMS)
    assert read_json(paths.ENCODER)["fused"] == (family in FUSED)
    shipped = OnnxClassifier(paths.ONNX, "fp32", threads=1)
    sequences = encode(load_tokenizer(paths.BASE_MODEL / "tokenizer.json", 64), TEXTS, "")
    assert encode(shipped.tokenizer, TEXTS, "") == sequences
    assert max(map(len, sequences)) == 64
    model = load_fine_tuned(paths.FINE_TUNED, "mean", "single_label")
    padded = run_over(Padded(model), sequences, output="logits")
    with torch.inference_mode():
        alone = [model(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.int64))[0] for ids in sequences]
    assert padded == pytest.approx(np.stack(alone), abs=1e-4)
    for size in (1, 5):
        found = run_in_order(shipped.session, sequences, size)
        assert found == pytest.approx(padded, abs=1e-4)
        assert (found.argmax(axis=1) == padded.argmax(axis=1)).all()
    config = transformers.AutoConfig.from_pretrained(paths.FINE_TUNED)
    encoder, notes = auto_class(config).from_pretrained(paths.FINE_TUNED, output_loading_info=True)
    assert [type(encoder).__name__] == config.architectures
    assert not notes["missing_keys"]
    assert not notes["unexpected_keys"]
    assert config.id2label == {0: "bad", 1: "good"}


@pytest.mark.slow
@pytest.mark.parametrize("family", REFUSED)
def test_a_family_that_cannot_be_shipped_is_refused_at_once(project: Path, family: str) -> None:
    write_family(family, paths.BASE_MODEL)
    with pytest.raises(UserError) as refused:
        check_model.run(PARAMS)
    assert REFUSED[family] in str(refused.value)
    assert not (project / paths.ENCODER).exists()


@pytest.mark.parametrize(("family", "trains"), [("deberta", False), ("deberta_v2", True)])
def test_a_family_that_cannot_be_trained_in_bf16_is_refused_at_once(project: Path, family: str, trains: bool) -> None:
    write_family(family, project / family)
    encoder = load_encoder(project / family)
    ids = torch.tensor([[6, 7, 8]])
    if trains:
        require_bf16(encoder, ids)
        return
    with pytest.raises(UserError, match=r"fix: +set compute.precision: fp32"):
        require_bf16(encoder, ids)
    write_family(family, paths.BASE_MODEL)
    compute = PARAMS.compute.model_copy(update={"precision": "bf16"})
    with pytest.raises(UserError, match="cannot be trained in bf16"):
        check_model.run(PARAMS.model_copy(update={"compute": compute}))
    assert not (project / paths.ENCODER).exists()


@pytest.mark.slow
@pytest.mark.parametrize("family", PASSING)
def test_the_longest_text_is_read_and_one_token_more_is_refused(tmp_path: Path, family: str) -> None:
    write_family(family, tmp_path / "model")
    encoder = load_encoder(tmp_path / "model")
    named = getattr(encoder.config, "max_position_embeddings", None)
    limit = FAMILIES[family].longest or named
    longest = limit or 100
    small = small_copy(encoder)
    for length in (longest - 1, longest):
        check_model.require_length(small, length)
    model = load_base(tmp_path / "model", 2, PARAMS.text, "single_label")
    assert np.isfinite(run_over(Padded(model), [[5] * longest], output="logits")).all()
    if limit:
        with pytest.raises(UserError, match=f"at most {longest} tokens"):
            check_model.require_length(small, longest + 1)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_typed_special_token_is_text(
    kind: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A text has as many control tokens as the tokenizer itself adds, whatever is typed."""
    path = tmp_path_factory.getbasetemp() / f"{kind}.json"
    if not path.exists():
        tokenizer_of(kind).save(str(path))
    tokenizer = load_tokenizer(path, 512)
    special = {n: token.content for n, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    unknown = {n for n, token in special.items() if "unk" in token.lower()}
    typed = st.sampled_from(sorted(special.values()))
    text = "a" + "".join(data.draw(st.lists(st.one_of(WORDS, typed), max_size=6)))

    def control(text: str) -> list[int]:
        return [one for one in encode(tokenizer, [text], "")[0] if one in special and one not in unknown]

    assert control(text) == control("a")
