"""Compare models of several commits on the same test rows: `make compare A=main B=my-branch` (or `B="one another"`).

A and B are commits, branches, tags, DVC experiments, or `workspace`. The verdict rests on McNemar's test, for numbers
on the paired bootstrap of the absolute error; with several B, the p-values are corrected together.
"""

import argparse
import io
import sys
from dataclasses import dataclass

import dvc.api
import numpy as np
import polars as pl
from dvc.exceptions import DvcException
from dvc.scm import SCMError
from paired import (
    ALPHA,
    Interval,
    bootstrap,
    holm,
    name_of_mcnemar,
    smallest_gain,
    smallest_gain_of_numbers,
)

from {{ cookiecutter.package_name }} import paths
from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.evaluation.metrics import mcnemar

MODELS = ("onnx_int8", "onnx_fp32", "torch", "probe")
WORKSPACE = "workspace"


@dataclass(frozen=True)
class Comparison:
    """What was found between two models on the same rows. The gain of the second is positive where it is better."""

    score: str
    rows: int
    first: float
    second: float
    gain: Interval
    better: int
    worse: int
    effect: str
    test: str
    p: float
    smallest: float | None

    def verdict(self, p: float) -> str:
        """Better, worse, or neither shown, by a p-value that may be corrected."""
        if p >= ALPHA:
            return "no difference shown"
        return "better" if self.gain.mean > 0 else "worse"


def main() -> int:
    """Print the comparison of every B with A; 0 whatever the verdict, 1 when they cannot be compared."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", metavar="A")
    parser.add_argument("others", metavar="B", nargs="+")
    parser.add_argument("--model", choices=MODELS, default=MODELS[0], help="which of the four models (default: int8)")
    given = parser.parse_args()
    try:
        base = read_predictions(given.first)
        found = [compare(base, read_predictions(other), given.model) for other in given.others]
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 1
    print(f"{given.model} on the same {found[0].rows} test rows; A is {given.first}\n")
    show(given.others, found)
    return 0


def read_predictions(revision: str) -> pl.DataFrame:
    """What the models of a commit said of its test rows, sorted by their keys; from DVC's cache or its remote."""
    try:
        with dvc.api.open(
            paths.PREDICTIONS.as_posix(), rev=None if revision == WORKSPACE else revision, mode="rb"
        ) as file:
            return pl.read_parquet(io.BytesIO(file.read())).sort("key")
    except SCMError as error:
        raise UserError(
            f"there is no commit {revision}",
            expected="a commit, a branch, a tag, an experiment of DVC, or `workspace`",
            found=str(error),
            fix="git branch --all, git tag and dvc exp list name them",
        ) from None
    except (DvcException, OSError) as error:
        raise UserError(
            f"{revision} has no predictions that can be read",
            expected=f"{paths.PREDICTIONS} as `make repro` wrote it there, in DVC's cache or its remote",
            found=str(error).partition("\n")[0] or type(error).__name__,
            fix="run `make repro` there and commit; on the machine that has them, `make push`",
        ) from None


def compare(base: pl.DataFrame, other: pl.DataFrame, model: str) -> Comparison:
    """Compare one model of two commits. Raises UserError unless both were measured on the same rows."""
    if not base.select("key", "label").equals(other.select("key", "label")):
        shared = base.join(other, on="key")
        relabelled = shared.filter(pl.col("label") != pl.col("label_right")).height
        raise UserError(
            "the models were measured on different test rows",
            expected="the same texts with the same labels in both commits",
            found=f"{base.height} rows in A and {other.height} in B, {shared.height} texts in both,"
            f" {relabelled} of them with another label",
            fix="make one of them again with the data and the split of the other: params.yaml (prepare), data/raw",
        )
    return compare_numbers(base, other, model) if is_number(base) else compare_labels(base, other, model)


def is_number(rows: pl.DataFrame) -> bool:
    """Whether the labels are numbers."""
    return rows["label"].dtype.is_float()


def compare_labels(base: pl.DataFrame, other: pl.DataFrame, model: str) -> Comparison:
    """Compare which rows are right; a set of labels is right when all of it is."""
    first, second = ((table[model] == table["label"]).to_numpy().astype(np.int64) for table in (base, other))
    better, worse = int(np.sum(second > first)), int(np.sum(second < first))
    rows = len(first)
    return Comparison(
        score="exact match" if base["label"].dtype == pl.List else "accuracy",
        rows=rows,
        first=float(first.mean()),
        second=float(second.mean()),
        gain=bootstrap(second - first),
        better=better,
        worse=worse,
        effect=f"odds {better / worse:.2f}" if worse else "odds -",
        test=name_of_mcnemar(better, worse),
        p=mcnemar(better, worse),
        smallest=smallest_gain(rows, (better + worse) / rows),
    )


def compare_numbers(base: pl.DataFrame, other: pl.DataFrame, model: str) -> Comparison:
    """Compare how far off the numbers are."""
    first, second = ((table[model] - table["label"]).abs().to_numpy() for table in (base, other))
    gains = first - second
    found = bootstrap(gains)
    spread = float(gains.std())
    return Comparison(
        score="mean absolute error",
        rows=len(first),
        first=float(first.mean()),
        second=float(second.mean()),
        gain=found,
        better=int(np.sum(gains > 0)),
        worse=int(np.sum(gains < 0)),
        effect=f"d {found.mean / spread:.2f}" if spread else "d -",
        test="paired bootstrap",
        p=found.p if spread else 1.0,
        smallest=smallest_gain_of_numbers(gains) if spread else None,
    )


def show(names: list[str], found: list[Comparison]) -> None:
    """Print the table, then a verdict in words for each."""
    corrected = holm([one.p for one in found])
    width = max(map(len, [*names, "B"]))
    print(f"{'B':<{width}}  {'A':>7}  {'B':>7}  {'gain':>8}  {'95 % interval':<18}  better  worse  effect")
    for name, one in zip(names, found, strict=True):
        interval = f"[{one.gain.low:+.4f}, {one.gain.high:+.4f}]"
        print(
            f"{name:<{width}}  {one.first:>7.4f}  {one.second:>7.4f}  {one.gain.mean:>+8.4f}  {interval:<18}"
            f"  {one.better:>6}  {one.worse:>5}  {one.effect}"
        )
    print(f"\n{found[0].score}; rows on which only one of both is {'closer' if 'error' in found[0].score else 'right'}")
    for name, one, p in zip(names, found, corrected, strict=True):
        together = f", corrected for {len(found)} comparisons (Holm)" if len(found) > 1 else ""
        print(f"\n{name}: {one.verdict(p)}; p = {shown(p)} ({one.test}{together}); bootstrap p = {shown(one.gain.p)}")
        if one.smallest is None:
            print("  Too few rows differ to say which gain would have been found.")
        else:
            print(f"  A gain of {one.smallest:.4f} would have been found 8 times out of 10.")


def shown(p: float) -> str:
    """A p-value with as many digits as it is good for."""
    return f"{p:.4f}" if p >= 0.0001 else f"{p:.0e}"


if __name__ == "__main__":
    sys.exit(main())
