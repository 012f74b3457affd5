"""A clone of this repository in `.search/`, where the trials of a search run one after the other.

The workspace is not touched. The clone shares its DVC cache, stays for the next search, and keeps the checkpoints of a
killed trial, which goes on from them.
"""

import csv
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.paths import CHECKPOINTS, TRAINING_CURVE

SEARCH = Path(".search")
CLONE = SEARCH / "clone"
RUNNING = SEARCH / "running"
STAGE = "fine_tune"


@contextmanager
def alone() -> Iterator[TextIO]:
    """Wait until no other search runs here. A trial inherits the lock, and holds it if its search is killed."""
    SEARCH.mkdir(exist_ok=True)
    with (SEARCH / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another search here, or for the trial that a killed one left", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def git(*command: str, cwd: Path = Path()) -> str:
    """What a Git command prints; it must end well."""
    return subprocess.run(["git", *command], cwd=cwd, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def committed_head() -> str:
    """The commit that is checked out. Raises UserError where something is not committed."""
    changed = git("status", "--porcelain")
    if changed:
        raise UserError(
            "a search belongs to a commit",
            expected="a workspace in which everything is committed",
            found=", ".join(line[2:].strip() for line in changed.splitlines()),
            fix="git add . && git commit",
        )
    return git("rev-parse", "HEAD")


def check_out(commit: str) -> None:
    """Bring the clone to the commit, with the outs that the trials start from."""
    if not (CLONE / ".git").exists():
        shutil.rmtree(CLONE, ignore_errors=True)
        git("clone", "--quiet", "--no-checkout", ".", str(CLONE))
    git("fetch", "--quiet", str(Path.cwd()), "HEAD", cwd=CLONE)
    git("checkout", "--quiet", "--force", "--detach", commit, cwd=CLONE)
    private = Path(".dvc/config.local")
    if private.exists():
        shutil.copyfile(private, CLONE / private)
    cache = subprocess.run(["dvc", "cache", "dir"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    subprocess.run(["dvc", "cache", "dir", "--quiet", "--local", cache], cwd=CLONE, check=True)
    subprocess.run(["dvc", "checkout", "--quiet", "--allow-missing", "--with-deps", STAGE], cwd=CLONE, check=True)


def start(name: str, values: Mapping[str, object], log: TextIO, lock: TextIO) -> subprocess.Popen[bytes]:
    """Start the experiment of this name and these parameters in the clone, in a process group of its own."""
    changes = [part for key, value in values.items() for part in ("--set-param", f"{key}={value}")]
    command = ["dvc", "exp", "run", "--name", name, *changes, STAGE]
    if not RUNNING.exists() or RUNNING.read_text(encoding="utf-8") != " ".join(command):
        shutil.rmtree(CLONE / CHECKPOINTS, ignore_errors=True)
        RUNNING.write_text(" ".join(command), encoding="utf-8")
    git("reset", "--quiet", "--hard", cwd=CLONE)
    git("clean", "--quiet", "--force", "-d", cwd=CLONE)
    for experiment in git("for-each-ref", "--format=%(refname)", "refs/exps", cwd=CLONE).splitlines():
        git("update-ref", "-d", experiment, cwd=CLONE)
    # The package is installed from the workspace, which may be edited while the search runs.
    environment = os.environ | {"PYTHONPATH": str((CLONE / "src").resolve())}
    return subprocess.Popen(
        command, cwd=CLONE, env=environment, stdout=log, stderr=log, process_group=0, pass_fds=[lock.fileno()]
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """End the process group of a trial: politely, so that DVC tidies up, and for certain."""
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def scores_so_far() -> list[float]:
    """The validation score of every epoch that the running trial has finished."""
    curves = list((CLONE / CHECKPOINTS).glob("*/curve.csv"))
    return scores_in(curves[0]) if curves else []


def scores_at_the_end() -> list[float]:
    """The validation score of every epoch of the trial that just ended."""
    return scores_in(CLONE / TRAINING_CURVE)


def scores_in(curve: Path) -> list[float]:
    """The validation scores in a training curve, epoch by epoch; none where the trial removed it this moment."""
    try:
        rows = list(csv.reader(curve.read_text(encoding="utf-8").splitlines()))
    except FileNotFoundError:
        return []
    return [float(row[-1]) for row in rows[1:] if row[-1]]


def keep(name: str, kept_as: str) -> None:
    """Bring the experiment into this repository under another name, where `dvc exp` finds it."""
    git("fetch", "--quiet", "--no-tags", str(CLONE), f"+refs/exps/*/{name}:refs/exps/*/{kept_as}")
