"""The service under load that means no good: requests that take too long, and clients that send slowly.

    python benchmarks/overload.py build/production/review-sentiment

Slow clients: 1,000 connections, half of which stop within the header and half within the body, a byte every few
seconds; beside them a few healthy clients, whose p99 is set beside that without slow ones. Timeouts: clients send more
than can be predicted in time, all at once; each must be refused soon after its deadline, and its core be free again.
"""

import gc
import json
import socket
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from machine import machine
from pairs import Measure, Watch, interleaved, item, keep, medians, package_of, parser, ratios
from service import clients, prepared, running

SLOW, HEALTHY_REQUESTS = 1000, 480
TOO_LONG, AT_ONCE, SECONDS = 200, 8, 0.25
LATE_AT_MOST, DEARER_AT_MOST = 100.0, 2.0
HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n"
TEXT = " ".join("a warm and funny film with a dull story that nobody should miss".split() * 8)


def main() -> None:
    """Measure."""
    arguments = parser(__doc__).parse_args()
    with item("overload") as folder:
        watch = Watch()
        home, key = prepared(arguments.project, folder / "ours")
        command = [sys.executable, "-m", f"{package_of(arguments.project)}.service.server", "--port"]
        sides = {
            name: partial(healthy, command, home, arguments.project, key, slow)
            for name, slow in {"alone": 0, "beside slow clients": SLOW}.items()
        }
        rounds = interleaved(sides, arguments.pairs)
        late = timeouts(command, home, arguments.project, key)
        keep(
            "overload",
            peer="itself",
            compared=f"{SLOW} slow connections, half in the header, half in the body; p99 of 16 clients without them "
            f"{medians(rounds, 'alone', 'p99'):.0f} ms; {TOO_LONG} requests of 256 texts, {AT_ONCE} at once, that may "
            f"take {SECONDS} s",
            measures=[
                Measure("p99 of 16 clients beside slow ones", ratios(rounds, "beside slow clients", "alone", "p99"),
                        at_most=DEARER_AT_MOST),
                Measure("milliseconds past the deadline, until answered", late["answered"], unit="ms"),
                Measure("the same: the latest", [max(late["answered"])], at_most=LATE_AT_MOST, unit="ms"),
                Measure("the same, until the core is free: the latest", [max(late["free"])], at_most=200.0, unit="ms"),
            ],
            machine=machine("onnxruntime", "fastapi", "uvicorn"),
            watch=watch,
        )  # fmt: skip


def healthy(command: list[Any], home: Path, project: Path, key: str, slow: int) -> dict[str, float]:
    """The p99 of healthy clients, in milliseconds, beside so many slow ones."""
    with running(command, home, project) as (port, _):
        clients(port, key, 64)
        with slow_clients(port, slow):
            latencies = clients(port, key, HEALTHY_REQUESTS)
    return {"p99": statistics.quantiles(latencies, n=100)[98] * 1000}


@contextmanager
def slow_clients(port: int, count: int) -> Iterator[None]:
    """Connections that send a byte now and then; those that the service closes are opened again."""
    ended = threading.Event()

    def send() -> None:
        connections: list[socket.socket | None] = [None] * count
        while not ended.is_set():
            for number, connection in enumerate(connections):
                if ended.is_set():
                    break
                connections[number] = trickle(connection, port, in_body=number % 2 == 0)
            ended.wait(2)
        for connection in connections:
            if connection:
                connection.close()

    thread = threading.Thread(target=send)
    thread.start()
    time.sleep(2 if count else 0)
    try:
        yield
    finally:
        ended.set()
        thread.join()


def trickle(connection: socket.socket | None, port: int, *, in_body: bool) -> socket.socket | None:
    """Send the next byte on a connection, or begin a new one; None where the service closed it."""
    try:
        if connection is None:
            connection = socket.create_connection(("127.0.0.1", port), timeout=5)
            connection.sendall(HEAD + (b"\r\n{" if in_body else b"X-Slow: "))
        else:
            connection.sendall(b" " if in_body else b"a")
    except OSError:
        return None
    return connection


def timeouts(command: list[Any], home: Path, project: Path, key: str) -> dict[str, list[float]]:
    """How long after its deadline each request was answered, and its core was free, in milliseconds."""
    file = home / "service.yaml"
    settings = file.read_text(encoding="utf-8")
    assert "  seconds: 2.0 " in settings
    file.write_text(settings.replace("  seconds: 2.0 ", f"  seconds: {SECONDS} "), encoding="utf-8")
    gc.freeze()  # a collection of what this process has loaded would look like a late answer
    with running(command, home, project) as (port, _), ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(partial(ask, port, key), range(TOO_LONG)))
    assert {status for status, _, _ in answers} == {504}, "every request takes too long"
    named = {response_id for _, _, response_id in answers}
    log = [json.loads(line) for path in (home / ".service/responses").glob("*.jsonl") for line in path.open()]
    ends = [sum(record["milliseconds"].values()) for record in log if record["response_id"] in named]
    assert len(ends) == TOO_LONG
    return {
        "answered": [(seconds - SECONDS) * 1000 for _, seconds, _ in answers],
        "free": [end - SECONDS * 1000 for end in ends],
    }


def ask(port: int, key: str, number: int) -> tuple[int, float, str]:
    """Send 256 long texts; the status, the seconds since they were sent, as deadlines count, and the response's id."""
    body = json.dumps({"texts": [f"{number} {index} {TEXT}" for index in range(256)]})
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/v1/predict", body, {"Authorization": f"Bearer {key}"})
    start = time.monotonic()
    answer = connection.getresponse()
    found = json.loads(answer.read())
    seconds = time.monotonic() - start
    connection.close()
    return answer.status, seconds, found["response_id"]


if __name__ == "__main__":
    main()
