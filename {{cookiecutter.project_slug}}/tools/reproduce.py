"""Run the pipeline again elsewhere and compare every byte: `make reproduce`, or `make reproduce AGAINST=COMMIT`.

The commit is cloned into a directory with another path length, and with its own DVC cache, home, user, locale, time
zone, umask and hash seed. `dvc repro --force` runs there, and the hashes of all outs are compared. The result for the
current dvc.lock is written to reports/reproduce.json, which Git may keep.
"""

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from dvc.config import Config
from huggingface_hub.constants import HF_TOKEN_PATH
from ruamel.yaml import YAML
from safetensors.numpy import load as load_tensors

from {{ cookiecutter.package_name }}.common.io import write_json
from {{ cookiecutter.package_name }}.errors import UserError
from tools.shared import clone, git, run, table

RECORD = Path("reports/reproduce.json")
STRANGER = {
    "USER": "somebody-else",
    "LOGNAME": "somebody-else",
    "LC_ALL": "C",
    "TZ": "Pacific/Chatham",
    "PYTHONHASHSEED": "4096",
    "OMP_THREAD_LIMIT": "1",
    "DNNL_MAX_CPU_ISA": "SSE41",
}


def main() -> int:
    """Make the commit again and compare. Returns 0 when all outs are the same, 1 when one differs or the run fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", default="HEAD", metavar="REV", help="the commit to make again (default: HEAD)")
    revision = parser.parse_args().against
    lock = lock_of(revision)  # what can be refused is refused before any work
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="reproduce-") as folder:
        there = clone(Path(folder) / "a" / "directory-with-another-length" / "project")
        if not make_again(revision, there, Path(folder) / "home"):
            print("error: the pipeline failed in the clone; its message stands above", file=sys.stderr)
            return 1
        differing = compare(outs_in(lock), there)
    if lock == Path("dvc.lock").read_text(encoding="utf-8"):
        commit, seconds = git("rev-parse", revision).strip(), round(time.monotonic() - start)
        write_json(RECORD, {"commit": commit, "outs": len(outs_in(lock)), "differing": differing, "seconds": seconds})
    return 1 if differing else 0


def lock_of(revision: str) -> str:
    """The dvc.lock of a commit. Raises UserError if it has none."""
    lock = git("show", f"{revision}:./dvc.lock", may_fail=True)
    if not lock:
        raise UserError(
            f"{revision} has no dvc.lock",
            expected="a commit of a run",
            found="none",
            fix='make repro, then git add . && git commit -m "A run"; or name another: AGAINST=COMMIT',
        )
    return lock


def outs_in(lock: str) -> dict[str, str]:
    """The hash of every out, by its path."""
    stages = YAML(typ="safe", pure=True).load(lock)["stages"].values()
    return {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", [])}


def make_again(revision: str, there: Path, home: Path) -> bool:
    """Check the commit out in the clone and run all its stages as another user. Returns whether they succeeded."""
    home.mkdir(parents=True)
    for keys in (".aws", ".ssh"):  # a stranger has their own; no byte depends on them
        if (ours := Path.home() / keys).is_dir():
            (home / keys).symlink_to(ours.resolve())
    commit = git("rev-parse", revision).strip()
    environment = os.environ | STRANGER | {"HOME": str(home), "PYTHONPATH": str(there / "src")}
    environment["HF_TOKEN_PATH"] = HF_TOKEN_PATH
    for kind in ("SITE_CACHE", "GLOBAL_CONFIG", "SYSTEM_CONFIG"):
        environment[f"DVC_{kind}_DIR"] = str(home / kind.lower())

    def runs(*command: str) -> bool:
        return subprocess.run(command, cwd=there, env=environment, umask=0o077, check=False).returncode == 0

    if not runs("git", "checkout", "--quiet", commit):
        return False
    added = [str(path) for path in there.rglob("*.dvc") if path.is_file()]
    if added:
        take_remote_of(there)
        if not runs("dvc", "pull", *added):
            return False
    return runs("dvc", "repro", "--force")


def take_remote_of(there: Path) -> None:
    """Give the clone this checkout's remote: its private settings, and the full path of a local directory."""
    private = Path(".dvc/config.local")
    if private.exists():
        (there / private).write_bytes(private.read_bytes())
    config = Config(str(Path(".dvc").absolute()))  # a relative directory becomes a full path
    name = config["core"].get("remote")
    if name and "://" not in (url := config["remote"][name]["url"]):
        subprocess.run(["dvc", "remote", "modify", "--local", name, "url", url], cwd=there, check=True)


def compare(ours: dict[str, str], there: Path) -> list[str]:
    """Print the table of outs, then what differs in those that differ. Returns the outs that differ."""
    theirs = outs_in((there / "dvc.lock").read_text(encoding="utf-8"))
    here = outs_in(Path("dvc.lock").read_text(encoding="utf-8"))
    pairs = {out: (ours.get(out, "-"), theirs.get(out, "-")) for out in sorted(ours | theirs)}
    differing = [out for out, (a, b) in pairs.items() if a != b]
    rows = [(out, *hashes, "NO" if out in differing else "yes") for out, hashes in pairs.items()]
    print("\n" + table(("out", "hash here", "hash there", "same?"), rows))
    for out in differing:
        is_here = here.get(out) == ours.get(out) and Path(out).exists()
        print(f"\n{out}: {first_difference(Path(out), there / out) if is_here else 'this checkout lacks its files'}")
    print(f"\n{len(pairs) - len(differing)} of {len(pairs)} outs are the same")
    return differing


def first_difference(ours: Path, theirs: Path) -> str:
    """The first file of an out that differs, and how."""
    here, there = (
        {path.relative_to(out.parent).as_posix() for path in (out, *out.rglob("*")) if path.is_file()}
        for out in (ours, theirs)
    )
    for name in sorted(here | there, key=lambda name: (name.endswith("/manifest.json"), name)):  # has others' hashes
        if name not in here or name not in there:
            return f"{name} is only {'here' if name in here else 'there'}"
        left, right = (ours.parent / name).read_bytes(), (theirs.parent / name).read_bytes()
        if left != right:
            return f"{name} differs: {kind_of_difference(name, left, right)}"
    return "no file differs: those here are not those of dvc.lock (dvc checkout)"


def kind_of_difference(name: str, left: bytes, right: bytes) -> str:
    """How two files differ: the largest difference of their tensors if they have any, else the first such byte."""
    ours, theirs = tensors_of(name, left), tensors_of(name, right)
    alike = [tensor for tensor in ours if tensor in theirs and ours[tensor].shape == theirs[tensor].shape]
    gaps = {tensor: float(np.abs(ours[tensor].astype(float) - theirs[tensor]).max(initial=0)) for tensor in alike}
    worst = max(gaps, key=gaps.__getitem__, default="")
    if gaps.get(worst):
        return f"largest difference {gaps[worst]:.3g}, in tensor {worst}"
    size = min(len(left), len(right))
    unequal = np.flatnonzero(np.frombuffer(left[:size], np.uint8) != np.frombuffer(right[:size], np.uint8))
    first = int(unequal[0]) if len(unequal) else size
    return f"{len(left)} bytes here, {len(right)} there, the first difference at byte {first}"


def tensors_of(name: str, content: bytes) -> dict[str, np.ndarray]:
    """The tensors in a file, by name; none for a file of another kind."""
    if name.endswith(".safetensors"):
        return load_tensors(content)
    return {name: np.load(io.BytesIO(content))} if name.endswith(".npy") else {}


if __name__ == "__main__":
    sys.exit(run(main))
