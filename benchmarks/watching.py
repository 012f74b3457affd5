"""What metrics and traces take of the processor, by request: JSON, in seconds.

    python benchmarks/watching.py PROJECT HOME KEY

One request goes through the chain of the settings in HOME; then it is counted and traced again and again, each time as
another response. The time is that of the whole process, with the thread that sends the spans.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import import_module
from multiprocessing import Pipe, Process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pairs import package_of

REQUESTS = 20_000
BETWEEN_FLUSHES = 500  # requests: what is queued beyond that of the library is lost


class Sink(BaseHTTPRequestHandler):
    """Takes spans."""

    def do_POST(self) -> None:
        """Take them."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:  # type: ignore[override]
        """Say nothing."""


def take(port: Connection) -> None:
    """Take spans until the process ends."""
    server = HTTPServer(("127.0.0.1", 0), Sink)
    port.send(server.server_port)
    server.serve_forever()


@contextmanager
def sink() -> Iterator[str]:
    """The address of a collector in a process of its own."""
    ours, theirs = Pipe()
    process = Process(target=take, args=(theirs,), daemon=True)
    process.start()
    yield f"http://127.0.0.1:{ours.recv()}/v1/traces"
    process.terminate()


def main() -> None:
    """Measure."""
    project, home, key = sys.argv[1:]
    sys.path.insert(0, f"{project}/src")
    os.chdir(home)
    package = package_of(Path(project))
    code = {name: import_module(f"{package}.service.{name}") for name in ("engine", "admission", "exchange", "metrics")}
    attributes = import_module(f"{package}.service.links.record").attributes
    settings = Path("service.yaml").read_text(encoding="utf-8")
    assert "  otlp: null " in settings
    with sink() as address:
        path = Path("watched.yaml")
        path.write_text(settings.replace("  otlp: null ", f"  otlp: {address} "), encoding="utf-8")
        engine = code["engine"].Engine(path, code["engine"].Watchdog())
        exchange = answered(code["exchange"].Exchange, engine, key)
        ids = [code["exchange"].new_id() for _ in range(REQUESTS)]
        start = time.process_time()
        for _ in ids:
            engine.links["record"].count(exchange)
            code["admission"].count(exchange, 0.01)
            code["metrics"].QUEUE_SECONDS.observe(0.001)
            code["metrics"].IN_FLIGHT.set(1)
            code["metrics"].IN_FLIGHT.set(0)
        counted = time.process_time()
        for number, exchange.response_id in enumerate(ids):
            engine.spans.send(exchange, attributes(exchange))
            if number % BETWEEN_FLUSHES == 0:
                engine.spans.provider.force_flush()
        engine.spans.provider.force_flush()
        traced = time.process_time()
        print(json.dumps({"metrics": (counted - start) / REQUESTS, "traces": (traced - counted) / REQUESTS}))
        engine.close()


def answered(exchange_of: Any, engine: Any, key: str) -> Any:
    """A request that the chain has answered."""
    body = json.dumps({"texts": ["a warm and funny film"]}).encode()
    deadline = time.monotonic() + 10
    exchange = exchange_of(body=body, bearer=key, address="", route="predict", scope="predict", deadline=deadline)
    engine.run(exchange)
    assert exchange.status == 200, exchange.refusal
    return exchange


if __name__ == "__main__":
    main()
