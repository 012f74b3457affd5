"""Snapshot and rebuild, the prediction image, and the supply chain, on a small project, as a user would do it."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import joblib
import numpy as np
import pytest
from workshop import TEMPLATE, Project

pytestmark = pytest.mark.slow

STORAGE = TEMPLATE / "build/containers"  # the base image is made once
BASE = "localhost/debian-python"
MEGABYTE = 1_000_000
SECRET = "kV9mQ2xT7bLr4Z"


@pytest.fixture(scope="module")
def project(small: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small project, pushed."""
    project = small.copy(tmp_path_factory.mktemp("environment"))
    project.run("dvc", "push")
    return project


def test_an_environment_is_made_again_from_its_snapshot(project: Project, tmp_path: Path) -> None:
    project.run("make", "snapshot", "NAME=here")
    snapshot = json.loads(project.text("snapshots/here.json"))
    assert snapshot["project"]["clean"]
    assert snapshot["project"]["commit"] == project.run("git", "rev-parse", "HEAD").strip()
    # As a user has it: without what only this template needs, such as a server of MLflow.
    locked = re.findall(r"^([\w.-]+)==", project.text("requirements.lock"), re.MULTILINE)
    names = {re.sub(r"[-_.]+", "-", name).lower() for name in [*locked, "pip", "setuptools"]}
    snapshot["packages"] = {name: one for name, one in snapshot["packages"].items() if name in names}
    (project.path / "snapshots/here.json").write_text(json.dumps(snapshot), encoding="utf-8")
    again = tmp_path / "elsewhere/again"
    said = project.run("make", "rebuild", "SNAPSHOT=snapshots/here.json", f"INTO={again}")
    assert "0 of which can change bits" in said
    assert " outs are the same" in said
    assert "  NO\n" not in said
    print(said[said.index("rebuilt in") :])
    refused = project.try_to("make", "rebuild", "SNAPSHOT=snapshots/here.json", f"INTO={again}")
    assert refused.returncode != 0
    assert "is not empty" in refused.stderr
    shutil.rmtree(again)


@pytest.fixture(scope="module")
def buildah() -> dict[str, str]:
    """What buildah needs to know: where it keeps its images, and the base image by its digest."""
    missing = [name for name in ("buildah", "debootstrap") if not shutil.which(name)]
    if missing or os.geteuid():
        pytest.skip(f"no image is built: {' and '.join(missing) or 'the user root'} is missing (apt-get install …)")
    settings = {"CONTAINERS_STORAGE_CONF": str(STORAGE / "storage.conf")}
    STORAGE.mkdir(parents=True, exist_ok=True)
    for driver in ("overlay", "vfs"):  # the first is faster, but not every file system takes it
        lines = ["[storage]", f'driver = "{driver}"', f'graphroot = "{STORAGE}/{driver}"', f'runroot = "{STORAGE}/run"']
        (STORAGE / "storage.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
        if (
            subprocess.run(["buildah", "info"], env=os.environ | settings, capture_output=True, check=False).returncode
            == 0
        ):
            break
    if not said(settings, "buildah", "images", "--quiet", "--filter", f"reference={BASE}"):
        make_base(settings)
    names = said(settings, "buildah", "images", "--digests", "--format", "{{.Name}}@{{.Digest}}")
    return settings | {"BASE": next(name for name in names.split() if name.startswith(f"{BASE}@"))}


def make_base(settings: dict[str, str]) -> None:
    """A small Debian with Python and its venv module, as an image."""
    root = STORAGE / "debian"
    subprocess.run(["umount", root / "proc"], capture_output=True, check=False)  # left by a run that was killed
    shutil.rmtree(root, ignore_errors=True)
    command = ["debootstrap", "--variant=minbase", "--include=ca-certificates,python3-venv", "bookworm", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no image is built: debootstrap could not fetch Debian: {done.stdout[-200:]}")
    container = said(settings, "buildah", "from", "scratch")
    said(settings, "buildah", "add", "--quiet", container, str(root), "/")
    said(settings, "buildah", "commit", "--quiet", "--rm", container, BASE)
    shutil.rmtree(root)


def said(settings: dict[str, str], *command: str) -> str:
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def builder_options() -> str:
    """Let pip inside the build use the package index and the certificates of this machine."""
    files = {"/etc/pip.conf", os.environ.get("PIP_CERT", ""), os.environ.get("SSL_CERT_FILE", "")}
    volumes = [f"--volume={path}:{path}:ro" for path in sorted(files) if Path(path).is_file()]
    return " ".join(["--isolation=chroot", "--pull-never", *volumes])


@pytest.fixture(scope="module")
def container(project: Project, buildah: dict[str, str]) -> Iterator[str]:
    """A container of the prediction image, built in a checkout full of secrets, which only its owner can read."""
    places = (
        ".env",
        "signing.key",
        "src/.env",
        "src/review_sentiment/.env",
        "models/onnx/key.pem",
        ".dvc/config.local",
    )
    secrets = [project.path / name for name in places]
    for path in secrets:
        path.write_text(f"PASSWORD={SECRET}\n", encoding="utf-8")
    project.run("chmod", "-R", "go=", "src", "models/onnx")
    project.env |= {"CONTAINERS_STORAGE_CONF": buildah["CONTAINERS_STORAGE_CONF"]}
    start = time.monotonic()
    try:
        project.run("make", "image", "ENGINE=buildah", f"BASE={buildah['BASE']}", f"OPTIONS={builder_options()}")
    finally:
        for path in secrets:
            path.unlink()
    print(f"built in {time.monotonic() - start:.0f} s")
    name = said(buildah, "buildah", "from", "--pull-never", f"localhost/{project.path.name}:predict")
    yield name
    said(buildah, "buildah", "rm", name)
    said(buildah, "buildah", "rmi", f"localhost/{project.path.name}:predict")


def test_the_image_is_small_and_holds_no_torch_and_no_secret(
    project: Project, buildah: dict[str, str], container: str
) -> None:
    root = Path(said(buildah, "buildah", "mount", container))
    base = said(buildah, "buildah", "from", "--pull-never", BASE)
    try:
        beyond = size_of(root) - size_of(Path(said(buildah, "buildah", "mount", base)))
        files = {path.relative_to(root / "app").as_posix() for path in (root / "app").rglob("*") if path.is_file()}
        installed = {path.name for path in (root / "opt/venv/lib").glob("python3*/site-packages/*")}
        holding = subprocess.run(["grep", "-rl", SECRET, root / "app", root / "opt", root / "tmp"], check=False)
    finally:
        said(buildah, "buildah", "rm", base)
    print(f"{beyond / MEGABYTE:.0f} MB beyond the base")
    assert beyond <= 350 * MEGABYTE
    assert {name for name in files if not name.startswith("src/")} == {
        f"models/onnx/{name}" for name in ("manifest.json", "onnx/model_int8.onnx", "tokenizer.json")
    }
    assert all(name.endswith(".py") for name in files if name.startswith("src/"))
    assert "onnxruntime" in installed
    assert not {"torch", "transformers", "dvc", "pip"} & installed
    assert holding.returncode == 1
    about = said(buildah, "buildah", "inspect", container)
    assert SECRET not in about
    config = json.loads(about)["Docker"]["config"]
    assert config["User"] == "10001:10001"
    assert config["Labels"]["org.opencontainers.image.revision"].startswith(
        project.run("git", "rev-parse", "HEAD")[:40]
    )


def size_of(root: Path) -> int:
    return int(
        subprocess.run(["du", "-sx", "--bytes", root], capture_output=True, text=True, check=True).stdout.split()[0]
    )


def test_the_image_predicts_as_nobody_special(project: Project, buildah: dict[str, str], container: str) -> None:
    entry = json.loads(said(buildah, "buildah", "inspect", container))["Docker"]["config"]["Entrypoint"]
    run = ["buildah", "run", "--isolation=chroot", container, "--"]
    assert said(buildah, *run, "id", "-u") == "10001"
    answer = said(buildah, *run, *entry, "--text", "a warm funny film")
    assert answer == project.run("python", "-m", "review_sentiment.predict", "--text", "a warm funny film").strip()


def test_a_base_without_its_digest_is_refused(project: Project) -> None:
    refused = project.try_to("make", "image")
    assert refused.returncode != 0
    assert "the base image is not pinned" in refused.stderr
    assert "docker.io/library/python:3.11-slim" in refused.stderr


def test_links_into_a_shared_cache_are_refused(project: Project) -> None:
    model = project.path / "models/onnx/tokenizer.json"
    model.rename(project.path / "cached.json")
    model.symlink_to(project.path / "cached.json")
    try:
        refused = project.try_to("make", "image", f"BASE=python@sha256:{'0' * 64}")
        assert "the image would hold links" in refused.stderr
    finally:
        (project.path / "cached.json").rename(model)


def test_the_models_hold_no_code_and_one_that_does_is_named(project: Project) -> None:
    for name in (".gitignore", "onnx.sig", "student.dvc"):  # as `make sign`, `make student` and `dvc add` leave them
        (project.path / "models" / name).write_text("outs:\n", encoding="utf-8")
    clean = project.run("make", "--silent", "scan")
    assert "models/probe/probe.joblib: clean" in clean
    assert "models/fine_tuned/hub_classifier.py: clean" in clean
    probe = project.path / "models/probe/probe.joblib"
    sound = probe.read_bytes()
    for content in ({"weight": np.ones(3), "bias": Evil()}, {"weight": np.array([Evil()], dtype=object)}):
        joblib.dump(content, probe)
        assert "models/probe/probe.joblib is not clean" in project.try_to("make", "scan").stderr
    probe.write_bytes(sound)
    strangers = [probe.with_name(name) for name in ("stranger.pkl", "stranger.sh", "hub_classifier.py")]
    for stranger in strangers:
        joblib.dump(Evil(), stranger)
    done = project.try_to("make", "scan")
    for stranger in strangers:
        stranger.unlink()
        assert f"{stranger.relative_to(project.path)} is not clean" in done.stderr
    assert done.returncode != 0
    assert not (project.path / "touched").exists()


class Evil:
    """What runs a command when it is unpickled."""

    def __reduce__(self) -> tuple:
        return os.system, ("touch touched",)


def test_the_list_of_packages_is_whole_and_has_no_clock(project: Project) -> None:
    project.run("make", "sbom")
    bill = json.loads(project.text("sbom.json"))
    assert bill["bomFormat"] == "CycloneDX"
    listed = {(one["name"].lower().replace("_", "-"), one["version"]) for one in bill["components"]}
    assert {("torch", version("torch")), ("onnxruntime", version("onnxruntime")), ("dvc", version("dvc"))} <= listed
    assert len(listed) >= 140
    assert "serialNumber" not in bill
    assert "timestamp" not in bill["metadata"]


def test_vulnerabilities_are_looked_up_or_the_command_fails(project: Project) -> None:
    """Without a service that knows vulnerabilities, as behind many mirrors of PyPI, nothing must look sound."""
    done = project.try_to("make", "vulnerabilities")
    if done.returncode == 0:
        assert "No known vulnerabilities found" in done.stdout + done.stderr
    else:
        assert re.search(r"could not be audited|Found \d+ known vulnerabilit|onnection", done.stdout + done.stderr)
        print(done.stderr.splitlines()[-2])
