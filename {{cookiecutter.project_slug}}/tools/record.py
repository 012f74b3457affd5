"""Write down an experiment: `make record NAME="lower learning rate" EXP=… HYPOTHESIS="…"`.

What was changed and what came of it is read from commits. The conclusion is left to a person.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from {{ cookiecutter.package_name }}.common.io import write_text
from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.paths import METRICS, PARAMS, PROCESSED

RECORDS = Path("experiments")
LOCK = "dvc.lock"
TO_WRITE = "*To be written.*"


def main() -> int:
    """Write the next `experiments/NNN-slug/README.md`; 0 when it is written, 1 after a user's mistake."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--experiment", default="HEAD", help="a DVC experiment or a commit (default: HEAD)")
    parser.add_argument("--base", help="the commit to compare with (default: the one that it began from)")
    parser.add_argument("--hypothesis", default=TO_WRITE)
    arguments = parser.parse_args()
    try:
        commit = commit_of(arguments.experiment)
        base = commit_of(arguments.base or f"{commit}^")
        refuse_half_runs(commit, arguments.experiment)
        file = RECORDS / f"{next_number():03}-{slug_of(arguments.name)}" / "README.md"
        write_text(file, record(arguments.name, arguments.experiment, arguments.hypothesis, base, commit))
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 1
    print(file)
    return 0


def git(*command: str) -> str | None:
    """What a Git command prints; nothing where it fails."""
    run = subprocess.run(["git", *command], capture_output=True, text=True, check=False)
    return run.stdout.strip() if run.returncode == 0 else None


def commit_of(name: str) -> str:
    """The commit of an experiment or a revision. Raises UserError where there is none."""
    experiment = git("for-each-ref", "--count=1", "--format=%(objectname)", f"refs/exps/*/*/{name}")
    commit = experiment or git("rev-parse", "--verify", "--quiet", name + "^{commit}")
    if not commit:
        raise UserError(
            f"there is no experiment or commit {name}",
            expected="a name that `dvc exp show` lists, or a commit with one before it",
            found="neither",
            fix="dvc exp list --all-commits",
        )
    return commit


def read(commit: str, path: Path | str) -> Any:
    """A YAML or JSON file of a commit; empty where the commit has none."""
    text = git("show", f"{commit}:{path}")
    return YAML(typ="safe", pure=True).load(text) if text else {}


def refuse_half_runs(commit: str, name: str) -> None:
    """Raise UserError where a stage has not read what another wrote: the reports are then those of another model."""
    stages = read(commit, LOCK).get("stages", {})
    late = None if "evaluate" in stages else "evaluate has not run"
    written = {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", [])}
    for stage, entry in stages.items():
        for dep in entry.get("deps", []):
            if written.get(dep["path"], dep["md5"]) != dep["md5"]:
                late = late or f"{stage} has not run since {dep['path']} changed"
    if late:
        raise UserError(
            f"{name} did not run to its end",
            expected="reports of the model that was trained",
            found=late,
            fix=f"dvc exp apply {name} && make repro, commit, and record that",
        )


def next_number() -> int:
    """One more than the last record's."""
    return max((int(path.name[:3]) for path in RECORDS.glob("[0-9][0-9][0-9]-*")), default=0) + 1


def slug_of(name: str) -> str:
    """The name as a directory's."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "experiment"


def record(name: str, experiment: str, hypothesis: str, base: str, commit: str) -> str:
    """The whole record as Markdown."""
    return f"""# {name}

## Hypothesis

{hypothesis}

## Method

| | base | experiment |
|---|---|---|
{method(base, commit, experiment)}

## Results

{results(read(base, METRICS), read(commit, METRICS))}

## Conclusion

{TO_WRITE}
"""


def method(base: str, commit: str, experiment: str) -> str:
    """Commits, data, code and parameters, side by side."""
    sides = (base, commit)
    rows = {
        "commit": [f"`{side[:12]}`" for side in sides],
        "name": ["", f"`{experiment}`"],
        "date": [git("show", "--no-patch", "--format=%cs", side) or "" for side in sides],
        f"hash of `{LOCK}`": [f"`{(git('rev-parse', f'{side}:{LOCK}') or 'none')[:12]}`" for side in sides],
        "prepared data": [f"`{hash_of(read(side, LOCK), PROCESSED)}`" for side in sides],
    }
    before, after = (flat(read(side, PARAMS)) for side in sides)
    seeds = {key for key in after if key.endswith("seed")}
    changed = {key for key in before | after if before.get(key) != after.get(key)}
    rows |= {f"`{key}`": [str(values.get(key, "–")) for values in (before, after)] for key in sorted(changed | seeds)}
    files = (git("diff", "--name-only", base, commit, "--", "src", "dvc.yaml", "requirements.lock") or "").splitlines()
    rows["changed code"] = ["", ", ".join(f"`{file}`" for file in files) or "none"]
    return "\n".join(f"| {key} | {one} | {other} |" for key, (one, other) in rows.items())


def hash_of(lock: Mapping[str, Any], path: Path) -> str:
    """The hash of an out."""
    outs = [out for stage in lock.get("stages", {}).values() for out in stage.get("outs", [])]
    return next((out["md5"] for out in outs if out["path"] == path.as_posix()), "none")


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every parameter by its dotted name."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def results(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Every score that has an interval, for every model, and its difference."""
    lines = [
        f"{after['test_rows']} test rows; in brackets the 95 % interval.\n",
        "| model | score | base | experiment | difference |",
        "|---|---|---|---|---|",
    ]
    for model, scores in after.items():
        if not isinstance(scores, Mapping):
            continue
        for score in (name.removesuffix("_low") for name in scores if name.endswith("_low")):
            known = before.get(model, {})
            difference = f"{scores[score] - known[score]:+.4f}" if score in known else "–"
            lines.append(f"| {model} | {score} | {measured(known, score)} | {measured(scores, score)} | {difference} |")
    return "\n".join(lines)


def measured(scores: Mapping[str, float], score: str) -> str:
    """A score and its interval."""
    if score not in scores:
        return "–"
    return f"{scores[score]:.4f} [{scores[score + '_low']:.4f}, {scores[score + '_high']:.4f}]"


if __name__ == "__main__":
    sys.exit(main())
