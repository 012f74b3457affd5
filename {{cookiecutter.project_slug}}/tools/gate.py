"""See whether the model may be released: `make gate`, or `make gate BASE=main` in a pull request.

The thresholds are the block `gate` of params.yaml. The model is compared with the last release, or with BASE, by the
paired test of `make compare`. What cannot be checked is shown as such and does not fail.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl
from compare import WORKSPACE, compare, read_predictions, shown
from ruamel.yaml import YAML

from {{ cookiecutter.package_name }} import paths
from {{ cookiecutter.package_name }}.common.io import read_json
from {{ cookiecutter.package_name }}.common.tasks import MAIN_SCORE
from {{ cookiecutter.package_name }}.config import Params, load_params
from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.inference.classifier import (
    MODELS,
    OnnxClassifier,
)
from {{ cookiecutter.package_name }}.text.tokenization import texts_of

SHIPPED = "onnx_int8"
TEXTS = 40  # timed one by one
ROUNDS = 5
HERE = "make repro, or make pull"
ABSENT = {"deleted", "not in cache"}  # as DVC calls what is not here


@dataclass(frozen=True)
class Check:
    """One line of the table; `passed` is None for what could not be checked."""

    name: str
    wanted: str
    found: str
    passed: bool | None

    @property
    def verdict(self) -> str:
        """In a word."""
        return {True: "passed", False: "FAILED", None: "not checked"}[self.passed]


def main() -> int:
    """Print the table of checks; 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", help="a commit, branch or tag to compare with (default: the last release)")
    parser.add_argument("--summary", type=Path, metavar="FILE", help="append the table to this file, in Markdown")
    given = parser.parse_args()
    try:
        checks = all_checks(load_params(), given.base)
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 1
    failed, unknown = (sum(check.passed is state for check in checks) for state in (False, None))
    said = f"{len(checks) - failed - unknown} passed, {failed} failed, {unknown} not checked"
    print(plain(checks), said, sep="\n")
    if given.summary:
        with given.summary.open("a", encoding="utf-8") as file:
            file.write(f"## Gate\n\n{markdown(checks)}\n{said}\n")
    return 1 if failed else 0


def all_checks(params: Params, base: str | None = None) -> list[Check]:
    """Every check of the model in the workspace."""
    if not paths.METRICS.exists():
        raise UserError(
            "there is no model to examine", expected=str(paths.METRICS), found="no such file", fix="make repro"
        )
    if base and not is_commit(base):
        raise UserError(
            f"there is no commit {base}",
            expected="a commit, a branch or a tag of this clone",
            found="none of this name",
            fix="git fetch, or name another: BASE=…",
        )
    return list(checks_of(params, read_json(paths.METRICS), base or last_release()))


def is_commit(revision: str) -> bool:
    """Whether Git knows it."""
    command = ["git", "rev-parse", "--verify", "--quiet", f"{revision}^0"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def last_release() -> str | None:
    """The tag of the highest version that this commit comes from, as GTO names it."""
    artifacts = YAML(typ="safe", pure=True).load(Path("dvc.yaml").read_text(encoding="utf-8"))["artifacts"]
    name = next(name for name, artifact in artifacts.items() if artifact["path"] == paths.ONNX.as_posix())
    command = ["git", "tag", "--list", f"{name}@v*", "--merged", "HEAD", "--sort=-version:refname"]
    tags = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    return next((tag for tag in tags if re.fullmatch(r".*@v\d+\.\d+\.\d+", tag)), None)


def checks_of(params: Params, metrics: dict[str, Any], base: str | None) -> Iterator[Check]:
    """One after the other."""
    gate, score = params.gate, MAIN_SCORE[params.task]
    yield in_step()
    found = metrics[SHIPPED][score]
    yield Check(score, f"at least {gate.min_score:g}", f"{found:.4f}", found >= gate.min_score)
    yield not_worse(base, gate.alpha)
    loss = metrics["torch"][score] - found
    limit = gate.max_int8_loss
    yield Check("int8 against torch", f"{score} lower by at most {limit:g}", f"{loss:.4f}", loss <= limit)
    yield parity(params)
    if params.task == "regression":
        yield Check("calibration error", "-", "numbers have none", None)
    else:
        error, limit = metrics[SHIPPED]["calibration_error"], gate.max_calibration_error
        yield Check("calibration error", f"at most {limit:g}", f"{error:.4f}", error <= limit)
    yield size(gate.max_megabytes)
    yield latency(gate.max_latency_ratio)


def in_step() -> Check:
    """Whether the reports are those of this code, these parameters and these data."""
    name, wanted = "in step", "nothing changed since make repro"
    done = subprocess.run(["dvc", "status", "--json"], capture_output=True, text=True, check=False)
    if done.returncode:
        return Check(name, wanted, done.stderr.strip().partition("\n")[0], False)
    changed = json.loads(done.stdout)
    stale = sorted(stage for stage, entries in changed.items() if differs(entries))
    if stale:
        return Check(name, wanted, f"changed: {', '.join(stale)}", False)
    if changed:
        return Check(name, wanted, f"data or models are not here ({HERE})", None)
    return Check(name, wanted, "nothing changed", True)


def differs(entries: list) -> bool:
    """Whether something of a stage is another than in dvc.lock; what is only not here does not count."""
    return any(state not in ABSENT for entry in entries for state in leaves(entry))


def leaves(tree: Any) -> Iterator[str]:
    """The words at the ends of what `dvc status` says."""
    if isinstance(tree, dict):
        for branch in tree.values():
            yield from leaves(branch)
    else:
        yield str(tree)


def not_worse(base: str | None, alpha: float) -> Check:
    """Whether the paired test finds the model worse than that of another commit."""
    name = f"against {base}" if base else "against the last release"
    wanted = f"not worse with p < {alpha:g}"
    if base is None:
        return Check(name, wanted, "no release yet", None)
    if not paths.PREDICTIONS.exists():
        return Check(name, wanted, f"{paths.PREDICTIONS} is not here ({HERE})", None)
    try:
        found = compare(read_predictions(base), read_predictions(WORKSPACE), SHIPPED)
    except UserError as mistake:
        return Check(name, wanted, str(mistake).partition("\n")[0], None)
    gain = found.gain
    told = f"{found.score} {gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}], p = {shown(found.p)} ({found.test})"
    return Check(name, wanted, told, not (gain.mean < 0 and found.p < alpha))


def parity(params: Params) -> Check:
    """Whether ONNX fp32 says what torch says, as the export found on the validation rows."""
    limit = params.export_onnx.max_logit_difference
    found = read_json(paths.PARITY)
    below, rows = found["fp32_logit_difference_below"], found["fp32_label_disagreements"]
    told = f"logits within {below:g}, {rows} rows with another label"
    return Check("fp32 against torch", f"logits within {limit:g}, same labels", told, below <= limit and rows == 0)


def size(limit: float) -> Check:
    """How large the shipped model is."""
    path = paths.ONNX / MODELS["int8"]
    if not path.exists():
        return Check("size", f"at most {limit:g} MB", f"{path} is not here ({HERE})", None)
    megabytes = path.stat().st_size / 1e6
    return Check("size", f"at most {limit:g} MB", f"{megabytes:.2f} MB", megabytes <= limit)


def latency(limit: float) -> Check:
    """How long int8 takes for one text, as a share of what fp32 takes; measured in turns on this machine, now."""
    name, wanted = "latency, int8/fp32", f"at most {limit:g}"
    rows = paths.split_table("test")
    if not rows.exists() or not all((paths.ONNX / file).exists() for file in MODELS.values()):
        return Check(name, wanted, f"{rows} or {paths.ONNX} is not here ({HERE})", None)
    texts = texts_of(pl.read_parquet(rows, n_rows=TEXTS))
    models = [OnnxClassifier(paths.ONNX, kind, threads=1) for kind in ("int8", "fp32")]
    for model in models:
        model.values(texts[:10])
    ratios = []
    for _ in range(ROUNDS):
        int8, fp32 = (seconds(lambda model=model: [model.values([text]) for text in texts]) for model in models)
        ratios.append(int8 / fp32)
    told = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}, {ROUNDS} rounds of {len(texts)} texts)"
    return Check(name, wanted, told, median(ratios) <= limit)


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def plain(checks: list[Check]) -> str:
    """The table for a terminal."""
    header = ("check", "wanted", "found", "")
    rows = [header, *((check.name, check.wanted, check.found, check.verdict) for check in checks)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def markdown(checks: list[Check]) -> str:
    """The same for the summary of a job."""
    lines = [f"| {check.name} | {check.wanted} | {check.found} | {check.verdict} |" for check in checks]
    return "\n".join(["| check | wanted | found | |", "|---|---|---|---|", *lines, ""])


if __name__ == "__main__":
    sys.exit(main())
