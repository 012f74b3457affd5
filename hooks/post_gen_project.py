"""Begin a Git repository where git is at hand, and say what to type next. No network, no questions, no installs."""

import shutil
import subprocess
from pathlib import Path

# Folders of which this project has no file; the deepest first.
for top in (".github", ".service", "deploy", "make", "src", "tools"):
    for folder in (*sorted(Path(top).rglob("*"), reverse=True), Path(top)):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

if shutil.which("git") and not Path(".git").exists():
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main"], check=False)

DATA = {
    "sample": [],
    "files": ["# put your tables into data/raw and name their columns in params.yaml", ".venv/bin/dvc add data/raw"],
    "hub": ["# name your data set and its columns in params.yaml"],
}
from_hub = "{{ cookiecutter.data_source }}" == "hub" or "{{ cookiecutter.__default_model }}" == "False"
on_s3 = "{{ cookiecutter.__on_s3 }}" == "yes"
commands = [
    "cd {{ cookiecutter.project_slug }}",
    *([] if Path(".git").exists() else ["git init"]),
    "git add . && git commit -m 'Begin'",
    "make setup",
    *(["# outside of AWS: .venv/bin/dvc remote modify storage endpointurl https://HOST:PORT"] if on_s3 else []),
    *DATA["{{ cookiecutter.data_source }}"],
    *(["make pin"] if from_hub else []),
    "make repro results",
]
print("\nNext:\n\n  " + "\n  ".join(commands) + "\n")
