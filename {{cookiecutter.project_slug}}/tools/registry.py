"""The releases of the model, as Git's tags tell them; they are named as GTO and DVC read them.

A version is the tag `NAME@v1.2.0`, its assignment to a stage the tag `NAME#production#3`. The message of both is a
title and a record in YAML. Git itself makes them, so they are signed where Git is told to sign tags (`tag.gpgSign`).
"""

import os
import re
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

from gto.constants import ACTION, COUNTER, NAME, STAGE, VERSION, Action
from gto.tag import parse_name
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.paths import ONNX

ORIGIN = "origin"
FIELDS = "refname:strip=2", "*objectname", "taggername", "taggeremail", "taggerdate:unix", "contents:body"
FORMAT = "%00".join(f"%({field})" for field in FIELDS) + "%01"


@dataclass(frozen=True)
class Tag:
    """A version, or where `stage` is not empty its assignment to that stage."""

    ref: str
    commit: str
    who: str
    when: datetime
    version: str
    stage: str
    record: dict[str, Any]


@dataclass(frozen=True)
class NewTag:
    """A tag to be made."""

    ref: str
    commit: str
    title: str
    record: dict[str, Any]


class Registry:
    """The tags of one model, oldest first."""

    def __init__(self) -> None:
        self.artifact = artifact_of(Path("dvc.yaml"))
        self.counter = 0
        self.tags = self.read()

    def read(self) -> list[Tag]:
        """The annotated tags of this model; GTO and DVC do not count the others."""
        found = []
        for entry in git("for-each-ref", "--sort=taggerdate", f"--format={FORMAT}", "refs/tags").split("\x01\n"):
            ref, _, about = entry.partition("\0")
            parsed = parse_name(ref, raise_on_fail=False)
            if parsed.get(NAME) == self.artifact and not about.startswith("\0"):
                self.counter = max(self.counter, parsed.get(COUNTER, 0))
                if parsed[ACTION] in (Action.REGISTER, Action.ASSIGN):
                    found.append((ref, parsed, *about.split("\0")))
        number = {commit: parsed[VERSION].removeprefix("v") for _, parsed, commit, *_ in found if VERSION in parsed}
        return [
            Tag(
                ref=ref,
                commit=commit,
                who=f"{person} {address}",
                when=datetime.fromtimestamp(int(seconds), UTC),
                version=number.get(commit, ""),
                stage=parsed.get(STAGE) or "",
                record=record_in(body),
            )
            for ref, parsed, commit, person, address, seconds, body in found
        ]

    def versions(self) -> dict[str, Tag]:
        """The released versions, the lowest first."""
        return {tag.version: tag for tag in sorted(self.tags, key=lambda tag: order(tag.version)) if not tag.stage}

    def assignments(self, stage: str) -> list[Tag]:
        """What was in the stage, one after the other; the last is there now."""
        return [tag for tag in self.tags if tag.stage == stage and tag.version]

    def version_tag(self, version: str, commit: str, record: dict[str, Any]) -> NewTag:
        """The tag that makes a commit a version."""
        return NewTag(f"{self.artifact}@v{version}", commit, f"Release {self.artifact} v{version}", record)

    def stage_tag(self, version: str, commit: str, stage: str, record: dict[str, Any]) -> NewTag:
        """The tag that puts a version into a stage."""
        ref = f"{self.artifact}#{stage}#{self.counter + 1}"
        return NewTag(ref, commit, f"Put {self.artifact} v{version} into {stage}", record)

    def write(self, tags: list[NewTag]) -> None:
        """Make the tags and, where there is an origin, send them there: all or none."""
        # Whoever reads a stage takes its last tag by the clock: one that is not ahead of all others would not count.
        start = max([int(time.time()), *(int(tag.when.timestamp()) + 1 for tag in self.tags)])
        made = []
        try:
            for seconds, tag in enumerate(tags, start):
                message = f"{tag.title}\n\n{to_yaml(tag.record)}"
                command = ("tag", "--annotate", "--cleanup=verbatim", "--file=-", tag.ref, tag.commit)
                git(*command, given=message, GIT_COMMITTER_DATE=f"@{seconds} +0000")
                made.append(tag.ref)
            if has_origin():
                git("push", "--quiet", "--atomic", ORIGIN, *(f"refs/tags/{ref}" for ref in made))
            else:
                print(f"there is no {ORIGIN} to send the tags to; they are in this clone only")
        except BaseException:
            if made:
                git("tag", "--delete", *made)
            raise


def fetch_tags() -> None:
    """Take what others have released meanwhile."""
    if has_origin():
        git("fetch", "--quiet", "--tags", ORIGIN)


def has_origin() -> bool:
    """Whether this checkout has somewhere to send tags to."""
    return ORIGIN in git("remote").split()


def artifact_of(pipeline: Path) -> str:
    """The name under which dvc.yaml offers the shipped model."""
    artifacts = YAML(typ="safe").load(pipeline.read_text(encoding="utf-8")).get("artifacts", {})
    for name, about in artifacts.items():
        if about["path"] == ONNX.as_posix():
            return name
    raise UserError(
        "dvc.yaml offers no model",
        expected=f"an entry of `artifacts` whose path is {ONNX.as_posix()}",
        found=", ".join(artifacts) or "none",
        fix="put the entry back",
    )


def order(version: str) -> tuple[int, ...]:
    """What versions are sorted by."""
    return tuple(int(number) for number in re.findall(r"\d+", version))


def to_yaml(record: dict[str, Any]) -> str:
    """A record as the text of a tag."""
    yaml, text = YAML(), StringIO()
    yaml.default_flow_style = None
    yaml.width = 4096
    yaml.dump(record, text)
    return text.getvalue()


def record_in(text: str) -> dict[str, Any]:
    """The record in the text of a tag; empty for a tag that somebody made by hand."""
    try:
        record = YAML(typ="safe").load(text)
    except YAMLError:
        return {}
    return record if isinstance(record, dict) else {}


def git(*command: str, given: str | None = None, **environment: str) -> str:
    """What Git prints. Raises UserError with its words where it refuses."""
    done = subprocess.run(
        ["git", *command], input=given, capture_output=True, text=True, check=False, env=os.environ | environment
    )
    if done.returncode:
        raise UserError(
            f"git {command[0]} failed",
            expected=f"git {' '.join(command)}",
            found=done.stderr.strip().replace("\n", "\n            "),
            fix="do what Git says, then type the same again; nothing was changed",
        )
    return done.stdout
