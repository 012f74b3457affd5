"""Run every stage of this commit on made-up sentences and a small model: `make small`. A minute, no network, no GPU.

It shows that the pipeline runs, not that the model is good. With AGAIN=1 the pipeline runs a second time, in another
clone and as another user, and every byte is compared (reproduce.py). The project of tests/small_project.py is put into
a clone in .tools/small/, which is made anew each time.
"""

import argparse
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

from tools.shared import PRIVATE, clone, git, run

PLACE = PRIVATE / "small"
MODEL = Path("small/model")
TABLE = Path("small/data/table.csv")
SENTENCES = 400


def main() -> int:
    """Run the small pipeline. Returns 0 when every stage ran and, with --again, the second run gave the same bytes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", action="store_true", help="make everything again elsewhere and compare")
    again = parser.parse_args().again
    shutil.rmtree(PLACE, ignore_errors=True)
    os.chdir(clone(PLACE))
    git("reset", "--quiet", "--hard")
    os.environ["PYTHONPATH"] = str(Path("src").resolve())
    grow()
    if subprocess.run(["dvc", "repro"], check=False).returncode:
        print(f"error: the pipeline failed; its message stands above, what it left is in {PLACE}", file=sys.stderr)
        return 1
    commit("Run the small pipeline")
    subprocess.run([sys.executable, "-m", "tools.results"], check=True)
    return subprocess.run([sys.executable, "-m", "tools.reproduce"], check=False).returncode if again else 0


def grow() -> None:
    """Commit the small model and its sentences, and let the pipeline start from them."""
    small = runpy.run_path("tests/small_project.py")
    small["write_base_model"](MODEL)
    small["write_table"](TABLE, small["sentences"](SENTENCES, seed=1))
    digests = small["digests"](TABLE.parent, {TABLE.name: None})
    data = {"into": "data/raw", "uri": TABLE.parent.as_posix(), "sha256": digests}
    small["write_params"](Path("params.yaml"), MODEL, fetch__data=data)
    for own in (Path("dvc.lock"), *Path().rglob("*.dvc")):  # this pipeline needs no data of the project
        if own.is_file():
            own.unlink()
    commit("Take the small model")


def commit(message: str) -> None:
    """Commit everything, without hooks, signature and the name of a person."""
    git("add", "--all")
    who = ("-c", "user.name=small", "-c", "user.email=small@localhost")
    git(*who, "commit", "--quiet", "--no-verify", "--no-gpg-sign", "--message", message)


if __name__ == "__main__":
    sys.exit(run(main))
