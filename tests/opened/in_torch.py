"""Open models/fine_tuned with transformers and sentence-transformers, and compare with what ours.py wrote."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer, pipeline

FOLDER = "models/fine_tuned"

torch.set_num_threads(2)
expected = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
texts, labels = expected["texts"], expected["labels"]


def require_equal(name: str, found: np.ndarray, wanted: str) -> None:
    """Stop where the numbers differ by more than rounding."""
    np.testing.assert_allclose(found, np.array(expected[wanted]), atol=1e-4, rtol=0, err_msg=name)


_, notes = AutoModel.from_pretrained(FOLDER, output_loading_info=True)
assert not notes["missing_keys"], notes
assert not notes["unexpected_keys"], notes
assert not notes["mismatched_keys"], notes

tokenizer = AutoTokenizer.from_pretrained(FOLDER)
assert tokenizer(texts, truncation=True)["input_ids"] == expected["ids"]

whole = SentenceTransformer(FOLDER, device="cpu")
require_equal("SentenceTransformer", whole.encode(texts), "torch")
require_equal("its vectors", SentenceTransformer(modules=[whole[0], whole[1]], device="cpu").encode(texts), "vectors")

model = AutoModelForSequenceClassification.from_pretrained(FOLDER, trust_remote_code=True)
batches = [
    tokenizer(texts[n : n + 40], truncation=True, padding=True, return_tensors="pt") for n in range(0, len(texts), 40)
]
with torch.inference_mode():
    logits = torch.cat([model(**batch).logits for batch in batches]).numpy()
require_equal("HubClassifier", logits, "torch")
assert (logits.argmax(axis=1) == np.array(expected["fp32"]).argmax(axis=1)).all()

classify = pipeline("text-classification", FOLDER, trust_remote_code=True)
found = [answer["label"] for answer in classify(texts[-100:], batch_size=16)]
assert found == [labels[row] for row in np.array(expected["torch"])[-100:].argmax(axis=1)]
print("AutoModel, AutoTokenizer, SentenceTransformer, HubClassifier and HubPipeline agree")
