"""Run stages in one process, and write to .reads/STAGE.json which leaves of params.yaml each of them read.

    python record_reads.py export_onnx evaluate

Loading torch and transformers takes longer than most stages of a small model, so tests that run several run them here.
"""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from {{ cookiecutter.package_name }} import __main__ as start
from {{ cookiecutter.package_name }}.config import Block, Params, load_params
from {{ cookiecutter.package_name }}.paths import PARAMS

read: set[str] = set()
prefixes: dict[int, str] = {}
usual = Block.__getattribute__


def remember(block: Block, prefix: str) -> None:
    """Note by which dotted prefix each block of the parameters is known."""
    prefixes[id(block)] = prefix
    for key in type(block).model_fields:
        if isinstance(value := usual(block, key), Block):
            remember(value, f"{prefix}{key}.")


def get(block: Block, key: str) -> Any:
    """An attribute, noted if it is a parameter."""
    value = usual(block, key)
    if id(block) in prefixes and key in type(block).model_fields and not isinstance(value, Block):
        read.add(prefixes[id(block)] + key)
    return value


def dump(block: Block, **chosen: Any) -> dict[str, Any]:
    """The block as a dictionary, all of its leaves noted."""
    found = BaseModel.model_dump(block, **chosen)
    note_all(found, prefixes[id(block)])
    return found


def note_all(values: dict[str, Any], prefix: str) -> None:
    """Note every leaf; the file names below `sha256` are one."""
    for key, value in values.items():
        if isinstance(value, dict) and key != "sha256":
            note_all(value, f"{prefix}{key}.")
        else:
            read.add(prefix + key)


def load_and_watch(path: Path = PARAMS) -> Params:
    """The parameters; from now on every read of them is noted, and of none before them."""
    params = load_params(path)
    read.clear()
    prefixes.clear()
    remember(params, "")
    Block.__getattribute__, Block.model_dump = get, dump  # type: ignore[method-assign]
    return params


start.load_params = load_and_watch
Path(".reads").mkdir(exist_ok=True)
for stage in sys.argv[1:]:
    sys.argv[1:] = [stage]
    if code := start.main():
        sys.exit(code)
    Path(".reads", f"{stage}.json").write_text(json.dumps(sorted(read)), encoding="utf-8")
