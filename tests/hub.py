"""A stand-in of the Hugging Face hub: the part of its file API that downloads use, over real HTTP on this machine."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_INFO = re.compile(r"/api/(?P<kind>models|datasets)/(?P<repo>[^/]+/[^/]+)/revision/(?P<revision>[^/?]+)")
_FILE = re.compile(r"/(?P<kind>datasets/)?(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>[^?]+)")


@contextmanager
def hub_of(repositories: dict[str, Path]) -> Iterator[str]:
    """Serve directories as repositories (`owner/name`, or `datasets/owner/name`); gives the endpoint's address."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            content = self.answer()
            self.wfile.write(content)

        def answer(self) -> bytes:
            info, file = _INFO.fullmatch(self.path), _FILE.fullmatch(self.path)
            content, headers = b"", {}
            if info and info["revision"] in ("main", COMMIT):
                content = json.dumps({"id": info["repo"], "sha": COMMIT, "siblings": []}).encode()
            elif file and file["revision"] == COMMIT:
                path = repositories[f"{file['kind'] or ''}{file['repo']}"] / file["path"]
                content = path.read_bytes()
                headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
            self.send_response(200 if content else 404)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            return content

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
