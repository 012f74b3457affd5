"""Begin a Git repository where git is at hand and none holds the project, and say what to type next.

No network, no questions, no installs.
"""

import shutil
import subprocess
from pathlib import Path


def git(*command: str) -> tuple[int, str]:
    """How git ended, and what it printed; like a git that finds no repository where there is no git."""
    if not shutil.which("git"):
        return 128, ""
    done = subprocess.run(["git", "-c", "safe.directory=*", *command], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.removesuffix("\n")


# Folders of which this project has no file; the deepest first.
for top in (".github", ".service", "data", "deploy", "make", "prompts", "src", "tools"):
    for folder in (*sorted(Path(top).rglob("*"), reverse=True), Path(top)):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

# 1: a repository that does not ignore this folder.
if git("check-ignore", "--quiet", ".")[0] != 1:
    git("init", "--quiet", "--initial-branch=main")
inside, root = git("rev-parse", "--show-toplevel")
in_folder = inside == 0 and Path(root) != Path.cwd().resolve()

DATA = {
    "sample": [],
    "files": ["# put your tables into data/raw and name their columns in params.yaml", ".venv/bin/dvc add data/raw"],
    "hub": ["# name your data set and its columns in params.yaml"],
}
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
from_hub = "{{ cookiecutter.data_source }}" == "hub" or "{{ cookiecutter.__default_model }}" == "False"
on_cpu = "{{ cookiecutter.hardware }}" == "cpu"
on_s3 = "{{ cookiecutter.__on_s3 }}" == "yes"
remote = Path("{{ cookiecutter.dvc_remote }}")
ignored = remote / ".gitignore"
if inside == 0 and not on_s3 and remote.resolve().is_relative_to(root) and not ignored.exists():
    remote.mkdir(parents=True, exist_ok=True)
    ignored.write_text("# The objects of DVC are no files of Git.\n*\n", encoding="utf-8")
commands = [
    "cd {{ cookiecutter.project_slug }}",
    *([f"# a folder of {root}: docs/running.md says what differs"] if in_folder else []),
    *([] if inside == 0 else ["git init"]),
    "git add . && git commit -m 'Begin'",
    *([f"# on Linux without a GPU, this saves gigabytes: make setup TORCH_INDEX={CPU_INDEX}"] if on_cpu else []),
    "make setup",
    *(["# outside of AWS: .venv/bin/dvc remote modify storage endpointurl https://HOST:PORT"] if on_s3 else []),
    *DATA["{{ cookiecutter.data_source }}"],
    *(["make pin"] if from_hub else []),
    "make repro results",
]
print("\nNext:\n\n  " + "\n  ".join(commands) + "\n")
