"""A stand-in of the Hugging Face hub: the part of its API that `make pin`, `fetch` and `make publish` use, over HTTP.

Asked for a whole address it answers too, as a proxy is asked.
"""

import base64
import hashlib
import json
import re
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote

from server import Answer, serving

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REVISIONS = ("main", "refs/pr/4", "refs/convert/parquet", "feature/x", COMMIT)
TOKEN = "hf_of_the_tests"
_INFO = re.compile(r"/api/(?P<kind>models|datasets)/(?P<repo>[^/]+(?:/[^/]+)?)/revision/(?P<revision>[^/?]+)")
_TREE = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/tree/main\?.*")
_WRITE = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/(?P<what>preupload|commit)/main")
_FILE = re.compile(r"/(?P<kind>datasets/)?(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>[^?]+)")


def hub_of(repositories: dict[str, Path], *, new: Path | None = None) -> AbstractContextManager[str]:
    """Serve directories as repositories (`owner/name`, or `datasets/owner/name`); gives the endpoint's address.

    Those of the owner `private` need TOKEN, those of `gated` an acceptance that nobody has given. new: where those are
    made that somebody creates with TOKEN.
    """

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        path, authorization = re.sub("^http://[^/]+", "", request.path), request.headers.get("Authorization")
        if request.command == "POST":
            return written(path, authorization, body, request.headers["Host"])
        return found(path, authorization)

    def found(path: str, authorization: str | None) -> Answer:
        """What the hub answers to who asks for something."""
        if tree := _TREE.fullmatch(path):
            return 200, {}, tree_of(repositories[tree["repo"]])
        asked = _INFO.fullmatch(path) or _FILE.fullmatch(path)
        name = f"{'datasets/' if (asked['kind'] or '').startswith('d') else ''}{asked['repo']}" if asked else ""
        if authorization not in (None, f"Bearer {TOKEN}"):
            return 401, {"X-Error-Message": "Invalid credentials in Authorization header"}, b""
        if not asked or name not in repositories or (name.startswith("private/") and not authorization):
            return 404 if authorization else 401, {"X-Error-Code": "RepoNotFound"}, b""
        if name.startswith("gated/"):
            return 403 if authorization else 401, {"X-Error-Code": "GatedRepo"}, b""
        if unquote(asked["revision"]) not in REVISIONS:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        if "path" not in asked.groupdict():
            return 200, {}, info_of(name, repositories[name])
        file = repositories[name] / unquote(asked["path"])
        if not file.is_file():
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, b""
        content = file.read_bytes()
        return 200, {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}, content

    def written(path: str, authorization: str | None, body: bytes, host: str) -> Answer:
        """The same for what changes something; every file comes within its commit."""
        if authorization != f"Bearer {TOKEN}" or new is None:
            return 401, {}, b""
        if path == "/api/validate-yaml":
            return 200, {}, b'{"errors": [], "warnings": []}'
        if path == "/api/repos/create":
            asked = json.loads(body)
            assert asked.get("visibility") == "private", asked
            name = f"{asked.get('organization', 'me')}/{asked['name']}"
            repositories.setdefault(name, new / name).mkdir(parents=True, exist_ok=True)
            return 200, {}, json.dumps({"url": f"http://{host}/{name}"}).encode()
        asked = _WRITE.fullmatch(path)
        assert asked, path
        if asked["what"] == "preupload":
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return 200, {}, json.dumps({"files": files}).encode()
        for change in map(json.loads, body.splitlines()):
            file = repositories[asked["repo"]] / change["value"].get("path", "")
            if change["key"] == "deletedFile":
                file.unlink()
            elif change["key"] == "file":
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(base64.b64decode(change["value"]["content"]))
        address = f"http://{host}/{asked['repo']}/commit/{COMMIT}"
        return 200, {}, json.dumps({"success": True, "commitOid": COMMIT, "commitUrl": address}).encode()

    return serving(answer)


def files_in(folder: Path) -> list[str]:
    """The names of all files below."""
    return [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]


def tree_of(folder: Path) -> bytes:
    """What the hub tells of the files of a repository."""
    return json.dumps([{"type": "file", "path": name, "size": 0, "oid": "0"} for name in files_in(folder)]).encode()


def info_of(name: str, folder: Path) -> bytes:
    """What the hub tells of a repository: its commit and its files."""
    siblings = [{"rfilename": file} for file in files_in(folder)]
    return json.dumps({"id": name.removeprefix("datasets/"), "sha": COMMIT, "siblings": siblings}).encode()
