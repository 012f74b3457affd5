"""A project that is a folder of a larger repository: nothing in it takes Git's root for its own."""

import json
import os
import re
import runpy
import shutil
import sysconfig
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from workshop import SMALL_GATE, Project, bake, environment

KEY = "id AKIA" + "A1B2C3D4E5F6G7H8\n"


@pytest.fixture(scope="module")
def outer(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A repository with a commit, a hook of pre-commit, and a project of a small model in `ml`."""
    folder = tmp_path_factory.mktemp("monorepo")
    outer = Project(folder / "outer", folder / "home")
    outer.path.mkdir()
    (outer.path / "service.py").write_text("import os\nx=1\n", encoding="utf-8")
    root_hook = (
        "{id: root, name: of the root, entry: 'true', language: system, always_run: true, pass_filenames: false}"
    )
    config = f"repos: [{{repo: local, hooks: [{root_hook}]}}]\n"
    (outer.path / ".pre-commit-config.yaml").write_text(config, encoding="utf-8")
    outer.run("git", "init", "--quiet", "--initial-branch=main")
    outer.commit("Begin")
    outer.run("pre-commit", "install")
    answers = {"project_slug": "ml", "package_name": "review_sentiment", "scope": "team", "data_source": "files"}
    done = bake(outer.path, env=environment(folder / "home"), **answers)
    assert done.returncode == 0, done.stderr
    assert "git init" not in done.stdout
    ml = project_in(outer)
    installed = sysconfig.get_path("purelib")
    ml.run("make", "setup", PYTHONPATH=installed)  # pip finds all but the project there
    (next(ml.path.glob(".venv/lib/*/site-packages")) / "installed.pth").write_text(installed, encoding="utf-8")
    make = runpy.run_path(str(ml.path / "tests/small_project.py"))
    make["write_base_model"](folder / "model")
    make["write_params"](ml.path / "params.yaml", folder / "model", compute__threads=1)
    make["write_table"](ml.path / "data/raw/table.csv", make["sentences"](300, seed=1))
    ml.run("dvc", "add", "data/raw")
    ml.run("make", "hooks")
    return outer


def project_in(outer: Project) -> Project:
    """The project in the repository."""
    return Project(outer.path / "ml", Path(outer.env["HOME"]))


def test_there_is_one_repository_and_make_setup_begins_none(outer: Project) -> None:
    ml = project_in(outer)
    assert not (ml.path / ".git").exists()
    assert str(ml.path) in outer.run("ml/.venv/bin/python", "-c", "import review_sentiment as m; print(m.__file__)")
    ml.run("dvc", "push")
    outer.run("git", "add", ".")
    staged = outer.run("git", "diff", "--cached", "--name-only").splitlines()
    assert {"ml/dvc.yaml", "ml/.dvc/config", "ml/data/raw.dvc"} <= set(staged)
    assert all(name.startswith("ml/") for name in staged)
    assert not [name for name in staged if name.startswith("ml/data/raw/")]


def test_the_hook_checks_what_is_of_the_project_and_nothing_else(outer: Project) -> None:
    outer.commit("Add the project")
    git = outer.path / ".git"
    assert "staged" in (git / "hooks/pre-commit.legacy").read_text(encoding="utf-8")
    ml = project_in(outer)

    def committed(name: str, text: str, where: Project) -> tuple[bool, str]:
        (outer.path / name).write_text(text, encoding="utf-8")
        outer.run("git", "add", name)
        done = where.try_to("git", "commit", "--message", name)
        if done.returncode:
            outer.run("git", "reset", "--hard", "--quiet")
        return done.returncode == 0, done.stdout + done.stderr

    for name in ("service.py", "key.txt", "large.bin"):
        well, said = committed(name, KEY + "x" * 1_500_000, outer)
        assert well, said
        assert "of the root" in said
        assert "no keys" not in said
    for where in (outer, ml):
        well, said = committed("ml/key.txt", KEY, where)
        assert not well
        assert "key.txt:1 looks like an AWS access key" in said
    assert "would be reformatted" in committed("ml/src/odd.py", "import os\nx=1\n", outer)[1]
    well, said = committed("ml/count.py", "import sys\nprint('rows', len(open(sys.argv[1]).readlines()))\n", ml)
    assert well, said
    assert "of the root" in said
    with (ml.path / "README.md").open("a", encoding="utf-8") as readme:
        readme.write("\nOurs.\n")
    outer.run("git", "commit", "--message", "A part of it", "ml/README.md")
    outer.run("git", "switch", "--quiet", "--create", "without", outer.run("git", "rev-list", "HEAD").split()[-1])
    assert committed("other.py", "x=1\n", outer)[0]  # no project on this branch
    outer.run("git", "switch", "--quiet", "main")
    shown = (git / "hooks/pre-commit.legacy").read_text(encoding="utf-8")
    ml.run("make", "hooks")
    assert (git / "hooks/pre-commit.legacy").read_text(encoding="utf-8") == shown
    outer.run("git", "config", "core.hooksPath", "shared-hooks")
    refused = ml.try_to("make", "hooks")
    outer.run("git", "config", "--unset", "core.hooksPath")
    assert "let that hook run: test ! -f ml/.pre-commit-config.yaml || make" in refused.stderr


def test_its_workflows_move_to_the_root_by_the_documented_line(outer: Project) -> None:
    line = re.search(r"`(folder=services.*)`$", project_in(outer).text("docs/running.md"), re.MULTILINE)[1]
    shutil.copytree(outer.path / "ml/.github", outer.path / "services/ml/.github")
    outer.run("sh", "-c", line)
    for name in ("services-ml-ci.yml", "services-ml-team.yml"):  # another folder may hold a project ml too
        workflow = outer.path / ".github/workflows" / name
        outer.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(workflow))
        text = workflow.read_text(encoding="utf-8")
        assert "    working-directory: services/ml\n" in text
        assert text.count('paths: ["services/ml/**"]') == 2
        assert text.startswith("name: services/ml ")  # two projects' runs of one name would end each other
    shutil.rmtree(outer.path / "services")
    shutil.rmtree(outer.path / ".github")


@pytest.mark.slow
def test_what_reads_commits_and_clones_works_in_the_folder(outer: Project, small: Project, tmp_path: Path) -> None:
    """The run but for its last stage is that of another project; `make reproduce` runs every stage, of changed code."""
    ml = project_in(outer)
    shutil.rmtree(ml.path / "data/raw")
    ml.take_run_of(small)
    ml.run("make", "push")
    with (ml.path / "src/review_sentiment/evaluation/model_card.md").open("a", encoding="utf-8") as card:
        card.write("\nOf the folder ml.\n")
    assert re.findall("Running stage '(.*)'", ml.run("make", "repro")) == ["evaluate"]
    ml.set_params("gate.yaml", **SMALL_GATE)
    ml.commit("Let a small model pass")
    ml.run("make", "test", PYTEST_ADDOPTS="tests/test_config.py tests/test_evaluation.py")
    (outer.path / "service.py").write_text("x = 2\n", encoding="utf-8")
    outer.commit("Change what is elsewhere")
    (outer.path / "elsewhere").write_text("not committed", encoding="utf-8")
    ml.run("make", "lint", PYTHONPATH=str(ml.path / "src"))  # lint-imports is that of these tests
    ml.run("dvc", "push")
    assert "objects are sound" in ml.run("make", "audit", "ALL=1")
    assert " v1.0.0 " in ml.run("make", "release", "VERSION=1.0.0", "STAGE=staging")
    got = ("dvc", "artifacts", "get", str(outer.path), "ml:ml", "--stage", "staging", "--out", str(tmp_path / "taken"))
    ml.run(*got)
    assert (tmp_path / "taken/onnx/model_int8.onnx").exists()
    assert "no difference shown" in ml.run("make", "compare", "A=HEAD", "B=ml=ml@v1.0.0")
    ml.run("make", "search", "TRIALS=1")
    assert ml.run("dvc", "exp", "list", "--name-only").startswith("search-")
    record = ml.text(ml.run("make", "--silent", "record", "NAME=try", "EXP=HEAD", "BASE=ml=ml@v1.0.0").strip())
    assert re.search(r"hash of `dvc.lock` \| `[0-9a-f]{12}` \| `[0-9a-f]{12}`", record)
    ml.run("git", "clean", "--quiet", "-d", "--force", "experiments")
    ml.run("make", "snapshot", "NAME=here")
    assert json.loads(ml.text("snapshots/here.json"))["project"]["clean"]

    clone = Project(tmp_path / "clone", tmp_path / "home")
    clone.path.mkdir()
    clone.run("git", "clone", "--quiet", str(outer.path), ".")
    there = Project(clone.path / "ml", tmp_path / "home")
    there.run("dvc", "remote", "modify", "--local", "storage", "url", str(outer.path / "ml-storage"))
    there.run("make", "pull")
    assert json.loads(there.run("make", "--silent", "predict", "TEXT=a warm funny film"))["label"] == "good"
    name = "src/review_sentiment/modeling/probe.py"
    text = there.text(name).replace("max_iter=2000", "max_iter=2")
    assert text != there.text(name)
    (there.path / name).write_text(text, encoding="utf-8")
    for file in ("dvc.yaml", "dvc.lock"):  # the other stages take the time
        kept = YAML(typ="safe").load(there.text(file))
        del kept["stages"]["export_onnx"], kept["stages"]["evaluate"]
        YAML(typ="safe").dump(kept, there.path / file)
    there.commit("Stop the probe early")
    done = there.try_to("make", "reproduce")
    assert done.returncode != 0
    assert "models/probe" in done.stdout
    assert "probe.joblib differs: " in done.stdout
    assert "largest difference" in done.stdout
    assert "in tensor encoder.layer" not in done.stdout.split("models/probe: ")[0]
    assert 0 < int(re.search(r"(\d+) of 10 outs are the same", done.stdout)[1]) < 10


def test_a_folder_that_the_repository_ignores_begins_its_own(tmp_path: Path) -> None:
    outer = Project(tmp_path / "outer", tmp_path / "home")
    outer.path.mkdir()
    (outer.path / ".gitignore").write_text("build/\n", encoding="utf-8")
    outer.run("git", "init", "--quiet")
    done = bake(outer.path / "build", env=environment(tmp_path / "home"), project_slug="ml")
    assert done.returncode == 0, done.stderr
    assert (outer.path / "build/ml/.git").is_dir()
    assert os.listdir(outer.path / "build") == ["ml"]  # noqa: PTH208
