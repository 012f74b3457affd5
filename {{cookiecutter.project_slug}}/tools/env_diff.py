"""Say what two environments differ in, and which difference can change bits: `make env-diff A=… B=…`.

A and B are files of `make snapshot`. What a difference can do depends on the mode that A was written in: in `portable`
mode the instruction sets are pinned, in `machine` mode they are not. The command ends with 1 if one can change bits.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from {{ cookiecutter.package_name }}.common.io import read_json
from {{ cookiecutter.package_name }}.errors import UserError

# The packages that compute or write what a stage puts out; the others only start, check or carry.
DECIDE = {
    **dict.fromkeys(("numpy", "scipy", "scikit-learn", "torch", "transformers", "triton"), "computes numbers"),
    **dict.fromkeys(("onnx", "onnx-ir", "onnxscript", "ml-dtypes", "protobuf"), "writes the ONNX models"),
    **dict.fromkeys(("polars", "polars-runtime-32"), "writes the tables"),
    "onnxruntime": "computes the scores of the ONNX models",
    "tokenizers": "turns texts into tokens",
    "safetensors": "writes the weights",
    "jinja2": "writes the model card",
    "joblib": "writes the probe",
}
GPU_LIBRARIES = "nvidia-"


@dataclass(frozen=True)
class Difference:
    """What differs, both values, whether it can change bits, and why."""

    what: str
    a: Any
    b: Any
    decides: bool
    why: str


def main() -> int:
    """Print every difference; 1 if one can change bits."""
    if len(sys.argv) != 3:
        print("usage: make env-diff A=snapshots/one.json B=snapshots/other.json", file=sys.stderr)
        return 2
    try:
        a, b = (read_snapshot(Path(name)) for name in sys.argv[1:])
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 1
    found = list(differences(a, b))
    show(found, a["compute"]["determinism"])
    return 1 if any(one.decides for one in found) else 0


def read_snapshot(path: Path) -> dict[str, Any]:
    """A snapshot. Raises UserError where the file is none."""
    snapshot: dict[str, Any] = {}
    try:
        snapshot = read_json(path)
        wrong = "" if {"project", "compute", "cpu", "packages"} <= snapshot.keys() else "JSON of another kind"
    except (OSError, ValueError, AttributeError) as error:
        wrong = str(error) or type(error).__name__
    if wrong:
        raise UserError(
            f"{path} is no snapshot", expected="a file of `make snapshot`", found=wrong, fix="make snapshot"
        )
    return snapshot


def show(found: list[Difference], mode: str) -> None:
    """Print the differences, those that can change bits first."""
    for one in sorted(found, key=lambda one: not one.decides):
        print(f"{'CAN CHANGE BITS' if one.decides else 'changes nothing'}  {one.what}: {one.a} | {one.b}")
        print(f"{'':15}  {one.why}")
    deciding = sum(one.decides for one in found)
    print(f"{len(found)} differences, {deciding} of which can change bits (mode: {mode})")


def differences(a: dict[str, Any], b: dict[str, Any]) -> Iterator[Difference]:
    """Every difference between two snapshots."""
    yield from of_the_project(a, b)
    yield from of_the_machine(a, b)
    yield from of_the_packages(a["packages"], b["packages"])
    for name in sorted(a["environment"].keys() | b["environment"].keys()):
        yield from of_a_variable(name, a, b)


def of_the_project(a: dict[str, Any], b: dict[str, Any]) -> Iterator[Difference]:
    """Commit, changes beside it, parameters of `compute`, dvc.lock."""
    for key, decides, why in (
        ("commit", True, "other code or parameters"),
        ("clean", True, "changes that no commit holds are not known"),
        ("dvc_lock_sha256", False, "what came out, or was not yet run; it is no cause"),
    ):
        yield from compare(f"project.{key}", a["project"][key], b["project"][key], decides, why)
    for key in ("determinism", "device", "threads"):
        yield from compare(f"compute.{key}", a["compute"][key], b["compute"][key], True, "a parameter of the stages")


def of_the_machine(a: dict[str, Any], b: dict[str, Any]) -> Iterator[Difference]:
    """System, processor, GPU and Python."""
    for key, decides, why in (
        ("os", False, "the stages see of it only the C library"),
        ("kernel", False, "no stage computes in it"),
        ("libc", True, "numpy and torch call its mathematical functions"),
        ("machine", True, "another architecture has other kernels"),
        ("memory_bytes", False, "no stage reads it"),
    ):
        yield from compare(f"system.{key}", a["system"][key], b["system"][key], decides, why)
    yield from of_the_processor(a, b)
    cuda = "cuda" in (a["compute"]["device"], b["compute"]["device"])
    why = "kernels are chosen by card, driver, CUDA and cuDNN" if cuda else "compute.device is cpu"
    yield from compare("gpu", a["gpu"], b["gpu"], cuda, why)
    yield from of_python(a["python"], b["python"])


def of_the_processor(a: dict[str, Any], b: dict[str, Any]) -> Iterator[Difference]:
    """What kernels are chosen by: in `portable` mode only onnxruntime still chooses."""
    portable = a["compute"]["determinism"] == "portable"
    for key in ("name", "family_model_stepping"):
        why = "portable mode pins the kernels" if portable else "machine mode: MKL and OpenBLAS choose kernels by it"
        yield from compare(f"cpu.{key}", a["cpu"][key], b["cpu"][key], not portable, why)
    why = "compute.threads decides, not the cores"
    yield from compare("cpu.cores", a["cpu"]["cores"], b["cpu"]["cores"], False, why)
    ours, theirs = set(a["cpu"]["instruction_sets"]), set(b["cpu"]["instruction_sets"])
    only = " ".join(sorted(ours - theirs)) or "-", " ".join(sorted(theirs - ours)) or "-"
    if not portable:
        why = "machine mode: every library chooses its kernels by them"
    elif "avx2" in ours & theirs:
        why = "not the weights, but onnxruntime chooses its kernels by them: last digits of the ONNX models' scores"
    else:
        why = "portable mode needs AVX2"
    yield from compare("cpu.instruction_sets, only in", *only, True, why)


def of_python(a: dict[str, str], b: dict[str, str]) -> Iterator[Difference]:
    """A patch of Python keeps its tables and formats; a minor version may bring others."""
    same = a["implementation"] == b["implementation"] and minor(a["version"]) == minor(b["version"])
    why = "a patch of the same version" if same else "its Unicode tables, `csv` and `json` decide what a text is"
    yield from compare("python", " ".join(a.values()), " ".join(b.values()), not same, why)


def minor(version: str) -> str:
    """3.11 of 3.11.7."""
    return ".".join(version.split(".")[:2])


def of_the_packages(a: dict[str, Any], b: dict[str, Any]) -> Iterator[Difference]:
    """Packages of another version, of another build of one version, and those that one side lacks."""
    for name in sorted(a.keys() | b.keys()):
        ours, theirs = a.get(name), b.get(name)
        does = DECIDE.get(name) or ("computes on the GPU" if name.startswith(GPU_LIBRARIES) else None)
        why = f"it {does}" if does else "no stage computes or writes with it"
        yield from compare(name, version_of(ours), version_of(theirs), bool(does), why)
        if ours and theirs and ours["version"] == theirs["version"]:
            why = f"another build of {ours['version']}; {why}"
            yield from compare(f"{name}, files", ours["hash"], theirs["hash"], bool(does), why)


def version_of(package: dict[str, Any] | None) -> str:
    """The version of a package that may not be there."""
    return package["version"] if package else "not installed"


def of_a_variable(name: str, a: dict[str, Any], b: dict[str, Any]) -> Iterator[Difference]:
    """An environment variable: decisive unless the launcher sets it whatever the shell says."""
    overruled = name in a["compute"]["set"] and name in b["compute"]["set"]
    why = "the launcher sets it from params.yaml" if overruled else "libraries read it, the launcher leaves it"
    yield from compare(name, a["environment"].get(name), b["environment"].get(name), not overruled, why)


def compare(what: str, a: Any, b: Any, decides: bool, why: str) -> Iterator[Difference]:
    """The difference, if there is one."""
    if a != b:
        yield Difference(what, a, b, decides, why)


if __name__ == "__main__":
    sys.exit(main())
