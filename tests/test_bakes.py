"""Every value of every option is baked, and each project passes what its users expect of it."""

import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from workshop import PROJECT, TEMPLATE, Project, grow

# The options that change code or stages as a product; every value of the others at least once.
BAKES = {
    "sample-local": {},
    "sample-s3": {
        "scope": "team",
        "dvc_remote": "s3://my-bucket",
        "license": "MIT",
        "ci": "none",
        "task": "multi_label",
    },
    "files-local": {
        "data_source": "files",
        "license": "BSD-3-Clause",
        "python_version": "3.12",
        "dvc_remote": "/srv/storage",
    },
    "files-s3": {
        "scope": "production",
        "data_source": "files",
        "dvc_remote": "s3://my-bucket/a/b",
        "base_model": "distilbert/distilbert-base-uncased",
        "tracking": "mlflow",
    },
    "hub-local": {
        "scope": "team",
        "data_source": "hub",
        "license": "Proprietary",
        "python_version": "3.13",
        "hardware": "cuda",
        "task": "pair",
    },
    "hub-s3": {
        "data_source": "hub",
        "dvc_remote": "s3://my-bucket",
        "task": "regression",
        "base_model": "FacebookAI/roberta-base",
        "project_slug": "a",
        "tracking": "mlflow",
        "package_name": "a_package_with_the_longest_name_possible",
    },
}

FEW = ["tests/test_config.py", "tests/test_pipeline.py"]
# Those that lean does not hold.
LARGER = [f"tests/{path.name.split('%}')[1].split('{%')[0]}" for path in sorted((PROJECT / "tests").glob("{%*"))]
# What a machine may lack, or is done by hand. Packages are all installed, but one has no wheel for Python 3.14.
SKIPPED = r"no (Redis|taskset|affinity|/dev/full)|(promtool|amtool|openssl|onnxruntime-extensions) is not"
SKIPPED += r"|user namespaces|takes minutes, by hand|lacks the kernels"
USER = "quaint-user-name"  # tests/grown/test_same_bytes.py looks for it
# The second has all Python files; those of a team are typed in test_monorepo.py.
TYPED = ("sample-local", "files-s3")


def expected_files(answers: dict[str, str]) -> set[str]:
    """The files of the template whose names' conditions hold."""
    team, mlflow = answers.get("scope", "lean") != "lean", answers.get("tracking") == "mlflow"
    production = answers.get("scope") == "production"
    github, default_model = answers.get("ci") != "none", "base_model" not in answers
    holds = {
        "cookiecutter.__team": team,
        "cookiecutter.__production": production,
        "cookiecutter.tracking == 'mlflow'": mlflow,
        "cookiecutter.__team or cookiecutter.tracking == 'mlflow'": team or mlflow,
        "cookiecutter.ci == 'github'": github,
        "cookiecutter.ci == 'github' and cookiecutter.__team": github and team,
        "cookiecutter.ci == 'github' and cookiecutter.__production": github and production,
        "cookiecutter.data_source == 'sample' or cookiecutter.__default_model == 'True'": default_model
        or answers.get("data_source", "sample") == "sample",
    }
    found = set()
    for path in PROJECT.rglob("*"):
        name = path.relative_to(PROJECT).as_posix()
        condition = re.search(r"\{% if (.*?) %\}", name)
        if path.is_file() and (not condition or holds[condition[1]]):
            name = re.sub(r"\{%.*?%\}", "", name)
            found.add(name.replace("{{cookiecutter.package_name}}", answers.get("package_name", "review_sentiment")))
    return found


@pytest.fixture(scope="session", params=BAKES)
def baked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, dict[str, str]]:
    answers = BAKES[request.param]
    return grow(tmp_path_factory.mktemp(request.param), **answers), answers


def test_every_value_of_every_choice_is_baked() -> None:
    questions = json.loads((TEMPLATE / "cookiecutter.json").read_text(encoding="utf-8"))
    for name, choices in questions.items():
        if isinstance(choices, list):
            assert {answers.get(name, choices[0]) for answers in BAKES.values()} == set(choices), name


def test_the_files_are_exactly_these(baked: tuple[Project, dict[str, str]]) -> None:
    project, answers = baked
    found = {path.relative_to(project.path).as_posix() for path in project.path.rglob("*") if path.is_file()}
    assert {name for name in found if not name.startswith(".git/")} == expected_files(answers)


def test_no_braces_are_left_over(baked: tuple[Project, dict[str, str]]) -> None:
    project, answers = baked
    for name in expected_files(answers):
        text = project.text(name)
        if name.endswith(("evaluation/model_card.md", ".html")):
            continue  # templates of Jinja themselves, which `evaluate`, `make look` and `make monitor` fill
        assert "cookiecutter." not in text.replace(".cookiecutter.yaml", ""), name
        assert "{%" not in text, name
        for found in re.finditer(r"\{\{", text):
            # `${{ … }}` is GitHub's; `{{` in an f-string is Python's, elsewhere Prometheus', Grafana's or Docker's.
            others = name.endswith(".py") or name.startswith(("deploy/", "make/production.mk"))
            assert text[found.start() - 1] == "$" or others, name
        assert text.endswith("\n"), name
        assert not text.endswith("\n\n"), name


def test_python_holds_no_template_but_the_name_of_the_package() -> None:
    for path in PROJECT.rglob("*.py*"):
        text = path.read_text(encoding="utf-8").replace("{{ cookiecutter.package_name }}", "")
        assert not re.search(r"cookiecutter\.|\{%|\{#", text), path


def test_yaml_and_toml_parse(baked: tuple[Project, dict[str, str]]) -> None:
    project, answers = baked
    for name in expected_files(answers):
        if name.endswith((".yaml", ".yml")):
            assert all(YAML(typ="safe").load_all(project.text(name))), name
        if name.endswith(".toml"):
            assert tomllib.loads(project.text(name)), name


def test_the_workflows_are_valid_and_call_only_make(baked: tuple[Project, dict[str, str]]) -> None:
    project, _ = baked
    makefiles = [project.path / "Makefile", *(project.path / "make").glob("*.mk")]
    texts = "\n".join(path.read_text(encoding="utf-8") for path in makefiles)
    targets = set(re.findall(r"^([a-z-]+):", texts, re.MULTILINE))
    for workflow in (project.path / ".github/workflows").glob("*"):
        project.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(workflow))
        text = workflow.read_text(encoding="utf-8")
        steps = [step for job in YAML(typ="safe").load(text)["jobs"].values() for step in job["steps"]]
        commands = [step["run"] for step in steps if "run" in step]
        assert commands
        assert all(command.startswith("make ") for command in commands)
        assert {command.split()[1] for command in commands} <= targets
        assert "secrets." not in text
        checkouts = [step for step in steps if "checkout" in step.get("uses", "")]
        assert checkouts
        assert all(step["with"]["fetch-depth"] == 0 for step in checkouts)


def test_lint_and_types_pass(baked: tuple[Project, dict[str, str]]) -> None:
    project, answers = baked
    (project.path / "count.py").write_text("import sys\nprint('rows', len(open(sys.argv[1]).readlines()))\n", "utf-8")
    typed = answers in [BAKES[name] for name in TYPED]
    project.run("make", *(["lint"] if typed else ["params", "owners", "style"]))
    (project.path / "count.py").unlink()
    # What the template ships beside src is held to the same rules here, not in the project.
    but = "lint.per-file-ignores = {'tests/*' = ['D1', 'S101', 'S106', 'S311']}"
    project.run("ruff", "check", "--config", but)
    project.run("ruff", "format", "--check")


def run_tests(project: Project, marked: str, *which: str) -> None:
    """Run tests in a project, which must pass and may be skipped only for what a machine lacks."""
    shown = project.run("pytest", "-q", "-rs", "-m", marked, *which, USER=USER, LOGNAME=USER)
    assert " passed" in shown
    reasons = re.findall(r"^SKIPPED \[\d+\] (.*)", shown, re.MULTILINE)
    assert [reason for reason in reasons if not re.search(SKIPPED, reason)] == []


@pytest.mark.parametrize("marked", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
@pytest.mark.parametrize("baked", ["sample-local"], indirect=True)
def test_all_tests_of_lean_pass(baked: tuple[Project, dict[str, str]], marked: str, tmp_path: Path) -> None:
    """Its own, and those of tests/grown, which use its fixtures and hold what its owner may change freely."""
    project = baked[0].copy(tmp_path)
    shutil.copytree(TEMPLATE / "tests/grown", project.path / "tests", dirs_exist_ok=True)
    run_tests(project, marked)


@pytest.mark.slow
@pytest.mark.parametrize("baked", ["files-s3"], indirect=True)
def test_the_slow_tests_of_the_larger_sizes_pass(baked: tuple[Project, dict[str, str]], tmp_path: Path) -> None:
    """They train the small model once; those of tests/grown_production are among them."""
    project, grown = baked[0].copy(tmp_path), TEMPLATE / "tests/grown_production"
    shutil.copytree(grown, project.path / "tests", dirs_exist_ok=True)
    run_tests(project, "slow", *LARGER, *(f"tests/{path.name}" for path in sorted(grown.glob("*.py"))))


# The other bakes differ from these in parameters and texts, which two files of tests hold against the code.
@pytest.mark.parametrize("baked", [name for name in BAKES if name != "sample-local"], indirect=True)
def test_its_own_tests_pass(baked: tuple[Project, dict[str, str]]) -> None:
    run_tests(baked[0], "not slow", *FEW)


COLUMNS = {"prepare__text_column": "mensaje", "prepare__label_column": "etiqueta"}
TASKS = {
    "single_label": {"prepare__keep": "{column: idioma, value: es}", "compute__threads": 1},
    "multi_label": {"prepare__label_separator": "'|'", "prepare__malformed_rows": "quarantine"},
    "pair": {"prepare__second_text_column": "respuesta", "text__pooling": "cls"},
    "regression": {"prepare__validation_fraction": 0.2, "seed": 7},
}


# Its tests run on parameters of their own, so every valid params.yaml passes.
@pytest.mark.parametrize(
    ("baked", "task", "which"),
    [
        ("files-s3", "regression", [*FEW, *LARGER]),
        *(pytest.param("files-local", task, FEW, marks=pytest.mark.slow) for task in TASKS),
    ],
    indirect=["baked"],
)
def test_its_own_tests_pass_with_other_parameters(
    baked: tuple[Project, dict[str, str]], task: str, which: list[str]
) -> None:
    project, _ = baked
    before = project.text("params.yaml")
    project.set_params(task=task, **COLUMNS, **TASKS[task])
    try:
        project.run("make", "params")
        run_tests(project, "not slow", *which)
    finally:
        (project.path / "params.yaml").write_text(before, encoding="utf-8")


def test_dvc_reads_the_pipeline(baked: tuple[Project, dict[str, str]]) -> None:
    project, answers = baked
    if answers.get("data_source") == "files":
        (project.path / "data/raw").mkdir(parents=True)
        (project.path / "data/raw/train.csv").write_text("text,label\n", encoding="utf-8")
        project.run("dvc", "add", "data/raw")
    stages = [name for name in project.run("dvc", "stage", "list", "--name-only").split() if name != "data/raw.dvc"]
    fetched = ["fetch@model"] if answers.get("data_source") == "files" else ["fetch@data", "fetch@model"]
    assert stages == [*fetched, "check_model", "prepare", "embeddings", "fine_tune", "export_onnx", "evaluate"]
    assert "fine_tune" in project.run("dvc", "dag")
    remote = project.run("dvc", "remote", "list")
    assert remote.split()[1] == answers.get("dvc_remote", str(project.path.parent / "review-sentiment-storage"))
    assert project.run("dvc", "config", "remote.storage.verify").strip() == "true"


def test_the_licence_is_the_chosen_one(baked: tuple[Project, dict[str, str]]) -> None:
    project, answers = baked
    title = {"MIT": "MIT License", "BSD-3-Clause": "BSD 3-Clause", "Proprietary": "All rights reserved"}
    assert title.get(answers.get("license", ""), "Apache License") in project.text("LICENSE")


def test_every_dependency_is_used() -> None:
    about = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.findall(r'^    "([a-z0-9.-]+)', about.split("dependencies = [")[1].split("]\n")[0], re.MULTILINE)
    code = "\n".join(path.read_text(encoding="utf-8") for path in PROJECT.rglob("*.py*"))
    imported = set(re.findall(r"^\s*(?:from|import) (\w+)", code, re.MULTILINE))
    # Used without an import of ours: as commands, by fsspec for its addresses, or by torch and transformers.
    elsewhere = {"dvc-s3", "onnxscript"}
    names = {"scikit-learn": "sklearn", "ruamel.yaml": "ruamel"}
    assert len(listed) > 15
    assert {n for n in listed if names.get(n, n.replace("-", "_")) not in imported} == elsewhere
