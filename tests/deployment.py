"""The deployment of the tests: two replicas behind HAProxy with everything around them, and clients that ask them."""

import hashlib
import http.client
import itertools
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from server import certificate_in
from workshop import Project

PASSWORD = "a-password-of-redis"
NO_LIMIT = "{requests_per_minute: null, tokens_per_minute: null, tokens_per_day: null, cost_per_day: null}"


READING_RELEASES = ("unshare", "--mount", "sh", "-c", """mount --bind .service/releases .service/releases &&
    mount -o remount,ro,bind .service/releases && exec "$@" """, "sh")  # fmt: skip


class Deployment:
    """Two replicas and everything around them, each on a port of its own."""

    def __init__(self, project: Project, folder: Path) -> None:
        self.project = project
        self.folder = folder
        names = ("redis", "one", "two", "proxy", "prometheus", "alertmanager")
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.replicas = [self.ports["one"], self.ports["two"]]
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.received: set[str] = set()
        self.receiver = HTTPServer(("127.0.0.1", 0), receiving(self.received))
        threading.Thread(target=self.receiver.serve_forever, daemon=True).start()
        self.keys: dict[str, str] = {}
        redis = f"redis://127.0.0.1:{self.ports['redis']}"
        self.env = project.env | {"REDIS_URL": redis, "REDIS_PASSWORD": PASSWORD}

    def start(self, name: str, *command: str | Path, **environment: str) -> None:
        """Start a program, its output in a file."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                command, cwd=self.project.path, env=self.env | environment, stdout=log, stderr=log
            )

    def start_replica(self, name: str) -> None:
        """Start a replica that may only read the releases, as compose.yaml mounts them."""
        (self.project.path / ".service/releases").mkdir(parents=True, exist_ok=True)
        module = "review_sentiment.service.server"
        server = ("python", "-m", module, "--port", str(self.ports[name]), "--settings", "service.yaml")
        tried = shutil.which("unshare") and subprocess.run(
            [*READING_RELEASES, "true"], cwd=self.project.path, capture_output=True, check=False
        )
        self.start(name, *(READING_RELEASES if tried and tried.returncode == 0 else ()), *server)

    def start_all(self) -> None:
        """Start everything, and wait until the proxy answers."""
        ports = {name: str(port) for name, port in self.ports.items()}
        self.start("redis", "redis-server", "--port", ports["redis"], "--bind", "127.0.0.1", "--requirepass", PASSWORD,
                   "--save", "", "--dir", str(self.folder))  # fmt: skip
        self.start_replica("one")
        self.start_replica("two")
        certificate, key = certificate_in(self.folder)
        key.write_bytes(key.read_bytes() + certificate.read_bytes())  # HAProxy reads both from one file
        self.tls = ssl.create_default_context(cafile=str(certificate))
        template = '    server-template replica 8 "${REPLICAS}" resolvers containers init-addr none\n'
        servers = "".join(f"    server {port} 127.0.0.1:{port}\n" for port in self.replicas)
        shipped = self.project.text("deploy/haproxy.cfg")
        assert template in shipped
        (self.folder / "haproxy.cfg").write_text(shipped.replace(template, servers))
        listen = {"LISTEN": f"127.0.0.1:{ports['proxy']}", "CERTIFICATE": str(key)}
        self.start("proxy", "haproxy", "-f", self.folder / "haproxy.cfg", **listen)
        self.shorten()
        replicas = ",".join(f"127.0.0.1:{port}" for port in self.replicas)
        self.start("watch", "python", "-m", "tools.service.watch", "--replicas", replicas, "--prometheus",
                   ports["prometheus"], "--alertmanager", ports["alertmanager"])  # fmt: skip
        wait(lambda: self.ready() == [True, True])
        wait(lambda: self.ask("GET", "/healthz")[0] == 200)

    def shorten(self) -> None:
        """Make minutes and hours of the alerts into seconds."""
        changes = {
            "alerts.yml": [(r"\[\d+[mhd]\]", "[5s]"), (r"\[\d+h:\d+m\]", "[9s:1s]"), (r"for: \d+m", "for: 1s"),
                           (r"offset \d+[mh]", "offset 5s")],
            "prometheus.yml": [(r"interval: \d+s", "interval: 1s")],
            "alertmanager.yml": [(r"group_wait: \w+", "group_wait: 0s"), (r"group_interval: \w+", "group_interval: 1s"),
                                 ("127.0.0.1:9095", f"127.0.0.1:{self.receiver.server_port}")],
        }  # fmt: skip
        for name, replaced in changes.items():
            text = self.project.text(f"deploy/{name}")
            for pattern, short in replaced:
                text, count = re.subn(pattern, short, text)
                assert count
            (self.project.path / "deploy" / name).write_text(text)

    def stop(self) -> None:
        """Stop everything, the watcher with what it started."""
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            process.wait(20)
        self.receiver.shutdown()
        self.receiver.server_close()
        assert not [name for name, port in self.ports.items() if connects(port)], "nothing is left running"

    def ready(self) -> list[bool]:
        """Which replicas are ready."""
        return [connects(port) for port in self.replicas]

    def key(self, name: str) -> str:
        """A new key of a name."""
        return self.project.try_to("python", "-m", "tools.service.api_key", name).stdout.strip()

    def ask(
        self, method: str, path: str, body: Any = None, key: str = "", source: str = "127.0.0.1", **headers: str
    ) -> tuple[int, Any]:
        """The status and the JSON of an answer, through the proxy."""
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.ports["proxy"], timeout=30, context=self.tls, source_address=(source, 0)
        )
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Authorization": f"Bearer {key}"} | headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def metric(self, port: int, name: str) -> float:
        """The sum of a metric of one replica."""
        text = fetch(f"http://127.0.0.1:{port}/metrics").decode()
        return sum(float(line.split()[-1]) for line in text.splitlines() if re.match(rf"{name}\b", line))

    def after_reload(self, change: Callable[[], object]) -> None:
        """Change something that both replicas take without a restart."""
        before = [self.metric(port, "classifier_reloads_total") for port in self.replicas]
        change()
        wait(lambda: all(self.metric(p, "classifier_reloads_total") > b
                         for p, b in zip(self.replicas, before, strict=True)))  # fmt: skip

    def settings(self, **changes: object) -> None:
        """Edit service.yaml."""
        self.after_reload(lambda: self.project.set_params("service.yaml", **changes))

    def answer_with(self, release: str) -> None:
        """Point the link of the service to a release, as `make deploy` does."""
        link = self.project.path / ".service/releases/production"
        beside = link.with_name(".new")
        beside.symlink_to(release)
        beside.replace(link)

    def query(self, expression: str) -> list[Any]:
        """What Prometheus answers."""
        given = urllib.parse.urlencode({"query": expression})
        found = json.loads(fetch(f"http://127.0.0.1:{self.ports['prometheus']}/api/v1/query?{given}"))
        return [one for one in found["data"]["result"] if one["value"][1] != "NaN"]


class Load:
    """Clients that ask without a pause, each on a connection that it keeps."""

    def __init__(self, deployment: Deployment, key: str, clients: int, bodies: list[Any]) -> None:
        self.deployment = deployment
        self.key = key
        self.bodies = bodies
        self.ended = threading.Event()
        self.answers: list[tuple[float, float, int, Any]] = []  # asked when, answered when, status, answer
        self.failed: list[str] = []
        self.asked = [0] * clients
        self.threads = [threading.Thread(target=self.client, args=[number]) for number in range(clients)]

    def client(self, number: int) -> None:
        """One client."""
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.deployment.ports["proxy"], timeout=30, context=self.deployment.tls
        )
        for body in itertools.islice(itertools.cycle(self.bodies), number, None):
            if self.ended.is_set():
                break
            asked = time.monotonic()
            self.asked[number] += 1
            try:
                connection.request("POST", "/v1/predict", json.dumps(body), {"Authorization": f"Bearer {self.key}"})
                answer = connection.getresponse()
                content = json.loads(answer.read()) | {"text": body["texts"][0]}
                self.answers.append((asked, time.monotonic(), answer.status, content))
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.failed.append(repr(error))
                connection.close()
        connection.close()

    def go_on(self) -> None:
        """Wait until every client has its answer and asked anew."""
        before = list(self.asked)
        wait(lambda: all(now > then + 2 for now, then in zip(self.asked, before, strict=True)))

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()


def receiving(received: set[str]) -> type[BaseHTTPRequestHandler]:
    """A receiver of alerts that remembers where which came."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received.update(f"{self.path}: {alert['labels']['alertname']}" for alert in content["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    return Receiver


def free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def connects(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def fetch(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=10) as answer:
        return answer.read()


def wait(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something to become true; what cannot be asked yet is not true yet."""
    end = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def put_release(project: Project, model: Path, version: str, *, reverse: bool) -> None:
    """A release beside the service; `reverse` swaps its two labels, which tells its answers from the other's."""
    directory = shutil.copytree(model, project.path / f".service/releases/v{version}")
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest.pop("digest")
    if reverse:
        manifest["labels"].reverse()
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    (directory / "manifest.json").write_text(json.dumps(manifest | {"digest": digest}))
    directory.with_name(f"v{version}.release.json").write_text(json.dumps({"version": version}))
