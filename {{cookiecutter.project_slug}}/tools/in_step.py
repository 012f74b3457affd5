"""See whether dvc.lock tells of the stages as dvc.yaml and params.yaml have them: `make in-step`, part of the hooks.

Code and data are not compared: a change of code may be committed before it has run. `dvc status` compares everything.
"""

import sys
from pathlib import Path

from dvc.dependency import ParamsDependency
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage import PipelineStage
from ruamel.yaml import YAML

LOCK = Path("dvc.lock")


def main() -> int:
    """Print each stage that differs; 1 if one does. Before the first run there is nothing to compare."""
    if not LOCK.exists():
        return 0
    try:
        stages = {stage.name: stage for stage in Repo().index.stages if isinstance(stage, PipelineStage)}
    except DvcException as error:
        print(f"error: DVC cannot read the pipeline: {error}\n  fix:      `dvc stage list` says more", file=sys.stderr)
        return 1
    locked = YAML(typ="safe", pure=True).load(LOCK.read_text(encoding="utf-8")).get("stages", {})
    differing = [
        *(f"{name}: {difference(stage, locked.get(name))}" for name, stage in stages.items()),
        *(f"{name}: no stage of this name in dvc.yaml" for name in locked.keys() - stages.keys()),
    ]
    differing = [line for line in differing if not line.endswith(": ")]
    for line in differing:
        print(f"error: dvc.lock is not in step, {line}", file=sys.stderr)
    if differing:
        print(
            "  expected: the commands, paths and parameters that dvc.yaml and params.yaml name\n"
            "  fix:      `make repro`, then `git add dvc.lock`; to commit before the run: SKIP=in-step git commit",
            file=sys.stderr,
        )
    return 1 if differing else 0


def difference(stage: PipelineStage, entry: dict | None) -> str:
    """What of a stage differs from its entry in the lock, or nothing."""
    if entry is None:
        return "never run"
    if stage.cmd != entry["cmd"]:
        return "another command"
    files = [dep for dep in stage.deps if not isinstance(dep, ParamsDependency)]
    for kind, paths in (("deps", {dep.def_path for dep in files}), ("outs", {out.def_path for out in stage.outs})):
        if paths != {known["path"] for known in entry.get(kind, [])}:
            return f"other {kind}"
    for params in (dep for dep in stage.deps if isinstance(dep, ParamsDependency)):
        known = entry.get("params", {}).get(params.def_path, {})
        current = params.read_params(flatten=True)
        changed = sorted(name for name in known.keys() | set(params.params) if known.get(name) != current.get(name))
        if changed:
            return f"another value of {', '.join(changed)}"
    return ""


if __name__ == "__main__":
    sys.exit(main())
