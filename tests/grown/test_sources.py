"""Addresses of files, the one form of a base model, and causes of errors. What a hub gives is in the template's tests.

Run in a grown project.
"""

import errno
import json
import os
import pickle
import shutil
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from botocore import exceptions
from review_sentiment.errors import DISK_FULL, UserError
from review_sentiment.errors import cause_of as cause_here
from review_sentiment.sources.addresses import download, files_below
from review_sentiment.sources.base_model import to_one_form
from review_sentiment.sources.causes import cause_of, words_of
from review_sentiment.sources.hub import Place, place_of
from safetensors.torch import load_file, save_file
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from small_project import PACKAGE, digests, run_python, sentences, write_params
from tokenizers import Tokenizer

FORM = ["config.json", "model.safetensors", "tokenizer.json"]
INDEX = "model.safetensors.index.json"


@pytest.fixture
def model(base_model: Path, tmp_path: Path) -> Path:
    """A copy of the small base model, to be given another form."""
    return shutil.copytree(base_model, tmp_path / "model")


def weights_of(model: Path) -> dict[str, torch.Tensor]:
    """The weights, taken away."""
    weights = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    return weights


def shard(model: Path, index: str, save: Callable[[dict[str, torch.Tensor], Path], object]) -> None:
    """Write the weights as two files and an index."""
    weights = weights_of(model)
    name = index.removesuffix(".index.json")
    stem, suffix = name.rsplit(".", 1)
    files = {tensor: f"{stem}-0000{number % 2 + 1}-of-00002.{suffix}" for number, tensor in enumerate(sorted(weights))}
    for file in set(files.values()):
        save({tensor: weights[tensor] for tensor in weights if files[tensor] == file}, model / file)
    (model / index).write_text(json.dumps({"metadata": {}, "weight_map": files}), encoding="utf-8")


def pickled(model: Path, **changes: object) -> None:
    """Write the weights as a pickle."""
    torch.save(weights_of(model) | changes, model / "pytorch_model.bin")


FORMS: dict[str, Callable[[Path], object]] = {
    "shards": lambda model: shard(model, INDEX, save_file),
    "a pickle": pickled,
    "a pickle of an old form": lambda model: torch.save(
        weights_of(model), model / "pytorch_model.bin", _use_new_zipfile_serialization=False
    ),
    "shards of pickles": lambda model: shard(model, "pytorch_model.bin.index.json", torch.save),
}


@pytest.mark.parametrize("change", FORMS.values(), ids=FORMS)
def test_weights_of_every_form_become_one_file(base_model: Path, model: Path, change: Callable[[Path], object]) -> None:
    change(model)
    (model / "1_Pooling").mkdir()
    (model / "README.md").touch()
    to_one_form(model)
    assert sorted(path.name for path in model.iterdir()) == FORM
    assert (model / "model.safetensors").read_bytes() == (base_model / "model.safetensors").read_bytes()


def test_two_names_of_one_tensor_and_other_kinds_of_numbers_are_kept(model: Path) -> None:
    half, whole = torch.ones(3, 4, dtype=torch.bfloat16), torch.arange(6).reshape(2, 3)
    torch.save({"a": half, "tied": half, "across": whole.T, "part": whole[1]}, model / "pytorch_model.bin")
    (model / "model.safetensors").unlink()
    to_one_form(model)
    found = load_file(model / "model.safetensors")
    expected = {"a": half, "tied": half, "across": whole.T, "part": whole[1]}
    assert found.keys() == expected.keys()
    assert all(found[name].dtype == expected[name].dtype for name in found)
    assert all(torch.equal(found[name], expected[name]) for name in found)


class Attack:
    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, ("attacked",)


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pickle that runs code": (lambda model: pickled(model, more=Attack()), "which may run code"),
    "a bare pickle": (
        lambda model: (
            weights_of(model),
            (model / "pytorch_model.bin").write_bytes(pickle.dumps(Attack(), protocol=2)),
        ),
        "which may run code",
    ),
    "a pickle of more than tensors": (lambda model: pickled(model, epoch=3), "something else than tensors"),
    "no weights": (weights_of, "no pytorch_model.bin below fetch.model.sha256"),
    "a shard too few": (
        lambda model: (FORMS["shards"](model), (model / "model-00002-of-00002.safetensors").unlink()),
        "no model-00002-of-00002.safetensors below",
    ),
    "a shard elsewhere": (
        lambda model: (weights_of(model), (model / INDEX).write_text('{"weight_map": {"a": "../model"}}')),
        "no ../model below",
    ),
    "half a shard": (
        lambda model: (FORMS["shards"](model), (model / "model-00001-of-00002.safetensors").write_bytes(b"{")),
        "SafetensorError",
    ),
    "an index of another form": (lambda model: (weights_of(model), (model / INDEX).write_text("[]")), "TypeError"),
    "no configuration": (lambda model: (model / "config.json").unlink(), "no config.json"),
    "no vocabulary": (lambda model: (model / "tokenizer.json").unlink(), "no vocab.txt below fetch.model.sha256"),
}


@pytest.mark.parametrize(("change", "found"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_base_model_is_refused(
    model: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object], found: str
) -> None:
    monkeypatch.chdir(model.parent)
    change(model)
    with pytest.raises(UserError, match="of the base model cannot be used") as refused:
        to_one_form(model)
    assert found in str(refused.value)
    assert not Path("attacked").exists()


def test_a_tokenizer_is_made_of_its_vocabulary(base_model: Path, model: Path) -> None:
    ours = Tokenizer.from_file(str(base_model / "tokenizer.json"))
    words = sorted(ours.get_vocab(), key=ours.get_vocab().__getitem__)
    (model / "tokenizer.json").unlink()
    (model / "vocab.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    to_one_form(model)
    made = Tokenizer.from_file(str(model / "tokenizer.json"))
    texts = [text for text, _ in sentences(50, seed=3)] + ["", "Föhn, FILM!", "a\tb 🙂"]
    assert [made.encode(text).ids for text in texts] == [ours.encode(text).ids for text in texts]
    assert made.encode("warm", "dull").type_ids == ours.encode("warm", "dull").type_ids
    assert sorted(path.name for path in model.iterdir()) == FORM


def sentencepiece_of(model: Path, **settings: object) -> SentencePieceProcessor:
    """Train a vocabulary and write it as `pieces.model` beside the model."""
    lines, prefix = model.parent / "lines.txt", model.parent / "pieces"
    lines.write_text("\n".join(text for text, _ in sentences(300, seed=3)), encoding="utf-8")
    SentencePieceTrainer.train(
        input=str(lines), model_prefix=str(prefix), vocab_size=90, hard_vocab_limit=False, minloglevel=2, **settings
    )
    (model / "tokenizer.json").unlink(missing_ok=True)
    return SentencePieceProcessor(model_file=f"{prefix}.model")


def converted(model: Path, kind: str, name: str) -> Tokenizer:
    """The tokenizer that is made of `pieces.model` for a kind of model, under the name that it has there."""
    shutil.copy(model.parent / "pieces.model", model / name)
    (model / "config.json").write_text(json.dumps({"model_type": kind}), encoding="utf-8")
    to_one_form(model)
    return Tokenizer.from_file(str(model / "tokenizer.json"))


HARD = ("the warm film", "Ｗide  and clumsy", "", "so good…", "great！", "a ﬁlm, ½ good", "the\u200bfilm", "cafe\u0301")


def test_a_vocabulary_of_sentencepiece_gives_its_own_pieces_or_is_refused(model: Path) -> None:
    reference = sentencepiece_of(model)
    made = converted(model, "xlm-roberta", "sentencepiece.bpe.model")
    for text in HARD:
        # This family has four tokens of its own before the pieces, whose first three it leaves out.
        assert made.encode(text).ids == [0, *(piece + 1 if piece else 3 for piece in reference.encode(text)), 2]
    (model / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"of which no tokenizer\.json can be made"):
        converted(model, "llama", "tokenizer.model")
    with pytest.raises(UserError, match=r"spiece\.model, which transformers does not convert to the same tokenizer"):
        converted(model, "fnet", "spiece.model")


def test_deberta_v3_gets_the_pieces_of_its_sentencepiece(model: Path) -> None:
    """transformers leaves out what sentencepiece replaces before it splits."""
    special = {"pad": "[PAD]", "bos": "[CLS]", "eos": "[SEP]", "unk": "[UNK]"}
    numbers = {f"{name}_id": number for number, name in enumerate(special)}
    reference = sentencepiece_of(model, **{f"{name}_piece": piece for name, piece in special.items()}, **numbers)
    made = converted(model, "deberta-v2", "spm.model")
    for text in HARD:
        assert made.encode(text).ids == [1, *reference.encode(text), 2]


@pytest.mark.parametrize(
    ("words", "settings", "tokens"),
    [
        ("Film The Über film", {}, ["The", "Film", "Über"]),
        ("Film The Über film the uber", {"do_lower_case": True}, ["the", "film", "uber"]),
        ("film the uber A " + " ".join(f"##{number}" for number in range(200)), {}, ["the", "film", "uber"]),
    ],
    ids=["a cased vocabulary", "as its file says", "a vocabulary with few capitals"],
)
def test_a_cased_vocabulary_keeps_the_case(model: Path, words: str, settings: dict, tokens: list[str]) -> None:
    (model / "tokenizer.json").unlink()
    vocabulary = f"[PAD] [UNK] [CLS] [SEP] [MASK] {words}".replace(" ", "\n")
    (model / "vocab.txt").write_text(f"{vocabulary}\n", encoding="utf-8")
    (model / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    to_one_form(model)
    made = Tokenizer.from_file(str(model / "tokenizer.json"))
    assert made.encode("The Film Über", add_special_tokens=False).tokens == tokens


FETCH = f"""
import sys
from {PACKAGE}.config import load_params
from {PACKAGE}.stages import fetch
fetch.run(load_params())
print([name for name in ("torch", "transformers") if name in sys.modules])
"""


@pytest.mark.slow
def test_fetch_checks_what_is_given_and_loads_torch_only_to_convert_it(
    base_model: Path, model: Path, tmp_path: Path
) -> None:
    FORMS["shards"](model)
    for given, loaded in ((base_model, "[]"), (model, "torch")):
        sha256 = digests(given, dict.fromkeys(path.name for path in given.iterdir()))
        source = {"into": "models/base", "uri": str(given), "sha256": sha256}
        write_params(tmp_path / "params.yaml", base_model, fetch__model=source)
        done = run_python(tmp_path, "-c", FETCH)
        assert done.returncode == 0, done.stderr
        assert loaded in done.stdout
        written = {path.name: path.read_bytes() for path in (tmp_path / "models/base").iterdir()}
        assert written == {path.name: path.read_bytes() for path in base_model.iterdir()}


def test_an_address_on_the_hub_has_one_reading() -> None:
    read = {
        "hf://acme/bert@main": Place("model", "acme/bert", "main", ""),
        "hf://bert@main/config.json": Place("model", "bert", "main", "config.json"),
        "hf://datasets/acme/reviews@v1/data/a b.csv": Place("dataset", "acme/reviews", "v1", "data/a b.csv"),
        "hf://acme/bert@refs/pr/4/onnx/a.json": Place("model", "acme/bert", "refs/pr/4", "onnx/a.json"),
        "hf://datasets/a/b@refs/convert/parquet": Place("dataset", "a/b", "refs/convert/parquet", ""),
        "hf://acme/bert@feature%2Fx/folder/c": Place("model", "acme/bert", "feature/x", "folder/c"),
    }
    assert {address: place_of(address) for address in read} == read
    for address in ("hf://acme/bert", "hf://acme/bert@", "hf://a/b/c@main", "hf://acme/bert/config.json"):
        with pytest.raises(UserError, match="names no revision on the hub"):
            place_of(address)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_here_is_not_said_of_the_store() -> None:
    with pytest.raises(OSError, match="No space left") as refused:
        download("pkg://review_sentiment/errors.py", Path("/dev/full"))
    assert cause_here(refused.value) is DISK_FULL


def test_files_are_listed_below_a_folder_and_below_a_package(base_model: Path) -> None:
    assert sorted(files_below(str(base_model)) or ()) == FORM
    assert {"decoder.py", "__init__.py"} <= {*(files_below("pkg://json") or ())}
    assert files_below(str(base_model / "nowhere")) is None


def client_error(code: str, message: str = "") -> Exception:
    return exceptions.ClientError({"Error": {"Code": code, "Message": message}}, "GetObject")


def tls_error(words: str) -> Exception:
    return exceptions.SSLError(endpoint_url="https://host", error=ssl.SSLError(f"[SSL: {words}]"))


NOT_VERIFIED = "CERTIFICATE_VERIFY_FAILED] certificate verify failed: "
CAUSED = {
    "signed by nobody": tls_error(NOT_VERIFIED + "self-signed certificate"),
    "that of another host": tls_error(NOT_VERIFIED + "IP address mismatch"),
    "the clock of this machine": tls_error(NOT_VERIFIED + "certificate has expired"),
    "no secure connection": tls_error("WRONG_VERSION_NUMBER"),
    "the KMS key that encrypts": client_error("AccessDenied", "not authorized to perform: kms:Decrypt"),
    "the keys may not do this": client_error("AccessDenied", "Access Denied"),
    "the keys have expired": client_error("ExpiredToken"),
    "sign-on of AWS has run out": exceptions.UnauthorizedSSOTokenError(),
    "credential_process": exceptions.CredentialRetrievalError(provider="custom-process", error_msg="no"),
    "AWS's configuration": exceptions.CredentialRetrievalError(provider="iam-role", error_msg="no"),
    "AWS's configuration cannot": exceptions.ClientError({"Error": {"Code": "AccessDenied"}}, "AssumeRole"),
    "no keys": exceptions.NoCredentialsError(),
    "overloaded": client_error("SlowDown"),
    "another region": client_error("AuthorizationHeaderMalformed"),
    "checksums of newer": client_error("MissingContentLength"),
    "takes no more data": OSError(errno.ENOSPC, "No space left on device"),
    "no host has the name": socket.gaierror(-2, "Name or service not known"),
    "does not answer": TimeoutError(),
    "nothing answers": ConnectionRefusedError(),
}


@pytest.mark.parametrize("problem", CAUSED)
def test_the_fix_follows_from_the_cause(problem: str) -> None:
    found = cause_of(words_of(CAUSED[problem]), {})
    assert found is not None
    assert problem in found[0]
    assert "{" not in found[1]
    try:
        raise RuntimeError("the store failed") from CAUSED[problem]
    except RuntimeError as error:
        assert cause_of(words_of(error), {}) == found
    assert cause_of(words_of(ValueError("something else")), {}) is None


def test_what_cannot_be_fetched_is_explained(tmp_path: Path) -> None:
    for address, problem in ((str(tmp_path / "a"), "no such file"), ("ftp2://a/b", "addresses of this form")):
        with pytest.raises(UserError, match=problem):
            download(address, tmp_path / "b")
