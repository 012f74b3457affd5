"""List the experiments of this commit: what each changed, and the scores of the shipped model: `make exp`."""

import sys
from typing import Any

from {{ cookiecutter.package_name }}.paths import METRICS, PARAMS
from tools.shared import dvc_json, flat, run, scores_in, shipped_in, table


def main() -> int:
    """Print the table; 0 when DVC knows the experiments."""
    return run(show)


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
