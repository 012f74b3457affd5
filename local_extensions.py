"""Refuse bad answers before anything is written, and keep good ones as they were typed.

cookiecutter loads this extension of Jinja (`_extensions` in cookiecutter.json), with hooks or without. A hook could
refuse answers too, but when one fails, cookiecutter prints a traceback. Nothing is written, asked or fetched here.
"""

import keyword
import posixpath
import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from cookiecutter.exceptions import FailedHookException
from jinja2 import Environment
from jinja2.ext import Extension

TEMPLATE = Path(__file__).parent
PROJECT = TEMPLATE / "{{cookiecutter.project_slug}}"
ONE_LINE = {"project_name": "Review Sentiment", "description": "Tells…", "author_name": "Ada"}
ATOM = r"[\w!#$%&'*+/=?^`{|}~-]+"
OTHER_STORES = {
    "https": "an endpoint is set beside the address: `dvc remote modify storage endpointurl {}` in the project",
    "gs": "Google's S3 interface takes it: s3://, and `dvc remote modify storage endpointurl "
    "https://storage.googleapis.com` in the project",
}


class Answers(Extension):
    """The filter `checked`, and answers that are no templates."""

    def __init__(self, environment: Environment) -> None:
        """Add the filter."""
        super().__init__(environment)
        environment.filters["checked"] = checked

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:  # noqa: ARG002
        """Keep the braces of an answer, which cookiecutter renders where it takes it from the command line."""
        is_answer = name is None and "cookiecutter" not in source
        return re.sub(r"\{(?=[{%#])", '{{ "{" }}', source) if is_answer else source


def checked(answers: dict[str, str]) -> str:
    """Nothing; raises FailedHookException, which cookiecutter prints in one line, after a line for each bad answer."""
    found = list(mistakes(answers))
    for question, good in found:
        print(f"error: {question}: found {answers[question]!r}, expected something like {good}", file=sys.stderr)
    if found:
        raise FailedHookException("Nothing was written.")
    return ""


def mistakes(answers: dict[str, str]) -> Iterator[tuple[str, str]]:
    """For each bad answer the question, and a good answer with the reason."""

    def bad(question: str, pattern: str) -> bool:
        return not re.fullmatch(pattern, answers[question], re.ASCII)

    for question, good in ONE_LINE.items():
        if not answers[question].strip() or not answers[question].isprintable():
            yield question, f"{good} (one line of text)"
    slug, package = answers["project_slug"], answers["package_name"]
    if bad("project_slug", r"[a-z0-9]+((__?|-+)[a-z0-9]+)*"):  # it also names the model (GTO) and the image (Docker)
        yield "project_slug", "review-sentiment (lower-case letters, digits, - or _ between them)"
    elif re.sub("[-_]+", "-", slug) in locked_packages():
        yield "project_slug", f"{slug}-classifier (pip would put this project in place of the package {slug})"
    if bad("package_name", r"[a-z_][a-z0-9_]{0,39}") or keyword.iskeyword(package) or keyword.issoftkeyword(package):
        yield "package_name", "review_sentiment (a Python identifier in lower case, no keyword, of at most 40 letters)"
    elif owner := owner_of(package):
        yield "package_name", f"{package}_classifier (a module of {owner} has this name: one hides the other)"
    if bad("author_email", rf"{ATOM}(\.{ATOM})*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+"):
        yield "author_email", "ada@example.com (letters without accents, for pip refuses others)"
    if bad("base_model", r"[\w.-]+(/[\w.-]+)?"):
        yield "base_model", "sentence-transformers/all-MiniLM-L6-v2 (its name on the hub)"
    if good := instead_of_remote(answers["dvc_remote"], slug):
        yield "dvc_remote", good
    if answers["task"] == "pair" and answers["data_source"] == "sample":
        yield "task", "single_label (the sample has no second text; pairs need data_source files or hub)"


def owner_of(module: str) -> str:
    """Whose module it is, where it is taken; else nothing."""
    files = Path(sysconfig.get_path("stdlib")).iterdir()  # the list of names leaves `test` out
    if module in {*sys.stdlib_module_names, *(path.stem for path in files)}:
        return "Python's standard library"
    if module in (TEMPLATE / "modules.txt").read_text(encoding="utf-8").split():
        return "a package that the project installs"
    own = {"src", "tools", "tests", *(path.stem for path in (PROJECT / "tests").glob("*.py"))}
    return "the project itself" if module in own else ""


def locked_packages() -> set[str]:
    """The packages that a project installs, by their normal names (PEP 503)."""
    locks = (
        PROJECT / "requirements.lock",
        *PROJECT.glob("*requirements-service.lock*"),
        TEMPLATE / "requirements-sample.lock",
    )
    files = (*locks, PROJECT / "pyproject.toml")
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    return {re.sub(r"[-_.]+", "-", name).lower() for name in re.findall(r'^ *"?([\w.-]+)==', text, re.MULTILINE)}


def instead_of_remote(address: str, slug: str) -> str:
    """A good address in place of a bad one, with the reason; nothing for a good one. slug: the project's folder."""
    store, _, rest = address.rpartition("://")
    if not store:
        good = "../review-sentiment-storage (a directory: letters, digits and ./_-), or s3://my-bucket/path"
        parts = PurePosixPath(posixpath.normpath(rest)).parts
        inside = not rest.startswith("/") and (parts[:1] != ("..",) or parts[:2] == ("..", slug))
        if inside or not {*parts} - {"..", "/"}:
            return "../review-sentiment-storage (beside the project, neither in it nor around it)"
        return "" if re.fullmatch(r"[\w./-]+", rest) else good
    if store != "s3":
        reason = OTHER_STORES.get(store.replace("http:", "https:"), "the project's DVC speaks S3 only")
        return f"s3://my-bucket/path ({reason.format(address)}), or a directory"
    bucket, _, path = rest.partition("/")
    if bucket.startswith("arn:"):
        return "s3://my-access-point-…-s3alias/path (the alias of an access point is a bucket's name, its ARN is none)"
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", bucket):
        return "s3://my-bucket/path (3 or more lower-case letters, digits and ._- name a bucket)"
    return "" if re.fullmatch(r"[\w./=+@:~-]*", path) else "s3://my-bucket/path (letters, digits and ./_-=+@:~)"
