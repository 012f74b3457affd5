"""Begin a Git repository where git is at hand, and say what to type next. No network, no questions, no installs."""

import shutil
import subprocess
from pathlib import Path

for empty in (Path(".github/workflows"), Path(".github")):
    if empty.is_dir() and not any(empty.iterdir()):
        empty.rmdir()

began = False
if shutil.which("git") and not Path(".git").exists():
    began = subprocess.run(["git", "init", "--quiet", "--initial-branch=main"], check=False).returncode == 0

print("\nNext:\n")
print("  cd {{ cookiecutter.project_slug }}")
if not began and not Path(".git").exists():
    print("  git init")
print("  make setup")
{%- if cookiecutter.data_source == "files" %}
print("  # put your tables into data/raw, name their columns in params.yaml")
print("  .venv/bin/dvc add data/raw")
{%- elif cookiecutter.data_source == "hub" %}
print("  # name your data set and its columns in params.yaml")
print("  make pin")
{%- endif %}
print("  git add . && git commit -m 'Begin'")
print("  make repro results\n")
