"""Write what this project computes of its test rows as JSON: token ids, vectors, logits of torch and of ONNX."""

import json
import sys
from pathlib import Path

import polars as pl
from review_sentiment import paths
from review_sentiment.inference import OnnxClassifier
from review_sentiment.inference.classifier import MODELS, run_batch
from review_sentiment.modeling.fine_tuned import load_fine_tuned
from review_sentiment.modeling.forward import Padded, run_over
from review_sentiment.text.tokenization import encode, pad

HARD = ["", "x", "a [SEP] b [PAD] c", "[CLS]", "a warm and funny film " * 60]

texts = [*pl.read_parquet(paths.split_table("test"))["text"].to_list(), *HARD]
model = Padded(load_fine_tuned(paths.FINE_TUNED, "mean", "single_label"))
shipped = {name: OnnxClassifier(paths.ONNX, name, threads=2) for name in MODELS}
ids = encode(shipped["fp32"].tokenizer, texts, "")
found = {
    "texts": texts,
    "ids": ids,
    "labels": shipped["fp32"].labels,
    "vectors": run_over(model, ids, output="vectors").tolist(),
    "torch": run_over(model, ids, output="logits").tolist(),
}
# int8 depends on the batch and on the token that fills it: texts in batches of 40 as they come, filled as others do.
padding = json.loads((paths.ONNX / "config.json").read_text(encoding="utf-8")).get("pad_token_id") or 0
for name, one in shipped.items():
    found[name] = []
    for start in range(0, len(ids), 40):
        rows, mask = pad(ids[start : start + 40], max(map(len, ids[start : start + 40])))
        rows[mask == 0] = padding
        found[name] += run_batch(one.session, rows, mask).tolist()
Path(sys.argv[1]).write_text(json.dumps(found), encoding="utf-8")
