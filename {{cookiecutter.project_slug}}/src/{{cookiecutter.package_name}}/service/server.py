"""Answer over HTTP with the shipped model, without torch.

python -m {{ cookiecutter.package_name }}.service.server --port 8000

POST /predict   {"texts": ["A warm, funny film."]}, of a model of pairs {"texts": [["first", "second"]]}
                gives {"answers": [{"text": …, "label": …, "probabilities": …}]}, in the order of the texts
GET /health     gives {"status": "ok", "task": …, "labels": […]}

It listens on 127.0.0.1 unless told otherwise. It knows neither users nor encryption: a proxy before it does.
"""

import argparse
import json
import signal
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import Any, cast

from .. import paths
from ..errors import UserError
from ..inference.classifier import MODELS, OnnxClassifier
from ..text.tokenization import Text

MAX_BYTES = 1 << 20
MAX_TEXTS = 256
MAX_CONNECTIONS = 64
SECONDS = 10  # a client may be silent so long


class Server(ThreadingHTTPServer):
    """One model; a thread for each connection, one request answered at a time: onnxruntime takes all cores for it."""

    daemon_threads = True
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, address: tuple[str, int], classifier: OnnxClassifier) -> None:
        self.classifier = classifier
        self.one_at_a_time = Lock()
        self.free = BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Take a connection where one is free, else close it."""
        if self.free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, then free the connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.free.release()


class Handler(BaseHTTPRequestHandler):
    """The two addresses. Whatever goes wrong is told as {"error": …}."""

    timeout = SECONDS
    server_version = "serve"
    sys_version = ""

    def of(self) -> Server:
        """The server that this connection belongs to."""
        return cast("Server", self.server)

    def do_GET(self) -> None:
        """Say that the model is loaded, and what it answers."""
        if self.path != "/health":
            return self.send_error(HTTPStatus.NOT_FOUND, "GET /health or POST /predict")
        classifier = self.of().classifier
        return self.answer(HTTPStatus.OK, {"status": "ok", "task": classifier.task, "labels": classifier.labels})

    def do_POST(self) -> None:
        """Answer the texts of the body."""
        if self.path != "/predict":
            return self.send_error(HTTPStatus.NOT_FOUND, "GET /health or POST /predict")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 20):
            return self.send_error(HTTPStatus.LENGTH_REQUIRED, "expected a Content-Length")
        if int(length) > MAX_BYTES:
            self.rfile.read(min(int(length), 4 * MAX_BYTES))  # or the client would see a reset, not the answer
            return self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {MAX_BYTES} bytes")
        try:
            texts = texts_of(self.rfile.read(int(length)), pairs=self.of().classifier.task == "pair")
        except ValueError as error:
            return self.send_error(HTTPStatus.BAD_REQUEST, str(error))
        with self.of().one_at_a_time:
            answers = list(self.of().classifier.predict(texts))
        return self.answer(HTTPStatus.OK, {"answers": answers})

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """The same shape for every mistake, those that http.server finds as well."""
        self.close_connection = True
        self.answer(code, {"error": message or explain or HTTPStatus(code).phrase})

    def answer(self, code: int, value: dict[str, Any]) -> None:
        """Send JSON."""
        body = json.dumps(value, ensure_ascii=False).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def texts_of(body: bytes, *, pairs: bool) -> list[Text]:
    """The texts of a request. Raises ValueError saying what was expected."""
    form = '{"texts": [["first", "second"], …]}' if pairs else '{"texts": ["…", …]}'
    try:
        texts = json.loads(body.decode())["texts"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError(f"expected {form} as JSON in UTF-8") from None
    if not isinstance(texts, list) or not 1 <= len(texts) <= MAX_TEXTS:
        raise ValueError(f"expected {form} with 1 to {MAX_TEXTS} texts")
    for text in texts:
        parts = text if pairs and isinstance(text, list) else [text]
        if len(parts) != 1 + pairs or not all(isinstance(part, str) and is_unicode(part) for part in parts):
            raise ValueError(f"expected {form}, found {json.dumps(text)[:100]}")
    return [(text[0], text[1]) for text in texts] if pairs else texts


def is_unicode(text: str) -> bool:
    """Whether the text has no halves of surrogate pairs, which JSON can spell."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def main() -> int:
    """Serve until told to stop; 1 after a user's mistake."""
    arguments = parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # how containers are stopped
    try:
        with start(arguments) as server:
            host, port = server.server_address[:2]
            print(f"listening on http://{host}:{port}", file=sys.stderr, flush=True)
            server.serve_forever()
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; default: %(default)s")
    parser.add_argument("--port", type=int, default=8000, help="0 for a free one; default: %(default)s")
    parser.add_argument("--model", choices=MODELS, default="int8", help="default: %(default)s")
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--directory", type=Path, default=paths.ONNX, help="of the model; default: %(default)s")
    parser.add_argument("--public-key", type=Path, help="refuse a model that its owner did not sign")
    return parser.parse_args()


def start(arguments: argparse.Namespace) -> Server:
    """The server with its model loaded. Raises UserError."""
    if arguments.public_key is not None:
        from .signature import verify_signature

        verify_signature(arguments.directory, arguments.public_key)
    classifier = OnnxClassifier(arguments.directory, arguments.model, arguments.threads)
    try:
        return Server((arguments.host, arguments.port), classifier)
    except (OSError, OverflowError) as error:
        raise UserError(
            "the server cannot listen there",
            expected="a free address of this machine",
            found=f"{arguments.host}:{arguments.port}: {error}",
            fix="name another: --host, --port",
        ) from None


if __name__ == "__main__":
    sys.exit(main())
