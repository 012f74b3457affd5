"""Open models/onnx with optimum, and compare labels and logits with what ours.py wrote."""

import json
import sys
from pathlib import Path

import numpy as np
from optimum.onnxruntime import ORTModelForSequenceClassification
from transformers import AutoTokenizer

expected = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
texts = expected["texts"]
tokenizer = AutoTokenizer.from_pretrained("models/onnx")
batches = [
    tokenizer(texts[n : n + 40], truncation=True, padding=True, return_tensors="np") for n in range(0, len(texts), 40)
]
for name, options in (("fp32", {}), ("int8", {"file_name": "model_int8.onnx"})):
    model = ORTModelForSequenceClassification.from_pretrained("models/onnx", **options)
    logits = np.concatenate([model(**batch).logits for batch in batches])
    np.testing.assert_allclose(logits, np.array(expected[name]), atol=1e-4, rtol=0, err_msg=name)
    assert [model.config.id2label[row] for row in (0, 1)] == expected["labels"]
print("fp32 and int8 agree")
