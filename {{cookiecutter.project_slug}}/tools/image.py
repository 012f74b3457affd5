"""Build an image from the Dockerfile: `make image BASE=python:3.12-slim@sha256:…`, `make image TARGET=train BASE=…`.

Docker, Podman or Buildah does it: the first that works here, or the one that ENGINE=… names. The base must be named by
its digest: a name alone is another image next week.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

from {{ cookiecutter.package_name }}.common.manifest import verified_manifest
from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.paths import ONNX

ENGINES = ("docker", "podman", "buildah")
PINNED = re.compile(r"\S+@sha256:[0-9a-f]{64}")
NEEDED = ("model.int8.onnx", "tokenizer.json")


def main() -> int:
    """Build; 0 when the image is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=("predict", "train"))
    parser.add_argument("--base", help="the base image with its digest; default: that of the Dockerfile")
    parser.add_argument("--torch-index", default="", help="take torch from this index")
    parser.add_argument("--engine", choices=ENGINES, help="default: the first that works")
    arguments, options = parser.parse_known_args()
    try:
        return build(arguments, options)
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 1


def build(arguments: argparse.Namespace, options: list[str]) -> int:
    """Build a stage of the Dockerfile and name the image; `options` go to the program that builds."""
    target = arguments.target
    given = {"BASE": base_image(arguments.base), "REVISION": revision()}
    if target == "train":
        given["TORCH_INDEX"] = arguments.torch_index
    else:
        verified_manifest(ONNX, NEEDED)
    program = arguments.engine or first_engine()
    # The format of the other two has no place for the health check.
    form = [] if program == "docker" else ["--format", "docker"]
    name = f"{Path.cwd().name}:{target}"
    settings = [part for key, value in given.items() for part in ("--build-arg", f"{key}={value}")]
    command = [program, "build", *form, *options, "--target", target, "--tag", name, *settings, "."]
    code = subprocess.run(command, check=False).returncode
    if code == 0:
        print(f"{name} is built")
    return code


def base_image(given: str | None) -> str:
    """The base image, named by its digest. Raises UserError."""
    text = Path("Dockerfile").read_text(encoding="utf-8")
    base = given or next(line.partition("=")[2] for line in text.splitlines() if line.startswith("ARG BASE="))
    if not PINNED.fullmatch(base):
        raise UserError(
            "the base image is not pinned",
            expected="name@sha256:… with 64 hexadecimal digits",
            found=base,
            fix=f"docker pull {base} prints its digest; then make image BASE=…, or write it into the Dockerfile",
        )
    return base


def first_engine() -> str:
    """The first program that can build here. Raises UserError."""
    for program in ENGINES:
        try:
            if subprocess.run([program, "info"], capture_output=True, check=False).returncode == 0:
                return program
        except FileNotFoundError:
            continue
    raise UserError(
        "nothing can build an image here",
        expected=f"one of {', '.join(ENGINES)}, with its service running where it has one",
        found="none that answers to `info`",
        fix="install one, or start its service",
    )


def revision() -> str:
    """The commit, marked when there is more than it holds."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
