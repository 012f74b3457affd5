"""A signed model is taken; with one byte changed anywhere, or with another key, it is refused."""

import base64
import subprocess
from pathlib import Path

import pytest
import signature as tool
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from test_predict import predict

from {{ cookiecutter.package_name }}.common.manifest import write_manifest
from {{ cookiecutter.package_name }}.errors import UserError

FILES = {"model.onnx": b"weights", "model.int8.onnx": b"small weights", "tokenizer.json": b"{}"}


@pytest.fixture
def signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a model that was signed; it is the current directory."""
    project = tmp_path / "project"
    directory = project / "models/onnx"
    directory.mkdir(parents=True)
    for name, content in FILES.items():
        (directory / name).write_bytes(content)
    write_manifest(directory, {"task": "single_label"})
    monkeypatch.chdir(project)
    tool.make_key(tmp_path / "signing.key")
    tool.sign(tmp_path / "signing.key")
    return project


def test_a_signed_model_is_taken(signed: Path) -> None:
    assert "is the model that the owner of signing.pub signed" in tool.verify(tool.PUBLIC_KEY)
    assert (signed.parent / "signing.key").stat().st_mode & 0o777 == 0o600


def test_openssl_says_so_too(signed: Path) -> None:
    raw = signed / "raw.sig"
    raw.write_bytes(base64.b64decode((signed / "models/onnx.sig").read_bytes()))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "signing.pub", "-rawin", "-sigfile", raw]
    done = subprocess.run([*command, "-in", "models/onnx/manifest.json"], capture_output=True, text=True, check=False)
    assert "Signature Verified Successfully" in done.stdout, done.stderr


@pytest.mark.parametrize("name", [*(f"onnx/{name}" for name in FILES), "onnx/manifest.json", "onnx.sig"])
def test_a_flipped_bit_anywhere_is_refused(signed: Path, name: str) -> None:
    path = signed / "models" / name
    sound = path.read_bytes()
    for place in range(len(sound)):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
        with pytest.raises(UserError, match=r"is not the (model that was signed|file that was shipped)"):
            tool.verify(tool.PUBLIC_KEY)


def test_a_model_made_anew_with_a_manifest_of_its_own_is_refused(signed: Path) -> None:
    directory = signed / "models/onnx"
    (directory / "manifest.json").unlink()
    (directory / "model.onnx").write_bytes(b"other weights")
    write_manifest(directory, {"task": "single_label"})
    with pytest.raises(UserError, match="is not the model that was signed"):
        tool.verify(tool.PUBLIC_KEY)


def test_a_file_that_nobody_signed_is_refused(signed: Path) -> None:
    (signed / "models/onnx/model.onnx.data").write_bytes(b"more")
    with pytest.raises(UserError, match=r"found: +model\.onnx\.data"):
        tool.verify(tool.PUBLIC_KEY)


def test_another_key_is_refused(signed: Path) -> None:
    (signed / "signing.pub").unlink()
    tool.make_key(signed.parent / "other.key")
    with pytest.raises(UserError, match="one of another key"):
        tool.verify(tool.PUBLIC_KEY)


@pytest.mark.parametrize("missing", ["models/onnx.sig", "models/onnx/manifest.json", "signing.pub"])
def test_what_is_missing_is_named(signed: Path, missing: str) -> None:
    (signed / missing).unlink()
    with pytest.raises(UserError, match=missing):
        tool.verify(tool.PUBLIC_KEY)


@pytest.mark.parametrize("content", [b"", b"no key", None])
def test_a_file_that_holds_no_such_key_is_refused(signed: Path, content: bytes | None) -> None:
    other = generate_private_key(SECP256R1()).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (signed / "signing.pub").write_bytes(other if content is None else content)
    with pytest.raises(UserError, match="holds no public key"):
        tool.verify(tool.PUBLIC_KEY)
    with pytest.raises(UserError, match="holds no private key"):
        tool.sign(tool.PUBLIC_KEY)


def test_a_key_is_never_overwritten_nor_put_into_the_repository(signed: Path) -> None:
    with pytest.raises(UserError, match="never overwritten"):
        tool.make_key(signed.parent / "signing.key")
    (signed / "signing.pub").unlink()
    with pytest.raises(UserError, match="does not belong into the repository"):
        tool.make_key(signed / "signing.key")


def test_a_key_with_a_password(signed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (signed / "signing.pub").unlink()
    monkeypatch.setattr(tool, "PASSWORD", b"open sesame")
    key = signed.parent / "locked.key"
    tool.make_key(key)
    tool.sign(key)
    tool.verify(tool.PUBLIC_KEY)
    for password in (b"", b"guess"):
        monkeypatch.setattr(tool, "PASSWORD", password)
        with pytest.raises(UserError, match="its password in SIGNING_KEY_PASSWORD"):
            tool.sign(key)


def test_a_broken_model_is_not_signed(signed: Path) -> None:
    (signed / "models/onnx/model.onnx").write_bytes(b"weightz")
    with pytest.raises(UserError, match=r"model\.onnx is not the file that was shipped"):
        tool.sign(signed.parent / "signing.key")


@pytest.mark.slow
def test_predict_verifies_when_it_is_given_a_key(signed: Path, trained: Path) -> None:
    model = trained / "models/onnx"
    said = predict(signed, "--text", "a film", "--directory", model, "--public-key", "signing.pub")
    assert said.returncode == 1
    assert "is not the model that was signed" in said.stderr
    assert "Traceback" not in said.stderr
    assert not said.stdout
