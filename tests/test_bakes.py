"""Every value of every option is baked, and each project passes what its users expect of it."""

import json
import re
import tomllib

import pytest
from ruamel.yaml import YAML
from workshop import PROJECT, TEMPLATE, Project, grow

# The options that change code or stages as a product; every value of the others at least once.
BAKES = {
    "sample-local": {},
    "sample-s3": {"dvc_remote": "s3", "license": "MIT", "ci": "none", "s3_endpoint_url": "https://s3.example.com:9000"},
    "files-local": {"data_source": "files", "license": "BSD-3-Clause", "python_version": "3.12"},
    "files-s3": {
        "data_source": "files",
        "dvc_remote": "s3",
        "base_model": "distilbert/distilbert-base-uncased",
        "tracking": "mlflow",
    },
    "hub-local": {"data_source": "hub", "license": "Proprietary", "python_version": "3.13", "hardware": "cuda"},
    "hub-s3": {
        "data_source": "hub",
        "dvc_remote": "s3",
        "base_model": "FacebookAI/roberta-base",
        "project_slug": "a",
        "tracking": "mlflow",
        "package_name": "a_package_with_a_name_that_is_about_as_long_as_anybody_would_want_to_type",
    },
}
MODULES = """__init__ __main__ config errors paths predict
    common/__init__ common/determinism common/distributed common/fingerprint common/io common/manifest
    common/process common/tasks
    data/__init__ data/labels data/profile data/rows data/sorting data/splits
    evaluation/__init__ evaluation/card evaluation/metrics evaluation/predictions evaluation/robustness
    export/__init__ export/graph export/parity export/quantization
    inference/__init__ inference/classifier inference/output_files inference/outputs inference/texts
    kernels/__init__ kernels/attention kernels/cpu_training kernels/onednn kernels/packing kernels/vocabulary
    modeling/__init__ modeling/classifier modeling/embedding_cache modeling/near_duplicates modeling/probe
    modeling/scores
    service/__init__ service/server service/signature
    stages/__init__ stages/embeddings stages/evaluate stages/export_onnx stages/fetch stages/fine_tune stages/prepare
    tables/__init__ tables/csv_reader tables/files tables/json_reader tables/parquet_reader tables/rows
    text/__init__ text/cleaning text/token_store text/tokenization
    training/__init__ training/batches training/checkpoints training/loop training/sharing""".split()
TESTS = """conftest record_reads small_project test_bad_model test_checkpoints
    test_compare test_cpu_training test_environment test_evaluation test_export test_gate test_maturity test_model
    test_paired test_params test_pipeline_file test_predict test_prepare test_processes test_release
    test_sameness test_search test_serve test_signature test_stages test_tables test_text_graph
    test_vocabulary""".split()
TOOLS = """audit compare env_diff gate image in_step keys lineage maturity objects owners paired pin plots rebuild
    record registry release remote reproduce results s3 scan search seeds signature small snapshot
    transfer trials""".split()


ALL: list[str] = []
FEW = ["tests/test_params.py", "tests/test_pipeline_file.py"]
MORE = [*FEW, "tests/test_prepare.py"]
# In parts, which run side by side.
SLOW = {
    "sameness": ["tests/test_sameness.py"],
    "processes": ["tests/test_processes.py"],
    "rest": ["--ignore=tests/test_sameness.py", "--ignore=tests/test_processes.py"],
}


def expected_files(answers: dict[str, str]) -> set[str]:
    package = answers.get("package_name", "review_sentiment")
    files = """.cookiecutter.yaml .dockerignore .dvc/.gitignore .dvc/config .dvc/plots/calibration.json
        .dvc/plots/curve.json .dvc/plots/per_class.json .dvcignore .gitattributes .gitignore .pre-commit-config.yaml
        Dockerfile LICENSE Makefile README.md docs/environment.md docs/evidence.md docs/experiments.md docs/releases.md
        dvc.yaml make/text_graph.mk params.yaml pyproject.toml requirements-supply-chain.lock
        requirements.lock""".split()
    files += [f"src/{package}/evaluation/model_card.md", *(f"src/{package}/{name}.py" for name in MODULES)]
    files += [f"tests/{name}.py" for name in TESTS]
    files += [f"tools/{name}.py" for name in [*TOOLS, "text_graph/build", "text_graph/graph"]]
    if answers.get("tracking") == "mlflow":
        files.append("tools/mlflow_run.py")
    if answers.get("ci") != "none":
        files.append(".github/workflows/ci.yml")
    if answers.get("data_source", "sample") == "sample" or "base_model" not in answers:
        files.append("requirements-sample.lock")
    return set(files)


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
        assert "cookiecutter." not in text.replace(".cookiecutter.yaml", ""), name
        assert "{%" not in text, name
        for found in re.finditer(r"\{\{", text):
            # `${{ … }}` is GitHub's; `{{` inside an f-string is Python's.
            assert text[found.start() - 1] == "$" or name.endswith(".py"), name
        assert text.endswith("\n"), name
        assert not text.endswith("\n\n"), name


def test_python_holds_no_template_but_the_name_of_the_package() -> None:
    for path in PROJECT.rglob("*.py"):
        text = path.read_text(encoding="utf-8").replace("{{ cookiecutter.package_name }}", "")
        assert not re.search(r"cookiecutter\.|\{%|\{#", text), path


def test_yaml_and_toml_parse(baked: tuple[Project, dict[str, str]]) -> None:
    project, answers = baked
    for name in expected_files(answers):
        if name.endswith((".yaml", ".yml")):
            assert YAML(typ="safe").load(project.text(name)), name
        if name.endswith(".toml"):
            assert tomllib.loads(project.text(name)), name


def test_the_workflow_is_valid_and_calls_only_make(baked: tuple[Project, dict[str, str]]) -> None:
    project, answers = baked
    if answers.get("ci") == "none":
        return
    workflow = ".github/workflows/ci.yml"
    project.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", workflow)
    steps = [step for job in YAML(typ="safe").load(project.text(workflow))["jobs"].values() for step in job["steps"]]
    commands = [step["run"] for step in steps if "run" in step]
    assert commands
    assert all(command.startswith("make ") for command in commands)
    targets = set(re.findall(r"^([a-z-]+):", project.text("Makefile"), re.MULTILINE))
    assert {command.split()[1] for command in commands} <= targets
    assert "secrets." not in project.text(workflow)
    assert all(step["with"]["fetch-depth"] == 0 for step in steps if "checkout" in step.get("uses", ""))


def test_lint_and_types_pass(baked: tuple[Project, dict[str, str]]) -> None:
    baked[0].run("make", "lint")


# The bakes differ in parameters and texts, which these two files of tests hold against the code.
@pytest.mark.parametrize("baked", BAKES, indirect=True)
def test_its_own_tests_pass(baked: tuple[Project, dict[str, str]]) -> None:
    assert " passed" in baked[0].run("pytest", "-q", "-m", "not slow", *FEW)


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
        ("files-s3", "regression", ALL),
        *(pytest.param("files-local", task, MORE, marks=pytest.mark.slow) for task in TASKS),
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
        assert " passed" in project.run("pytest", "-q", "-m", "not slow", *which)
    finally:
        (project.path / "params.yaml").write_text(before, encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("part", SLOW)
@pytest.mark.parametrize("baked", ["sample-local"], indirect=True)
def test_its_own_slow_tests_pass(baked: tuple[Project, dict[str, str]], part: str) -> None:
    assert " passed" in baked[0].run("pytest", "-q", "-m", "slow", *SLOW[part])


def test_dvc_reads_the_pipeline(baked: tuple[Project, dict[str, str]]) -> None:
    project, answers = baked
    if answers.get("data_source") == "files":
        (project.path / "data/raw").mkdir(parents=True)
        (project.path / "data/raw/train.csv").write_text("text,label\n", encoding="utf-8")
        project.run("dvc", "add", "data/raw")
    stages = project.run("dvc", "stage", "list", "--name-only").split()
    assert [name for name in stages if name != "data/raw.dvc"] == [
        "fetch", "prepare", "embeddings", "fine_tune", "export_onnx", "evaluate"
    ]  # fmt: skip
    assert "fine_tune" in project.run("dvc", "dag")
    remote = project.run("dvc", "remote", "list")
    assert ("s3://my-bucket/" if answers.get("dvc_remote") == "s3" else "-storage") in remote
    assert project.run("dvc", "config", "remote.storage.verify").strip() == "true"


def test_the_licence_is_the_chosen_one(baked: tuple[Project, dict[str, str]]) -> None:
    project, answers = baked
    title = {"MIT": "MIT License", "BSD-3-Clause": "BSD 3-Clause", "Proprietary": "All rights reserved"}
    assert title.get(answers.get("license", ""), "Apache License") in project.text("LICENSE")


def test_every_dependency_is_used() -> None:
    about = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.findall(r'^    "([a-z0-9.-]+)', about.split("dependencies = [")[1].split("]\n")[0], re.MULTILINE)
    code = "\n".join(path.read_text(encoding="utf-8") for path in PROJECT.rglob("*.py"))
    imported = set(re.findall(r"^\s*(?:from|import) (\w+)", code, re.MULTILINE))
    # Used without an import of ours: as commands, by fsspec for its addresses, or by torch and transformers.
    elsewhere = {"dvc-s3", "onnxscript"}
    names = {"scikit-learn": "sklearn", "ruamel.yaml": "ruamel"}
    assert len(listed) > 15
    assert {n for n in listed if names.get(n, n.replace("-", "_")) not in imported} == elsewhere
