"""The service with everything on beside the same model behind less: CPU time of a request, requests per second.

    python benchmarks/service.py build/production/review-sentiment

The project is of scope production, with a model. Sides: ours; one bare FastAPI address around the same call; Python's
http.server and a lock, as this project served before; LitServe. 16 clients send one text each, every time another one,
so that no cache answers. CPU time is that of the server's processes.
"""

import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from environments import python_of
from machine import machine
from pairs import HERE, Measure, Watch, environment, interleaved, item, keep, medians, package_of, parser, ratios

CLIENTS = 16
NO_LIMITS = "{requests_per_minute: null, tokens_per_minute: null, tokens_per_day: null, cost_per_day: null}"
BARE_AT_MOST, FASTER_AT_LEAST, WATCHING_AT_MOST = 1.2, 2.0, 0.015


def main() -> None:
    """Measure."""
    made = parser(__doc__)
    made.add_argument("--requests", type=int, default=1600, help="of each turn; default: %(default)s")
    arguments = made.parse_args()
    with item("service") as folder:
        watch = Watch()
        home, key = prepared(arguments.project, folder / "ours")
        package = package_of(arguments.project)
        commands = {"ours": ([sys.executable, "-m", f"{package}.service.server", "--port"], home)}
        commands |= {
            name: ([sys.executable, HERE / "peers/serve.py", name, arguments.project], folder)
            for name in ("bare", "locked")
        }
        commands["litserve"] = ([python_of("litserve"), HERE / "peers/litserve_.py", arguments.project], folder)
        sides = {
            name: partial(turn, command, where, arguments.project, key, arguments.requests)
            for name, (command, where) in commands.items()
        }
        rounds = interleaved(sides, arguments.pairs)
        watched = watching(arguments.project, home, key)
        shown = "; ".join(f"{name}: {seen(rounds, name)}" for name in sides)
        bare = ratios(rounds, "ours", "bare", "cpu")
        shares = [sum(watched.values()) * 1000 / found["ours"]["cpu"] for found in rounds]
        locked, litserve = (ratios(rounds, "ours", name, "rate") for name in ("locked", "litserve"))
        keep(
            "service",
            peer="bare FastAPI; http.server and a lock; LitServe",
            compared=f"{CLIENTS} clients, one sentence each, int8, one onnxruntime thread a call; {shown}; "
            f"metrics take {watched['metrics'] * 1e6:.0f} µs, traces of one in ten {watched['traces'] * 1e6:.0f}",
            measures=[
                Measure("CPU time of a request: times a bare address", bare, at_most=BARE_AT_MOST),
                Measure("requests per second: times http.server", locked, at_least=FASTER_AT_LEAST),
                Measure("requests per second: times LitServe", litserve, at_least=FASTER_AT_LEAST),
                Measure("metrics and traces: of the CPU time of a request", shares, at_most=WATCHING_AT_MOST, unit=""),
                Measure("p99 latency", [found["ours"]["p99"] for found in rounds], unit="ms"),
            ],
            machine=machine("onnxruntime", "fastapi", "uvicorn"),
            watch=watch,
        )


def seen(rounds: list[dict[str, Any]], side: str) -> str:
    """The medians of a side in words."""
    cpu, rate, p99, memory = (medians(rounds, side, key) for key in ("cpu", "rate", "p99", "memory"))
    return f"{cpu:.2f} CPU-ms a request, {rate:.0f} requests/s, p99 {p99:.0f} ms, {memory:.0f} MB"


def prepared(project: Path, home: Path) -> tuple[Path, str]:
    """A directory with the project's settings and model, no limits but everything on, and a key."""
    shutil.copytree(project / "models/onnx", home / "models/onnx")
    settings = (project / "service.yaml").read_text(encoding="utf-8")
    settings = re.sub(r"(per_key|in_all): \{.*\}", rf"\1: {NO_LIMITS}", settings)
    (home / "service.yaml").write_text(settings, encoding="utf-8")
    make = [sys.executable, "-m", "tools.service.api_key", "bench", "--scopes", "predict"]
    variables = os.environ | {"PYTHONPATH": f"{project / 'src'}:{project}"}
    done = subprocess.run(make, cwd=home, env=variables, capture_output=True, text=True, check=True)
    return home, done.stdout.splitlines()[-1]


def watching(project: Path, home: Path, key: str) -> dict[str, float]:
    """What metrics and traces take of the processor for one request, in seconds."""
    command = [sys.executable, HERE / "watching.py", project, home, key]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@contextmanager
def running(command: list[Any], where: Path, project: Path) -> Iterator[tuple[int, psutil.Process]]:
    """A server that answers, and its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(part) for part in (*command, port)]
    process = subprocess.Popen(command, cwd=where, env=environment(project), stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port, psutil.Process(process.pid)
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        process.wait(30)
        for child in family:
            if child.is_running():
                child.kill()


def turn(command: list[Any], where: Path, project: Path, key: str, requests: int) -> dict[str, float]:
    """One side, once: started, warmed up, asked."""
    with running(command, where, project) as (port, server):
        clients(port, key, CLIENTS * 4)
        before, start = used(server), time.monotonic()
        latencies = clients(port, key, requests)
        seconds = time.monotonic() - start
        return {
            "seconds": seconds,
            "cpu": (used(server) - before) / requests * 1000,
            "rate": requests / seconds,
            "p99": statistics.quantiles(latencies, n=100)[98] * 1000,
            "memory": sum(one.memory_info().rss for one in family_of(server)) / 1e6,
        }


def clients(port: int, key: str, requests: int) -> list[float]:
    """Seconds that each request took, sent by processes of their own."""
    command = [sys.executable, HERE / "asking.py", port, key, CLIENTS, requests]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def family_of(server: psutil.Process) -> list[psutil.Process]:
    """The server's processes."""
    return [server, *server.children(recursive=True)]


def used(server: psutil.Process) -> float:
    """What its processes have used of the processor, in seconds."""
    return sum(sum(one.cpu_times()[:2]) for one in family_of(server))


if __name__ == "__main__":
    main()
