"""SHAP's partition explainer on the shipped model: PROJECT FILE (a JSON list of texts)."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import shap

PROJECT, FILE = Path(sys.argv[1]), Path(sys.argv[2])
sys.path.insert(0, str(PROJECT / "src"))
package = next(path.parent.parent.name for path in PROJECT.glob("src/*/inference/classifier.py"))
model = __import__(f"{package}.inference", fromlist=["OnnxClassifier"]).OnnxClassifier(
    PROJECT / "models/onnx", threads=1
)
predicted = 0


def scores(texts: "np.ndarray") -> np.ndarray:
    """The probability of every label: texts x labels."""
    global predicted
    predicted += len(texts)
    return model.values([str(text) or "." for text in texts])


explainer = shap.Explainer(scores, shap.maskers.Text(r"\s+"), algorithm="partition", seed=0)
found = []
for text in json.loads(FILE.read_text(encoding="utf-8")):
    label = int(scores(np.array([text])).argmax())
    predicted, start = 0, time.process_time()
    values = explainer([text], silent=True)
    words = [str(part).strip() for part in values.data[0]]
    weights = [float(weight) for word, weight in zip(words, values.values[0][:, label], strict=True) if word]
    found.append({"weights": weights, "predicted": predicted, "milliseconds": (time.process_time() - start) * 1000})
print(json.dumps(found))
