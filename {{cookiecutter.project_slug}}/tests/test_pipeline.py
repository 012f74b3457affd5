"""`dvc.yaml` against the code: what a stage imports, reads and writes; and what stages make of the small project."""

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from small_project import PACKAGE, ROOT, STAGES, report, run_stage, write_params

from {{ cookiecutter.package_name }}.common.fingerprint import import_closure

SOURCE = ROOT / "src" / PACKAGE
PIPELINE = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
PARAMS = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
LAUNCHED = {"embeddings", "fine_tune"}
# Declared but not read by every task or at every run.
SOMETIMES = {"prepare.label_separator", "export_onnx.min_precision"}


def outs_of(stage: dict[str, Any]) -> list[str]:
    entries = [path for kind in ("outs", "metrics", "plots") for path in stage.get(kind, [])]
    return [path if isinstance(path, str) else next(iter(path)) for path in entries]


def declared(stage: str) -> dict[str, Any]:
    entry = PIPELINE["stages"][stage]
    return entry.get("do", entry)


def test_the_stages_are_the_files_and_the_blocks() -> None:
    assert list(PIPELINE["stages"]) == list(STAGES)
    assert {path.stem for path in (SOURCE / "stages").glob("*.py")} - {"__init__"} == set(STAGES)
    assert set(STAGES) - {"check_model"} | {"compute", "launcher", "select_by", "text", "seed", "task"} == set(PARAMS)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_folders_that_it_imports(stage: str) -> None:
    """What a stage depends on: folders of the package; of the folder `stages` it is the stage's own file."""
    own = SOURCE / "stages" / f"{stage}.py"
    sources = {path if path == own else path.parent for path in import_closure(own)}
    assert {dep for dep in declared(stage)["deps"] if dep.startswith("src/")} == {
        path.relative_to(ROOT).as_posix() for path in sources
    }


def covers(declarations: list[str], name: str) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in declarations)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_what_it_reads(trained: Path, stage: str) -> None:
    """A parameter that is read and not declared would leave outs stale; one that is declared and not read reruns it."""
    read = set(json.loads((trained / f".reads/{stage}.json").read_text(encoding="utf-8")))
    declarations = [name.replace("fetch.${key}", "fetch") for name in declared(stage)["params"]]
    assert [name for name in sorted(read) if not covers(declarations, name)] == []
    unread = [one for one in declarations if not any(covers([one], name) for name in read)]
    assert set(unread) <= SOMETIMES


@pytest.mark.parametrize("stage", STAGES)
def test_the_launcher_starts_the_stages_that_run_in_parallel(stage: str) -> None:
    start = "${launcher}" if stage in LAUNCHED else "python"
    key = " ${key}" if stage == "fetch" else ""
    assert declared(stage)["cmd"] == f"{start} -m {PACKAGE} {stage}{key}"


def test_paths_are_those_of_the_code() -> None:
    named = set((SOURCE / "paths.py").read_text(encoding="utf-8").split('"')[1::2])
    outs = [path for stage in STAGES if stage != "fetch" for path in outs_of(declared(stage))]
    outs += [block["into"] for block in PARAMS["fetch"].values()]
    assert len(outs) > 10
    assert set(outs) <= named


@pytest.mark.slow
def test_the_probe_starts_the_head_and_every_model_learns(trained: Path) -> None:
    metrics = report(trained, "metrics.json")
    for model in ("probe", "torch", "onnx_fp32", "onnx_int8"):
        assert metrics[model]["accuracy"] > 0.8
        assert metrics[model]["accuracy_low"] <= metrics[model]["accuracy"] <= metrics[model]["accuracy_high"]


@pytest.mark.slow
def test_a_wrong_digest_is_named_and_nothing_is_written(base_model: Path, tmp_path: Path) -> None:
    write_params(tmp_path / "params.yaml", base_model)
    text = (tmp_path / "params.yaml").read_text(encoding="utf-8")
    right = text.partition("config.json: ")[2][:64]
    for old, new, words in ((right, "f" * 64, (right, "f" * 64)), ("config.json", "missing.json", ("cannot fetch",))):
        (tmp_path / "params.yaml").write_text(text.replace(old, new), encoding="utf-8")
        done = run_stage(tmp_path, "fetch")
        assert done.returncode == 1
        assert all(word in done.stderr for word in words)
        assert not list((tmp_path / "models").glob("*"))
