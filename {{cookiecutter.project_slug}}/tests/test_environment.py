"""`make env-diff`: every kind of difference, in both modes; `make snapshot` writes no value that nobody asked for."""

import ast
import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import env_diff
import pytest
from small_project import ROOT, write_params

SNAPSHOT: dict[str, Any] = {
    "project": {"commit": "a" * 40, "clean": True, "dvc_lock_sha256": "b" * 64},
    "compute": {"determinism": "machine", "device": "cpu", "threads": 2, "set": ["OMP_NUM_THREADS"]},
    "system": {"os": "Debian", "kernel": "6.1", "libc": "glibc 2.36", "machine": "x86_64", "memory_bytes": 1},
    "cpu": {"name": "EPYC", "family_model_stepping": "25/17/1", "cores": 2, "instruction_sets": ["avx2", "avx512f"]},
    "gpu": None,
    "python": {"version": "3.11.7", "implementation": "CPython"},
    "packages": {
        "torch": {"version": "2.13.0", "hash": "c" * 64},
        "pytest": {"version": "9.2.0", "hash": "d" * 64},
    },
    "environment": {"OMP_NUM_THREADS": None, "GLIBC_TUNABLES": None},
}
CARD = {"cards": [{"name": "H200"}], "cuda": "12.6", "cudnn": 90100}
# What is changed, to what, and whether it can change bits in `machine` and in `portable` mode.
CHANGES = [
    ("project.commit", "e" * 40, True, True),
    ("project.clean", False, True, True),
    ("project.dvc_lock_sha256", None, False, False),
    ("compute.threads", 4, True, True),
    ("system.os", "Ubuntu", False, False),
    ("system.kernel", "6.2", False, False),
    ("system.memory_bytes", 2, False, False),
    ("system.libc", "glibc 2.40", True, True),
    ("system.machine", "aarch64", True, True),
    ("cpu.name", "Xeon", True, False),
    ("cpu.family_model_stepping", "6/1/1", True, False),
    ("cpu.cores", 64, False, False),
    ("cpu.instruction_sets", ["avx2"], True, True),
    ("gpu", CARD, False, False),
    ("python.version", "3.11.9", False, False),
    ("python.version", "3.13.0", True, True),
    ("packages.torch.version", "2.13.0+cu126", True, True),
    ("packages.torch.hash", "f" * 64, True, True),
    ("packages.pytest.version", "9.2.1", False, False),
    ("packages.nvidia-cudnn", {"version": "9", "hash": None}, True, True),
    ("environment.OMP_NUM_THREADS", "1", False, False),
    ("environment.GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX512F", True, True),
]


def with_change(snapshot: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(snapshot)
    place = changed
    *path, last = key.split(".")
    for name in path:
        place = place[name]
    place[last] = value
    return changed


@pytest.mark.parametrize("mode", ["machine", "portable"])
@pytest.mark.parametrize(("key", "value", "machine", "portable"), CHANGES)
def test_a_difference_is_told_and_judged(key: str, value: Any, machine: bool, portable: bool, mode: str) -> None:
    a = with_change(SNAPSHOT, "compute.determinism", mode)
    found = list(env_diff.differences(a, with_change(a, key, value)))
    assert len(found) == 1
    assert found[0].decides == (machine if mode == "machine" else portable)
    assert found[0].why


def test_equal_snapshots_have_no_difference() -> None:
    assert not list(env_diff.differences(SNAPSHOT, copy.deepcopy(SNAPSHOT)))


def test_a_gpu_matters_where_it_computes() -> None:
    on_gpu = with_change(with_change(SNAPSHOT, "compute.device", "cuda"), "gpu", CARD)
    other = with_change(on_gpu, "gpu", CARD | {"cudnn": 90200})
    assert [one.decides for one in env_diff.differences(on_gpu, other)] == [True]


def test_portable_mode_names_what_may_still_change() -> None:
    a = with_change(SNAPSHOT, "compute.determinism", "portable")
    reasons = [
        next(iter(env_diff.differences(a, with_change(a, "cpu.instruction_sets", sets)))).why
        for sets in (["avx2"], ["sse4_2"])
    ]
    assert "last digits of the ONNX models' scores" in reasons[0]
    assert reasons[1] == "portable mode needs AVX2"


def test_every_package_that_the_stages_import_is_judged() -> None:
    """A library that is new in the pipeline must be put into DECIDE, or here."""
    harmless = {"pydantic", "ruamel", "tqdm", "fsspec", "huggingface_hub", "cryptography"}
    names = {"sklearn": "scikit-learn"}
    imported = {
        (str(node.module) if isinstance(node, ast.ImportFrom) else alias.name).partition(".")[0]
        for path in (ROOT / "src").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not node.level and node.module)
        for alias in node.names
    } - set(sys.stdlib_module_names)
    assert len(imported) > 10
    assert {names.get(name, name).replace("_", "-") for name in imported - harmless} <= set(env_diff.DECIDE)


@pytest.mark.parametrize("content", [None, "no JSON", "[1]", '{"a": 1}'])
def test_a_file_that_is_no_snapshot_is_told(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "s.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    done = tool("env_diff.py", str(path), str(path), cwd=tmp_path)
    assert done.returncode == 1
    assert f"{path} is no snapshot" in done.stderr or f"{path.name} is no snapshot" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_snapshot_holds_packages_with_hashes_and_no_secret(tmp_path: Path, base_model: Path) -> None:
    write_params(tmp_path / "params.yaml", base_model)
    secret = {"AWS_SECRET_ACCESS_KEY": "Zm9vYmFyYmF6", "MY_TOKEN": "Zm9vYmFyYmF6", "GLIBC_TUNABLES": "glibc.x=1"}
    done = tool("snapshot.py", "--name", "here", cwd=tmp_path, **secret)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "snapshots/here.json").read_text(encoding="utf-8")
    assert "Zm9vYmFyYmF6" not in text
    snapshot = json.loads(text)
    assert snapshot["environment"]["GLIBC_TUNABLES"] == "glibc.x=1"
    assert snapshot["environment"]["OMP_NUM_THREADS"] == os.environ.get("OMP_NUM_THREADS")
    command = [sys.executable, "-m", "pip", "list", "--exclude-editable", "--format=json"]
    listed = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    versions = {one["name"].lower().replace("_", "-").replace(".", "-"): one["version"] for one in listed}
    assert {name: one["version"] for name, one in snapshot["packages"].items()} == versions
    assert len(snapshot["packages"]["numpy"]["hash"]) == 64


def tool(name: str, *arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "tools" / name, *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
