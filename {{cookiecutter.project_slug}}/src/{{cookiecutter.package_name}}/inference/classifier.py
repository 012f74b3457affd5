"""Load and run the shipped ONNX model: onnxruntime, tokenizers and numpy, nothing else."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime
from onnxruntime import InferenceSession, RunOptions

from ..common.manifest import verified_manifest
from ..common.tasks import output_size, values_of
from ..text.cleaning import clean
from ..text.tokenization import Text, encode, load_tokenizer, pad, sorted_batches
from .outputs import Answer, Answers

Model = Literal["fp32", "int8"]

TOKENIZER = "tokenizer.json"
MODELS: dict[Model, str] = {"fp32": "onnx/model.onnx", "int8": "onnx/model_int8.onnx"}  # as transformers.js names them
BATCH_TOKENS = 1024
SPIN_MICROSECONDS = "50"  # bridges the gap between two operators; a thread that waits longer yields its core
WINDOW = 4096  # texts that are sorted by length together; memory does not grow with the rest


class OnnxClassifier:
    """Texts in, answers out."""

    def __init__(
        self, directory: Path, model: Model = "int8", threads: int | None = None, batch_tokens: int = BATCH_TOKENS
    ) -> None:
        """threads: None for all cores. Raises UserError when a file is not the one that the manifest names."""
        manifest = verified_manifest(directory, (MODELS[model], TOKENIZER))
        self.task = manifest["task"]
        self.labels: list[str] = manifest["labels"]
        self.answers = Answers(self.task, self.labels, manifest["label_separator"])
        self.batch_tokens = batch_tokens
        self.prefix: str = manifest["prefix"]
        self.max_length: int = manifest["max_length"]
        self.tokenizer = load_tokenizer(directory / TOKENIZER, self.max_length)
        self.session = open_session(directory / MODELS[model], threads)

    def encode(self, texts: Sequence[Text]) -> list[tuple[Sequence[int], bool]]:
        """The token ids of each text, and whether it was cut."""
        sequences = encode(self.tokenizer, texts, self.prefix)
        return [(ids, len(ids) >= self.max_length) for ids in sequences]

    def values(self, texts: Sequence[Text]) -> np.ndarray:
        """The predictions of each text, in the order given: texts x outputs, float32, see `tasks.values_of`."""
        sequences = encode(self.tokenizer, [cleaned(text) for text in texts], self.prefix)
        outputs = output_size(self.task, len(self.labels))
        return values_of(self.task, run_sorted(self.session, sequences, outputs, self.batch_tokens))

    def predict(self, texts: Iterable[Text]) -> Iterator[Answer]:
        """The answer to each text or pair of texts, in order, as they come; `outputs.py` says how it looks."""
        waiting = iter(texts)
        while window := list(islice(waiting, WINDOW)):
            for text, row in zip(window, self.values(window), strict=True):
                yield self.answers.of(text, row)


def cleaned(text: Text) -> Text:
    """The text, or both texts of a pair, as the model was trained to read them."""
    return clean(text) if isinstance(text, str) else (clean(text[0]), clean(text[1]))


def open_session(model: Path, threads: int | None = None) -> InferenceSession:
    """An onnxruntime session on the CPU; threads: None for all cores."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.use_deterministic_compute = True
    if threads is not None:
        options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.spin_duration_us", SPIN_MICROSECONDS)
    return InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def run_batch(
    session: InferenceSession, ids: np.ndarray, mask: np.ndarray, options: RunOptions | None = None
) -> np.ndarray:
    """Logits of one batch: rows x outputs, float32."""
    return np.asarray(session.run(["logits"], {"input_ids": ids, "attention_mask": mask}, options)[0])


def run_sorted(
    session: InferenceSession,
    sequences: Sequence[Sequence[int]],
    outputs: int,
    batch_tokens: int = BATCH_TOKENS,
    options: RunOptions | None = None,
) -> np.ndarray:
    """Logits of every text, rows x outputs, float32, in the order given; texts of about one length share a batch."""
    logits = np.empty((len(sequences), outputs), dtype=np.float32)
    for batch in sorted_batches(sequences, batch_tokens):
        logits[batch.rows] = run_batch(session, batch.ids, batch.mask, options)
    return logits


def run_in_order(session: InferenceSession, sequences: Sequence[Sequence[int]], outputs: int, size: int) -> np.ndarray:
    """The same in batches of `size` texts as they come, padded to the longest of each."""
    logits = np.empty((len(sequences), outputs), dtype=np.float32)
    for start in range(0, len(sequences), size):
        rows = sequences[start : start + size]
        logits[start : start + size] = run_batch(session, *pad(rows, max(map(len, rows))))
    return logits
