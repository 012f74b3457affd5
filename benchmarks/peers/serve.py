"""The same model behind one bare address, or behind http.server and a lock.

python serve.py bare PROJECT PORT
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

KIND, PROJECT, PORT = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])


def classifier() -> Any:
    """The project's own class, with one onnxruntime thread for each call."""
    sys.path.insert(0, str(PROJECT / "src"))
    package = next(path.parent.parent.name for path in PROJECT.glob("src/*/inference/classifier.py"))
    module = __import__(f"{package}.inference", fromlist=["OnnxClassifier"])
    return module.OnnxClassifier(PROJECT / "models/onnx", threads=1)


def bare() -> None:
    """FastAPI with nothing around the call."""
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel

    model = classifier()

    class Request(BaseModel):
        texts: list[str]

    app = FastAPI()

    @app.post("/v1/predict")
    def predict(request: Request) -> dict[str, Any]:
        return {"predictions": list(model.predict(request.texts))}

    uvicorn.run(app, host="127.0.0.1", port=PORT, http="h11", access_log=False, log_level="error")


def locked() -> None:
    """Python's own server, one request answered at a time."""
    model, one_at_a_time = classifier(), Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["texts"]
            with one_at_a_time:
                body = json.dumps({"predictions": list(model.predict(texts))}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()


if __name__ == "__main__":
    {"bare": bare, "locked": locked}[KIND]()
