"""Releases in a small trained project: what speaks against one, the record, promotion, rollback, and who takes it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import lineage
import pytest
import release
from registry import NewTag, Registry, order
from small_project import PACKAGE, ROOT

from {{ cookiecutter.package_name }}.common.io import read_json
from {{ cookiecutter.package_name }}.common.manifest import write_manifest

GATE = 'import sys\nprint("accuracy  0.9  at least 0.8  yes")\nsys.exit({})\n'
ADA = "Ada <ada@example.com>"


def run(*command: str | Path, where: Path | None = None) -> str:
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def commit_everything(message: str) -> None:
    run("git", "add", ".")
    run("git", "commit", "--quiet", "--allow-empty", "--message", message)


@pytest.fixture(scope="module", autouse=True)
def at_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing of the user's own settings counts."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SITE_CACHE", "GLOBAL_CONFIG", "SYSTEM_CONFIG"):
            patch.setenv(f"DVC_{name}_DIR", str(tmp_path_factory.mktemp(name)))
        for role in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{role}_NAME", "Test")
            patch.setenv(f"GIT_{role}_EMAIL", "test@example.com")
        yield


@pytest.fixture(scope="module")
def pushed(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small trained project under Git and DVC, committed and pushed, with the directories that it was pushed to."""
    folder = tmp_path_factory.mktemp("pushed")
    shutil.copytree(trained, folder / "project", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder / "project")
        for name in ("src", "tools"):
            shutil.copytree(ROOT / name, name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        shutil.copy(ROOT / ".gitignore", ".")
        shutil.copy(ROOT / "dvc.yaml", ".")
        Path("tools/gate.py").write_text(GATE.format(0), encoding="utf-8")
        run("git", "init", "--quiet", "--initial-branch=main")
        run("dvc", "init", "--quiet")
        run("dvc", "remote", "add", "--quiet", "--default", "storage", "../storage")
        run("dvc", "add", "--quiet", "data/raw")
        run("dvc", "commit", "--force", "--quiet")
        run("dvc", "push", "--quiet")
        commit_everything("Run the pipeline")
        run("git", "clone", "--quiet", "--bare", ".", "../origin.git")
        run("git", "remote", "add", "origin", "../origin.git")
    return folder


@pytest.fixture
def project(pushed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, where the commands are typed."""
    shutil.copytree(pushed, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def type_in(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["release.py", *words])
    return release.main()


def another_model(accuracy: float) -> None:
    """Put another model and other scores in place, as a run would, and commit them."""
    manifest = Path("models/onnx/manifest.json")
    facts = read_json(manifest)
    manifest.unlink()
    del facts["files"], facts["digest"]
    write_manifest(Path("models/onnx"), facts | {"note": accuracy})
    metrics = read_json(Path("reports/metrics.json"))
    metrics["onnx_int8"]["accuracy"] = accuracy
    Path("reports/metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    params = Path("params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(params.replace("\nseed: 42\n", "\nseed: 43\n"), encoding="utf-8")
    run("dvc", "commit", "--force", "--quiet")
    commit_everything(f"Reach {accuracy}")


def test_versions_are_sorted_as_numbers() -> None:
    assert sorted(["1.10.0", "1.9.0", "0.2.0"], key=order) == ["0.2.0", "1.9.0", "1.10.0"]


def test_what_changed_is_told_before_and_after() -> None:
    before, after = lineage.flat({"a": {"b": 1, "c": [1]}, "d": 2}), lineage.flat({"a": {"b": 1, "c": [2]}, "e": None})
    assert lineage.differing(before, after) == {
        "a.c": {"before": [1], "after": [2]},
        "d": {"before": 2, "after": None},
    }


def test_a_tag_counts_although_the_clock_went_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("git", "init", "--quiet")
    Path("dvc.yaml").write_text("artifacts:\n  a:\n    path: models/onnx\n", encoding="utf-8")
    commit_everything("Begin")
    old = run("git", "rev-parse", "HEAD").strip()
    commit_everything("Go on")
    new = run("git", "rev-parse", "HEAD").strip()
    run("env", "GIT_COMMITTER_DATE=@4000000000 +0000", "git", "tag", "-a", "-m", "by hand: - x", "a#production#7", new)
    run("git", "tag", "-a", "-m", "the version", "a@v2.0.0", new)
    run("git", "tag", "a@v9.0.0", new)
    registry = Registry()
    registry.write([registry.version_tag("1.0.0", old, {"what": "é: 'x'\n#no comment"})])
    registry.write([NewTag("a#production#8", old, "Back", {})])
    registry = Registry()
    assert list(registry.versions()) == ["1.0.0", "2.0.0"]
    assert registry.versions()["1.0.0"].record == {"what": "é: 'x'\n#no comment"}
    assert [tag.version for tag in registry.assignments("production")] == ["2.0.0", "1.0.0"]
    assert registry.counter == 8
    assert "production" in run("gto", "show", "a@v1.0.0")


@pytest.mark.slow
def test_what_speaks_against_a_release(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(words: str, *command: str) -> None:
        assert type_in(monkeypatch, "release", *command) == 1
        said = capsys.readouterr().err
        assert words in said
        assert "fix:" in said
        assert run("git", "tag") == ""

    refused("this is no version", "1.2", "staging")
    refused("there is no such stage", "1.2.0", "live")
    refused("production needs an approval", "1.2.0", "production")
    onnx = project / "models/onnx/model.int8.onnx"
    sound = onnx.read_bytes()
    onnx.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    refused("dvc.lock is not in step", "1.2.0", "staging")
    onnx.write_bytes(sound)
    params = project / "params.yaml"
    params.write_text(params.read_text(encoding="utf-8").replace("seed: 42", "seed: 1", 1), encoding="utf-8")
    refused("params.yaml", "1.2.0", "staging")
    commit_everything("Forget to run")
    refused("dvc.lock is not in step", "1.2.0", "staging")
    run("git", "reset", "--quiet", "--hard", "HEAD~1")
    (project / "tools/gate.py").write_text(GATE.format(1), encoding="utf-8")
    commit_everything("Raise the bar")
    refused("the gate does not let the model pass", "1.2.0", "staging")
    run("git", "rm", "--quiet", "tools/gate.py")
    commit_everything("Lose the gate")
    refused("there is no gate", "1.2.0", "staging")
    run("git", "reset", "--quiet", "--hard", "HEAD~2")
    shutil.rmtree(project.parent / "storage/files")
    refused("not everything is in the remote", "1.2.0", "staging")
    assert type_in(monkeypatch, "rollback", "production") == 1
    assert "nothing to go back to in production" in capsys.readouterr().err


@pytest.mark.slow
def test_released_promoted_rolled_back_and_taken(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = Registry().artifact
    for version, accuracy in (("1.0.0", 0.8), ("1.10.0", 0.9)):
        another_model(accuracy)
        run("dvc", "push", "--quiet")
        assert type_in(monkeypatch, "release", version, "staging") == 0, capsys.readouterr().err
        assert type_in(monkeypatch, "release", version, "production", "--approved-by", ADA) == 0
    assert type_in(monkeypatch, "release", "1.10.0", "staging") == 1
    assert "is in staging already" in capsys.readouterr().err
    assert type_in(monkeypatch, "release", "1.11.0", "staging") == 1
    assert "this commit has a version" in capsys.readouterr().err
    commit_everything("Another one")
    assert type_in(monkeypatch, "release", "1.9.0", "staging") == 1
    assert "not above the last" in capsys.readouterr().err

    first, second = Registry().versions().values()
    assert lineage.lacking(first.record) == lineage.lacking(second.record) == []
    assert lineage.lacking(second.record | {"changed": None}) == ["changed"]
    assert (first.record["parent"], second.record["parent"]) == (None, "1.0.0")
    assert second.record["metrics"]["onnx_int8.accuracy"] == {"before": 0.8, "after": 0.9}
    assert second.record["gate"] == "accuracy  0.9  at least 0.8  yes\n"
    assert second.record["model"]["digest"] == read_json(project / "models/onnx/manifest.json")["digest"]
    assert set(second.record["changed"]["hashes"]) == {"models/onnx", "reports/metrics.json"}
    assert (second.record["changed"]["code"], second.record["changed"]["commits"]) == ("nothing", 1)

    storage = f"url={tmp_path / 'storage'}"
    take = ("dvc", "artifacts", "get", "--quiet", tmp_path / "origin.git", name, "--remote-config", storage)
    take = (*take, "--stage", "production", "--out")
    run(*take, tmp_path / "now", where=tmp_path)
    assert read_json(tmp_path / "now/manifest.json")["note"] == 0.9
    assert type_in(monkeypatch, "rollback", "production") == 0
    run(*take, tmp_path / "back", where=tmp_path)
    assert read_json(tmp_path / "back/manifest.json")["note"] == 0.8
    assert type_in(monkeypatch, "rollback", "production") == 1
    last = Registry().assignments("production")[-1]
    assert (last.version, last.record["rolled_back_from"], last.record["approved_by"]) == ("1.0.0", "1.10.0", ADA)

    capsys.readouterr()
    assert type_in(monkeypatch, "list") == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[1].split()[:4] == ["v1.10.0", "v1.0.0", "staging", second.commit[:7]]
    assert shown[1].split()[4:8] == ["accuracy", "0.900", "+0.100", "whole"]
    assert shown[2].split()[:4] == ["v1.0.0", "-", "production", first.commit[:7]]
    assert ADA in shown[5]
    assert "v1.10.0" in shown[5]

    predict = [sys.executable, "-m", f"{PACKAGE}.predict", "--text", "a warm film", "--directory", tmp_path / "back"]
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    assert json.loads(run(*predict))["label"] == "good"
    model = tmp_path / "back/model.int8.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"!")
    refused = subprocess.run(predict, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert f"{model} is not the file that was shipped" in refused.stderr


@pytest.mark.slow
def test_of_two_who_release_at_once_one_is_told(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    origin = project.parent / "origin.git"
    hook = origin / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho somebody was faster >&2\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)
    assert type_in(monkeypatch, "release", "1.0.0", "staging") == 1
    assert "somebody was faster" in capsys.readouterr().err
    assert run("git", "tag") == ""
    hook.unlink()
    assert type_in(monkeypatch, "release", "1.0.0", "staging") == 0
    assert len(run("git", "tag", where=origin).split()) == 2
