"""What Git refuses to commit in a grown project once `make hooks` was typed."""

import os
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from workshop import Project, grow

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 1000\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with hooks and a commit."""
    project = grow(tmp_path_factory.mktemp("hooks"), scope="production")
    project.run("make", "hooks")
    project.commit("Begin")
    return project


def commit(project: Project, *paths: str) -> subprocess.CompletedProcess[str]:
    """Stage paths and try to commit; then everything is as before."""
    project.run("git", "add", "--force", *paths)
    done = project.try_to("git", "commit", "--message", "Try")
    if done.returncode != 0:
        project.run("git", "reset", "--hard", "--quiet")
    return done


def refused(project: Project, text: str | bytes, path: str, *staged: str) -> str:
    """Write a file and try to commit it; what the hooks say."""
    target = project.path / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = commit(project, *(staged or [path]))
    target.unlink(missing_ok=True)
    assert done.returncode != 0
    assert "fix:" in done.stderr
    return done.stderr


# Files with a key, and the key; each is in two parts so that this file holds none.
KEYS = {
    "notes.txt": ("id {}", "AKIA" + "A1B2C3D4E5F6G7H8"),
    "src/settings.toml": ('aws_secret_access_key = "{}"\n', "wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "0123456789"),
    "notebook.ipynb": ('["login(\\"{}\\")"]', "hf_" + "abcdefghijABCDEFGHIJ0123456789abcd"),
    "deploy/id": ("-----BEGIN OPENSSH " + "PRIVATE KEY-----\n{}\n", "b3BlbnNzaC1rZXk"),
    "data.bin": ("\0\1\2 {}\0", "ghp_" + "a" * 36),
    "README.txt": ("postgres://ada:{}@db.example.com/reviews", "lovelace1815"),
}


def test_a_key_is_refused_in_any_file(project: Project) -> None:
    for path, (text, key) in KEYS.items():
        (project.path / path).write_text(text.format(key), encoding="utf-8")
    project.run("git", "add", "--force", *KEYS)
    done = project.try_to("env", "SKIP=style", "git", "commit", "--message", "Try")  # ruff would show lines of theirs
    project.run("git", "reset", "--hard", "--quiet")
    assert done.returncode != 0
    assert "fix:" in done.stderr
    for path, (_, key) in KEYS.items():
        assert f"{path}:1 looks like" in done.stderr
        assert key not in done.stdout + done.stderr


def test_the_keys_of_a_remote_are_refused(project: Project) -> None:
    project.run("dvc", "remote", "modify", "--local", "storage", "url", "s3://bucket/folder")
    project.run("dvc", "remote", "modify", "--local", "storage", "secret_access_key", "only-this-checkout-knows")
    assert "notes.txt:2 is a key from .dvc/config.local" in refused(
        project, "once\nsaid: only-this-checkout-knows\n", "notes.txt"
    )
    (project.path / ".dvc/config.local").unlink()
    project.run("dvc", "remote", "add", "bucket", "s3://bucket/folder")
    project.run("dvc", "remote", "modify", "bucket", "secret_access_key", "short")
    said = commit(project, ".dvc/config")
    assert said.returncode != 0
    assert ".dvc/config:" in said.stderr
    assert "is a key of a remote" in said.stderr


def test_a_large_file_is_refused(project: Project) -> None:
    said = refused(project, os.urandom(5_000_000), "table.bin")
    assert "table.bin is too large for Git" in said
    assert "dvc add table.bin" in said


def test_an_out_of_dvc_under_git_lfs_is_refused(project: Project) -> None:
    model = project.path / "models/onnx/onnx/model.onnx"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"weights")
    attributes = project.text(".gitattributes")
    said = refused(project, attributes + "*.onnx filter=lfs diff=lfs merge=lfs -text\n", ".gitattributes")
    model.unlink()
    assert "models/onnx/onnx/model.onnx has two owners, DVC and Git LFS" in said


def test_an_out_of_dvc_in_git_is_refused(project: Project) -> None:
    said = refused(project, "{}", "models/onnx/manifest.json")
    assert "models/onnx/manifest.json has two owners, DVC and Git\n" in said
    assert "git rm -r --cached" in said


def test_a_pointer_is_not_taken_for_data(project: Project) -> None:
    assert "notes.md is a pointer of Git LFS, but not Git LFS's" in refused(project, POINTER, "notes.md")
    raw = project.path / "data/raw/train.csv"
    raw.parent.mkdir(parents=True)
    raw.write_text(POINTER, encoding="utf-8")
    done = project.try_to("make", "owners")
    raw.unlink()
    assert done.returncode != 0
    assert "data/raw/train.csv is a pointer of Git LFS, and DVC would take it for the data" in done.stderr
    assert "git lfs pull --include data/raw/train.csv" in done.stderr


def test_a_picture_without_git_lfs_is_refused(project: Project) -> None:
    said = refused(project, b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "docs/images/results.png")
    assert "docs/images/results.png belongs to Git LFS, but Git holds its bytes" in said
    assert "git lfs install" in said


def test_a_picture_that_is_a_pointer_is_taken(project: Project) -> None:
    picture = project.path / "docs/images/results.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_text(POINTER, encoding="utf-8")
    done = commit(project, "docs/images/results.png")
    assert done.returncode == 0, done.stderr
    assert "Git LFS  docs/images/results.png" in (shown := project.run("make", "owners", "LIST=1"))
    assert "DVC      data/raw" in shown
    assert "Git      params.yaml" in shown


def test_a_lock_out_of_step_is_refused(project: Project) -> None:
    lock = (
        "schema: '2.0'\nstages:\n  prepare:\n    cmd: python -m review_sentiment prepare\n"
        "    deps:\n    - path: data/raw\n      md5: abc\n      size: 1\n"
    )
    said = refused(project, lock, "dvc.lock")
    assert "prepare: other deps" in said
    assert "fine_tune: never run" in said
    assert "fix:      `make repro`, then `git add dvc.lock`; to commit before the run: SKIP=current-lock git" in said


def test_a_stage_that_is_gone_from_the_pipeline_leaves_the_lock_only_with_the_file(project: Project) -> None:
    said = refused(project, "schema: '2.0'\nstages:\n  old:\n    cmd: x\n", "dvc.lock")
    assert "old: no stage of this name in dvc.yaml" in said
    assert "fix:      `rm dvc.lock && make repro`, then" in said


def test_a_changed_prompt_needs_another_version(project: Project) -> None:
    changed = project.text("prompts/label.md").replace("Answer with JSON", "Answer with nothing but JSON")
    said = refused(project, changed, "prompts/label.md")
    assert "prompts/label.md was changed, and still has version 1" in said
    assert "write `version: 2` into its first line" in said
    assert "is no prompt" in refused(project, changed.replace("version: 1", "Version 2"), "prompts/label.md")
    (project.path / "prompts/label.md").write_text(changed.replace("version: 1", "version: 2"), encoding="utf-8")
    done = commit(project, "prompts/label.md")
    assert done.returncode == 0, done.stderr


def test_style_and_parameters_are_checked(project: Project) -> None:
    (project.path / "src/odd.py").write_text("import os\nx=1\n", encoding="utf-8")
    done = commit(project, "src/odd.py")
    assert done.returncode != 0
    assert "odd.py" in done.stdout + done.stderr
    project.set_params(fine_tune__epochs=0)
    done = commit(project, "params.yaml")
    assert done.returncode != 0
    assert "fine_tune.epochs" in done.stdout + done.stderr


def test_nothing_needs_the_network(project: Project) -> None:
    assert "repo: https" not in project.text(".pre-commit-config.yaml")
    nowhere = {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9", "XDG_CACHE_HOME": "/nowhere"}
    home = {"PRE_COMMIT_HOME": str(Path(project.env["HOME"]) / "hooks")}
    shown = project.run("pre-commit", "run", "--all-files", **nowhere, **home)
    hooks = YAML(typ="safe").load(project.text(".pre-commit-config.yaml"))["repos"][0]["hooks"]
    assert shown.count("Passed\n") == len(hooks), shown
