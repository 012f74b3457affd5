"""What the tools share: Git's output, stale stages, tables and private folders; `run` runs a command."""

import json
import os
import subprocess
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from {{ cookiecutter.package_name }}.common.io import write_text
from {{ cookiecutter.package_name }}.errors import UserError, run_command

run = run_command
PRIVATE = Path(".tools")  # where tools keep files in this checkout; Git and DVC ignore it
ABSENT = {"deleted", "not in cache", "update available"}  # what DVC calls files that are not here, or newer elsewhere


def git(
    *command: str, cwd: Path | None = None, given: str | None = None, may_fail: bool = False, **environment: str
) -> str:
    """What Git prints. Raises UserError with Git's own message if Git fails, unless `may_fail`."""
    done = subprocess.run(
        ["git", "-c", "core.quotePath=false", *command],
        cwd=cwd,
        input=given,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and not may_fail:
        raise UserError(
            f"git {command[0]} failed",
            expected=f"git {' '.join(command)}",
            found=done.stderr.strip().replace("\n", "\n            "),
            fix="do what Git says, then type the same again",
        )
    return done.stdout


def folder_in_git() -> Path:
    """The project's folder, relative to the root of its repository."""
    return Path(git("rev-parse", "--show-prefix").strip())


def clone(into: Path) -> Path:
    """Clone this repository without a checkout. Returns the project's folder there, which may be below its root."""
    git("clone", "--quiet", "--no-checkout", git("rev-parse", "--show-toplevel").strip(), str(into))
    project = into / folder_in_git()
    project.mkdir(parents=True, exist_ok=True)
    return project


def dvc_json(*command: str) -> Any:
    """What DVC answers with `--json`. Raises UserError with the first line of DVC's own message if DVC fails."""
    done = subprocess.run(["dvc", *command, "--json"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(
            f"dvc {' '.join(command)} failed",
            expected=f"an answer of `dvc {' '.join(command)}`",
            found=done.stderr.strip().partition("\n")[0],
            fix="do what DVC says, then type the same again",
        )
    return json.loads(done.stdout)


def stale_stages(changed: dict[str, list[Any]]) -> list[str]:
    """The stages in `dvc status` whose files, parameters or command differ; a file that is absent does not count."""
    return sorted(stage for stage, entries in changed.items() if any(state not in ABSENT for state in _leaves(entries)))


def _leaves(tree: Any) -> list[str]:
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [leaf for branch in tree for leaf in _leaves(branch)] if isinstance(tree, list) else [str(tree)]


def existing(path: Path) -> Path:
    """The path that a stage wrote. Raises UserError if there is nothing."""
    if not path.exists():
        raise UserError("there are no results", expected="every stage run", found=f"no {path}", fix="dvc repro")
    return path


def stale(found: str) -> UserError:
    """The error about results that are not those of the last run."""
    expected = "every stage run since the last change"
    fix = "make pull, if Git brought another commit; else make repro"
    return UserError("the results are stale", expected=expected, found=found, fix=fix)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The header and the rows as text, in columns as wide as their longest cell."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


@contextmanager
def edited(path: Path) -> Iterator[Any]:
    """A YAML file's values, to change in place. Comments, quotes and order stay; an unchanged file keeps every byte."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.representer.add_representer(type(None), lambda own, _: own.represent_scalar("tag:yaml.org,2002:null", "null"))
    values = yaml.load(path.read_text(encoding="utf-8"))
    before = deepcopy(values)
    yield values
    if values == before:
        return
    text = StringIO()
    yaml.dump(values, text)
    write_text(path, text.getvalue())


def shipped_in(models: Container[str]) -> str:
    """The shipped model among those measured: int8 if there is one."""
    return "onnx_int8" if "onnx_int8" in models else "onnx_fp32"


def against_probe(found: dict[str, float]) -> tuple[float, float]:
    """By how much a model is better than the linear probe on the test rows, and the p-value of the paired test."""
    return found["gain_over_probe"], next(value for name, value in found.items() if name.endswith("_p_against_probe"))


def p_value(p: float) -> str:
    """A p-value from the reports, which hold six digits of it, as text."""
    return f"p = {p:.4f}" if p >= 0.0001 else "p < 0.0001"


def scores_in(metrics: Iterable[str]) -> list[str]:
    """The names of the scores that have an interval."""
    return [name.removesuffix("_low") for name in metrics if name.endswith("_low")]
