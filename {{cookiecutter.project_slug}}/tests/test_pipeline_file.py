"""`dvc.yaml` against the code: the dependencies, parameters and outs of each stage."""

import ast
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from small_project import PACKAGE, ROOT, STAGES

from {{ cookiecutter.package_name }}.config import Block, Params, Source

# No byte of an out depends on these. A new parameter must not make every stage run again.
DECIDE_NO_BYTES = {"__init__.py", "config.py", "errors.py"}
SHARED_BLOCKS = {"compute", "text"}
READ_BY_TOOLS = {"gate", "search"}
# Part of a command, so it reruns the stages that it starts.
LAUNCHER = "compute.launcher"
HEAVY = {"embeddings", "fine_tune"}
SOURCE = ROOT / "src" / PACKAGE
PIPELINE = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))


def imported_by(path: Path) -> set[Path]:
    """The modules of this package that a module imports, and what those import."""
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        found.add(module)
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                folder = module.parents[node.level - 1]
                parts = node.module.split(".") if node.module else []
                room = folder.joinpath(*parts)
                names = [room.with_suffix(".py"), *(room / f"{alias.name}.py" for alias in node.names)]
                waiting += [path for path in names if path.exists()]
    return {path for path in found if path.name not in DECIDE_NO_BYTES}


def leaves(stage: str) -> set[str]:
    return set(PIPELINE["stages"][stage].get("params", []))


def keys_of(block: str) -> set[str]:
    """The parameters of a block, as `dvc.yaml` lists them."""
    annotation = Params.model_fields[block].annotation
    assert isinstance(annotation, type)
    assert issubclass(annotation, Block)
    return {f"{block}.{key}" for key in annotation.model_fields}


def test_the_stages_are_the_files_and_the_blocks() -> None:
    assert list(PIPELINE["stages"]) == list(STAGES)
    assert {path.stem for path in (SOURCE / "stages").glob("*.py")} - {"__init__"} == set(STAGES)
    assert set(STAGES) | SHARED_BLOCKS | READ_BY_TOOLS | {"seed", "task"} == set(Params.model_fields)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_code_it_imports(stage: str) -> None:
    code = {dep for dep in PIPELINE["stages"][stage]["deps"] if dep.startswith("src/")}
    assert code == {path.relative_to(ROOT).as_posix() for path in imported_by(SOURCE / "stages" / f"{stage}.py")}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_every_parameter_of_its_block(stage: str) -> None:
    expected = keys_of(stage)
    if stage == "fetch":  # by the address and the digests of what it fetches
        fetched = {"fetch.data": "data/raw", "fetch.model": "models/base"}
        assert expected == fetched.keys()
        outs = PIPELINE["stages"]["fetch"]["outs"]
        expected = {f"{name}.{key}" for name, out in fetched.items() if out in outs for key in Source.model_fields}
    assert {leaf for leaf in leaves(stage) if leaf.startswith(stage)} == expected


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_shared_blocks_it_uses(stage: str) -> None:
    code = [path.read_text(encoding="utf-8") for path in imported_by(SOURCE / "stages" / f"{stage}.py")]
    text = "\n".join(code)
    for block in SHARED_BLOCKS:
        listed = {leaf for leaf in leaves(stage) if leaf.startswith(block)}
        used = keys_of(block) - {LAUNCHER}
        assert listed == (used if f"params.{block}" in text else set())
    for parameter in ("seed", "task"):
        assert (parameter in leaves(stage)) == (f"params.{parameter}" in text)


@pytest.mark.parametrize("stage", STAGES)
def test_the_launcher_starts_the_heavy_stages(stage: str) -> None:
    start = "${" + LAUNCHER + "}" if stage in HEAVY else "python"
    assert PIPELINE["stages"][stage]["cmd"] == f"{start} -m {PACKAGE} {stage}"


def test_paths_are_those_of_the_code() -> None:
    named = set((SOURCE / "paths.py").read_text(encoding="utf-8").split('"')[1::2])
    outs = [
        path if isinstance(path, str) else next(iter(path))
        for stage in PIPELINE["stages"].values()
        for kind in ("outs", "metrics", "plots")
        for path in stage.get(kind, [])
    ]
    assert outs
    assert set(outs) <= named


def test_stage_files_stay_small() -> None:
    for stage in STAGES:
        assert len((SOURCE / "stages" / f"{stage}.py").read_text(encoding="utf-8").splitlines()) <= 150
