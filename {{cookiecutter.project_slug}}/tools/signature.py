"""Sign the shipped model and verify it: `make signing-key KEY=…`, `make sign KEY=…`, `make verify`.

The private key stays where you put it, outside the repository; with SIGNING_KEY_PASSWORD set it is kept encrypted. The
public one, signing.pub, belongs in Git, and so does the signature, models/onnx.sig.
"""

import os
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from {{ cookiecutter.package_name }}.common import manifest
from {{ cookiecutter.package_name }}.common.io import write_text
from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.paths import ONNX
from {{ cookiecutter.package_name }}.service import signature

PUBLIC_KEY = Path("signing.pub")
PASSWORD = os.environ.get("SIGNING_KEY_PASSWORD", "").encode()


def main() -> int:
    """Make a key, sign or verify; 0 when it is done or when the model is the signed one."""
    commands = {"key": make_key, "sign": sign, "verify": verify}
    if len(sys.argv) != 3 or sys.argv[1] not in commands:
        print("usage: make signing-key KEY=FILE, make sign KEY=FILE or make verify PUBLIC_KEY=FILE", file=sys.stderr)
        return 2
    try:
        print(commands[sys.argv[1]](Path(sys.argv[2])))
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 1
    return 0


def make_key(path: Path) -> str:
    """Write a new private key that only its owner may read, and its public key into the project."""
    for file in (path, PUBLIC_KEY):
        if file.exists():
            raise UserError(
                "a key is never overwritten: what it signed could not be verified any more",
                expected=f"no {file}",
                found="it is there",
                fix=f"sign with it, or put {file} away first",
            )
    if path.resolve().is_relative_to(Path.cwd()):
        raise UserError(
            "a private key does not belong into the repository",
            expected="a place outside of it",
            found=str(path),
            fix="make signing-key KEY=~/.config/signing.key",
        )
    key = Ed25519PrivateKey.generate()
    encryption = BestAvailableEncryption(PASSWORD) if PASSWORD else NoEncryption()
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    write_text(PUBLIC_KEY, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())
    return f"{path}: the private key, keep it secret\n{PUBLIC_KEY}: the public one, commit it"


def sign(path: Path) -> str:
    """Sign the model as it is, after every file was checked."""
    key = read_private_key(path)
    manifest.verified_manifest(ONNX)
    signed = key.sign((ONNX / manifest.MANIFEST).read_bytes())
    write_text(signature.signature_of(ONNX), signature.encoded(signed))
    return f"{signature.signature_of(ONNX)}: the signature of {ONNX}, commit it"


def verify(path: Path) -> str:
    """See that the model is the one that the owner of the key signed."""
    signature.verify_signature(ONNX, path)
    manifest.verified_manifest(ONNX)
    return f"{ONNX} is the model that the owner of {path} signed"


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """The key in a PEM file. Raises UserError."""
    try:
        key = load_pem_private_key(path.read_bytes(), PASSWORD or None)
        found = type(key).__name__
    except (OSError, ValueError, TypeError) as error:
        key, found = None, str(error)
    if not isinstance(key, Ed25519PrivateKey):
        raise UserError(
            f"{path} holds no private key that can be read",
            expected="an Ed25519 private key as `make signing-key` writes it, its password in SIGNING_KEY_PASSWORD",
            found=found,
            fix="name the file of the private key: make sign KEY=…",
        )
    return key


if __name__ == "__main__":
    sys.exit(main())
