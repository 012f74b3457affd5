"""Run an experiment of DVC, `make exp SET="fine_tune.epochs=2"`, or list those of this commit, `make exp`.

The parameters are checked first: DVC would remove the outs of the last run before a stage refuses one.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dvc.exceptions import DvcException
from dvc.utils.cli_parse import to_path_overrides
from dvc.utils.hydra import apply_overrides, get_hydra_sweeps, to_hydra_overrides
from hydra.errors import HydraException
from ruamel.yaml import YAML

from {{ cookiecutter.package_name }}.config import Params, validated
from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.paths import METRICS, PARAMS
from tools.shared import dvc_json, end, flat, run, scores_in, see_no_experiment_left, shipped_in, table


def main() -> int:
    """Run or queue an experiment, or print the table; 0 when that is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default="", help="changes of params.yaml: NAME=VALUE NAME=VALUE")
    parser.add_argument("--name")
    parser.add_argument("--queue", action="store_true")
    given = parser.parse_args()

    def work() -> int | None:
        see_no_experiment_left()
        if not given.set:
            return show()
        changes = re.split(r"\s+(?=[+~]*[\w.]+=)", given.set.strip())
        check(changes)
        options = ["--queue"] * given.queue + (["--name", given.name] if given.name else [])
        return run_dvc("exp", "run", *options, *(part for change in changes for part in ("--set-param", change)))

    return run(work)


def check(changes: list[str]) -> None:
    """Refuse changes that params.yaml would refuse, those of a whole grid too. Raises UserError."""
    known = flat(YAML(typ="safe", pure=True).load(PARAMS.read_text(encoding="utf-8")))
    try:
        for change in to_hydra_overrides(changes):
            name = change.key_or_group
            if not change.is_add() and not any(f"{key}.".startswith(f"{name}.") for key in known):
                near = get_close_matches(name, known, n=3)
                raise wrong(f"there is no parameter {name}", ", ".join(near) or f"a name of {PARAMS}", name)
        for grid in get_hydra_sweeps(to_path_overrides(changes)):
            with TemporaryDirectory() as folder:
                copy = Path(folder) / PARAMS.name
                copy.write_bytes(PARAMS.read_bytes())
                apply_overrides(copy, grid[PARAMS.name])
                values = YAML(typ="safe", pure=True).load(copy.read_text(encoding="utf-8"))
            validated(values, Params, f"{PARAMS} with these changes", "correct them: make exp SET=…; nothing was run")
    except (HydraException, DvcException) as error:
        raise wrong(
            "these are no changes of parameters", "NAME=VALUE NAME=VALUE", str(error.__cause__ or error)
        ) from None


def wrong(problem: str, expected: str, found: str) -> UserError:
    """What to say of changes that are none."""
    fix = f'make exp SET="fine_tune.epochs=2"; the names stand in {PARAMS}'
    return UserError(problem, expected=expected, found=found.partition("\n")[0], fix=fix)


def run_dvc(*command: str) -> int:
    """Run DVC to its end. When this process is stopped, DVC is too, by the signal after which it tidies up."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    # Runs of a queue have a checkout of their own, and so their own src.
    environment = os.environ | {"PYTHONPATH": "src"}
    with subprocess.Popen(["dvc", *command], env=environment, process_group=0) as dvc:
        try:
            return dvc.wait()
        except KeyboardInterrupt:
            end(dvc)
            print(
                "the same command goes on; `git restore . && dvc checkout` brings the last commit back", file=sys.stderr
            )
            raise


def show() -> None:
    """Print the workspace, then the experiments that began from this commit."""
    workspace, *commits = dvc_json("exp", "show")
    rows = [("workspace", workspace["data"] or {})]
    for commit in commits:
        for experiment in commit["experiments"] or []:
            for state in experiment["revs"][:1]:
                rows.append((experiment["name"] or state["rev"][:7], state["data"] or {}))
    before = params_of(commits[0]["data"]) if commits else {}
    scores = next((names for _, data in rows if (names := scores_in(metrics_of(data)))), [])
    print(table(("experiment", *scores, "changed parameters"), [line(*row, scores, before) for row in rows]))


def line(name: str, data: dict[str, Any], scores: list[str], before: dict[str, Any]) -> tuple[str, ...]:
    """One experiment."""
    shipped = metrics_of(data)
    changed = {key: value for key, value in params_of(data).items() if before.get(key) != value}
    shown = (f"{shipped[score]:.4f}" if score in shipped else "-" for score in scores)
    return name, *shown, " ".join(f"{key}={value}" for key, value in sorted(changed.items())) or "-"


def metrics_of(data: dict[str, Any]) -> dict[str, Any]:
    """What was measured of the shipped model; empty before its evaluation."""
    models = data.get("metrics", {}).get(METRICS.as_posix(), {}).get("data", {})
    return models.get(shipped_in(models), {})


def params_of(data: dict[str, Any] | None) -> dict[str, Any]:
    """Every parameter by its dotted name."""
    return flat((data or {}).get("params", {}).get(PARAMS.as_posix(), {}).get("data", {}))


if __name__ == "__main__":
    sys.exit(main())
