"""Write what this project computes of its test rows as JSON: token ids, vectors, logits of torch and of ONNX."""

import json
import sys
from pathlib import Path

import polars as pl
from review_sentiment import paths
from review_sentiment.inference import OnnxClassifier
from review_sentiment.inference.classifier import MODELS, run_in_order
from review_sentiment.modeling.fine_tuned import load_fine_tuned
from review_sentiment.modeling.forward import Padded, run_over
from review_sentiment.text.tokenization import encode

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
# int8 depends on the batch: texts in batches of 40 as they come.
found |= {name: run_in_order(one.session, ids, 2, 40).tolist() for name, one in shipped.items()}
Path(sys.argv[1]).write_text(json.dumps(found), encoding="utf-8")
