"""Export what the Trainer saved with optimum-onnx, in fp32 and int8, and measure both and torch on the test rows.

python export.py FINE_TUNED TEST.jsonl OUT
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from clock import Clock
from optimum.onnxruntime import ORTModelForSequenceClassification, ORTQuantizer
from optimum.onnxruntime.configuration import AutoQuantizationConfig
from transformers import AutoModelForSequenceClassification, AutoTokenizer

BATCH = 32


def main() -> None:
    """Write both models; tell the accuracies."""
    source, test, out = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    clock = Clock()
    with Path(test).open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    tokenizer = AutoTokenizer.from_pretrained(source)
    exact = ORTModelForSequenceClassification.from_pretrained(source, export=True)
    exact.save_pretrained(out / "fp32")
    quantizer = ORTQuantizer.from_pretrained(exact)
    quantizer.quantize(AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True), save_dir=out / "int8")
    models = {
        "torch": AutoModelForSequenceClassification.from_pretrained(source).eval(),
        "fp32": exact,
        "int8": ORTModelForSequenceClassification.from_pretrained(out / "int8"),
    }
    accuracy = {name: measured(model, tokenizer, rows) for name, model in models.items()}
    clock.tell(accuracy=accuracy)


@torch.inference_mode()
def measured(model, tokenizer, rows: list[dict]) -> float:
    """The accuracy, in batches as the rows come."""
    right = 0
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        texts = [row["text"] for row in part]
        given = tokenizer(texts, padding=True, truncation=True, max_length=128, return_tensors="pt")
        right += int(np.sum(model(**given).logits.numpy().argmax(axis=1) == [row["label"] for row in part]))
    return right / len(rows)


if __name__ == "__main__":
    main()
