"""What a commit is made of and how it differs from another; the record of a release, which goes into its tag."""

import hashlib
import json
from typing import Any

from dvc.repo import Repo
from registry import Tag, git
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from {{ cookiecutter.package_name }} import paths
from {{ cookiecutter.package_name }}.common.io import read_json
from {{ cookiecutter.package_name }}.common.manifest import MANIFEST
from {{ cookiecutter.package_name }}.errors import UserError

FIELDS = (
    "artifact", "version", "parent", "commit", "dvc_lock", "data", "model", "card", "gate", "changed", "metrics"
)  # fmt: skip
FIRST_HAS_NONE = {"parent", "changed"}


def record_of(artifact: str, version: str, commit: str, parent: Tag | None, gate: str) -> dict[str, Any]:
    """The record of a commit that is to be released, with the words of the gate that it passed."""
    before = parent.commit if parent else None
    hashes = hashes_at(commit)
    model = paths.ONNX.as_posix()
    return {
        "artifact": artifact,
        "version": version,
        "parent": parent.version if parent else None,
        "commit": commit,
        "dvc_lock": sha256_at(commit, "dvc.lock"),
        "data": {path: md5 for path, md5 in hashes.items() if path.startswith("data/")},
        "model": {"path": model, "md5": hashes[model], "digest": read_json(paths.ONNX / MANIFEST)["digest"]},
        "card": sha256_at(commit, paths.MODEL_CARD.as_posix()),
        "gate": LiteralScalarString("\n".join(line.rstrip() for line in gate.strip().splitlines()) + "\n"),
        "changed": changes(before, commit) if before else None,
        "metrics": side_by_side(metrics_at(before) if before else {}, metrics_at(commit)),
    }


def see_committed() -> None:
    """Refuse a workspace that is not that of the last commit."""
    if changed := git("status", "--porcelain").rstrip():
        raise UserError(
            "the workspace is not committed",
            expected="no change beside the last commit",
            found=changed.replace("\n", "\n            "),
            fix="commit, or git stash",
        )


def see_in_step(repo: Repo) -> None:
    """Refuse files that are not those of dvc.lock."""
    if stale := repo.status():
        raise UserError(
            "dvc.lock is not in step",
            expected="code, parameters, data and models as dvc.lock tells them",
            found=f"otherwise in: {', '.join(stale)}",
            fix="make repro, then commit; or dvc checkout, if the files are not yours",
        )


def lacking(record: dict[str, Any]) -> list[str]:
    """The fields that a release's record should have and has not."""
    is_first = record.get("parent") is None
    return [field for field in FIELDS if not (record.get(field) or (is_first and field in FIRST_HAS_NONE))]


def changes(before: str, after: str) -> dict[str, Any]:
    """What another release was made with."""
    code = git("diff", "--shortstat", before, after, "--", "src", "dvc.yaml", "requirements.lock").strip()
    return {
        "commits": int(git("rev-list", "--count", f"{before}..{after}")),
        "code": code or "nothing",
        "params": differing(params_at(before), params_at(after)),
        "hashes": differing(hashes_at(before), hashes_at(after)),
    }


def differing(before: dict[str, Any], after: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The keys whose values are not the same."""
    pairs = side_by_side(before, after)
    return {key: pair for key, pair in pairs.items() if pair["before"] != pair["after"]}


def side_by_side(before: dict[str, Any], after: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The values of every key; null where there is none."""
    return {key: {"before": before.get(key), "after": after.get(key)} for key in sorted(before | after)}


def hashes_at(revision: str) -> dict[str, str]:
    """The hash of every out, and of the raw data where they are no out."""
    stages = YAML(typ="safe", pure=True).load(git("show", f"{revision}:dvc.lock"))["stages"].values()
    named = [entry for stage in stages for entry in (*stage.get("deps", []), *stage.get("outs", []))]
    return {entry["path"]: entry["md5"] for entry in named if not entry["path"].startswith("src/")}


def params_at(revision: str) -> dict[str, Any]:
    """Every parameter, by its dotted name."""
    return flat(YAML(typ="safe", pure=True).load(git("show", f"{revision}:{paths.PARAMS}")))


def metrics_at(revision: str) -> dict[str, Any]:
    """Every score, by its dotted name."""
    return flat(json.loads(git("show", f"{revision}:{paths.METRICS.as_posix()}")))


def flat(tree: dict[str, Any], start: str = "") -> dict[str, Any]:
    """The leaves of a tree, by their dotted names."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{start}{key}.") if isinstance(value, dict) else {f"{start}{key}": value}
    return found


def sha256_at(revision: str, path: str) -> str:
    """The sha256 of a file of a commit."""
    return hashlib.sha256(git("show", f"{revision}:{path}").encode()).hexdigest()
