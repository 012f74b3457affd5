"""Load and run the shipped ONNX model: onnxruntime, tokenizers and numpy, nothing else."""

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime
from onnxruntime import InferenceSession, RunOptions

from ..common.cores import usable_cores
from ..common.manifest import verified_manifest
from ..common.tasks import output_size, predictions_of
from ..errors import UserError
from ..text.cleaning import clean
from ..text.tokenization import Coverage, Text, encode, encode_with_coverage, load_tokenizer, pad, sorted_batches
from .outputs import Prediction, PredictionFormat

Model = Literal["fp32", "int8"]

TOKENIZER = "tokenizer.json"
# The last one that is shipped is the default.
MODELS: dict[Model, str] = {"fp32": "onnx/model.onnx", "int8": "onnx/model_int8.onnx"}  # as transformers.js names them
BATCH_TOKENS = 1024
SPIN_MICROSECONDS = "50"  # bridges the gap between two operators; a thread that waits longer yields its core
WINDOW = 4096  # texts that are sorted by length together; memory does not grow with the number of texts


class OnnxClassifier:
    """Texts in, predictions out."""

    def __init__(
        self, directory: Path, model: Model | None = None, threads: int | None = None, batch_tokens: int = BATCH_TOKENS
    ) -> None:
        """model: None takes int8 if it is shipped, else fp32. threads: None takes all cores that this process may use.

        Raises UserError when a file is not the one that the manifest names, and for numbers below 1.
        """
        for name, number in {"threads": threads, "batch-tokens": batch_tokens}.items():
            if number is not None and number < 1:
                raise UserError(
                    f"{name} is out of range",
                    expected="a whole number of at least 1",
                    found=str(number),
                    fix=f"name another, or leave --{name} out",
                )
        manifest = verified_manifest(directory, lambda files: (MODELS[chosen(model, files)], TOKENIZER))
        self.precision = chosen(model, manifest["files"])
        self.task = manifest["task"]
        self.labels: list[str] = manifest["labels"]
        thresholds = manifest.get("thresholds")  # of each label, None for one that is never predicted
        thresholds = thresholds.get(self.precision) if isinstance(thresholds, dict) else thresholds  # older: one list
        self.thresholds = thresholds and np.array([math.inf if one is None else one for one in thresholds])
        self.format = PredictionFormat(self.task, self.labels, manifest["label_separator"], self.thresholds)
        self.batch_tokens = batch_tokens
        self.prefix: str = manifest["prefix"]
        self.tokenizer = load_tokenizer(directory / TOKENIZER, manifest["max_length"])
        self.session = open_session(directory / MODELS[self.precision], threads)

    def encode(self, texts: Sequence[Text]) -> tuple[list[list[int]], list[Coverage]]:
        """The token ids of each cleaned text, and how much of it the model reads."""
        return encode_with_coverage(self.tokenizer, texts, self.prefix)

    def values(self, texts: Sequence[Text]) -> np.ndarray:
        """The predictions for each text, in the order given: texts x outputs, float32, see `tasks.predictions_of`."""
        return self.values_of_ids(encode(self.tokenizer, [cleaned(text) for text in texts], self.prefix))

    def values_of_ids(self, ids: Sequence[Sequence[int]], options: RunOptions | None = None) -> np.ndarray:
        """Like `values`, from the token ids of each text, as `encode` returns them."""
        outputs = output_size(self.task, len(self.labels))
        return predictions_of(self.task, run_sorted(self.session, ids, outputs, self.batch_tokens, options))

    def predict(self, texts: Iterable[Text]) -> Iterator[Prediction]:
        """The prediction for each text or pair of texts, in order, as they come; `outputs.py` shows what it looks like.

        Raises ValueError for one text in place of a list, or with the index of the first that `require_text` refuses.
        """
        if isinstance(texts, (str, dict)):
            raise ValueError("expected a list of texts, found one: predict([text])")
        waiting = enumerate(texts)
        while window := list(islice(waiting, WINDOW)):
            for index, text in window:
                try:
                    require_text(text, pairs=self.task == "pair")
                except ValueError as error:
                    raise ValueError(f"text {index}: {error}") from None
            sequences, coverage = self.encode([cleaned(text) for _, text in window])
            predictions = self.format.predictions(self.values_of_ids(sequences))
            yield from map(self.format.of, [text for _, text in window], predictions, coverage)


def shipped(files: Collection[str]) -> list[Model]:
    """The models among the files of a manifest, in the order of MODELS."""
    return [model for model, file in MODELS.items() if file in files]


def chosen(model: Model | None, files: Collection[str]) -> Model:
    """The model that was asked for, or the default. Raises UserError if it is not shipped."""
    found = shipped(files) or list(MODELS)
    if model and model not in found:
        raise UserError(
            f"the {model} model is not shipped",
            expected=f"one of: {', '.join(found)}",
            found=model,
            fix="leave the model out, or set export_onnx.int8 to true in params.yaml and type make repro",
        )
    return model or found[-1]


def require_text(text: object, *, pairs: bool) -> None:
    """Raise ValueError unless this is a text, or a pair of texts, that is not empty after cleaning."""
    parts = text if pairs and isinstance(text, (tuple, list)) else (text,)
    if len(parts) != 1 + pairs:
        raise ValueError(f"expected {'two texts' if pairs else 'one text'}, found {text!r:.60}")
    for part in parts:
        if not isinstance(part, str):
            raise ValueError(f"expected text, found {'nothing' if part is None else repr(part)[:60]}")
        if not clean(part):
            raise ValueError(f"expected text, found {'only white space' if part else 'an empty one'}")
        if not part.isascii() and any("\ud800" <= letter <= "\udfff" for letter in part):
            raise ValueError("expected text in UTF-8, found half of a pair of surrogates, or other bytes")


def cleaned(text: Text) -> Text:
    """The text, or both texts of a pair, as the model was trained to read them."""
    return clean(text) if isinstance(text, str) else (clean(text[0]), clean(text[1]))


def open_session(model: Path, threads: int | None = None) -> InferenceSession:
    """An onnxruntime session on the CPU; threads: None takes all cores that this process may use."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.use_deterministic_compute = True
    # Without a number, onnxruntime takes all cores of the machine and may pin threads to cores that are forbidden.
    options.intra_op_num_threads = usable_cores() if threads is None else threads
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
    """Logits of every text, rows x outputs, float32, in the order given; texts of similar length share a batch."""
    logits = np.empty((len(sequences), outputs), dtype=np.float32)
    for batch in sorted_batches(sequences, batch_tokens):
        for row, found in zip(batch.rows, run_batch(session, batch.ids, batch.mask, options), strict=True):
            logits[row] = found
    return logits


def run_in_order(session: InferenceSession, sequences: Sequence[Sequence[int]], size: int) -> np.ndarray:
    """Like `run_sorted`, but in batches of `size` texts in the order given, each padded to its longest text."""
    parts = [sequences[start : start + size] for start in range(0, len(sequences), size)]
    return np.concatenate([run_batch(session, *pad(part, max(map(len, part)))) for part in parts])
