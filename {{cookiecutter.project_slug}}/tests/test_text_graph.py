"""The tokenizer inside the graph against the tokenizers library, which prediction uses."""

import random
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime import InferenceSession
from small_project import sentences
from tokenizers import Tokenizer, models, normalizers

from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.export.text_graph import (
    KINDS,
    TEXT_MODEL,
    open_text_session,
    run_over_texts,
    tokenized_otherwise,
    tokenizing,
    tokens_of,
)
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


def test_every_kind_of_text_becomes_the_same_tokens(base_model: Path) -> None:
    found = tokenized_otherwise(base_model / "tokenizer.json", 32)
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
    found = [tokens for start in range(0, len(texts), 4096) for tokens in tokens_of(session, texts[start:][:4096])]
    return [f"U+{ord(c):04X}" for c, a, b in zip(characters, expected, found, strict=True) if a != b]


def test_a_batch_is_padded_and_cut(tokenizer: Tokenizer, session: InferenceSession) -> None:
    texts = ["warm film", "", "a dull story " * 40]
    ids, mask = (np.asarray(value) for value in session.run(None, {"text": np.array(texts, dtype=object)}))
    assert ids.shape == mask.shape == (3, 32)
    assert mask.sum(axis=1).tolist() == [len(tokens) for tokens in encode(tokenizer, texts)]
    assert mask.sum(axis=1)[1:].tolist() == [2, 32]
    assert not ids[mask == 0].any()
    assert tokens_of(session, [""]) == encode(tokenizer, [""])


def test_another_tokenizer_is_refused(tokenizer: Tokenizer) -> None:
    other = Tokenizer.from_str(tokenizer.to_str())
    other.model = models.BPE()
    with pytest.raises(UserError, match=r"found: +BPE, BertNormalizer(.|\n)*export_onnx\.text_graph: false"):
        tokenizing(other, 32)


def test_texts_get_the_probabilities_of_predict(trained: Path) -> None:
    directory = trained / "models/onnx"
    onnx.checker.check_model(directory / TEXT_MODEL, full_check=True)
    session = open_text_session(directory / TEXT_MODEL, threads=1)
    assert [output.name for output in session.get_outputs()] == ["probabilities", "logits"]
    texts = random.Random(0).sample(TEXTS, len(TEXTS))
    expected = OnnxClassifier(directory, "fp32", threads=1).values(texts)
    logits = run_over_texts(session, texts)
    assert (logits.argmax(axis=1) == expected.argmax(axis=1)).all()
    alone = np.concatenate(
        [np.asarray(session.run(["probabilities"], {"text": np.array([text], dtype=object)})[0]) for text in texts]
    )
    assert alone == pytest.approx(expected, abs=1e-5)
