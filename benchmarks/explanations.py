"""Which words decided: the service's explanations beside SHAP's, on the shipped model and the same sentences.

    python benchmarks/explanations.py build/production/review-sentiment

Comprehensiveness is how much the probability of the label falls without the words named first (10, 20 and 50 % of
them, the mean), sufficiency how much when only they are left (DeYoung et al. 2020, arXiv:1911.03429). Such figures
favour what was found by leaving words out (arXiv:2110.11929), so words drawn at random stand beside them.
"""

import json
import statistics
import sys
import time
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from environments import python_of, versions
from machine import machine
from pairs import HERE, Measure, Watch, environment, item, keep, package_of, parser
from pairs import answer as run

SHARES = (0.1, 0.2, 0.5)
TEXTS = 100


def main() -> None:
    """Measure."""
    made = parser(__doc__)
    arguments = made.parse_args()
    project = arguments.project
    with item("explanations") as folder:
        watch = Watch()
        sys.path.insert(0, str(project / "src"))
        package = package_of(project)
        inference = __import__(f"{package}.inference", fromlist=["OnnxClassifier"])
        methods = __import__(f"{package}.service.explanation", fromlist=["occlusion", "shapley"])
        classifier = inference.OnnxClassifier(project / "models/onnx", threads=1)
        table = pl.read_parquet(project / "data/processed/test.parquet")
        texts = table.filter(pl.col("text").str.count_matches(" ") > 3)["text"].sample(TEXTS, seed=0).to_list()
        (folder / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
        shap = run(
            [python_of("shap"), HERE / "peers/explain.py", project, folder / "texts.json"], folder, environment()
        )
        sides = {
            "occlusion": ours(texts, classifier, methods.occlusion),
            "shapley": ours(texts, classifier, partial(methods.shapley, orders=10, seed=0)),
            "SHAP": shap,
            "random": [{"weights": np.random.default_rng(0).random(len(text.split())).tolist()} for text in texts],
        }
        scored = {name: faithful(texts, found, classifier) for name, found in sides.items()}
        described = "; ".join(
            f"{name}: comprehensiveness {one[0]:.3f}, sufficiency {one[1]:.3f}{costs_of(sides[name])}"
            for name, one in scored.items()
        )
        mine = sides["occlusion"]
        calls = [one["predicted"] / other["predicted"] for one, other in zip(mine, shap, strict=True)]
        above = [scored["occlusion"][0] - scored["SHAP"][0]]
        milliseconds = [one["milliseconds"] for one in mine]
        keep(
            "explanations",
            peer=f"partition explainer, {versions('shap', 'shap')}",
            compared=f"{TEXTS} test sentences, int8; {described}",
            measures=[
                Measure("comprehensiveness: above SHAP's", above, at_least=0.0, unit=""),
                Measure("texts predicted: times SHAP's", calls, at_most=0.2),
                Measure("CPU time of a sentence", milliseconds, at_most=80, unit="ms"),
            ],
            machine=machine("onnxruntime"),
            watch=watch,
        )


def ours(texts: list[str], classifier: Any, method: Any) -> list[dict[str, Any]]:
    """The weights of our method for the predicted label of each text."""
    found = []
    for text in texts:
        start = time.process_time()
        label = int(classifier.values([text])[0].argmax())
        explained = method(text, lambda some, label=label: classifier.values(list(some))[:, label])
        milliseconds = (time.process_time() - start) * 1000
        found.append(
            {"weights": explained.weights.tolist(), "predicted": explained.calls, "milliseconds": milliseconds}
        )
    return found


def faithful(texts: list[str], found: list[dict[str, Any]], classifier: Any) -> tuple[float, float]:
    """Mean comprehensiveness and sufficiency."""
    gone, left = [], []
    for text, one in zip(texts, found, strict=True):
        words = text.split()
        order = np.argsort(one["weights"])[::-1]
        whole = classifier.values([text])[0]
        label = int(whole.argmax())
        for share in SHARES:
            named = set(order[: max(1, round(share * len(words)))].tolist())
            without = " ".join(word for index, word in enumerate(words) if index not in named)
            only = " ".join(word for index, word in enumerate(words) if index in named)
            fallen, kept = classifier.values([without or ".", only])[:, label]
            gone.append(whole[label] - fallen)
            left.append(whole[label] - kept)
    return float(np.mean(gone)), float(np.mean(left))


def costs_of(found: list[dict[str, Any]]) -> str:
    """What an explanation cost, in words."""
    if "predicted" not in found[0]:
        return ""
    predicted, milliseconds = (statistics.median(one[key] for one in found) for key in ("predicted", "milliseconds"))
    return f", {predicted:.0f} texts predicted, {milliseconds:.0f} CPU-ms"


if __name__ == "__main__":
    main()
