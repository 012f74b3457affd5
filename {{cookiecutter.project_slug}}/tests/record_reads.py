"""Run stages in one process, and write to .reads/STAGE.json which leaves of params.yaml each of them read.

    python record_reads.py export_onnx evaluate

Loading torch and transformers takes longer than most stages of a small model, so tests that run several run them here.
"""

import json
import sys
from pathlib import Path
from typing import Any

from {{ cookiecutter.package_name }} import __main__ as start
from {{ cookiecutter.package_name }}.config import Block, load_params
from {{ cookiecutter.package_name }}.evaluation.card import dotted

read: set[str] = set()


class Watched:
    """Stands for a block of the parameters, and notes what is read of it; prefix: the dotted name of the block."""

    def __init__(self, block: Block, prefix: str = "") -> None:
        self._block, self._prefix = block, prefix

    def __getattr__(self, key: str) -> Any:
        """A block, a parameter, or what a property makes of parameters."""
        if key not in type(self._block).model_fields:
            return getattr(type(self._block), key).fget(self)
        value = getattr(self._block, key)
        if isinstance(value, Block):
            return Watched(value, f"{self._prefix}{key}.")
        read.add(self._prefix + key)
        return value

    def model_dump(self, **chosen: Any) -> dict[str, Any]:
        """The block as a dictionary, all of its leaves noted."""
        found = self._block.model_dump(**chosen)
        read.update(dotted(found, self._prefix))
        return found


start.load_params = lambda: Watched(load_params())  # type: ignore[assignment]
Path(".reads").mkdir(exist_ok=True)
for stage in sys.argv[1:]:
    read.clear()
    sys.argv[1:] = [stage]
    if code := start.main():
        sys.exit(code)
    Path(".reads", f"{stage}.json").write_text(json.dumps(sorted(read)), encoding="utf-8")
