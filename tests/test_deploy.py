"""The deployment, with real programs: two replicas behind HAProxy, with Redis, Prometheus and Alertmanager."""

import itertools
import json
import os
import re
import shutil
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from deployment import NO_LIMIT, Deployment, Load, put_release, wait
from ruamel.yaml import YAML
from workshop import TOOLS, Project, grow

PROGRAMS = ("haproxy", "redis-server", "prometheus", "prometheus-alertmanager", "openssl")
WORDS = ("warm", "funny", "dull", "stale"), ("tender", "bright", "hollow", "tired", "a@example.com")
TEXTS = [f"the film is {first} and {second} with a plot" for first, second in itertools.product(*WORDS)]
LONG = {"texts": [" ".join(TEXTS[:4])] * 256}
DIGEST = "sha256:" + 64 * "0"


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A production project whose images have digests."""
    project = grow(tmp_path_factory.mktemp("deploy"), scope="production", data_source="files")
    images = project.path / "deploy/images.env"
    pinned = rf"\1=registry.example.com/name@{DIGEST}"
    images.write_text(re.sub(r"^# (\w+_IMAGE)=.*$", pinned, images.read_text(), flags=re.MULTILINE))
    return project


def test_compose_file_has_the_published_form(production: Project) -> None:
    production.run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "deploy/compose.yaml")
    services = YAML(typ="safe").load(production.text("deploy/compose.yaml"))["services"]
    assert services["service"]["deploy"]["replicas"] == 2
    for name, service in services.items():
        assert re.fullmatch(r"\$\{\w+_IMAGE:\?.+\}", service["image"]), "an image without a digest is refused"
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        outside = [port for port in service.get("ports", []) if not port.startswith("127.0.0.1:")]
        assert (name == "proxy") == bool(outside)
    mounted = re.findall(r"(?<!\.)\./([\w./]+):", production.text("deploy/compose.yaml"))
    assert mounted
    assert [path for path in mounted if not (production.path / "deploy" / path).exists()] == []


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_silence_pages_until_somebody_asks_but_not_at_quiet_hours(production: Project, tmp_path: Path) -> None:
    """Requests for eight hours of each working day of a week, then of Monday, and then no more."""
    groups = YAML(typ="safe").load(production.text("deploy/alerts.yml"))["groups"]
    [rule] = [rule for group in groups for rule in group["rules"] if rule.get("alert") == "Silence"]
    fires = [{"exp_labels": rule["labels"], "exp_annotations": rule["annotations"]}]
    saturday, evening, outage, later, night, next_day = "124h", "176h30m", "193h", "198h40m", "205h", "218h"
    times = {saturday: [], evening: [], outage: fires, later: fires, night: [], next_day: fires}
    values = 5 * "0+300x96 0x190 " + "0x575 0+300x96 0x600"
    test = {
        "interval": "5m",
        "input_series": [{"series": 'classifier_requests_total{route="predict"}', "values": values}],
        "alert_rule_test": [{"alertname": "Silence", "eval_time": at, "exp_alerts": a} for at, a in times.items()],
    }
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "answers", "rules": [rule]}]}))
    tests = {"rule_files": ["rules.yml"], "evaluation_interval": "5m", "tests": [test]}
    (tmp_path / "tests.yml").write_text(json.dumps(tests))
    production.run("promtool", "test", "rules", str(tmp_path / "tests.yml"))


def test_an_image_without_digest_is_refused(production: Project, tmp_path: Path) -> None:
    project = production.copy(tmp_path)
    (project.path / "deploy/images.env").write_text("REDIS_IMAGE=docker.io/library/redis:7\n")
    done = project.try_to("make", "up")
    assert done.returncode != 0
    assert "redis:7" in done.stdout
    assert "fix: make pin-images" in done.stderr
    if shutil.which("kubectl"):
        assert "SERVICE_IMAGE" in project.try_to("kubectl", "kustomize", "deploy").stderr


def test_images_are_pinned_by_what_docker_says_and_then_run(tmp_path: Path) -> None:
    project = grow(tmp_path, scope="production", data_source="files")
    docker = tmp_path / "bin/docker"
    docker.parent.mkdir()
    compose = f'[ "$1" = compose ] && echo "$@" && env > {tmp_path}/env && exit'
    docker.write_text(f'#!/bin/sh\n[ "$1" = pull ] && exit\n{compose}\necho "any/name@{DIGEST}"\n')
    docker.chmod(0o755)
    project.env["PATH"] = f"{docker.parent}:{project.env['PATH']}"
    printed = project.run("make", "--silent", "pin-images")
    assert f"REDIS_IMAGE=docker.io/library/redis:7.0@{DIGEST}" in printed.splitlines()
    assert len(printed.splitlines()) == 5
    assert project.run("make", "--silent", "pin-images") == ""
    (project.path / ".env").write_text("REDIS_PASSWORD=a\n")
    files = "--env-file deploy/images.env --env-file .env --file deploy/compose.yaml"
    assert project.run("make", "--silent", "up") == f"compose {files} up --detach\n"
    assert project.text(".service/settings/service.yaml") == project.text("service.yaml")
    assert (project.path / ".service/releases").is_dir(), "Docker would make it, and root would own it"
    a_changed_file_replaces_what_mounts_it(project, tmp_path)


def a_changed_file_replaces_what_mounts_it(project: Project, folder: Path) -> None:
    """Compose makes a container anew when its label changes, which is a variable that `make up` sets."""
    services = YAML(typ="safe").load(project.text("deploy/compose.yaml"))["services"]
    mounts = {name: re.findall(r"(?<!\.)\./([\w./]+):", str(service)) for name, service in services.items()}
    certificate = folder / "the certificate.pem"
    certificate.write_text("a certificate\n")
    (project.path / ".env").write_text(f'REDIS_PASSWORD=a\nCERTIFICATE="{certificate}"\n')
    files = [(name, project.path / "deploy" / file) for name, mounted in mounts.items() for file in mounted]
    assert len(files) == 7

    def labels() -> dict[str, str]:
        project.run("make", "up")
        set_by_make = dict(line.split("=", 1) for line in (folder / "env").read_text().splitlines() if "_SUM=" in line)
        return {name: set_by_make[re.search(r"\w+_SUM", str(services[name]["labels"]))[0]] for name, _ in files}

    before = labels()
    assert labels() == before
    for service, file in [*files, ("proxy", certificate)]:
        file.write_text(file.read_text() + "\n")
        after = labels()
        assert {name for name in after if after[name] != before[name]} == {service}, file
        before = after


def test_starting_it_as_another_user_than_the_owner_is_refused(production: Project, tmp_path: Path) -> None:
    project = production.copy(tmp_path)
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(project.path / ".service", 12345, 12345)
    done = project.try_to("make", "up")
    assert done.returncode != 0
    assert "error: .service belongs to another user; fix: run make up as its owner, without sudo" in done.stderr
    assert not (project.path / ".service/settings").exists()


def test_manifests_have_the_published_form(production: Project) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    documents = list(YAML(typ="safe").load_all(production.run("kubectl", "kustomize", "deploy")))
    for document in documents:
        validate.validate(document, "1.32", strict=True)
    found = {(document["kind"], document["metadata"]["name"]): document for document in documents}
    kinds = Counter(kind for kind, _ in found)
    assert {"Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy"} <= kinds.keys()
    assert "ConfigMap" not in kinds
    for kind, name in (("Deployment", "classifier"), ("StatefulSet", "redis")):
        pod = found[kind, name]["spec"]["template"]["spec"]
        [container] = pod["containers"]
        assert container["image"].endswith(f"@{DIGEST}")
        assert pod["securityContext"]["runAsNonRoot"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["readinessProbe"]
        assert container["livenessProbe"]
        assert {mount["name"] for mount in container["volumeMounts"]} >= {"tmp"}
    paths = [path["path"] for rule in found["Ingress", "classifier"]["spec"]["rules"] for path in rule["http"]["paths"]]
    assert paths == ["/v1", "/v2", "/healthz"]


THREADS = """
from pathlib import Path
from types import SimpleNamespace as Any
from review_sentiment.service import admission, settings
admission.usable_cores = lambda: 8
service = Any(engine=Any(settings=settings.load_settings(Path("service.yaml"))))
print(admission.Admission(service).threads)
"""


def test_a_pod_calls_the_model_as_often_at_once_as_it_requests_processors(production: Project) -> None:
    deployment, *_ = YAML(typ="safe").load_all(production.text("deploy/kubernetes/service.yaml"))
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    sources = {variable["name"]: variable.get("valueFrom") for variable in container["env"]}
    assert sources["CPU_REQUEST"] == {"resourceFieldRef": {"resource": "requests.cpu"}}
    assert container["resources"]["requests"]["cpu"]
    assert production.run("python", "-c", THREADS, CPU_REQUEST="1") == "1\n"
    assert production.run("python", "-c", THREADS) == "8\n"


def test_a_replica_is_healthy_whatever_proxy_the_network_has(production: Project) -> None:
    statuses = [200, 503]

    class Replica(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(statuses.pop(0) if self.path == "/healthz" else 404)
            self.end_headers()

    [check] = re.findall(r"HEALTHCHECK .*\\\n    CMD (\[.*\])", production.text("deploy/Dockerfile"))
    with HTTPServer(("127.0.0.1", 0), Replica) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = json.loads(check.replace("8000", str(server.server_port)))
        proxy = {"http_proxy": "http://127.0.0.1:9"}
        assert [production.try_to(*command, **proxy).returncode for _ in range(2)] == [0, 1]
        server.shutdown()
    assert production.try_to(*command).returncode == 1, "nothing listens any more"


@pytest.mark.skipif(
    not shutil.which("buildah") or os.geteuid() != 0, reason="no image is built: buildah or root is missing"
)
def test_an_image_holds_the_public_key_if_there_is_one(production: Project, tmp_path: Path) -> None:
    project = production.copy(tmp_path)
    [copied] = re.findall(r"^COPY .*service\.yaml .*$", project.text("deploy/Dockerfile"), re.MULTILINE)
    (project.path / "deploy/Dockerfile").write_text(f"FROM scratch\n{copied}\n")

    where = ("--root", str(tmp_path / "images"), "--runroot", str(tmp_path / "run"), "--storage-driver", "vfs")

    def held() -> list[str]:
        build = ("build", "--file", "deploy/Dockerfile", "--output", str(tmp_path / "image"), ".")
        project.run("buildah", *where, *build)
        return sorted(path.name for path in (tmp_path / "image/app").iterdir())

    assert held() == ["service.yaml"]
    (project.path / "signing.pub").write_text("a public key\n")
    assert held() == ["service.yaml", "signing.pub"]


def test_watching_says_what_is_missing(production: Project) -> None:
    done = production.try_to("python", "-m", "tools.service.watch", PATH=str(TOOLS))
    assert done.returncode == 1
    assert "prometheus is not installed" in done.stderr
    assert "apt-get install prometheus prometheus-alertmanager" in done.stderr


@pytest.fixture
def deployment(production: Project, small: Project, tmp_path: Path) -> Iterator[Deployment]:
    """Everything, running."""
    if missing := [program for program in PROGRAMS if not shutil.which(program)]:
        pytest.skip(f"nothing is deployed: {', '.join(missing)} is missing (apt-get install)")
    model = small.path / "models/onnx"
    project = production.copy(tmp_path)
    put_release(project, model, "1.0.0", reverse=False)
    put_release(project, model, "1.1.0", reverse=True)
    project.set_params("service.yaml", limit__per_key=NO_LIMIT, limit__in_all=NO_LIMIT, model__seconds=10)
    deployment = Deployment(project, tmp_path)
    deployment.answer_with("v1.0.0")
    try:
        deployment.start_all()
        yield deployment
    finally:
        deployment.stop()
        for log in tmp_path.glob("*.log"):
            print(f"--- {log.name}\n{log.read_text()[-1500:]}")


@pytest.mark.slow
def test_nothing_fails_while_everything_changes(deployment: Deployment) -> None:
    answers_come_in_one_piece(deployment)
    key = changes_under_load(deployment)
    stopped_replicas_answer(deployment, key)
    what_is_public(deployment)
    limit_is_exact(deployment, key)
    alerts_arrive(deployment, key)


def answers_come_in_one_piece(deployment: Deployment) -> None:
    """A head that is sent without its body cannot be asked for again when the replica dies in between."""
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", deployment.ports["one"])) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: replica\r\nConnection: close\r\n\r\n")
            assert connection.recv(65536).endswith(b'{"status":"ok"}')
            assert connection.recv(65536) == b""


def changes_under_load(deployment: Deployment) -> str:
    """SIGKILL, a swap of the model and back, another key, other settings, SIGTERM: every answer is right."""
    swaps: list[tuple[float, float]] = []  # when each began and was done
    with Load(deployment, deployment.key("me"), 6, [{"texts": [text]} for text in TEXTS]) as load:
        time.sleep(1)
        deployment.running["one"].kill()
        time.sleep(1)
        deployment.start_replica("one")
        wait(lambda: deployment.ready() == [True, True])
        for release in ("v1.1.0", "v1.0.0"):
            began = time.monotonic()
            deployment.after_reload(lambda release=release: deployment.answer_with(release))
            swaps.append((began, time.monotonic()))
            load.go_on()
        old, load.key = load.key, deployment.key("me")
        load.go_on()
        deployment.project.run("python", "-m", "tools.service.api_key", "me", "--revoke")
        deployment.settings(guard_out__confidence=0.01)
        deployment.running["two"].send_signal(signal.SIGTERM)
        assert deployment.running["two"].wait(15) in (0, -signal.SIGTERM)
        deployment.start_replica("two")
        wait(lambda: deployment.ready() == [True, True])
        time.sleep(0.5)
    assert deployment.ask("POST", "/v1/predict", {"texts": ["a film"]}, old)[0] == 401
    assert load.failed == []
    statuses = Counter(status for _, _, status, _ in load.answers)
    print(f"{len(load.answers)} answers")
    assert statuses == {200: len(load.answers)}
    assert len(load.answers) > 200
    labels: dict[tuple[str, str], set[str]] = {}
    for *_, answer in load.answers:
        labels.setdefault((answer["model"], answer["text"]), set()).add(answer["predictions"][0]["label"])
    assert {model for model, _ in labels} == {"1.0.0", "1.1.0"}
    assert all(len(given) == 1 for given in labels.values())
    assert all(labels["1.0.0", text] != labels.get(("1.1.0", text), set()) for _, text in labels)
    (_, first), (second_began, second) = swaps
    between = [answer["model"] for asked, at, _, answer in load.answers if first < asked and at < second_began]
    assert set(between) == {"1.1.0"}
    assert {answer["model"] for asked, _, _, answer in load.answers if asked > second} == {"1.0.0"}
    return load.key


def stopped_replicas_answer(deployment: Deployment, key: str) -> None:
    """With the kill switch on no replica is ready, and the proxy still lets them answer with the fallback."""

    def outcome() -> str:
        return deployment.ask("POST", "/v1/predict", {"texts": ["a film"]}, key)[1]["predictions"][0]["outcome"]

    deployment.settings(fallback__stopped="{label: null}")
    switch = deployment.project.path / ".service/kill_switch"
    switch.touch()
    time.sleep(2)  # the proxy has looked at /readyz more than twice
    assert [outcome() for _ in range(4)] == ["fallback"] * 4
    switch.unlink()
    wait(lambda: {outcome() for _ in range(4)} == {"answered"})


def what_is_public(deployment: Deployment) -> None:
    """Metrics and administration are not; who fails too often is known by the address that the proxy sees."""
    for path in ("/metrics", "/admin/reload", "/docs", "/openapi.json", "/readyz", "//metrics", "/V1/x",
                 "/v1/../metrics", "/v1/%2e%2e/metrics", "/v2x"):  # fmt: skip
        status, problem = deployment.ask("GET", path)
        assert (status, problem["status"]) == (404, 404), path
    assert deployment.ask("GET", "/v2")[0] == 200
    body = {"texts": ["a film"]}
    found = [
        deployment.ask("POST", "/v1/predict", body, "wrong", "127.0.0.2", **{"X-Forwarded-For": f"10.0.0.{n}"})
        for n in range(21)
    ]
    assert [status for status, _ in found] == [401] * 20 + [429]
    assert deployment.ask("POST", "/v1/predict", body, "wrong", "127.0.0.3")[0] == 401


def limit_is_exact(deployment: Deployment, key: str) -> None:
    """200 a minute over two replicas are 200."""
    limited = NO_LIMIT.replace("requests_per_minute: null", "requests_per_minute: 200")
    deployment.settings(limit__per_key=limited)
    before = [deployment.metric(port, "classifier_requests_total") for port in deployment.replicas]
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(deployment.ask, "POST", "/v1/predict", {"texts": TEXTS[:1]}, key) for _ in range(300)]
    assert Counter(one.result()[0] for one in asked) == {200: 200, 429: 100}
    after = [deployment.metric(port, "classifier_requests_total") for port in deployment.replicas]
    assert all(b - a > 50 for a, b in zip(before, after, strict=True)), "both replicas had their part"


def alerts_arrive(deployment: Deployment, key: str) -> None:
    """A spent budget, a burst of errors and a slow service reach their receivers; the dashboard shows all of it."""
    assert "/page: BudgetSpent" not in deployment.received
    little = NO_LIMIT.replace("cost_per_day: null", "cost_per_day: 0.000001")
    deployment.settings(limit__per_key=NO_LIMIT, limit__in_all=little)
    begin = time.monotonic()
    statuses = [deployment.ask("POST", "/v1/predict", {"texts": [text]}, key)[0] for text in TEXTS]
    assert 503 in statuses
    wait(lambda: "/page: BudgetSpent" in deployment.received)
    print(f"BudgetSpent after {time.monotonic() - begin:.1f} s")
    deployment.settings(limit__in_all=NO_LIMIT, model__seconds=0.0001)
    assert not deployment.received & {"/page: ErrorBudgetBurnsFast", "/page: Slow"}
    begin = time.monotonic()
    with Load(deployment, key, 6, [{"texts": [f"{text} {n}"]} for text in TEXTS for n in range(40)]) as load:
        wait(lambda: "/page: ErrorBudgetBurnsFast" in deployment.received)
    assert {status for _, _, status, _ in load.answers} == {504}
    print(f"ErrorBudgetBurnsFast after {time.monotonic() - begin:.1f} s")
    deployment.settings(model__seconds=10)
    begin = time.monotonic()
    with Load(deployment, key, 24, [LONG]) as load:
        wait(lambda: "/page: Slow" in deployment.received, 30)
        print(f"Slow after {time.monotonic() - begin:.1f} s")
        dashboard = json.loads(deployment.project.text("deploy/grafana/dashboard.json"))
        queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
        assert len(queries) > 20
        assert [query for query in queries if not deployment.query(query)] == []
    assert load.failed == []
