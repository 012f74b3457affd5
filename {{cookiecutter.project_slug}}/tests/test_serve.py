"""The model over HTTP: answers are those of prediction, and whatever is wrong with a request is told."""

import http.client
import json
import socket
import threading
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_project import sentences

from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.inference.classifier import (
    OnnxClassifier,
)
from {{ cookiecutter.package_name }}.service import server as serve

pytestmark = pytest.mark.slow


def arguments(trained: Path, **changes: Any) -> Namespace:
    given = {"host": "127.0.0.1", "port": 0, "model": "int8", "threads": 1, "directory": trained / "models/onnx"}
    return Namespace(**(given | {"public_key": None} | changes))


@pytest.fixture(scope="module")
def server(trained: Path) -> Iterator[serve.Server]:
    with serve.start(arguments(trained)) as started:
        thread = threading.Thread(target=started.serve_forever)
        thread.start()
        yield started
        started.shutdown()
        thread.join()


def address(server: serve.Server) -> tuple[str, int]:
    return str(server.server_address[0]), server.server_address[1]


def ask(server: serve.Server, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(*address(server), timeout=30)
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    connection.request(method, path, content, headers)
    answer = connection.getresponse()
    told = json.loads(answer.read())
    connection.close()
    return answer.status, told


def test_the_answers_are_those_of_prediction(server: serve.Server, trained: Path) -> None:
    texts = [text for text, _ in sentences(20, seed=3)] + ["", "\U0001f600 \x00"]
    status, told = ask(server, "POST", "/predict", {"texts": texts})
    assert status == 200
    assert told["answers"] == list(OnnxClassifier(trained / "models/onnx", threads=1).predict(texts))


def test_it_says_that_it_is_there(server: serve.Server) -> None:
    assert ask(server, "GET", "/health") == (200, {"status": "ok", "task": "single_label", "labels": ["bad", "good"]})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "expected {"),
        (b"no JSON", "as JSON in UTF-8"),
        (b'{"texts": ["caf\xe9"]}', "as JSON in UTF-8"),
        (b"[" * 100_000, "as JSON in UTF-8"),
        ([1], "as JSON in UTF-8"),
        ({"text": ["a"]}, "as JSON in UTF-8"),
        ({"texts": "a"}, "1 to 256 texts"),
        ({"texts": []}, "1 to 256 texts"),
        ({"texts": ["a"] * 257}, "1 to 256 texts"),
        ({"texts": ["a", 5]}, "found 5"),
        ({"texts": [["a", "b"]]}, "found ["),
        ({"texts": ["\ud800"]}, "found "),
    ],
)
def test_a_bad_request_is_told(server: serve.Server, body: Any, said: str) -> None:
    status, told = ask(server, "POST", "/predict", body)
    assert status == 400
    assert said in told["error"]


def test_pairs_are_taken_where_the_model_reads_pairs() -> None:
    assert serve.texts_of(b'{"texts": [["a", "b"]]}', pairs=True) == [("a", "b")]
    for bad in ("ab", ["a"], ["a", 1], ["a", "b", "c"]):
        with pytest.raises(ValueError, match="expected"):
            serve.texts_of(json.dumps({"texts": [bad]}).encode(), pairs=True)


def test_other_addresses_methods_and_lengths_are_refused(server: serve.Server) -> None:
    assert ask(server, "GET", "/")[0] == 404
    assert ask(server, "POST", "/")[0] == 404
    assert ask(server, "DELETE", "/predict")[0] == 501
    assert ask(server, "POST", "/predict", b" " * (serve.MAX_BYTES + 1))[0] == 413
    for length in ("-1", "many", "9" * 5000):
        assert ask(server, "POST", "/predict", None, **{"Content-Length": length})[0] == 411


def test_silent_clients_do_not_stop_the_others(server: serve.Server) -> None:
    silent = [socket.create_connection(address(server)) for _ in range(serve.MAX_CONNECTIONS - 1)]
    assert ask(server, "GET", "/health")[0] == 200
    silent += [socket.create_connection(address(server)) for _ in range(2)]
    assert silent[-1].recv(1) == b""  # one too many: closed at once
    for connection in silent:
        connection.close()


def test_it_listens_on_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["serve"])
    assert serve.parse().host == "127.0.0.1"


def test_a_place_that_is_taken_is_told(server: serve.Server, trained: Path) -> None:
    for port in (server.server_address[1], 99999):
        with pytest.raises(UserError, match="cannot listen there"):
            serve.start(arguments(trained, port=port))


def test_a_model_that_nobody_signed_is_not_served(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no public key"):
        serve.start(arguments(trained, public_key=tmp_path / "signing.pub"))
