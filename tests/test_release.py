"""A model is released through a real S3 server, put into production, rolled back, and taken elsewhere by its stage."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub import TOKEN, hub_of
from ruamel.yaml import YAML
from server import Server
from workshop import SMALL_GATE, Project

pytestmark = pytest.mark.slow

NAME = "review-sentiment"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The S3 server that the models go to."""
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def maintained(small: Project, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small trained project with an origin, and with the bucket as its remote; pushed."""
    folder = tmp_path_factory.mktemp("maintained")
    project = small.copy(folder)
    for setting, value in {"url": "s3://dvc/releases", "endpointurl": server.endpoint, "region": "us-east-1"}.items():
        project.run("dvc", "remote", "modify", "storage", setting, value)
    server.let_in(project)
    # A model as small as this may be slower in int8, and is not well calibrated.
    project.set_params("gate.yaml", **SMALL_GATE)
    project.commit("Move to a bucket")
    project.run("make", "signing-key", "KEY=../signing.key")
    sign(project)
    project.run("git", "clone", "--quiet", "--bare", ".", "../origin.git")
    project.run("git", "remote", "add", "origin", "../origin.git")
    project.run("make", "push")
    return project


def sign(project: Project) -> None:
    """Sign the model and commit the signature."""
    project.run("make", "sign", "KEY=../signing.key")
    assert "is the model that the owner of" in project.run("make", "verify")
    project.run("make", "owners", "keys")
    project.commit("Sign the model")


def another_model(project: Project) -> None:
    """Leave fp32 out of the shipped model, as its manifest allows, and commit that as a run would."""
    (project.path / "models/onnx/onnx/model.onnx").unlink()
    manifest = "from pathlib import Path as P; from review_sentiment.common import manifest as m; d = P('models/onnx');"
    rewrite = "f = m.verified_manifest(d); (d / 'manifest.json').unlink(); del f['files']; m.write_manifest(d, f)"
    project.run("python", "-c", f"{manifest} {rewrite}")
    project.run("dvc", "commit", "--force", "--quiet")
    project.commit("Ship int8 alone")
    project.run("make", "push")
    signed_before = project.try_to("make", "release", "VERSION=1.1.0", "STAGE=staging")
    assert "is not the model that was signed" in signed_before.stderr
    sign(project)
    project.run("make", "push")


def taken(project: Project, server: Server, printed: str, place: Path) -> set[str]:
    """What somebody gets who types what a release prints, with the keys of the bucket: the model and its signature."""
    stranger = Project(place, place / "home")
    place.mkdir()
    keys = dict(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), server.keys.values(), strict=True))
    commands = [line.partition(": ")[2] for line in printed.splitlines() if "URL-OF-THIS-REPOSITORY" in line]
    assert len(commands) == 2
    for command in commands:
        origin = str(project.path.parent / "origin.git")
        stranger.run(*command.replace("URL-OF-THIS-REPOSITORY", origin).split(), **keys)
    return files_in(place / "model")


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def tag_of(project: Project, ref: str) -> dict:
    """The record in a tag, read without the project's own code."""
    title, _, body = project.run("git", "tag", "--list", "--format=%(contents)", ref).partition("\n\n")
    assert title.startswith(("Release ", "Put "))
    return YAML(typ="safe").load(body)


def test_a_model_goes_to_production_and_back_and_is_taken_from_there(
    maintained: Project, server: Server, tmp_path: Path
) -> None:
    approved = "APPROVED_BY=Grace Example <grace@example.com>"
    refused = maintained.try_to("make", "release", "VERSION=1.0.0", "STAGE=production", approved)
    assert "v1.0.0 was never in staging" in refused.stderr
    assert "fix:      make release VERSION=1.0.0 STAGE=staging first" in refused.stderr
    assert maintained.run("git", "tag") == ""
    maintained.run("make", "release", "VERSION=1.0.0", "STAGE=staging")
    first = maintained.run("make", "release", "VERSION=1.0.0", "STAGE=production", approved)
    whole = files_in(maintained.path / "models/onnx")
    assert taken(maintained, server, first, tmp_path / "first") == whole
    assert "is the model that the owner of" in maintained.run("make", "verify", f"MODEL={tmp_path}/first/model")
    (tmp_path / "first/model/config.json").write_text("{}", encoding="utf-8")
    changed = maintained.try_to("make", "verify", f"MODEL={tmp_path}/first/model")
    assert changed.returncode != 0
    assert "config.json is not the file that was shipped" in changed.stderr
    assert "Traceback" not in changed.stderr
    another_model(maintained)
    maintained.set_params("releases.yaml", stages="[production]")
    maintained.commit("Release to production at once")
    second = maintained.run("make", "release", "VERSION=1.1.0", "STAGE=production", approved)
    assert taken(maintained, server, second, tmp_path / "second") == whole - {"onnx/model.onnx"}
    maintained.run("make", "rollback", "STAGE=production")
    assert taken(maintained, server, first, tmp_path / "third") == whole

    shown = maintained.run("make", "--silent", "releases").splitlines()
    assert shown[1].split()[:3] == ["v1.1.0", "v1.0.0", "-"]
    assert shown[2].split()[:4] == ["v1.0.0", "-", "production,", "staging"]
    version, stage = tag_of(maintained, f"{NAME}@v1.1.0"), tag_of(maintained, f"{NAME}#production#3")
    lock = (maintained.path / "dvc.lock").read_bytes()
    assert version["dvc_lock"] == hashlib.sha256(lock).hexdigest()
    assert version["commit"] == maintained.run("git", "rev-parse", "HEAD").strip()
    assert " 0 failed, " in version["gate"]
    assert set(version["changed"]["hashes"]) == {"models/onnx"}
    assert stage["approved_by"] == "Grace Example <grace@example.com>"


def test_both_models_are_published_in_one_repository(small: Project, tmp_path: Path) -> None:
    project, published = small.copy(tmp_path), tmp_path / "hub/me/reviews"
    with hub_of({}, new=tmp_path / "hub") as endpoint:
        where = {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0"}
        refused = project.try_to("make", "publish", "REPO=me/reviews", **where)
        assert "cannot publish to me/reviews" in refused.stderr
        assert "hf auth login" in refused.stderr
        assert "no repository can have" in project.try_to("make", "publish", "REPO=me/my reviews", **where).stderr
        project.run("make", "publish", "REPO=me/reviews", HF_TOKEN=TOKEN, **where)
        (published / "onnx/model_of_before.onnx").touch()
        (published / "LICENSE").touch()
        said = project.run("make", "publish", "REPO=me/reviews", HF_TOKEN=TOKEN, **where)
        assert (
            f"{project.run('git', 'describe', '--always').strip()} is published: {endpoint}/me/reviews/commit" in said
        )
        project.set_params(seed=7)
        assert "results are stale" in project.try_to("make", "publish", "REPO=me/reviews", **where).stderr
    names = {path.relative_to(published).as_posix(): path for path in published.rglob("*") if path.is_file()}
    card, _ = names.pop("README.md"), names.pop("LICENSE")
    assert card.read_bytes() == (project.path / "reports/model_card.md").read_bytes()
    for name, path in names.items():
        source = "models/onnx" if name.startswith("onnx/") else "models/fine_tuned"
        assert path.read_bytes() == (project.path / source / name).read_bytes()
    assert {"onnx/model.onnx", "onnx/model_int8.onnx", "modules.json", "model.safetensors", "tokenizer.json"} <= {
        *names
    }
    assert "onnx/model_of_before.onnx" not in names
    shared = ("config.json", "tokenizer.json", "tokenizer_config.json")  # that models/onnx has too
    assert all((project.path / "models/onnx" / name).read_bytes() == names[name].read_bytes() for name in shared)
    code = "import sys, transformers; load = transformers.pipeline; print(load('text-classification', sys.argv[1],"
    said = project.run("python", "-c", f"{code} trust_remote_code=True)('a warm film'))", str(published))
    assert "'label': " in said
