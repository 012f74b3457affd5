"""Write the model with its tokenizer inside, for callers in any language: `make text-graph`.

models/text_graph/model.text.onnx turns texts into probabilities wherever onnxruntime and onnxruntime-extensions run.
It is made from the fp32 model of models/onnx, and written only if it gives the same labels on the test rows.
report.json lists the kinds of text that it tokenizes unlike `predict`. Git and DVC ignore the directory.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import polars as pl
from tokenizers import Tokenizer
from tools.text_graph.graph import tokenizing, with_tokenizer

from {{ cookiecutter.package_name }} import paths
from {{ cookiecutter.package_name }}.common.io import (
    new_directory,
    sha256_of,
    write_bytes,
    write_json,
    write_text,
)
from {{ cookiecutter.package_name }}.common.manifest import verified_manifest
from {{ cookiecutter.package_name }}.common.tasks import decisions_of
from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.inference.classifier import (
    MODELS,
    TOKENIZER,
    OnnxClassifier,
)
from {{ cookiecutter.package_name }}.text.cleaning import clean
from {{ cookiecutter.package_name }}.text.tokenization import (
    encode,
    load_tokenizer,
)

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

DIRECTORY = Path("models/text_graph")
TEXT_MODEL = "model.text.onnx"
TASKS = ("single_label", "multi_label")
LARGEST_DIFFERENCE = 1e-4  # of a probability
BATCH = 32

KINDS = {
    "plain": ["A warm, funny film.", "it's so-so -- at best"],
    "empty": [""],
    "white space": [" ", "a\u00a0b\u3000c \t d  e\u2003f"],
    "line ends": ["a\r\nb\nc\u2028d\u0085e"],
    "punctuation": ["“Wow” – it’s… «good», 100 % #1 @you $5 €5 a/b_c ^~`|¿¡§"],
    "accents": ["Amélie Łódź Škoda naïve", "tiếng Việt", "ångström ÆØ"],
    "combining accents": ["Ame\u0301lie nai\u0308ve", "x\u0323\u0302"],
    "ligatures and fractions": ["ﬁlm Ⅷ ½ ㎏ Ǆ ™", "straße STRAẞE"],
    "Turkish dotted I": ["İstanbul ılık"],
    "Greek and Cyrillic": ["ΤΑΙΝΊΑ ταινίας", "Хороший ёлка"],
    "Hebrew and Arabic": ["סֶרֶט", "فيلمٌ جميل"],
    "Devanagari and Thai": ["फ़िल्म अच्छी", "สวัสดีครับ"],
    "CJK": ["日本語の映画がいい", "中国電影", "ｶﾞ ゛Ａ", "豈 𠀀"],
    "Hangul": ["한국어 영화", "\u1112\u1161\u11ab"],
    "emoji": ["😀 good👍🏽!", "🇩🇪 ❤️"],
    "zero-width joiner": ["👩\u200d👩\u200d👧", "na\u200dme"],
    "zero-width space": ["na\u200bme \ufeffa\u00adb"],
    "NUL": ["a\x00b", "\x00"],
    "control characters": ["a\x07b \x1b[0m c\x7fd"],
    "mangled Windows characters": ["\x93quoted\x94 it\x92s \x85"],
    "special tokens": ["a [MASK] b[SEP]c", "[CLS] [PAD] [UNK] [mask]"],
    "unknown characters in words": ["warmↀfilm", "abꙮ", "ꙮab cd"],
    "replacement character": ["a\ufffdb", "\ufffd"],
    "private use": ["a\ue000b \U000f0000c"],
    "unassigned": ["a\u0378b \U0003fffd"],
    "very long words": ["a" * 100, "a" * 101, "ab-" * 200],
    "longer than the limit": ["a warm and funny film " * 400],
}


def main() -> int:
    """0 when the file is written, 1 when the model or its tokenizer cannot become one."""
    try:
        build(paths.ONNX, DIRECTORY)
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 1
    return 0


def build(onnx_models: Path, directory: Path) -> None:
    """Write the text graph and its report, or fail without writing either."""
    manifest = verified_manifest(onnx_models, (MODELS["fp32"], TOKENIZER))
    if manifest["task"] not in TASKS:
        raise UserError(
            "no text graph for this task",
            expected=f"a model of one text and its labels: task {' or '.join(TASKS)}",
            found=f"task {manifest['task']}",
            fix="ship models/onnx as it is: its callers tokenize, as `predict` does",
        )
    tokenizer = load_tokenizer(onnx_models / TOKENIZER, manifest["max_length"])
    model = onnx.load(onnx_models / MODELS["fp32"])
    whole = with_tokenizer(model, tokenizer, manifest["max_length"], manifest["task"])
    unlike = tokenized_unlike_predict(tokenizer, manifest["max_length"])
    with new_directory(directory) as new:
        write_text(new / ".gitignore", "*\n")
        write_bytes(new / TEXT_MODEL, whole.SerializeToString(deterministic=True))
        report = {
            "made_from": {name: sha256_of(onnx_models / name) for name in (MODELS["fp32"], TOKENIZER)},
            "sha256": sha256_of(new / TEXT_MODEL),
            **parity(OnnxClassifier(onnx_models, "fp32"), new / TEXT_MODEL),
            "tokenized_unlike_predict": unlike,
        }
        write_json(new / "report.json", report)
    kinds = ", ".join(kind for kind, differs in unlike.items() if differs)
    print(f"{directory / TEXT_MODEL}: the labels of the fp32 model on all {report['test_rows']} test rows")
    print(f"kinds of text tokenized unlike `predict`: {kinds or f'none of {len(KINDS)}'}")


def parity(classifier: OnnxClassifier, text_model: Path) -> dict[str, object]:
    """The test rows compared with the fp32 model; raises UserError where labels or probabilities differ."""
    table = paths.split_table("test")
    if not table.exists():
        raise UserError("no rows to compare on", expected=str(table), found="no such file", fix="make pull")
    texts = pl.read_parquet(table)["text"].to_list()
    expected, found = classifier.values(texts), probabilities_of(open_text_session(text_model), texts)
    distance = np.abs(found - expected).max(axis=1)
    relabelled = (decisions_of(classifier.task, found) != decisions_of(classifier.task, expected)).any(axis=1)
    wrong = np.flatnonzero(relabelled | ~(distance <= LARGEST_DIFFERENCE))
    if len(wrong):
        worst = wrong[np.argmax(distance[wrong])]
        raise UserError(
            "the text graph is not the fp32 model",
            expected=f"the same labels, and probabilities within {LARGEST_DIFFERENCE}",
            found=f"{len(wrong)} of {len(texts)} test rows differ, row {worst} by {distance[worst]:.2g}: "
            f"{texts[worst][:60]!r}",
            fix="ship models/onnx as it is: its callers tokenize, as `predict` does",
        )
    return {"test_rows": len(texts), "largest_difference": float(distance.max())}


def open_text_session(graph: Path | bytes) -> "InferenceSession":
    """A session on the CPU that has the operators of the tokenizer."""
    from onnxruntime import InferenceSession, SessionOptions  # after the package, which switches their telemetry off
    from onnxruntime_extensions import get_library_path

    options = SessionOptions()
    options.log_severity_level = 3
    options.use_deterministic_compute = True
    options.register_custom_ops_library(get_library_path())
    return InferenceSession(graph if isinstance(graph, bytes) else str(graph), options, ["CPUExecutionProvider"])


def probabilities_of(session: "InferenceSession", texts: Sequence[str]) -> np.ndarray:
    """Probabilities of every text, texts x labels, float32, in the order given."""
    batches = [np.array(texts[start : start + BATCH], dtype=object) for start in range(0, len(texts), BATCH)]
    return np.concatenate([np.asarray(session.run(["probabilities"], {"text": batch})[0]) for batch in batches])


def tokenized_unlike_predict(tokenizer: Tokenizer, max_length: int) -> dict[str, bool]:
    """For every kind of text, whether the graph gives other token ids than `predict`."""
    session = open_text_session(tokenizing(tokenizer, max_length).SerializeToString())
    return {
        kind: [token_ids(session, [text])[0] for text in texts] != encode(tokenizer, [clean(text) for text in texts])
        for kind, texts in KINDS.items()
    }


def token_ids(session: "InferenceSession", texts: Sequence[str]) -> list[list[int]]:
    """The token ids of a batch of texts, from a graph of the tokenizer alone."""
    ids, mask = (np.asarray(value) for value in session.run(None, {"text": np.array(texts, dtype=object)}))
    return [row[real == 1].tolist() for row, real in zip(ids, mask, strict=True)]


if __name__ == "__main__":
    sys.exit(main())
