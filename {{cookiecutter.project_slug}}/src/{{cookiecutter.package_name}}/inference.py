"""Load and run the shipped ONNX model: onnxruntime, tokenizers and numpy, nothing else."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime
from onnxruntime import InferenceSession

from .cleaning import clean
from .manifest import verified_manifest
from .tokens import encode, load_tokenizer, pad, sorted_batches

TOKENIZER = "tokenizer.json"
MODELS = {"fp32": "model.onnx", "int8": "model.int8.onnx"}
BATCH_TOKENS = 1024
WINDOW = 4096  # texts that are sorted by length together; memory does not grow with the rest

Model = Literal["fp32", "int8"]


class OnnxClassifier:
    """Texts in, one probability per label out."""

    def __init__(
        self, directory: Path, model: Model = "int8", threads: int | None = None, batch_tokens: int = BATCH_TOKENS
    ) -> None:
        """threads: None for all cores. Raises UserError when a file is not the one that the manifest names."""
        manifest = verified_manifest(directory, (MODELS[model], TOKENIZER))
        self.labels: list[str] = manifest["labels"]
        self.batch_tokens = batch_tokens
        self.tokenizer = load_tokenizer(directory / TOKENIZER, manifest["max_length"])
        self.session = open_session(directory / MODELS[model], threads)

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Probabilities, texts x labels, float32, in the order given."""
        sequences = encode(self.tokenizer, [clean(text) for text in texts])
        return softmax(run_sorted(self.session, sequences, len(self.labels), self.batch_tokens))

    def predict(self, texts: Iterable[str]) -> Iterator[dict[str, object]]:
        """For each text, in order, as it comes: the text, its label, and the probability of every label."""
        waiting = iter(texts)
        while window := list(islice(waiting, WINDOW)):
            for text, row in zip(window, self.probabilities(window), strict=True):
                scores = {label: round(float(value), 6) for label, value in zip(self.labels, row, strict=True)}
                yield {"text": text, "label": self.labels[int(row.argmax())], "probabilities": scores}


def open_session(model: Path | bytes, threads: int | None = None, *, operators: str | None = None) -> InferenceSession:
    """An onnxruntime session on the CPU; threads: None for all cores; operators: a library of more of them."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.use_deterministic_compute = True
    if operators is not None:
        options.register_custom_ops_library(operators)
    if threads is not None:
        options.intra_op_num_threads = threads
        # More threads than cores must not be pinned to cores, nor wait by spinning.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = model if isinstance(model, bytes) else str(model)
    return InferenceSession(source, options, providers=["CPUExecutionProvider"])


def run_batch(session: InferenceSession, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Logits of one batch: rows x labels, float32."""
    return np.asarray(session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0])


def run_sorted(
    session: InferenceSession,
    sequences: Sequence[Sequence[int]],
    labels: int,
    batch_tokens: int = BATCH_TOKENS,
) -> np.ndarray:
    """Logits of every text, rows x labels, float32, in the order given; texts of about one length share a batch."""
    logits = np.empty((len(sequences), labels), dtype=np.float32)
    for batch in sorted_batches(sequences, batch_tokens):
        logits[batch.rows] = run_batch(session, batch.ids, batch.mask)
    return logits


def run_in_order(session: InferenceSession, sequences: Sequence[Sequence[int]], labels: int, size: int) -> np.ndarray:
    """The same in batches of `size` texts as they come, padded to the longest of each."""
    logits = np.empty((len(sequences), labels), dtype=np.float32)
    for start in range(0, len(sequences), size):
        rows = sequences[start : start + size]
        logits[start : start + size] = run_batch(session, *pad(rows, max(map(len, rows))))
    return logits


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
