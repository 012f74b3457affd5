"""`make pin` and `fetch` on base models of any form, from a hub that refuses, and through a proxy."""

import json
import re
import runpy
import shutil
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import torch
from hub import COMMIT, TOKEN, hub_of
from ruamel.yaml import YAML
from safetensors.torch import load_file
from server import Answer, certificate_in, refusal, serving
from workshop import Project, grow

pytestmark = pytest.mark.slow

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "film", "##s"]
FORM = ["config.json", "model.safetensors", "tokenizer.json"]
CACHE = "home/.cache/huggingface"
MEAN_OFF = {"pooling_mode_mean_tokens": False}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Base models, by owner and name: the small one of the project's own tests, and one as a pickle."""
    folder = tmp_path_factory.mktemp("shelf")
    names = runpy.run_path(str(grow(folder / "grown").path / "tests/small_project.py"))
    names["write_base_model"](folder / "acme/whole")
    for name in ("acme/pickled", "private/whole", "gated/whole"):
        shutil.copytree(folder / "acme/whole", folder / name)
    pickled = folder / "acme/pickled"
    torch.save(load_file(pickled / "model.safetensors"), pickled / "pytorch_model.bin")
    for name in ("model.safetensors", "tokenizer.json"):
        (pickled / name).unlink()
    (pickled / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    write_pooling(pickled, MEAN_OFF | {"pooling_mode_cls_token": True, "include_prompt": True})
    prompts = {"prompts": {"query": "query: ", "document": "doc: "}, "default_prompt_name": "query"}
    (pickled / "config_sentence_transformers.json").write_text(json.dumps(prompts), encoding="utf-8")
    return folder


def write_pooling(model: Path, config: dict[str, object]) -> None:
    (model / "1_Pooling").mkdir(exist_ok=True)
    (model / "1_Pooling/config.json").write_text(json.dumps(config), encoding="utf-8")


@pytest.fixture(scope="module")
def hub(shelf: Path) -> Iterator[str]:
    """The address of a hub that has them."""
    owners = ("acme", "private", "gated")
    with hub_of({f"{owner}/{path.name}": path for owner in owners for path in (shelf / owner).iterdir()}) as address:
        yield address


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that has fetched nothing."""
    return grow(tmp_path_factory.mktemp("fetch"), data_source="files", base_model="acme/pickled")


@pytest.fixture
def project(grown: Project, tmp_path: Path, hub: str) -> Project:
    """A copy that asks this hub, and has its own cache of it."""
    project = grown.copy(tmp_path)
    project.env |= {"HF_ENDPOINT": hub, "HF_HUB_OFFLINE": "0"}
    return project


def start_from(project: Project, address: str) -> None:
    """Write another address of the base model into params.yaml."""
    path = project.path / "params.yaml"
    text = path.read_text(encoding="utf-8").replace("hf://acme/pickled@main", address)
    path.write_text(text, encoding="utf-8")


def fetch(project: Project, **environment: str) -> str:
    """What fetching the base model says, and nothing when it is there."""
    done = project.try_to("python", "-m", "review_sentiment", "fetch", "model", **environment)
    assert "Traceback" not in done.stderr
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize("revision", ["main", "refs/pr/4", "feature%2Fx"])
def test_a_pickle_without_a_tokenizer_is_pinned_and_comes_into_one_form(
    project: Project, shelf: Path, revision: str
) -> None:
    start_from(project, f"hf://acme/pickled@{revision}")
    assert "is not pinned" in fetch(project)
    before = project.text("params.yaml")
    said = project.run("make", "pin")
    after = project.text("params.yaml")
    model = YAML(typ="safe").load(after)["fetch"]["model"]
    assert model["uri"] == f"hf://acme/pickled@{COMMIT}"
    assert [*model["sha256"]] == ["config.json", "pytorch_model.bin", "vocab.txt"]
    assert "as the model says, text.pooling is now 'cls' and text.prefix is now 'query: '" in said
    changed = ("  pooling: ", "  prefix: ", "    uri: ", "      ")
    others = [[line for line in text.splitlines() if not line.startswith(changed)] for text in (before, after)]
    assert others[0] == others[1]
    assert re.search(r"^  pooling: cls +# mean \| cls \| last", after, re.MULTILINE)
    assert fetch(project) == ""
    base = project.path / "models/base"
    assert sorted(path.name for path in base.iterdir()) == FORM
    assert (base / "model.safetensors").read_bytes() == (shelf / "acme/whole/model.safetensors").read_bytes()
    assert "film" in (base / "tokenizer.json").read_text(encoding="utf-8")


def test_what_a_model_does_not_name_and_what_is_left_out_is_said(project: Project) -> None:
    code = "from tools.pin import take_over; take_over({'pooling': 'cls', 'prefix': 'query: '}, %r, %r)"
    assert "no text.prefix: it stays 'query: '" in project.run("python", "-c", code % ("a", []))
    modules = [{"path": kind, "type": f"sentence_transformers.models.{kind}"} for kind in ("Transformer", "Dense")]
    files = {
        "modules.json": modules,
        "config_sentence_transformers.json": {"prompts": {"Classify": "task: "}, "default_prompt_name": None},
    }
    for name, content in files.items():
        (project.path / name).write_text(json.dumps(content), encoding="utf-8")
    said = project.run("python", "-c", code % (str(project.path), [*files]))
    assert "no text.prefix: it stays 'query: '" in said
    assert "or one of its prompts: {'Classify': 'task: '}" in said
    assert "module Dense is left out" in said
    assert "Transformer" not in said


def test_what_is_pinned_and_there_is_neither_listed_anew_nor_taken_over(project: Project, shelf: Path) -> None:
    start_from(project, str(shelf / "acme/pickled"))
    project.run("make", "pin")
    project.set_params(text__pooling="mean")
    path = project.path / "params.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("keep: null", "keep: ~").rstrip(), encoding="utf-8")
    before = project.text("params.yaml")
    assert "keep: ~" in before
    assert "as the model says" not in project.run("make", "pin")
    assert project.text("params.yaml") == before


@pytest.mark.parametrize(
    ("config", "found"),
    [
        (MEAN_OFF | {"pooling_mode_max_tokens": True}, "max"),
        (MEAN_OFF | {"pooling_mode_weightedmean_tokens": True}, "weightedmean"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, "mean and cls"),
        ({"pooling_mode": "max"}, "max"),
        ({"pooling_mode_mean_tokens": True, "include_prompt": False}, "mean without the prefix"),
    ],
)
def test_a_pooling_that_is_not_ours_is_refused(
    project: Project, shelf: Path, tmp_path: Path, config: dict[str, object], found: str
) -> None:
    model = shutil.copytree(shelf / "acme/pickled", tmp_path / "model")
    write_pooling(model, config)
    start_from(project, str(model))
    before = project.text("params.yaml")
    refused = project.try_to("make", "pin")
    assert "pools in a way that text.pooling does not have" in refused.stderr
    assert f"found:    {found}\n" in refused.stderr
    assert project.text("params.yaml") == before


def test_a_private_repository_opens_with_a_token_that_is_written_nowhere(project: Project) -> None:
    start_from(project, "hf://private/whole@main")
    for token in ({}, {"HF_TOKEN": "hf_wrong"}):
        refused = project.try_to("make", "pin", **token)
        assert "error: the hub does not show model private/whole at main\n" in refused.stderr
        assert "hf auth login, or HF_TOKEN in the environment" in refused.stderr
    assert "a token that the hub does not know" in refused.stderr
    project.run("make", "pin", HF_TOKEN=TOKEN)
    shutil.rmtree(project.path.parent / CACHE)
    assert "found:    none, or a private one" in fetch(project)
    assert fetch(project, HF_TOKEN=TOKEN) == ""
    assert sorted(path.name for path in (project.path / "models/base").iterdir()) == FORM
    files = [path for path in project.path.parent.rglob("*") if path.is_file()]
    assert len(files) > 100
    assert [path for path in files if TOKEN.encode() in path.read_bytes()] == []


REFUSALS = {
    "hf://gated/whole@main": ("terms you have not accepted", "accept them on its page"),
    "hf://acme/gone@main": ("none, or a private one", "correct its name"),
    "hf://gone@main": ("the hub does not show model gone at main\n", "none, or a private one", "correct its name"),
    "hf://acme/whole@v9": ("no such branch, tag or commit", "correct what is after @"),
    "hf://acme/whole@feature/x": ("no such branch, tag or commit", "%2F for a slash"),
    "hf://acme/whole@main/onnx": ("found:    nothing\n", "correct `uri`"),
    "hf://acme/whole": ("another form", "with @main for the newest"),
}


@pytest.mark.parametrize("address", REFUSALS)
def test_the_fix_follows_from_what_the_hub_refuses(project: Project, address: str) -> None:
    start_from(project, address)
    refused = project.try_to("make", "pin", HF_TOKEN=TOKEN)
    assert refused.returncode != 0
    assert "Traceback" not in refused.stderr
    assert all(words in refused.stderr for words in REFUSALS[address]), refused.stderr


def test_a_file_is_missing_or_was_never_downloaded_here(project: Project) -> None:
    project.run("make", "pin")
    path = project.path / "params.yaml"
    pinned = path.read_text(encoding="utf-8")
    path.write_text(pinned.replace("vocab.txt: ", "words.txt: "), encoding="utf-8")
    assert "found:    no such file in it\n" in fetch(project)
    path.write_text(pinned, encoding="utf-8")
    assert fetch(project, HF_HUB_OFFLINE="1") == ""
    shutil.rmtree(project.path.parent / CACHE)
    refused = fetch(project, HF_HUB_OFFLINE="1")
    assert "found:    HF_HUB_OFFLINE is set, and this was never downloaded here\n" in refused
    assert "fix:      type the same once without HF_HUB_OFFLINE\n" in refused


@pytest.mark.parametrize(
    ("revision", "folder"), [("refs/convert/parquet", "/default/train"), ("refs/pr/4", ""), ("feature%2Fx", "/data")]
)
def test_data_of_any_revision_are_pinned_and_fetched(tmp_path: Path, shelf: Path, revision: str, folder: str) -> None:
    file = shelf / f"acme/reviews{folder}/0000.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(revision.encode())
    project = grow(tmp_path, data_source="hub")
    path = project.path / "params.yaml"
    given = path.read_text(encoding="utf-8").replace("train.csv: null", "0000.parquet: null")
    address = f"hf://datasets/acme/reviews@{revision}{folder}"
    path.write_text(given.replace("hf://datasets/owner/name@main", address), encoding="utf-8")
    with hub_of({"datasets/acme/reviews": shelf / "acme/reviews"}) as hub:
        project.env |= {"HF_ENDPOINT": hub, "HF_HUB_OFFLINE": "0"}
        project.run("make", "pin")
        assert f"uri: hf://datasets/acme/reviews@{COMMIT}{folder}\n" in project.text("params.yaml")
        project.run("python", "-m", "review_sentiment", "fetch", "data")
    assert (project.path / "data/raw/0000.parquet").read_bytes() == revision.encode()


UNREACHABLE = {
    "offline": ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set", "without HF_HUB_OFFLINE"),
    "no network": (
        {"HF_ENDPOINT": "http://127.0.0.1:9"},
        "nothing answers at the address",
        "HF_ENDPOINT=ADDRESS a mirror",
    ),
    "unknown host": ({"HF_ENDPOINT": "http://hub.invalid"}, "no host has the name", "HTTPS_PROXY=ADDRESS names"),
    "no address": ({"HF_ENDPOINT": "hub.invalid"}, "this is no address of a service", "https://HOST:PORT"),
    "wrong proxy": ({"HTTP_PROXY": "http://u:pw@127.0.0.1:9"}, "through the proxy 127.0.0.1:9", "unset HTTP_PROXY"),
}


def test_a_hub_that_cannot_be_reached_is_explained_by_its_cause(project: Project) -> None:
    before = project.text("params.yaml")
    for environment, words, fix in UNREACHABLE.values():
        refused = project.try_to("make", "pin", **environment)
        assert refused.returncode != 0
        assert "Traceback" not in refused.stdout + refused.stderr
        assert "pw" not in refused.stderr
        assert words in refused.stderr
        assert fix in refused.stderr[refused.stderr.index("fix:") :]
    assert project.text("params.yaml") == before
    project.run("make", "pin", HTTP_PROXY="http://127.0.0.1:9", NO_PROXY="127.0.0.1")
    assert project.text("params.yaml") != before


STORES = {
    "ExpiredToken": (400, "the keys have expired", "AWS_SESSION_TOKEN"),
    "SlowDown": (503, "the service is overloaded", "wait a minute"),
    "RequestTimeTooSkewed": (403, "the service has another time than this machine", "set this machine's clock"),
    "KMS.DisabledException": (400, "the KMS key", "enable it"),
    "NoSuchBucket": (404, "no such bucket", "correct `uri`"),
    "NoSuchKey": (404, "no such file", "the name below sha256"),
    "AccessDenied": (403, "the keys may not do this", "ask for s3:GetObject"),
    "InvalidAccessKeyId": (403, "the service does not know the access key", "correct AWS_ACCESS_KEY_ID"),
}
KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}


def test_a_bucket_that_refuses_is_explained_by_its_cause(project: Project, tmp_path: Path) -> None:
    start_from(project, "s3://bucket/model")
    project.env |= {"AWS_MAX_ATTEMPTS": "1", "AWS_EC2_METADATA_DISABLED": "true"}
    for code, (status, words, fix) in STORES.items():
        with serving(refusal(status, code, "refused")) as address:
            refused = fetch(project, AWS_ENDPOINT_URL=address, **KEYS)
        assert f"error: cannot fetch s3://bucket/model/config.json: {words}" in refused
        assert fix in refused[refused.index("fix:") :]
    assert "no keys for the service" in fetch(project, AWS_ENDPOINT_URL=address)
    certificate = certificate_in(tmp_path / "tls")
    with serving(refusal(404, "NoSuchKey", "none"), *certificate) as address:
        assert "AWS_CA_BUNDLE=FILE" in fetch(project, AWS_ENDPOINT_URL=address, **KEYS)
        assert "no such file" in fetch(project, AWS_ENDPOINT_URL=address, AWS_CA_BUNDLE=str(certificate[0]), **KEYS)


def files_of(folder: Path, authorization: str | None = None, seconds: float = 0) -> Callable[..., Answer]:
    """What a web server answers that lists no files, and takes its time."""

    def answer(request: BaseHTTPRequestHandler, _: bytes) -> Answer:
        if request.headers.get("Authorization") != authorization:
            return 401, {}, b""
        file = folder / request.path.lstrip("/")
        time.sleep(seconds)
        return (200, {}, file.read_bytes()) if file.is_file() else (404, {}, b"")

    return answer


def test_a_web_server_gets_its_login_and_gives_the_pooling_without_a_list(
    project: Project, shelf: Path, tmp_path: Path
) -> None:
    model = shutil.copytree(shelf / "acme/whole", tmp_path / "model")
    write_pooling(model, MEAN_OFF | {"pooling_mode_cls_token": True})
    with serving(files_of(model, "Basic YWRhOnB3")) as address:
        start_from(project, address)
        assert "write a login into ~/.netrc: machine HOST" in project.try_to("make", "pin").stderr
        (tmp_path / "home").mkdir(exist_ok=True)
        (tmp_path / "home/.netrc").write_text("machine 127.0.0.1 login ada password pw\n", encoding="utf-8")
        said = project.run("make", "pin")
    assert "text.pooling is now 'cls'" in said
    assert "the model's files name no text.prefix" in said


def test_a_web_server_that_fails_for_the_pooling_is_not_taken_for_one_without_it(project: Project, shelf: Path) -> None:
    whole = files_of(shelf / "acme/whole")

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        return (503, {}, b"") if request.path.endswith("1_Pooling/config.json") else whole(request, body)

    with serving(answer) as address:
        start_from(project, address)
        before = project.text("params.yaml")
        assert "1_Pooling/config.json: the service is overloaded" in project.try_to("make", "pin").stderr
    assert project.text("params.yaml") == before


WITHIN = """
import pathlib, sys
from aiohttp import ClientTimeout, client
client.DEFAULT_TIMEOUT = ClientTimeout(total=0.5)
from review_sentiment.sources.addresses import download
download(sys.argv[1], pathlib.Path("copy"))
"""


def test_a_file_may_take_longer_than_a_web_page(project: Project, shelf: Path) -> None:
    with serving(files_of(shelf / "acme/whole", seconds=1)) as address:
        project.run("python", "-c", WITHIN, f"{address}/config.json")
    assert (project.path / "copy").read_bytes() == (shelf / "acme/whole/config.json").read_bytes()


@pytest.mark.parametrize(
    ("status", "headers", "problem"),
    [
        (200, {"Content-Length": "503", "Connection": "close"}, "the transfer broke off"),
        (302, {"Location": "/again"}, "the service sends from one address to another without end"),
    ],
)
def test_a_web_server_that_fails_is_explained(
    project: Project, status: int, headers: dict[str, str], problem: str
) -> None:
    with serving(lambda *_: (status, headers, b"{")) as address:
        start_from(project, address)
        assert f"config.json: {problem}\n" in fetch(project)


def test_an_edit_of_fetched_tables_is_neither_advised_nor_lost(tmp_path: Path) -> None:
    source, project = tmp_path / "source", grow(tmp_path, data_source="hub")
    source.mkdir()
    (source / "train.csv").write_text("text,label\n" + "caf\xe9,good\n" * 9, encoding="latin-1")
    params = project.path / "params.yaml"
    text = params.read_text(encoding="utf-8").replace("hf://datasets/owner/name@main", str(source))
    params.write_text(text, encoding="utf-8")
    project.run("make", "added")
    project.run("make", "pin")
    project.run("dvc", "repro", "fetch@data")
    refused = project.try_to("python", "-m", "review_sentiment", "prepare").stderr
    assert "iconv" in refused
    assert "data/raw is fetched, so an edit there is undone" in refused
    project.run("make", "added")
    table = project.path / "data/raw/train.csv"
    table.chmod(0o644)
    table.write_text("text,label\ncafé,good\n", encoding="utf-8")
    refused = project.try_to("make", "repro").stderr
    assert "error: data differ from fetch@data\n" in refused
    assert "remove fetch.data" in refused
    params.write_text(re.sub("  data:.*?  model:", "  model:", text, flags=re.DOTALL), encoding="utf-8")
    project.run("dvc", "add", "data/raw")
    project.run("make", "added")
    assert "café" in table.read_text(encoding="utf-8")


def test_the_hub_is_asked_through_a_proxy(project: Project, hub: str) -> None:
    """No machine has this name, as "unknown host" above shows: only the proxy, the hub itself, gives an answer."""
    project.env |= {"HF_ENDPOINT": "http://hub.invalid", "HTTP_PROXY": hub}
    project.run("make", "pin")
    assert fetch(project) == ""
