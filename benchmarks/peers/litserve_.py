"""The same model behind LitServe, in batches of up to 32 within 2 ms: PROJECT PORT."""

import sys
from pathlib import Path
from typing import Any

import litserve

PROJECT, PORT = Path(sys.argv[1]), int(sys.argv[2])


class Api(litserve.LitAPI):
    """The project's own class, with one onnxruntime thread for each call."""

    def setup(self, device: str) -> None:  # noqa: ARG002
        """Load the model in the worker's process."""
        sys.path.insert(0, str(PROJECT / "src"))
        package = next(path.parent.parent.name for path in PROJECT.glob("src/*/inference/classifier.py"))
        module = __import__(f"{package}.inference", fromlist=["OnnxClassifier"])
        self.model = module.OnnxClassifier(PROJECT / "models/onnx", threads=1)

    def decode_request(self, request: dict[str, Any]) -> str:
        """The text of a request."""
        return request["texts"][0]

    def predict(self, texts: list[str]) -> list[dict[str, Any]]:
        """The predictions of a batch."""
        return list(self.model.predict(texts))

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """The answer."""
        return {"predictions": [output]}


if __name__ == "__main__":
    server = litserve.LitServer(Api(max_batch_size=32, batch_timeout=0.002, api_path="/v1/predict"), accelerator="cpu")
    server.run(host="127.0.0.1", port=PORT, generate_client_file=False, log_level="error")
