"""Push, pull and audit against a real S3 server, and what goes wrong there.

The rows of the table in docs/remotes.md are what these tests saw: `make fault-table` writes it anew.
"""

import hashlib
import json
import os
import random
import re
import runpy
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from server import Server, certificate_in, passed_on, refusal, serving
from workshop import TEMPLATE, Project, grow, guide, never_printed

pytestmark = pytest.mark.slow

DOCUMENT = TEMPLATE / "docs/remotes.md"
COLUMNS = ("fault", "what the user sees", "found by", "repaired by", "then a fresh clone pulls", "lost locally")
SEEN: dict[str, tuple[str, ...]] = {}
PRINTED: list[str] = []
SOON = 30
KILLS = int(os.environ.get("KILLS", "3"))  # of the server, each at another random moment of a push


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The one server of these tests."""
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def pushed(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with two files and a directory, pushed and committed."""
    project = server.project(tmp_path_factory.mktemp("pushed"), "pushed")
    add(project, seed=1, size=3_000_000, files=40)
    project.run("make", "push")
    return project


def add(project: Project, *, seed: int, size: int, files: int) -> None:
    """Write data that nobody has seen, add them to DVC and commit."""
    draw = random.Random(seed)
    things = project.path / "things"
    shutil.rmtree(things / "many", ignore_errors=True)
    (things / "many").mkdir(parents=True)
    for number in range(files):
        (things / f"many/{number}.txt").write_bytes(draw.randbytes(200 + number))
    for name in ("one.bin", "two.bin"):
        (things / name).write_bytes(draw.randbytes(size if name == "one.bin" else size // 4))
    project.run("dvc", "add", "--quiet", "things/many", "things/one.bin", "things/two.bin")
    project.commit(f"Data {seed}")


def bytes_of(project: Project) -> dict[str, str]:
    """The digest of every file of the data."""
    things = project.path / "things"
    return {
        path.relative_to(things).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in things.rglob("*")
        if path.is_file() and path.suffix != ".dvc" and path.name != ".gitignore"
    }


def key_of(project: Project, path: str) -> str:
    """The name of the object that holds a file of the data."""
    md5 = hashlib.md5((project.path / path).read_bytes()).hexdigest()
    return f"pushed/files/md5/{md5[:2]}/{md5[2:]}"


@pytest.fixture
def unharmed(server: Server, pushed: Project) -> Iterator[None]:
    """In the end the data are as before, and what was pushed: a clone pulls the same."""
    before = bytes_of(pushed), server.contents("pushed")
    yield
    assert (bytes_of(pushed), server.contents("pushed")) == before


def fails_soon(project: Project, *command: str, **environment: str) -> str:
    """Run a command that must fail soon; the problem that it names."""
    start = time.monotonic()
    done = project.try_to(*command, **environment)
    assert time.monotonic() - start < SOON, done.stderr
    assert done.returncode != 0
    assert "Traceback" not in done.stderr + done.stdout
    message = done.stderr[done.stderr.rindex("error: ") :]
    assert "expected:" in message
    assert "fix:" in message
    PRINTED.append(message)
    return message


def problem(message: str) -> str:
    """The first line of a message, without the name of the remote."""
    return message.splitlines()[0].removeprefix("error: ").removesuffix(" (storage)")


def type_fix(project: Project, message: str, **values: object) -> None:
    """Type every command of DVC that the fix names, with the right values in place of what stands for them."""
    commands = re.findall(r"`dvc (remote modify [^`]+) (\w+) \S+`", message[message.rindex("fix:") :])
    typed = [project.run("dvc", *command.split(), s, str(values[s])) for command, s in commands if s in values]
    assert typed


def repair(fix: str) -> str:
    """The words of a fix that a test looks for, as the table has them."""
    return f"the setting `{fix}`" if fix.isidentifier() else fix.removesuffix(":")


def saw(fault: str, *cells: str) -> None:
    SEEN[fault] = cells


def test_what_was_pushed_comes_back_to_the_byte(server: Server, tmp_path: Path) -> None:
    project = server.project(tmp_path / "project", "large")
    add(project, seed=0, size=110 * 2**20, files=1100)  # in three parts; more than the service lists at once
    project.run("make", "push")
    clone = server.clone(project, tmp_path / "clone")
    clone.run("make", "pull")
    assert bytes_of(clone) == bytes_of(project)
    assert len(bytes_of(clone)) == 1102
    assert "1103 of 1103 objects are sound" in clone.run("make", "audit")
    before = sum(server.process.cpu_times()[:2])
    time.sleep(2)
    worked = sum(server.process.cpu_times()[:2]) - before
    assert worked < 0.2  # seconds: it rests; with too little memory it collects garbage all the time


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize(
    ("fault", "setting", "settings"),
    [
        ("wrong secret", "secret_access_key", {"secret_access_key": "wrong"}),
        ("wrong key", "access_key_id", {"access_key_id": "wrong"}),
        ("no credentials", "access_key_id", {"access_key_id": "", "secret_access_key": ""}),
        ("no bucket", "url s3://", {"url": "s3://nowhere/pushed"}),
        ("wrong endpoint", "endpointurl", {"endpointurl": "http://127.0.0.1:9"}),
        ("https endpoint of an http server", "endpointurl", {"endpointurl": "https"}),
        ("endpoint without https://", "endpointurl", {"endpointurl": "127.0.0.1:9"}),
        ("unknown host", "endpointurl", {"endpointurl": "http://nowhere.invalid"}),
        ("https address instead of s3://", "url s3://", {"url": "https://example.com/pushed"}),
    ],
)
def test_a_wrong_setting_is_named_soon(
    server: Server, pushed: Project, fault: str, setting: str, settings: dict
) -> None:
    if settings.get("endpointurl") == "https":
        settings = {"endpointurl": server.endpoint.replace("http", "https")}
    server.let_in(pushed, **settings)
    messages = [fails_soon(pushed, "make", verb) for verb in ("push", "pull", "audit")]
    type_fix(pushed, messages[0], url="s3://dvc/pushed", endpointurl=server.endpoint, **server.keys)
    pushed.run("git", "checkout", "--quiet", ".dvc/config")
    assert "up to date" in pushed.run("make", "push")
    server.let_in(pushed)
    assert all(setting in message for message in messages)
    assert len({problem(message) for message in messages}) == 1
    saw(fault, problem(messages[0]), "push, pull, audit", f"the setting `{setting.split()[0]}`", "the same", "nothing")


REFUSALS = {
    "expired session token": (400, "ExpiredToken", "The provided token has expired.", "session_token"),
    "too many requests": (503, "SlowDown", "Please reduce your request rate.", "wait a minute"),
    "wrong clock": (403, "RequestTimeTooSkewed", "The difference is too large.", "set this machine's clock"),
    "another region": (400, "AuthorizationHeaderMalformed", "expecting 'eu-west-1'", "region"),
    "no right to the bucket": (403, "AccessDenied", "Access Denied", "ask for s3:ListBucket"),
    "no right to the KMS key": (403, "AccessDenied", "not authorized to perform: kms:GenerateDataKey", "ask for kms:"),
    "the KMS key switched off": (400, "KMS.DisabledException", "arn:aws:kms:1 is disabled", "enable it"),
    "service without chunks": (
        411,
        "MissingContentLength",
        "No Content-Length header.",
        "AWS_REQUEST_CHECKSUM_CALCULATION",
    ),
    "service without checksums": (
        400,
        "InvalidArgument",
        "x-amz-content-sha256 is no digest",
        "AWS_REQUEST_CHECKSUM_CALCULATION",
    ),
    "archived objects": (403, "InvalidObjectState", "not valid for the object's storage class", "restore-object"),
}


def methods_of(fault: str) -> list[str]:
    """What the service refuses: writing alone, or everything."""
    return ["PUT"] if "KMS" in fault or "service without" in fault else []


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("fault", REFUSALS)
def test_what_the_service_refuses_is_explained_by_its_cause(server: Server, pushed: Project, fault: str) -> None:
    *answer, fix = REFUSALS[fault]
    with serving(refusal(*answer, *methods_of(fault))) as endpoint:
        server.let_in(pushed, endpointurl=endpoint)
        message = fails_soon(pushed, "make", "push")
        if not methods_of(fault):  # `aws s3 ls` says the same, by the same library
            with pytest.raises(ClientError) as asked:
                server.client(endpoint).list_objects_v2(Bucket="dvc")
            PRINTED.append(str(asked.value))
    server.let_in(pushed)
    assert fix in message[message.index("fix:") :]
    saw(fault, problem(message), "push", repair(fix), "-", "nothing")


AWS_CONFIG = """
[profile sso]
sso_session = acme
sso_account_id = 111122223333
sso_role_name = Developer
[sso-session acme]
sso_region = us-east-1
sso_start_url = https://acme.awsapps.com/start
[profile process]
credential_process = sh {folder}/keys.sh
[profile role]
role_arn = arn:aws:iam::111122223333:role/x
source_profile = gone
"""
BY_PROFILE = {
    "single sign-on run out": ("sso", "aws sso login"),
    "a credential_process that fails": ("process", "run that command of ~/.aws/config"),
    "a role without its source": ("role", "correct what is named above in ~/.aws/config"),
    "unknown profile": ("nobody", "profile"),
}


def profile_in(folder: Path, profile: str) -> dict[str, str]:
    """Write AWS's configuration; the environment in which a profile of it is taken."""
    (folder / "config").write_text(AWS_CONFIG.format(folder=folder), encoding="utf-8")
    (folder / "keys.sh").write_text("echo the vault is sealed >&2; exit 3\n", encoding="utf-8")
    return {"AWS_CONFIG_FILE": str(folder / "config"), "AWS_PROFILE": profile}


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("fault", BY_PROFILE)
def test_what_aws_keeps_of_keys_is_explained_by_its_cause(
    server: Server, pushed: Project, tmp_path: Path, fault: str
) -> None:
    profile, fix = BY_PROFILE[fault]
    with_profile = profile_in(tmp_path, profile)
    server.let_in(pushed, access_key_id="", secret_access_key="")
    message = fails_soon(pushed, "make", "push", **with_profile)
    assert fix in message[message.index("fix:") :]
    if profile == "process":
        assert "the vault is sealed" in message
        given = {"Version": 1, "AccessKeyId": server.state["key"], "SecretAccessKey": server.state["secret"]}
        (tmp_path / "keys.sh").write_text(f"echo '{json.dumps(given)}'\n", encoding="utf-8")
        assert "up to date" in pushed.run("make", "push", **with_profile)
    server.let_in(pushed)
    saw(fault, problem(message), "push", repair(fix), "-", "nothing")


@pytest.mark.usefixtures("unharmed")
def test_a_certificate_that_nobody_signed_is_named_and_the_fix_works(
    server: Server, pushed: Project, tmp_path: Path
) -> None:
    certificate = certificate_in(tmp_path)
    with serving(passed_on(server.state["ports"]["s3.port"]), *certificate) as address:
        server.let_in(pushed, endpointurl=address)
        message = fails_soon(pushed, "make", "push")
        assert "nobody that is known here" in message
        type_fix(pushed, message, ssl_verify=certificate[0])
        assert "up to date" in pushed.run("make", "push")
        pushed.run("dvc", "remote", "modify", "storage", "endpointurl", address.replace("127.0.0.1", "localhost"))
        server.let_in(pushed)
        assert "the certificate is that of another host" in fails_soon(pushed, "make", "push")
    pushed.run("git", "checkout", "--quiet", ".dvc/config")
    server.let_in(pushed)
    saw("self-signed certificate", problem(message), "push", "the setting `ssl_verify`", "the same", "nothing")


@pytest.mark.usefixtures("unharmed")
def test_a_wrong_proxy_is_named(pushed: Project) -> None:
    message = fails_soon(pushed, "make", "push", HTTP_PROXY="http://127.0.0.1:9")
    assert "NO_PROXY=HOST" in message
    assert "up to date" in pushed.run("make", "push", HTTP_PROXY="http://127.0.0.1:9", NO_PROXY="127.0.0.1")
    saw("wrong proxy", problem(message), "push", "`NO_PROXY`, or another proxy", "the same", "nothing")


# What bare DVC meets in a lean project, and words of the fix that its guide has: settings, an answer, a profile.
# DVC asks by HEAD, whose answer has no body, so every 403 and every 400 is the same to it.
IN_THE_GUIDE: dict[str, tuple[dict[str, str], str]] = {
    "wrong secret": ({"secret_access_key": "wrong"}, "aws s3 ls s3://BUCKET/PATH"),
    "no credentials": ({"access_key_id": "", "secret_access_key": ""}, "AWS_PROFILE"),
    "no bucket": ({"url": "s3://nowhere/lean"}, "url s3://BUCKET/PATH"),
    "https address instead of s3://": ({"url": "https://example.com/lean"}, "url s3://BUCKET/PATH"),
    "wrong endpoint": ({"endpointurl": "http://127.0.0.1:9"}, "endpointurl https://HOST:PORT"),
    "endpoint without https://": ({"endpointurl": "127.0.0.1:9"}, "endpointurl https://HOST:PORT"),
    "https endpoint of an http server": ({"endpointurl": "https"}, "`http://` in `endpointurl`"),
    "self-signed certificate": ({}, "ssl_verify FILE"),
    "wrong proxy": ({}, "NO_PROXY=HOST"),
    "expired session token": ({}, "the rows below"),
    "too many requests": ({}, "dvc push --jobs 2"),
    "no right to the KMS key": ({}, "kms:GenerateDataKey"),
    "the KMS key switched off": ({}, "kms:GenerateDataKey"),
    "service without chunks": ({}, "switches them off"),
    "service without checksums": ({}, "switches them off"),
    "single sign-on run out": ({}, "aws sso login"),
    "a credential_process that fails": ({}, "run it by itself"),
    "a role without its source": ({}, "correct it there"),
    "unknown profile": ({}, "AWS_PROFILE"),
}


@pytest.fixture(scope="module")
def lean(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project of one person, whose `make push` is DVC's own, with an object that is not pushed."""
    project = grow(tmp_path_factory.mktemp("lean"), dvc_remote="s3://dvc/lean")
    (project.path / "dvc.yaml").unlink()
    project.run("dvc", "remote", "modify", "storage", "endpointurl", server.endpoint)
    add(project, seed=5, size=2000, files=1)
    return project


@pytest.mark.parametrize("fault", IN_THE_GUIDE)
def test_what_a_lean_project_prints_is_in_its_guide(server: Server, lean: Project, tmp_path: Path, fault: str) -> None:
    private, fix = IN_THE_GUIDE[fault]
    environment = {"HTTP_PROXY": "http://127.0.0.1:9"} if fault == "wrong proxy" else {}
    if private.get("endpointurl") == "https":
        private = {"endpointurl": server.endpoint.replace("http", "https")}
    if fault in BY_PROFILE:
        environment = profile_in(tmp_path, BY_PROFILE[fault][0])
        private = {"access_key_id": "", "secret_access_key": ""}
    with ExitStack() as stack:
        if fault in REFUSALS:
            answer = refusal(*REFUSALS[fault][:-1], *methods_of(fault))
            private = {"endpointurl": stack.enter_context(serving(answer))}
        elif fault == "self-signed certificate":
            answer = passed_on(server.state["ports"]["s3.port"])
            private = {"endpointurl": stack.enter_context(serving(answer, *certificate_in(tmp_path)))}
        server.let_in(lean, **private)
        start = time.monotonic()
        done = lean.try_to("make", "push", **environment)
    assert done.returncode != 0
    assert time.monotonic() - start < SOON
    assert "Traceback" not in done.stderr or fault == "single sign-on run out"  # its row says so
    assert not done.stdout
    printed = " ".join(line for line in done.stderr.splitlines() if line.startswith("ERROR: "))
    PRINTED.append(printed)
    fixes = [fix for shown, fix in guide("Remotes") if any(one.search(printed) for one in shown)]
    assert [one for one in fixes if fix in one], f"{printed}\n{fixes}"


def test_corrupt_and_truncated_objects_are_found_and_repaired(server: Server, pushed: Project, tmp_path: Path) -> None:
    before = bytes_of(pushed)
    one, two = key_of(pushed, "things/one.bin"), key_of(pushed, "things/two.bin")
    whole = (pushed.path / "things/one.bin").read_bytes()
    server.client().put_object(Bucket="dvc", Key=one, Body=whole[:-1] + bytes([whole[-1] ^ 1]))
    server.client().put_object(Bucket="dvc", Key=two, Body=(pushed.path / "things/two.bin").read_bytes()[:-1])

    stranger = server.clone(pushed, tmp_path / "stranger")
    refused = stranger.try_to("make", "pull")
    assert refused.returncode != 0
    assert "not everything could be pulled" in refused.stderr
    assert "things/one.bin: corrupt\n" in refused.stdout
    assert "things/two.bin: corrupt (749999 bytes instead of 750000)" in refused.stdout
    assert not (stranger.path / "things/one.bin").exists()

    assert "things/two.bin: corrupt" in (quick := pushed.try_to("make", "audit")).stdout
    assert quick.returncode != 0
    assert "one.bin" not in quick.stdout
    deep = pushed.try_to("make", "audit", "DEEP=1", "REV=HEAD")
    assert deep.returncode != 0
    assert "things/one.bin: corrupt" in deep.stdout
    assert pushed.run("git", "rev-parse", "HEAD")[:7] in deep.stdout
    assert "2 objects uploaded again" in pushed.run("make", "audit", "DEEP=1", "REPAIR=1")
    stranger.run("make", "pull")
    assert bytes_of(stranger) == bytes_of(pushed) == before
    sees = "pull fails and names it; no wrong byte in the workspace"
    saw("one object corrupted", sees, "audit DEEP=1", "audit DEEP=1 REPAIR=1", "the same", "nothing")
    saw("one object truncated", sees, "audit", "audit REPAIR=1", "the same", "nothing")


def test_a_lost_member_is_found_and_repaired(server: Server, pushed: Project, tmp_path: Path) -> None:
    before = bytes_of(pushed)
    server.client().delete_object(Bucket="dvc", Key=key_of(pushed, "things/many/7.txt"))
    assert "up to date" in pushed.run("dvc", "push")  # what DVC says, and why there is an audit
    stranger = server.clone(pushed, tmp_path / "stranger")
    refused = stranger.try_to("make", "pull")
    assert refused.returncode != 0
    assert "things/many/7.txt: missing" in refused.stdout
    found = pushed.try_to("make", "audit")
    assert found.returncode != 0
    assert "things/many/7.txt: missing" in found.stdout
    for repair in (["audit", "REPAIR=1"], ["push"]):
        server.client().delete_object(Bucket="dvc", Key=key_of(pushed, "things/many/7.txt"))
        repaired = pushed.run("make", *repair)
        assert "up to date" not in repaired
        assert "things/many/7.txt: missing" in repaired
        assert "1 objects uploaded again" in repaired
    damaged = [key_of(pushed, f"things/{name}") for name in ("many/7.txt", "one.bin", "two.bin")]
    for key in damaged[1:]:
        server.client().put_object(Bucket="dvc", Key=key, Body=b"cut off")
    server.client().delete_object(Bucket="dvc", Key=damaged[0])
    repaired = pushed.run("make", "push")  # one report, of all three
    assert "up to date" not in repaired
    assert [line.split()[0] for line in repaired.splitlines() if "  checkout  " in line] == [
        key.removeprefix("pushed/files/md5/").replace("/", "") for key in damaged
    ]
    assert repaired.count("3 objects uploaded again and read back") == 1
    assert "up to date" in pushed.run("make", "push")
    stranger.run("make", "pull")
    assert bytes_of(stranger) == bytes_of(pushed) == before
    saw("one member of a directory deleted", "pull fails and names it", "audit", "push or audit REPAIR=1", "the same",
        "nothing")  # fmt: skip


def test_a_corrupt_listing_of_a_directory_is_repaired(server: Server, pushed: Project, tmp_path: Path) -> None:
    before = bytes_of(pushed)
    listing = next(key for key in server.objects("pushed") if key.endswith(".dir"))
    server.client().put_object(Bucket="dvc", Key=listing, Body=b"[]")
    found = pushed.try_to("make", "audit")
    assert "things/many: corrupt (2 bytes instead of " in found.stdout
    stranger = server.clone(pushed, tmp_path / "stranger")
    assert "things/many: corrupt" in stranger.try_to("make", "audit").stdout
    pushed.run("make", "audit", "REPAIR=1")
    stranger.run("make", "pull")
    assert bytes_of(stranger) == bytes_of(pushed) == before
    saw("the listing of a directory corrupted", "pull fails", "audit", "audit REPAIR=1", "the same", "nothing")


def test_what_cannot_be_repaired_is_named(server: Server, pushed: Project) -> None:
    key = key_of(pushed, "things/two.bin")
    server.client().delete_object(Bucket="dvc", Key=key)
    cached = pushed.path / ".dvc/cache" / key.removeprefix("pushed/")
    sound = cached.read_bytes()
    cached.chmod(0o644)
    cached.write_bytes(b"rotten")
    refused = pushed.try_to("make", "audit", "REPAIR=1")
    cached.write_bytes(sound)
    assert refused.returncode != 0
    assert "0 objects uploaded" in refused.stdout
    assert "not sound in the local cache either" in refused.stdout
    assert key not in server.objects("pushed")
    pushed.run("make", "audit", "REPAIR=1")
    assert key in server.objects("pushed")


def test_rotten_objects_of_the_cache_are_not_called_pushed(server: Server, tmp_path: Path) -> None:
    """Three of the cache, two of them as long as before: one report names them, and nothing is sent."""
    project = server.project(tmp_path / "project", "rotten")
    add(project, seed=6, size=4000, files=3)
    names = ("many/1.txt", "one.bin", "two.bin")
    paths = [project.path / ".dvc/cache" / key_of(project, f"things/{name}").removeprefix("pushed/") for name in names]
    sound = [path.read_bytes() for path in paths]
    for path, content in zip(paths, sound, strict=True):
        path.chmod(0o644)
        path.write_bytes(b"rotten" if path is paths[1] else content[:-1] + bytes([content[-1] ^ 1]))
        path.chmod(0o444)
    message = fails_soon(project, "make", "push")
    assert [message.count(f"things/{name}: ") for name in names] == [1, 1, 1]
    assert "up to date" not in message
    assert not server.objects("rotten")
    for found in re.findall(r": (/\S+)$", message, re.MULTILINE):
        Path(found).unlink()
    project.run(*re.findall("`(dvc commit --force)`", message)[0].split())
    assert [path.read_bytes() for path in paths] == sound
    assert "up to date" not in project.run("make", "push")
    assert "up to date" in project.run("make", "push")
    assert "6 of 6 objects are sound" in project.run("make", "audit", "DEEP=1")


def test_all_commits_are_audited(server: Server, tmp_path: Path) -> None:
    project = server.project(tmp_path / "project", "history")
    add(project, seed=2, size=4000, files=3)
    first = project.run("git", "rev-parse", "HEAD")[:7]
    project.run("make", "push")
    old = hashlib.md5((project.path / "things/one.bin").read_bytes()).hexdigest()
    add(project, seed=3, size=4000, files=3)
    project.run("make", "push")
    server.client().delete_object(Bucket="dvc", Key=f"history/files/md5/{old[:2]}/{old[2:]}")
    server.client().put_object(Bucket="dvc", Key="history/files/md5/ab/" + "c" * 30, Body=b"nobody's")
    project.run("make", "audit")
    found = project.try_to("make", "audit", "ALL=1")
    assert found.returncode != 0
    line = next(line for line in found.stdout.splitlines() if "missing" in line)
    digest, commit, name = line.split()[:3]
    assert (digest, name) == (old, "things/one.bin:")
    assert commit.startswith(first)
    assert "1 objects (0.0 MB) are needed by no branch or tag" in found.stdout
    assert project.try_to("make", "audit", f"REV={first}").returncode != 0
    project.run("make", "audit", "ALL=1", "REPAIR=1")
    project.run("make", "audit", "ALL=1", "DEEP=1")


def test_old_commits_and_names_of_any_kind_are_audited(tmp_path: Path) -> None:
    project = grow(tmp_path, scope="team")
    project.commit("Begin")
    (project.path / 'wörter "1".csv').write_text("a", encoding="utf-8")
    project.run("dvc", "add", 'wörter "1".csv')
    project.commit("Data")
    project.run("make", "push")
    assert "1 of 1 objects are sound" in project.run("make", "audit", "ALL=1")
    (project.path / "dvc.lock").write_text("<<<<<<< HEAD", encoding="utf-8")
    project.commit("Broken")
    assert project.try_to("make", "audit", "ALL=1").returncode != 0
    (project.path / "dvc.lock").unlink()
    project.commit("Sound")
    shown = project.run("make", "audit", "ALL=1")
    assert f"{project.run('git', 'rev-parse', '--short=9', 'HEAD^').strip()} is left out" in shown
    assert "1 of 1 objects are sound" in shown
    project.run("dvc", "remote", "modify", "storage", "worktree", "true")
    for verb in ("push", "pull", "audit"):
        assert "the remote keeps files by their names" in project.try_to("make", verb).stderr


def test_a_server_killed_in_mid_push(server: Server, tmp_path: Path) -> None:
    project = server.project(tmp_path / "project", "killed")
    moment = random.Random()
    kills, seed, longest, problems = 0, 10, 2.0, set()
    while kills < KILLS:
        seed += 1
        add(project, seed=seed, size=40_000_000, files=150)
        before = bytes_of(project)
        held = len(server.objects("killed"))
        start = time.monotonic()
        with subprocess.Popen(
            ["make", "push"], cwd=project.path, env=project.env, stdout=-1, stderr=-1, text=True
        ) as push:
            while len(server.objects("killed")) == held and not dangling(server, "killed") and push.poll() is None:
                time.sleep(0.05)
            began = time.monotonic()
            time.sleep(moment.uniform(0, longest))
            is_mid_push = push.poll() is None
            server.kill()
            killed = time.monotonic()
            said = push.communicate()[1]
        took = time.monotonic() - killed
        print(f"killed {killed - began:.2f} s after the first object, {began - start:.2f} s after the start; "
              f"ended with {push.returncode} {took:.1f} s later", said)  # fmt: skip
        if not is_mid_push or push.returncode == 0:
            longest /= 2
        else:
            kills += 1
            assert took < SOON
            assert "Traceback" not in said[said.rindex("error: ") :]
            problems.add(problem(said[said.rindex("error: ") :]))
        server.start()
        assert (project.try_to("make", "audit").returncode == 0) == is_all_there(server, project)
        project.run("make", "push")
        assert bytes_of(project) == before
        assert is_all_there(server, project)
    project.run("make", "audit", "ALL=1", "DEEP=1")
    clone = server.clone(project, tmp_path / "clone")
    clone.run("make", "pull")
    assert bytes_of(clone) == bytes_of(project)
    assert problems == {"nothing answers at the address of the service"}
    saw("server killed in mid-push", problems.pop(), "push, audit", "the next push", "the same", "nothing")


def is_all_there(server: Server, project: Project) -> bool:
    """Whether the bucket has all that the cache has."""
    cache = project.path / ".dvc/cache"
    cached = {f"killed/{path.relative_to(cache)}": path.stat().st_size for path in cache.rglob("files/md5/*/*")}
    return cached.items() <= server.objects("killed").items()


def dangling(server: Server, folder: str) -> bool:
    """Whether a large upload has begun."""
    return bool(server.client().list_multipart_uploads(Bucket="dvc", Prefix=f"{folder}/").get("Uploads"))


def test_a_server_killed_in_mid_pull(server: Server, tmp_path: Path) -> None:
    project = server.project(tmp_path / "project", "pulled")
    add(project, seed=30, size=60_000_000, files=400)
    before = bytes_of(project)
    project.run("make", "push")
    clone = server.clone(project, tmp_path / "clone")
    cache = clone.path / ".dvc/cache/files"
    with subprocess.Popen(["make", "pull"], cwd=clone.path, env=clone.env, stdout=-1, stderr=-1, text=True) as pull:
        while not cache.exists() and pull.poll() is None:
            time.sleep(0.02)
        assert pull.poll() is None
        server.kill()
        killed = time.monotonic()
        said = pull.communicate()[1]
    assert pull.returncode != 0
    assert time.monotonic() - killed < SOON
    message = said[said.rindex("error: ") :]
    server.start()
    clone.run("make", "pull")
    assert bytes_of(clone) == bytes_of(project) == before
    saw("server killed in mid-pull", problem(message), "pull", "the next pull", "the same", "nothing")


def test_a_full_disk_of_the_server(server: Server, tmp_path: Path) -> None:
    project = server.project(tmp_path / "project", "full")
    add(project, seed=40, size=20_000_000, files=30)
    before = bytes_of(project)
    server.kill()
    server.start("-volume.max=1", "-master.volumeSizeLimitMB=1")
    deadline = time.monotonic() + 30
    while not answers(server) and time.monotonic() < deadline:
        time.sleep(0.2)
    message = fails_soon(project, "make", "push")
    server.kill()
    server.start()
    assert project.try_to("make", "audit").returncode != 0
    project.run("make", "push")
    clone = server.clone(project, tmp_path / "clone")
    clone.run("make", "pull")
    assert bytes_of(clone) == bytes_of(project) == before
    saw("disk of the remote full", problem(message), "push, audit", "space, then the next push", "the same", "nothing")


def answers(server: Server) -> bool:
    try:
        server.objects("full")
    except (BotoCoreError, ClientError):
        return False
    return True


def test_two_pushes_at_once(server: Server, tmp_path: Path) -> None:
    project = server.project(tmp_path / "project", "twice")
    add(project, seed=50, size=30_000_000, files=300)
    before = bytes_of(project)
    shutil.copytree(project.path, tmp_path / "copy/review-sentiment", symlinks=True)
    other = Project(tmp_path / "copy/review-sentiment", tmp_path / "copy/home")
    both = [
        subprocess.Popen(["make", "push"], cwd=one.path, env=one.env, stdout=-1, stderr=-1, text=True)
        for one in (project, other)
    ]
    ends = [(one.communicate(), one.returncode) for one in both]
    assert [code for _, code in ends] == [0, 0], ends
    project.run("make", "audit", "DEEP=1")
    clone = server.clone(project, tmp_path / "clone")
    clone.run("make", "pull")
    assert bytes_of(clone) == bytes_of(project) == before
    saw("two pushes at once, from two checkouts", "both end well", "-", "-", "the same", "nothing")


def test_a_directory_is_audited_too(tmp_path: Path) -> None:
    project = grow(tmp_path, scope="team")
    (project.path / "dvc.yaml").unlink()
    project.commit("Begin")
    assert "mkdir -p" in fails_soon(project, "make", "pull")
    add(project, seed=60, size=4000, files=5)
    project.run("make", "push")
    before = bytes_of(project)
    held = sorted((tmp_path / "review-sentiment-storage/files/md5").rglob("*"), key=str)
    member = hashlib.md5((project.path / "things/many/3.txt").read_bytes()).hexdigest()
    one = hashlib.md5((project.path / "things/one.bin").read_bytes()).hexdigest()
    for path in held:
        if path.parent.name + path.name == member:
            path.unlink()
        if path.parent.name + path.name == one:
            path.chmod(0o644)
            path.write_bytes(path.read_bytes()[:-1] + b"?")
    found = project.try_to("make", "audit", "DEEP=1")
    assert found.returncode != 0
    assert "things/many/3.txt: missing" in found.stdout
    assert "things/one.bin: corrupt" in found.stdout
    project.run("make", "audit", "DEEP=1", "REPAIR=1")
    shutil.rmtree(project.path / ".dvc/cache")
    shutil.rmtree(project.path / "things/many")
    (project.path / "things/one.bin").unlink()
    project.run("make", "pull")
    assert bytes_of(project) == before


def test_weights_come_from_a_bucket(server: Server, tmp_path: Path) -> None:
    project = grow(tmp_path, data_source="files", base_model="acme/weights")
    write = runpy.run_path(str(project.path / "tests/small_project.py"))["write_base_model"]
    write(tmp_path / "model")
    sent = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    for name, content in sent.items():
        server.client().put_object(Bucket="dvc", Key=f"weights/{name}", Body=content)
    params = project.text("params.yaml")
    assert "hf://acme/weights@main" in params
    (project.path / "params.yaml").write_text(params.replace("hf://acme/weights@main", "s3://dvc/weights"), "utf-8")
    keys = {f"AWS_{name.upper()}": value for name, value in server.keys.items()}
    project.env |= keys | {"AWS_ENDPOINT_URL": server.endpoint, "AWS_DEFAULT_REGION": "us-east-1"}
    project.run("make", "pin")
    project.run("python", "-m", "review_sentiment", "fetch", "model")
    found = {path.name: path.read_bytes() for path in (project.path / "models/base").iterdir()}
    assert found.keys() == sent.keys() == {"config.json", "model.safetensors", "tokenizer.json"}
    assert [name for name in ("model.safetensors", "tokenizer.json") if found[name] != sent[name]] == []


def test_the_server_listens_on_this_machine_alone(server: Server) -> None:
    listening = {c.laddr.ip for c in server.process.net_connections() if c.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
    ports = server.state["ports"]
    pid = server.state["pid"]
    server.home.run("make", "s3")
    assert server.state["pid"] == pid
    server.stop()
    assert not psutil.pid_exists(pid)
    server.start()
    assert server.state["ports"] == ports


@pytest.mark.parametrize(("free", "is_enough"), [(2_600_000_000, False), (2_800_000_000, True)])
def test_a_disk_too_full_for_the_server_is_refused_before_it_starts(server: Server, free: int, is_enough: bool) -> None:
    code = f"from tools.remotes.s3 import check_space; check_space(total=270_000_000_000, free={free})"
    done = server.home.try_to("python", "-c", code)
    assert (done.returncode == 0) is is_enough
    assert ("too full" in done.stderr) is not is_enough


def test_a_key_is_never_read_as_an_option_of_the_command_it_is_typed_into(server: Server) -> None:
    assert all(secret.isalnum() for secret in server.keys.values())


def test_no_key_reaches_git(server: Server) -> None:
    assert server.state["secret"] in server.home.text(".dvc/config.local")
    server.home.run("git", "add", "--all")
    server.home.run("make", "keys")
    for secret in server.keys.values():
        assert server.home.try_to("git", "grep", "--cached", "-F", secret).returncode == 1


def test_the_table_of_faults_is_what_was_seen(request: pytest.FixtureRequest) -> None:
    if not SEEN:
        pytest.skip("no fault was tried")
    rows = {fault: "| " + " | ".join((fault, *cells)) + " |" for fault, cells in SEEN.items()}
    start, end = "<!-- faults -->\n", "<!-- end -->"
    before, rest = DOCUMENT.read_text(encoding="utf-8").split(start)
    table, after = rest.split(end)
    known = {line.split(" | ")[0].removeprefix("| "): line for line in table.splitlines()[2:]}
    if os.environ.get("WRITE_FAULT_TABLE"):
        known |= rows
        lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS), *known.values()]
        DOCUMENT.write_text(before + start + "\n".join(lines) + "\n" + end + after, encoding="utf-8")
    assert rows == {fault: known.get(fault) for fault in rows}
    collected = {item.originalname for item in request.session.items if item.path == Path(__file__)}
    if collected == {name for name in globals() if name.startswith("test_")}:  # none was left out
        assert known.keys() == rows.keys()


def test_each_row_of_the_guide_is_printed(tmp_path: Path) -> None:
    if len(PRINTED) < len(IN_THE_GUIDE) + len(REFUSALS) + len(BY_PROFILE):
        pytest.skip("needs all tests before it")
    project = grow(tmp_path)
    (project.path / "dvc.yaml").unlink()
    waits = "while [ ! -e go ]; do sleep 0.1; done; echo > out"
    project.run("dvc", "stage", "add", "--quiet", "--name", "slow", "--outs", "out", waits)
    with subprocess.Popen(["dvc", "repro"], cwd=project.path, env=project.env, stdout=subprocess.DEVNULL) as first:
        while not (project.path / ".dvc/tmp/rwlock").exists() and first.poll() is None:
            time.sleep(0.1)
        PRINTED.append(project.try_to("dvc", "repro").stderr)
        (project.path / "go").touch()
    assert never_printed("Remotes", PRINTED) == []


WITHOUT_RIGHT = """
from types import SimpleNamespace as N
from tools.remotes.remote import dangling_uploads
def refuse(*_, **__): raise PermissionError('AccessDenied')
print(dangling_uploads(N(fs=N(protocol='s3', fs=N(call_s3=refuse)), path='bucket/a')))
"""


def test_an_audit_does_not_need_the_right_to_list_uploads(tmp_path: Path) -> None:
    assert grow(tmp_path, scope="team").run("python", "-c", WITHOUT_RIGHT) == "[]\n"
