"""Release the model: `make release VERSION=1.2.0 STAGE=staging`; go back: `make rollback STAGE=production`.

    make release VERSION=1.2.0 STAGE=staging                              a new version from this commit
    make release VERSION=1.2.0 STAGE=production APPROVED_BY="Ada <ada@example.com>"     the same version, one stage on
    make rollback STAGE=production                                        the version before is in the stage again
    make releases                                                         all of them, with what they came from

A release is two tags (registry.py): the version with its record (lineage.py), and its assignment to a stage with who
approved it. They are made only when everything below was found to be so.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

from audit import Audit
from dvc.exceptions import DvcException
from lineage import lacking, record_of, see_committed, see_in_step
from registry import Registry, Tag, fetch_tags, git, order, to_yaml

from {{ cookiecutter.package_name }}.common.manifest import verified_manifest
from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.paths import ONNX

STAGES = ("staging", "production")
NEED_APPROVAL = {"production"}
VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
GATE = Path("tools/gate.py")


def main() -> int:
    """Do what the command line names; 0 when it is done, 1 when something speaks against it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("release", "rollback", "list"):
        command = commands.add_parser(name)
        if name == "release":
            command.add_argument("version")
            command.add_argument("--approved-by", default="")
        if name != "list":
            command.add_argument("stage")
    arguments = parser.parse_args()
    try:
        if arguments.command == "list":
            show(Registry())
        elif arguments.command == "rollback":
            roll_back(checked_stage(arguments.stage))
        else:
            release(arguments.version, checked_stage(arguments.stage), arguments.approved_by.strip())
    except (UserError, DvcException) as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 1
    return 0


def checked_stage(stage: str) -> str:
    """The stage, if there is such a one."""
    if stage not in STAGES:
        raise refusal("there is no such stage", " or ".join(STAGES), stage, "name one of them: STAGE=…")
    return stage


def release(version: str, stage: str, approved_by: str) -> None:
    """Make a version of this commit, or take a version that there is, and put it into the stage."""
    if not VERSION.fullmatch(version):
        raise refusal("this is no version", "three numbers, such as 1.2.0", version, "VERSION=1.2.0")
    if stage in NEED_APPROVAL and not approved_by:
        raise refusal(
            f"{stage} needs an approval", "who approved it", "nobody", 'APPROVED_BY="Name <name@example.com>"'
        )
    fetch_tags()
    registry = Registry()
    known = registry.versions()
    commit = git("rev-parse", "HEAD").strip()
    tags = []
    if version in known and known[version].commit == commit:
        see_that_it_moves(version, stage, registry)
        see_in_remote(Audit(None), commit)
    else:
        parent = list(known.values())[-1] if known else None
        see_that_it_is_new(version, commit, known, parent)
        record = examined(registry.artifact, version, commit, parent)
        print(to_yaml({key: value for key, value in record.items() if key != "metrics"}))
        tags.append(registry.version_tag(version, commit, record))
    approval = {"artifact": registry.artifact, "version": version, "stage": stage, "approved_by": approved_by or None}
    tags.append(registry.stage_tag(version, commit, stage, approval))
    registry.write(tags)
    print(f"{registry.artifact} v{version} ({commit[:7]}) is in {stage}: {', '.join(tag.ref for tag in tags)}")
    print(f"to take it: dvc artifacts get URL-OF-THIS-REPOSITORY {registry.artifact} --stage {stage}")


def see_that_it_moves(version: str, stage: str, registry: Registry) -> None:
    """Refuse to put a version where it is."""
    for tag in registry.assignments(stage)[-1:]:
        if tag.version == version:
            raise refusal(
                f"v{version} is in {stage} already",
                "another stage, or a new version",
                tag.ref,
                "nothing needs to be done; a new model is a new commit",
            )


def see_that_it_is_new(version: str, commit: str, known: dict[str, Tag], parent: Tag | None) -> None:
    """Refuse a version that is not above the last, or a commit that has one."""
    for tag in known.values():
        if tag.commit == commit:
            raise refusal(
                "this commit has a version",
                "one version for each commit",
                tag.ref,
                f"to put it into another stage: VERSION={tag.version}",
            )
    if parent and order(version) <= order(parent.version):
        raise refusal(
            "the version is not above the last",
            f"more than {parent.version}",
            version,
            "count on: VERSION=…; to put an older release into a stage, `git switch --detach` its tag first",
        )


def examined(artifact: str, version: str, commit: str, parent: Tag | None) -> dict:
    """The record of this commit, after everything that speaks against its release was looked for."""
    see_committed()
    audit = Audit(None)
    see_in_step(audit.repo)
    verified_manifest(ONNX)
    see_in_remote(audit, commit)
    return record_of(artifact, version, commit, parent, passed_gate())


def see_in_remote(audit: Audit, revision: str) -> None:
    """Refuse what nobody else could take."""
    audit.collect([revision])
    audit.examine(deep=False)
    if audit.wrong():
        audit.report()
        raise refusal(
            "not everything is in the remote",
            "every object of the release, sound",
            f"{len(audit.wrong())} that are not; they are named above",
            "make push",
        )


def passed_gate() -> str:
    """What the gate says. Raises UserError where it does not let the model pass."""
    if not GATE.exists():
        raise refusal("there is no gate", str(GATE), "no such file", f"git restore --source=HEAD -- {GATE}")
    done = subprocess.run([sys.executable, str(GATE)], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        print(done.stdout, end="")
        raise refusal(
            "the gate does not let the model pass",
            "every line of its table in order",
            f"exit code {done.returncode}; its table stands above",
            "a better model, or another threshold in params.yaml that you can defend",
        )
    return done.stdout


def roll_back(stage: str) -> None:
    """Put the version into the stage that was there before the one that is there now."""
    fetch_tags()
    registry = Registry()
    were_there = registry.assignments(stage)
    now = were_there[-1].version if were_there else ""
    below = [tag for tag in were_there if order(tag.version) < order(now)]
    if not below:
        raise refusal(
            f"there is nothing to go back to in {stage}",
            "a lower version that was there",
            f"v{now} and none below it" if now else "no version at all",
            "make releases shows what was where; make release puts another version there",
        )
    to = max(below, key=lambda tag: (order(tag.version), tag.when))
    record = {
        "artifact": registry.artifact,
        "version": to.version,
        "stage": stage,
        "approved_by": to.record.get("approved_by"),
        "rolled_back_from": now,
    }
    registry.write([registry.stage_tag(to.version, to.commit, stage, record)])
    print(f"{registry.artifact} v{to.version} ({to.commit[:7]}) is in {stage} again; v{now} was")


def show(registry: Registry) -> None:
    """Print the versions with what they came from, then what was put into which stage, by whom."""
    stages = {stage: registry.assignments(stage)[-1:] for stage in STAGES}
    versions = list(registry.versions().values())
    print_table(
        ("version", "parent", "in stage", "commit", "score", "since", "record", "released"),
        [
            (
                f"v{tag.version}",
                f"v{tag.record['parent']}" if tag.record.get("parent") else "-",
                ", ".join(stage for stage, [*now] in stages.items() if now and now[0].version == tag.version) or "-",
                tag.commit[:7],
                *score_of(tag),
                f"without {', '.join(missing)}" if (missing := lacking(tag.record)) else "whole",
                f"{tag.when:%Y-%m-%d} {tag.who}",
            )
            for tag in reversed(versions)
        ],
    )
    print()
    print_table(
        ("stage", "version", "approved by", "instead of", "when", "by"),
        [
            (
                tag.stage,
                f"v{tag.version}",
                tag.record.get("approved_by") or "-",
                f"v{tag.record['rolled_back_from']}" if tag.record.get("rolled_back_from") else "-",
                f"{tag.when:%Y-%m-%d %H:%M}",
                tag.who,
            )
            for tag in reversed(registry.tags)
            if tag.stage
        ],
    )


def score_of(tag: Tag) -> tuple[str, str]:
    """The first score of ONNX int8, and its difference from the release before."""
    metrics = tag.record.get("metrics", {})
    name = next((key for key in metrics if f"{key}_low" in metrics and key.startswith("onnx_int8.")), "")
    if not name:
        return "-", "-"
    before, after = metrics[name]["before"], metrics[name]["after"]
    return f"{name.removeprefix('onnx_int8.')} {after:.3f}", "-" if before is None else f"{after - before:+.3f}"


def print_table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print columns as wide as their longest cell."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def refusal(problem: str, expected: str, found: str, fix: str) -> UserError:
    """What speaks against it."""
    return UserError(problem, expected=expected, found=found, fix=fix)


if __name__ == "__main__":
    sys.exit(main())
