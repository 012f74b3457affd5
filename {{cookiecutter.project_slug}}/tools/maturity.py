"""Say how far this project can be repeated and answered for: `make maturity`.

Every line is looked up, not asked: files, Git, DVC, the remote, and the commands that check. A level is reached when
all lines up to it hold.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gate import all_checks, in_step
from ruamel.yaml import YAML

from {{ cookiecutter.package_name }} import paths
from {{ cookiecutter.package_name }}.config import STAGES, Params, load_params
from {{ cookiecutter.package_name }}.errors import UserError

LEVELS = ("none", "kept", "repeatable", "verified", "governed", "audited")
LOCK = Path("requirements.lock")
REPRODUCED = Path("reports/reproduce.json")
DECIDES = ("src", "dvc.yaml", "dvc.lock", "params.yaml", "requirements.lock")
CARD_SECTIONS = ("Results", "Data", "Robustness", "Limits", "Parameters")
# What the record in a release's tag tells; tools/lineage.py writes it.
METADATA = ("version", "commit", "dvc_lock", "data", "model", "card", "gate", "metrics")


@dataclass(frozen=True)
class Evidence:
    """What was looked up for a level, what was found, and whether that is enough."""

    level: int
    what: str
    found: str
    holds: bool


def main() -> int:
    """Print the evidence, the level and the figures; 0 whatever the level."""
    try:
        params = load_params()
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 1
    releases = releases_of_this_project()
    found = list(evidence(params, releases))
    width = max(len(one.what) for one in found)
    for one in found:
        print(f"{one.level}  {'yes' if one.holds else 'no ':<3}  {one.what:<{width}}  {one.found}")
    level = level_of(found)
    print(f"\nlevel {level} of 5: {LEVELS[level]}")
    lacking = [one.what for one in found if one.level == level + 1 and not one.holds]
    if lacking:
        print(f"for level {level + 1}: {', '.join(lacking)}")
    print()
    for name, value in figures(releases).items():
        print(f"{name:<35}  {value}")
    return 0


def level_of(found: list[Evidence]) -> int:
    """The highest level below which nothing is lacking."""
    lacking = [one.level for one in found if not one.holds]
    return min(lacking) - 1 if lacking else len(LEVELS) - 1


def evidence(params: Params, releases: dict[str, dict[str, Any]]) -> Iterator[Evidence]:
    """Everything that counts, level by level."""
    outs = locked_outs()
    yield Evidence(1, "every stage has run", f"dvc.lock: {len(outs)} of {len(STAGES)}", outs.keys() >= set(STAGES))
    kept = sorted({path for stage in outs.values() for path in stage})
    wanted = {paths.PROCESSED.as_posix(), paths.ONNX.as_posix()}
    yield Evidence(1, "data and models under DVC", f"{len(kept)} outs with a hash", wanted <= set(kept))
    yield command(1, "one owner for each path", "tools/owners.py")
    versions = locked_versions()
    yield Evidence(2, "packages locked", f"{LOCK}: {len(versions)} versions", len(versions) > 0)
    open_digests = unpinned(params)
    yield Evidence(2, "sources pinned", ", ".join(open_digests) or "a digest for every file", not open_digests)
    threads = f"seed {params.seed}, {params.compute.threads} threads, {params.compute.determinism}"
    yield Evidence(2, "seeds and threads are parameters", threads, True)
    yield command(2, "remote sound", "tools/audit.py")
    tests = len(list(Path("tests").glob("test_*.py")))
    yield Evidence(3, "tests", f"{tests} files", tests > 0)
    workflows = sorted(path.as_posix() for path in Path(".github/workflows").glob("*.yml"))
    yield Evidence(3, "continuous integration", ", ".join(workflows) or "no workflow", bool(workflows))
    step = in_step()
    yield Evidence(3, "results of this code", step.found, step.passed is True)
    yield reproduced()
    yield gate(params)
    card = paths.MODEL_CARD.read_text(encoding="utf-8") if paths.MODEL_CARD.exists() else ""
    missing = [name for name in CARD_SECTIONS if f"\n## {name}\n" not in card]
    yield Evidence(4, "model card", f"without {', '.join(missing)}" if missing else str(paths.MODEL_CARD), not missing)
    yield kept_in_git(4, "environment written down", "snapshots/*.json", "make snapshot")
    whole = [tag for tag, record in releases.items() if not lacks(record)]
    yield Evidence(4, "a release with its record", ", ".join(whole[-1:]) or "none: make release", bool(whole))
    yield command(5, "model signed", "tools/signature.py", "verify", "signing.pub")
    yield kept_in_git(5, "list of packages (SBOM)", "sbom.json", "make sbom")
    yield kept_in_git(5, "experiments on record", "experiments/*/README.md", "make record")
    all_whole = len(whole) == len(releases) > 0
    yield Evidence(5, "every release with its record", share(len(whole), len(releases)), all_whole)
    other = drift(versions)
    yield Evidence(5, "environment as locked", ", ".join(other[:3]) or "no drift", not other)


def command(level: int, what: str, tool: str, *arguments: str) -> Evidence:
    """What a command of this project finds; its last line, if it ends badly."""
    if not Path(tool).exists():
        return Evidence(level, what, f"no {tool}", False)
    done = subprocess.run([sys.executable, tool, *arguments], capture_output=True, text=True, check=False)
    lines = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    said = (lines[0].removeprefix("error: ") if done.returncode else lines[-1]) if lines else "nothing wrong"
    return Evidence(level, what, said, done.returncode == 0)


def kept_in_git(level: int, what: str, pattern: str, fix: str) -> Evidence:
    """Whether Git has a file of this name."""
    found = git("ls-files", f":(glob){pattern}").splitlines()
    return Evidence(level, what, ", ".join(found[:2]) or f"no {pattern} in Git: {fix}", bool(found))


def reproduced() -> Evidence:
    """Whether what `make reproduce` found last is of the code, the parameters and the locks as they are, and green."""
    what = "made again elsewhere"
    record = last_reproduction()
    if record is None:
        return Evidence(3, what, f"no {REPRODUCED}: make reproduce", False)
    commit = record["commit"]
    known = subprocess.run(["git", "diff", "--quiet", commit, "--", *DECIDES], capture_output=True, check=False)
    if known.returncode:
        return Evidence(3, what, f"only {commit[:7]}, which is another: make reproduce", False)
    if record["differing"]:
        return Evidence(3, what, f"differing: {', '.join(record['differing'])}", False)
    return Evidence(3, what, f"{record['outs']} outs the same at {commit[:7]}", True)


def last_reproduction() -> dict[str, Any] | None:
    """What `make reproduce` wrote."""
    return json.loads(REPRODUCED.read_text(encoding="utf-8")) if REPRODUCED.exists() else None


def gate(params: Params) -> Evidence:
    """Whether the model passes it."""
    try:
        checks = all_checks(params)
    except UserError as mistake:
        return Evidence(4, "gate", str(mistake).partition("\n")[0], False)
    failed = [check.name for check in checks if check.passed is False]
    passed = sum(check.passed is True for check in checks)
    return Evidence(4, "gate", f"failed: {', '.join(failed)}" if failed else f"{passed} checks passed", not failed)


def locked_outs() -> dict[str, list[str]]:
    """The outs of every stage that has run."""
    lock = Path("dvc.lock")
    stages = YAML(typ="safe", pure=True).load(lock.read_text(encoding="utf-8"))["stages"] if lock.exists() else {}
    return {name: [out["path"] for out in stage.get("outs", [])] for name, stage in stages.items()}


def unpinned(params: Params) -> list[str]:
    """The files that `fetch` would take without knowing them, and data that nobody keeps."""
    sources = [source for source in (params.fetch.data, params.fetch.model) if source]
    found = [name for source in sources for name, digest in source.sha256.items() if digest is None]
    if params.fetch.data is None and not paths.RAW.with_suffix(".dvc").exists():
        found.append("data/raw: dvc add data/raw")
    return found


def locked_versions() -> dict[str, str]:
    """The version of every package that the lock names."""
    text = LOCK.read_text(encoding="utf-8") if LOCK.exists() else ""
    return dict(re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;]+)", text, re.MULTILINE))


def drift(versions: dict[str, str]) -> list[str]:
    """The packages of this environment that are not as locked; the build of torch may be another."""
    found = []
    for name, locked in versions.items():
        try:
            installed = version(name).partition("+")[0]
        except PackageNotFoundError:
            installed = "missing"
        if installed != locked:
            found.append(f"{name} {installed} for {locked}")
    return found


def releases_of_this_project() -> dict[str, dict[str, Any]]:
    """The record in the tag of every release, the oldest first."""
    tags = git("tag", "--list", "*@v*", "--sort=version:refname").splitlines()
    refs = [tag for tag in tags if re.fullmatch(r".*@v\d+\.\d+\.\d+", tag)]
    yaml = YAML(typ="safe", pure=True)
    records = {ref: yaml.load(git("tag", "--list", ref, "--format=%(contents:body)")) for ref in refs}
    return {ref: record if isinstance(record, dict) else {} for ref, record in records.items()}


def lacks(record: dict[str, Any]) -> list[str]:
    """What the record of a release does not tell."""
    return [name for name in METADATA if not record.get(name)]


def figures(releases: dict[str, dict[str, Any]]) -> dict[str, str]:
    """What is followed over time."""
    record = last_reproduction()
    same = share(record["outs"] - len(record["differing"]), record["outs"]) if record else "not known: make reproduce"
    versions = locked_versions()
    whole = sum(not lacks(record) for record in releases.values())
    return {
        "outs that can be made again": same,
        "releases with their whole record": share(whole, len(releases)),
        "time to make everything again": f"{record['seconds']} s" if record else "not known: make reproduce",
        "packages that are not as locked": share(len(drift(versions)), len(versions)),
    }


def share(part: int, whole: int) -> str:
    """A part of a whole, in words and as a share."""
    return f"{part} of {whole} ({part / whole:.0%})" if whole else "none yet"


def git(*arguments: str) -> str:
    """What Git says."""
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout


if __name__ == "__main__":
    sys.exit(main())
