"""Run the pipeline again elsewhere and compare every byte: `make reproduce`, or `make reproduce AGAINST=COMMIT`.

The commit is cloned into a directory with another path length, and with its own DVC cache, home, user, locale, time
zone, umask and hash seed. `dvc repro --force` runs there, and the hashes of all outs are compared. The result for the
current dvc.lock is written to reports/reproduce.json, which Git may keep.
"""

import argparse
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
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


@dataclass(frozen=True)
class Place:
    """A checkout and its DVC cache, and the commit whose dvc.lock counts; "" for the dvc.lock of the checkout."""

    root: Path
    revision: str

    def lock(self) -> dict[str, str]:
        """The hash of every out, by its path."""
        text = self.read_git("dvc.lock") if self.revision else (self.root / "dvc.lock").read_bytes()
        stages = YAML(typ="safe", pure=True).load(text.decode())["stages"]
        return {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", [])}

    def read_git(self, path: str) -> bytes:
        """A file of the commit. Raises UserError if it has none."""
        command = ["git", "show", f"{self.revision}:./{path}"]
        done = subprocess.run(command, cwd=self.root, capture_output=True, check=False)
        if done.returncode:
            raise UserError(
                f"{self.revision} has no {path}",
                expected="a commit of a run",
                found=done.stderr.decode(errors="replace").strip(),
                fix='make repro, then git add . && git commit -m "A run"; or name another: AGAINST=COMMIT',
            )
        return done.stdout

    def files(self, out: str, md5: str) -> dict[str, str] | None:
        """The files of an out and their hashes, or None if DVC's cache lacks the list. A file is the out itself."""
        if not md5.endswith(".dir"):
            return {out: md5} if md5 else {}
        listed = self.cached(md5)
        return None if listed is None else {entry["relpath"]: entry["md5"] for entry in json.loads(listed)}

    def cached(self, md5: str) -> bytes | None:
        """The bytes with this hash, from DVC's cache."""
        paths = (cache / "files/md5" / md5[:2] / md5[2:] for cache in self.caches)
        return next((path.read_bytes() for path in paths if path.exists()), None)

    @cached_property
    def caches(self) -> list[Path]:
        """The checkout's own cache, and the shared one if DVC is set to it. In both, names are hashes of the bytes."""
        shared = Config(str(self.root / ".dvc"))["cache"].get("dir")
        return [self.root / ".dvc/cache", *([Path(shared)] if shared else [])]

    def bytes_of(self, out: str, name: str, md5: str) -> bytes | None:
        """The bytes of a file of an out: from the cache, or from Git or the checkout if DVC keeps only the hash."""
        found = self.cached(md5)
        if found is None and name == out:
            found = self.read_git(out) if self.revision else (self.root / out).read_bytes()
        return found if found is not None and hashlib.md5(found, usedforsecurity=False).hexdigest() == md5 else None


def main() -> int:
    """Make the commit again and compare. Returns 0 when all outs are the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", default="HEAD", metavar="REV", help="the commit to make again (default: HEAD)")
    return reproduce(Place(Path.cwd(), parser.parse_args().against))


def reproduce(here: Place) -> int:
    """Print the comparison of every out. Returns 0 when all are the same, 1 when one differs or the run fails."""
    here.lock()  # what can be refused is refused before any work
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="reproduce-") as folder:
        there = Place(clone(Path(folder) / "a" / "directory-with-another-length" / "project"), "")
        if not make_again(here, there, Path(folder) / "home"):
            print("error: the pipeline failed in the clone; its message stands above", file=sys.stderr)
            return 1
        differing = compare(here, there)
    if here.read_git("dvc.lock") == Path("dvc.lock").read_bytes():
        commit, seconds = git("rev-parse", here.revision).strip(), round(time.monotonic() - start)
        write_json(RECORD, {"commit": commit, "outs": len(here.lock()), "differing": differing, "seconds": seconds})
    return 1 if differing else 0


def make_again(here: Place, there: Place, home: Path) -> bool:
    """Check the commit out in the clone and run all its stages as another user. Returns whether they succeeded."""
    home.mkdir(parents=True)
    # A stranger has keys of their own; here these stand in. No byte depends on them.
    if (keys := Path("~/.aws").expanduser()).is_dir():
        (home / ".aws").symlink_to(keys.resolve())
    commit = git("rev-parse", here.revision).strip()
    environment = os.environ | STRANGER | {"HOME": str(home), "PYTHONPATH": str(there.root / "src")}
    environment["HF_TOKEN_PATH"] = HF_TOKEN_PATH
    for kind in ("SITE_CACHE", "GLOBAL_CONFIG", "SYSTEM_CONFIG"):
        environment[f"DVC_{kind}_DIR"] = str(home / kind.lower())

    def runs(*command: str) -> bool:
        return subprocess.run(command, cwd=there.root, env=environment, umask=0o077, check=False).returncode == 0

    if not runs("git", "checkout", "--quiet", commit):
        return False
    added = [str(path) for path in there.root.rglob("*.dvc") if path.is_file()]
    if added:
        take_remote_of(here, there)
        if not runs("dvc", "pull", "--quiet", *added):
            return False
    return runs("dvc", "repro", "--force")


def take_remote_of(here: Place, there: Place) -> None:
    """Give the clone this checkout's remote: its private settings, and the full path of a local directory."""
    private = here.root / ".dvc/config.local"
    if private.exists():
        (there.root / ".dvc/config.local").write_bytes(private.read_bytes())
    config = Config(str(here.root / ".dvc"))  # a relative directory becomes a full path
    name = config["core"]["remote"]
    url = config["remote"][name]["url"]
    if "://" not in url:
        subprocess.run(["dvc", "remote", "modify", "--local", name, "url", url], cwd=there.root, check=True)


def compare(here: Place, there: Place) -> list[str]:
    """Print the table of outs, then what differs in those that differ. Returns the outs that differ."""
    ours, theirs = here.lock(), there.lock()
    pairs = {out: (ours.get(out, "-"), theirs.get(out, "-")) for out in sorted(ours | theirs)}
    differing = [out for out, (a, b) in pairs.items() if a != b]
    rows = [(out, *hashes, "NO" if out in differing else "yes") for out, hashes in pairs.items()]
    print("\n" + table(("out", "hash here", "hash there", "same?"), rows))
    for out in differing:
        print(f"\n{out}: {first_difference(here, there, out, ours.get(out, ''), theirs.get(out, ''))}")
    print(f"\n{len(pairs) - len(differing)} of {len(pairs)} outs are the same")
    return differing


def first_difference(here: Place, there: Place, out: str, a: str, b: str) -> str:
    """The first file of an out that differs, and how."""
    ours, theirs = here.files(out, a), there.files(out, b)
    if ours is None or theirs is None:
        return "it differs (its list of files is not in DVC's cache here: dvc pull)"
    for name in sorted(ours | theirs, key=lambda name: (name == "manifest.json", name)):  # depends on the others
        if name not in ours or name not in theirs:
            return f"{name} is only {'here' if name in ours else 'there'}"
        if ours[name] != theirs[name]:
            left, right = here.bytes_of(out, name, ours[name]), there.bytes_of(out, name, theirs[name])
            if left is None or right is None:
                return f"{name} differs (its bytes are not in DVC's cache here: dvc pull)"
            return f"{name} differs: {kind_of_difference(name, left, right)}"
    return "the lists of files differ"


def kind_of_difference(name: str, left: bytes, right: bytes) -> str:
    """How two files differ: for tensors, the largest difference and its place; else, the first byte that differs."""
    ours, theirs = tensors_of(name, left), tensors_of(name, right)
    worst = ("", -1.0, 0.0, ())
    for tensor in sorted(ours.keys() & theirs.keys()):
        a, b = ours[tensor].astype(np.float64), theirs[tensor].astype(np.float64)
        if a.shape != b.shape:
            return f"tensor {tensor} has shape {a.shape} here and {b.shape} there"
        gap = np.abs(a - b)
        if gap.size and gap.max() > worst[1]:
            place = np.unravel_index(gap.argmax(), gap.shape)
            worst = (tensor, gap[place], gap[place] / max(abs(a[place]), 1e-30), tuple(map(int, place)))
    if worst[1] > 0:
        tensor, largest, relative, place = worst
        return f"largest difference {largest:.3g} (relative {relative:.3g}) at {place} of tensor {tensor}"
    size = min(len(left), len(right))
    unequal = np.flatnonzero(np.frombuffer(left[:size], np.uint8) != np.frombuffer(right[:size], np.uint8))
    first = int(unequal[0]) if len(unequal) else size
    return f"{len(left)} bytes here, {len(right)} there, the first difference at byte {first}"


def tensors_of(name: str, content: bytes) -> dict[str, np.ndarray]:
    """The tensors in a file, by name; none for a file that holds none."""
    if name.endswith(".safetensors"):
        return load_tensors(content)
    if name.endswith(".onnx"):
        inside = [t for t in onnx.load_from_string(content).graph.initializer if not t.external_data]
        return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in inside}
    if name.endswith(".npy"):
        return {name: np.load(io.BytesIO(content))}
    return {}


if __name__ == "__main__":
    sys.exit(run(main))
