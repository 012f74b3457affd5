"""Verify the signature of a model: Ed25519 over its manifest, which names the sha256 of every other file."""

import base64
import json
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from ..common.manifest import MANIFEST
from ..errors import UserError


def signature_of(directory: Path) -> Path:
    """The signature's file: beside the directory, so that the directory stays as it was."""
    return directory.with_name(f"{directory.name}.sig")


def verify_signature(directory: Path, key: Path) -> None:
    """See that the owner of the key signed this manifest and that nothing lies there which it does not name.

    Whether the named files are what the manifest says, whatever loads the model looks itself. Raises UserError.
    """
    public = read_public_key(key)
    signature, manifest = signature_of(directory), directory / MANIFEST
    try:
        content = manifest.read_bytes()
        public.verify(decoded(signature.read_bytes()), content)
    except FileNotFoundError as missing:
        raise refusal(directory, f"{signature} and {manifest}", f"no {missing.filename}") from None
    except (InvalidSignature, ValueError):
        raise refusal(directory, f"a signature that fits {key}", "one of another key or manifest") from None
    strangers = {path.name for path in directory.iterdir()} - json.loads(content)["files"].keys() - {MANIFEST}
    if strangers:
        raise refusal(directory, "only files that the manifest names", ", ".join(sorted(strangers)))


def encoded(signature: bytes) -> str:
    """The signature as the one line of its file."""
    return base64.b64encode(signature).decode() + "\n"


def decoded(line: bytes) -> bytes:
    """The signature in the line. Raises ValueError for any byte that `encoded` would not write."""
    signature = base64.b64decode(line)
    if encoded(signature).encode() != line:
        raise ValueError("not as it was written")
    return signature


def read_public_key(path: Path) -> Ed25519PublicKey:
    """The key in a PEM file. Raises UserError."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise wrong_key(path, str(error)) from None
    if not isinstance(key, Ed25519PublicKey):
        raise wrong_key(path, type(key).__name__)
    return key


def wrong_key(path: Path, found: str) -> UserError:
    """What to say of a file that holds no public key."""
    return UserError(
        f"{path} holds no public key",
        expected="an Ed25519 public key as `make signing-key` writes it (PEM)",
        found=found,
        fix="name the file of the public key",
    )


def refusal(directory: Path, expected: str, found: str) -> UserError:
    """What to say of a model that is not the signed one."""
    return UserError(
        f"{directory} is not the model that was signed",
        expected=expected,
        found=found,
        fix="take model and signature of one commit: git checkout, dvc checkout; or sign it: make sign KEY=…",
    )
