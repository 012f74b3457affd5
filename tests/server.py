"""The S3 server of the tests: that of `make s3`, in a project grown for it, and its failures."""

import http.client
import json
import os
import signal
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import psutil
from botocore.config import Config
from workshop import Project, grow


class Server:
    """A real S3 server with one bucket; projects get a folder each."""

    def __init__(self, folder: Path) -> None:
        self.home = grow(folder, scope="team")
        self.start()

    def start(self, *more: str) -> None:
        """Start it as a user does; with more arguments as the last time, plus these."""
        if more:
            command = self.command
            self.process = psutil.Popen(
                [*command, *more], cwd=self.home.path / ".tools/s3", env=os.environ, start_new_session=True
            )
            return
        self.home.run("make", "s3")
        self.process = psutil.Process(self.state["pid"])
        self.command = self.process.cmdline()

    def kill(self) -> None:
        """End it at once, as a failing machine does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def stop(self) -> None:
        """Stop it as a user does."""
        self.home.run("make", "s3-stop")

    @property
    def state(self) -> dict:
        """What it noted of itself: process, ports, keys."""
        return json.loads(self.home.text(".tools/s3/server.json"))

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.state['ports']['s3.port']}"

    @property
    def keys(self) -> dict[str, str]:
        """Its keys, as DVC names them."""
        return {"access_key_id": self.state["key"], "secret_access_key": self.state["secret"]}

    def client(self, endpoint: str | None = None) -> object:
        """A client of its own, to look and to do harm behind DVC's back; or of another service."""
        return boto3.client(
            "s3",
            endpoint_url=endpoint or self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.state["key"],
            aws_secret_access_key=self.state["secret"],
            config=Config(retries={"max_attempts": 0}, connect_timeout=5, read_timeout=20),
        )

    def objects(self, folder: str) -> dict[str, int]:
        """The objects in a folder of the bucket, and their sizes."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket="dvc", Prefix=f"{folder}/")
        return {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", [])}

    def contents(self, folder: str) -> dict[str, str]:
        """The objects in a folder of the bucket, and the digests of their bytes."""
        client = self.client()
        return {key: client.head_object(Bucket="dvc", Key=key)["ETag"] for key in self.objects(folder)}

    def project(self, folder: Path, name: str) -> Project:
        """A new project that has this server as its remote, committed."""
        project = grow(folder, scope="team", dvc_remote=f"s3://dvc/{name}")
        for setting, value in {"endpointurl": self.endpoint, "region": "us-east-1"}.items():
            project.run("dvc", "remote", "modify", "storage", setting, value)
        (project.path / "dvc.yaml").unlink()  # what never ran cannot be pulled
        self.let_in(project)
        project.commit("Begin")
        return project

    def let_in(self, project: Project, **settings: str) -> None:
        """Write the keys, or other private settings, where a user keeps them."""
        lines = "".join(f"    {key} = {value}\n" for key, value in (self.keys | settings).items() if value)
        (project.path / ".dvc/config.local").write_text(f"['remote \"storage\"']\n{lines}", encoding="utf-8")

    def clone(self, project: Project, folder: Path) -> Project:
        """A fresh clone in which somebody else is at home."""
        clone = Project(folder / project.path.name, folder / "home")
        folder.mkdir()
        project.run("git", "clone", "--quiet", str(project.path), str(clone.path))
        self.let_in(clone)
        return clone


Answer = tuple[int, dict[str, str], bytes]
ERROR = "<Error><Code>{}</Code><Message>{}</Message><RequestId>1</RequestId></Error>"


@contextmanager
def serving(answer: Callable[[BaseHTTPRequestHandler, bytes], Answer], *certificate: Path) -> Iterator[str]:
    """The address of a web server that answers so to a request and its body; with a certificate and its key, by TLS."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_request(self) -> None:
            status, headers, body = answer(self, self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body if self.command != "HEAD" else b"")

        def log_message(self, *_: object) -> None:
            pass

    for method in ("GET", "PUT", "HEAD", "POST"):
        setattr(Handler, f"do_{method}", Handler.handle_request)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def refusal(status: int, code: str, message: str, *methods: str) -> Callable[..., Answer]:
    """What S3 answers when it refuses these methods, or all; to other ones it answers as an empty bucket does."""

    def answer(request: BaseHTTPRequestHandler, _: bytes) -> Answer:
        if not methods or request.command in methods:
            return status, {}, ERROR.format(code, message).encode()
        return (404, {}, b"") if request.command == "HEAD" else (200, {}, b"<ListBucketResult/>")

    return answer


def passed_on(port: int) -> Callable[..., Answer]:
    """What the server at this port of this machine answers."""

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request(request.command, request.path, body, dict(request.headers))
        found = connection.getresponse()
        headers = {name: value for name, value in found.getheaders() if name != "Transfer-Encoding"}
        return found.status, headers, found.read()

    return answer


def certificate_in(folder: Path) -> tuple[Path, Path]:
    """A certificate for this machine that nobody signed but itself, and its key."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    about = ("-days", "2", "-subj", "/CN=service", "-addext", "subjectAltName=IP:127.0.0.1")
    command = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, *about)
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key
