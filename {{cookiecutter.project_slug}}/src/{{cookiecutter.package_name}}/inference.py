"""Load and run the shipped ONNX model: onnxruntime, tokenizers and numpy, nothing else."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime

from .cleaning import clean
from .errors import UserError
from .files import read_json, sha256_of
from .tokens import encode, fixed_shape_batches, load_tokenizer, pad

MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.json"
MODELS = {"fp32": "model.onnx", "int8": "model.int8.onnx"}

Model = Literal["fp32", "int8"]


class OnnxClassifier:
    """Texts in, one probability per label out."""

    def __init__(self, directory: Path, model: Model = "int8", threads: int | None = None) -> None:
        """Raises UserError when a file is not the one that the manifest names."""
        manifest = verified_manifest(directory, [MODELS[model], TOKENIZER])
        self.labels: list[str] = manifest["labels"]
        self.tokenizer = load_tokenizer(directory / TOKENIZER, manifest["max_length"])
        self.session = open_session(directory / MODELS[model], threads)

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Probabilities, texts x labels, float32, in the order given."""
        sequences = encode(self.tokenizer, [clean(text) for text in texts])
        return softmax(run_over(self.session, sequences, len(self.labels)))

    def predict(self, texts: Sequence[str]) -> Iterator[dict[str, object]]:
        """For each text, in order: the text, its label, and the probability of every label."""
        for text, row in zip(texts, self.probabilities(texts), strict=True):
            scores = {label: round(float(value), 6) for label, value in zip(self.labels, row, strict=True)}
            yield {"text": text, "label": self.labels[int(row.argmax())], "probabilities": scores}


def verified_manifest(directory: Path, names: Sequence[str]) -> dict:
    """The manifest of the model directory, after every named file was checked against it."""
    path = directory / MANIFEST
    if not path.exists():
        raise UserError(
            f"no model in {directory}", expected=str(path), found="no such file", remedy="dvc pull, or dvc repro"
        )
    manifest = read_json(path)
    for name in names:
        found = sha256_of(directory / name) if (directory / name).exists() else "no such file"
        if found != manifest["files"][name]["sha256"]:
            raise UserError(
                f"{directory / name} is not the file that was shipped",
                expected=f"sha256 {manifest['files'][name]['sha256']}",
                found=found,
                remedy="dvc checkout --force, or dvc pull",
            )
    return manifest


def open_session(path: Path, threads: int | None = None) -> onnxruntime.InferenceSession:
    """An onnxruntime session on the CPU; threads: None for all cores."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.use_deterministic_compute = True
    if threads is not None:
        options.intra_op_num_threads = threads
        # More threads than cores must not be pinned to cores, nor wait by spinning.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_batch(session: onnxruntime.InferenceSession, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Logits of one batch: rows x labels, float32."""
    return np.asarray(session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0])


def run_over(session: onnxruntime.InferenceSession, sequences: Sequence[Sequence[int]], labels: int) -> np.ndarray:
    """Logits of every text, rows x labels, float32, in the order given."""
    logits = np.empty((len(sequences), labels), dtype=np.float32)
    if len(sequences) == 1:
        logits[:] = run_batch(session, *pad(sequences, len(sequences[0])))
        return logits
    for batch in fixed_shape_batches(sequences):
        logits[batch.rows] = run_batch(session, batch.ids, batch.mask)[: len(batch.rows)]
    return logits


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
