"""Addresses on the Hugging Face hub: hf://owner/name@revision/path and hf://datasets/owner/name@revision/path.

The revision ends at the next slash; only `refs/pr/4`, `refs/convert/parquet` and the like may contain one. In any other
revision, write a slash as %2F: `@feature%2Fx/folder` is the folder of the branch feature/x. (The hub's own grammar.)
Token, offline mode, mirror and proxy are those of huggingface_hub, see docs/data.md.
"""

import re
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from huggingface_hub import HfApi, constants, errors, hf_hub_download

from ..errors import UserError
from . import causes

_COMMIT = re.compile(r"[0-9a-f]{40}")
_ADDRESS = re.compile(
    r"hf://(?P<datasets>datasets/)?(?P<name>[^/@]+(?:/[^/@]+)?)"
    r"@(?P<revision>refs/[^/]+/[^/]+|[^/]+)(?:/(?P<path>.+))?"
)
_LOGIN = causes.HUB["rights"]
_OFFLINE = "HF_HUB_OFFLINE is set, and this was never downloaded here"
# What was found and how to fix it, by the first type of error that matches, else by the status.
_BY_KIND: tuple[tuple[type[Exception], str, str], ...] = (
    (errors.GatedRepoError, "one whose terms you have not accepted", f"accept them on its page and {_LOGIN}"),
    (errors.RepositoryNotFoundError, "none, or a private one", f"correct its name; for a private one {_LOGIN}"),
    (errors.HFValidationError, "a name that no repository can have", "correct it"),
    (errors.RevisionNotFoundError, "no such branch, tag or commit", "correct what is after @, with %2F for a slash"),
    (errors.RemoteEntryNotFoundError, "no such file in it", "correct it below sha256; for a model, make pin does"),
    (errors.OfflineModeIsEnabled, _OFFLINE, "type the same once without HF_HUB_OFFLINE"),
)
_BY_STATUS = {
    401: ("a token that the hub does not know", f"correct it, or {_LOGIN}"),
    403: ("a token that may not do this", f"give it access to the repository, or take another: {_LOGIN}"),
}


class Place(NamedTuple):
    """A repository at a revision, and a path in it."""

    kind: str
    name: str
    revision: str
    path: str


def place_of(address: str) -> Place:
    """The parts of an address. Raises UserError when it has another form."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise UserError(
            f"{address} names no revision on the hub",
            expected="hf://owner/name@revision or hf://datasets/owner/name@revision, then perhaps /folder",
            found="another form",
            fix="correct `uri` in params.yaml, with @main for the newest, then make pin",
        )
    kind = "dataset" if match["datasets"] else "model"
    return Place(kind, match["name"], unquote(match["revision"]), match["path"] or "")


def pinned(address: str) -> str:
    """The address with the commit that its revision names now. Raises UserError if the hub has no such revision."""
    place = place_of(address)
    if _COMMIT.fullmatch(place.revision):
        return address
    start, end = "datasets/" if place.kind == "dataset" else "", f"/{place.path}" if place.path else ""
    return f"hf://{start}{place.name}@{_looked_up(place).sha}{end}"


def files_below(address: str) -> list[str]:
    """The names of the files below an address. Raises UserError if the hub does not list them."""
    place = place_of(address)
    folder = f"{place.path}/" if place.path else ""
    names = [file.rfilename for file in _looked_up(place).siblings or ()]
    return [name.removeprefix(folder) for name in names if name.startswith(folder)]


def file_at(address: str) -> str:
    """The file at the address, in huggingface_hub's cache. Raises UserError if its revision is not a commit."""
    place = place_of(address)
    if not _COMMIT.fullmatch(place.revision):
        raise UserError(
            f"{address} is not pinned",
            expected="a commit of 40 hexadecimal digits, because a branch moves",
            found=place.revision,
            fix=f"make pin, or write {_looked_up(place).sha} in its place in params.yaml, the commit it names now",
        )
    return hf_hub_download(place.name, place.path, revision=place.revision, repo_type=place.kind)


def _looked_up(place: Place) -> Any:
    """What the hub says about a repository at a revision. Raises UserError if it has none."""
    try:
        return HfApi().repo_info(place.name, repo_type=place.kind, revision=place.revision)
    except Exception as error:  # its HTTP library has errors of its own
        raise refusal(f"the hub does not show {place.kind} {place.name} at {place.revision}", error) from None


def refusal(problem: str, error: BaseException, expected: str = "a repository that you may read") -> UserError:
    """The error for an answer of the hub, or for a failure on the way to it."""
    if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__:
        error = error.__cause__
    by_kind = next((words for kind, *words in _BY_KIND if isinstance(error, kind)), None)
    by_status = _BY_STATUS.get(getattr(getattr(error, "response", None), "status_code", 0))
    if known := by_kind or by_status:
        return UserError(problem, expected=expected, found=known[0], fix=known[1])
    return causes.refusal(problem, error, expected, causes.HUB, beside=_through_a_proxy(error))


def _through_a_proxy(error: BaseException) -> str:
    """The proxy that could not be reached, without its password. The HTTP library does not name it."""
    hub = urlsplit(constants.ENDPOINT)
    proxy = getproxies().get(hub.scheme) or getproxies().get("all")
    if not type(error).__name__.startswith("Connect") or not proxy or proxy_bypass(hub.hostname or ""):
        return ""
    return f", through the proxy {proxy.rpartition('@')[2]}"
