"""The model's card, in the format of the Hugging Face hub: what it is, how good, where it ends, how to load it.

It is made of the parameters and the reports alone, so the same run writes the same card.
"""

import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from ruamel.yaml import YAML

from ..config import Params, Source, Task

PACKAGE = str(__package__).partition(".")[0]
NAME = PACKAGE.replace("_", "-")
MODELS = {
    "probe": "linear probe on frozen embeddings",
    "torch": "fine-tuned, torch",
    "onnx_fp32": "ONNX fp32",
    "onnx_int8": "ONNX int8",
}
SHIPPED = ("onnx_fp32", "onnx_int8")
# Of every score: its name here, and on the hub.
SCORES: dict[Task, dict[str, tuple[str, str]]] = {
    "single_label": {"accuracy": ("accuracy", "accuracy"), "macro_f1": ("macro-F1", "f1")},
    "pair": {"accuracy": ("accuracy", "accuracy"), "macro_f1": ("macro-F1", "f1")},
    "multi_label": {"micro_f1": ("micro-F1", "f1"), "macro_f1": ("macro-F1", "f1")},
    "regression": {"r2": ("R²", "r_squared"), "rmse": ("RMSE", "rmse"), "mae": ("MAE", "mae")},
}
WHAT: dict[Task, str] = {
    "single_label": "A text classifier with {labels} labels",
    "pair": "A classifier of pairs of texts with {labels} labels",
    "multi_label": "A text classifier that gives any of {labels} labels",
    "regression": "A model that gives every text a number",
}
ANSWER: dict[Task, str] = {
    "single_label": 'line["label"], line["probabilities"]',
    "pair": 'line["label"], line["probabilities"]',
    "multi_label": 'line["labels"], line["probabilities"]',
    "regression": 'line["value"]',
}


@dataclass(frozen=True)
class Facts:
    """What the reports say; `sizes` are the bytes of each model's file."""

    labels: list[str]
    metrics: dict[str, Any]
    robustness: dict[str, Any]
    profile: dict[str, Any]
    near_duplicates: dict[str, Any]
    parity: dict[str, Any]
    sizes: dict[str, int]


def model_card(params: Params, facts: Facts) -> str:
    """The card as Markdown under its YAML."""
    what = WHAT[params.task].format(labels=len(facts.labels))
    sections = [
        f"# {NAME}\n\n{what}, fine-tuned from"
        f" {address_of(params.fetch.model)} and shipped as ONNX. `README.md` says what it is for.\n",
        results(params.task, facts),
        data(params, facts),
        robustness(params, facts),
        parity(facts),
        limits(params, facts),
        loading(params.task),
        parameters(params),
    ]
    return str(ModelCard(f"---\n{front_matter(params, facts).to_yaml()}\n---\n\n" + "".join(sections)))


def front_matter(params: Params, facts: Facts) -> ModelCardData:
    """What the hub reads."""
    source = params.fetch.data
    scores = SCORES[params.task]
    return ModelCardData(
        model_name=NAME,
        pipeline_tag="text-classification",
        library_name="onnx",
        tags=["text-classification", "onnx"],
        base_model=on_hub(params.fetch.model),
        datasets=[name] if (name := on_hub(source)) else None,
        metrics=sorted({kind for _, kind in scores.values()}),
        eval_results=[
            EvalResult(
                task_type="text-classification",
                dataset_type=on_hub(source) or "custom",
                dataset_name=address_of(source),
                dataset_split="test",
                metric_type=kind,
                metric_name=f"{name}, {MODELS[model]}",
                metric_value=facts.metrics[model][score],
            )
            for model in SHIPPED
            for score, (name, kind) in scores.items()
        ],
    )


def results(task: Task, facts: Facts) -> str:
    """The four models side by side."""
    rows = []
    for model, name in MODELS.items():
        found = facts.metrics[model]
        calibration = [] if task == "regression" else [f"{found['calibration_error']:.3f}"]
        intervals = [with_interval(found, score) for score in SCORES[task]]
        rows.append([name, *intervals, *calibration, f"{facts.sizes[model] / 1e6:.2f} MB"])
    calibration = [] if task == "regression" else ["calibration error"]
    header = ["model", *(name for name, _ in SCORES[task].values()), *calibration, "size"]
    return (
        f"\n## Results\n\nMeasured on {facts.metrics['test_rows']} test rows that training never saw; in brackets the"
        f" 95 % bootstrap interval.\n\n{table(header, rows)}"
    )


def data(params: Params, facts: Facts) -> str:
    """Where the rows come from, what was dropped, how many are left."""
    splits = {split: facts.profile[split] for split in ("train", "validation", "test")}
    rows = [(label, *(part["per_label"].get(label, 0) for part in splits.values())) for label in facts.labels]
    rows.append(("all", *(part["rows"] for part in splits.values())))
    dropped = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in facts.profile["dropped"].items())
    characters = splits["train"]["characters"]
    return (
        f"\n## Data\n\nFrom {address_of(params.fetch.data)}: {facts.profile['read']} rows read,"
        f" {facts.profile['repaired']['mangled_characters']} of them with repaired characters. Dropped: {dropped}."
        f" Half of the training texts have at most {characters['p50']} characters, 99 % at most {characters['p99']}."
        f"\n\n{table(('label' if facts.labels else 'rows', *splits), rows)}"
    )


def robustness(params: Params, facts: Facts) -> str:
    """What changed texts do to the int8 model."""
    scores, knobs = SCORES[params.task], params.evaluate
    kinds = {
        "as they are": facts.metrics["onnx_int8"],
        f"{knobs.typing_errors:.0%} of the letters mistyped": facts.robustness["typing_errors"],
        "in upper case": facts.robustness["upper_case"],
        f"cut off after {knobs.kept_share:.0%}": facts.robustness["truncated"],
        f"{knobs.dropped_words:.0%} of the words left out": facts.robustness["dropped_words"],
    }
    rows = [(kind, *(f"{found[score]:.3f}" for score in scores)) for kind, found in kinds.items()]
    header = ["test texts", *(name for name, _ in scores.values())]
    return f"\n## Robustness\n\nOf ONNX int8, with the same labels:\n\n{table(header, rows)}"


def parity(facts: Facts) -> str:
    """What the export found."""
    found = [
        f"- {name.replace('_', ' ')}: {value}" for name, value in facts.parity.items() if not hasattr(value, "keys")
    ]
    return "\n## ONNX against torch\n\nOn validation rows, when the model was exported:\n\n" + "\n".join(found) + "\n"


def limits(params: Params, facts: Facts) -> str:
    """Where the figures above end."""
    rows, int8 = facts.metrics["test_rows"], facts.metrics["onnx_int8"]
    near = facts.near_duplicates["test_in_train"]["rows"]
    known = [
        "It knows the language, the topics and the time of the rows above. Nothing else was measured.",
        f"Texts are cut at {params.text.max_length} tokens.",
    ]
    if params.task != "regression":
        known += [
            f"int8 gives {int8['rows_labelled_unlike_torch']} of {rows} test rows another label than torch does.",
            f"The probabilities of int8 are off by {int8['calibration_error']:.3f} on average (expected calibration"
            " error).",
        ]
    known.append(
        f"{near} of {rows} test rows nearly repeat a training row (cosine of at least"
        f" {params.embeddings.near_duplicate_cosine}): such rows are easier than new ones."
    )
    return "\n## Limits\n\n" + "".join(f"- {line}\n" for line in known)


def loading(task: Task) -> str:
    """How to get answers."""
    two = task == "pair"
    texts = '("A first text.", "Its second.")' if two else '"A first text.", "A second one."'
    keys = "keys `text` and `second_text`" if two else "a key `text`"
    more = ' --second-text "…"' if two else ""
    return f"""
## How to load it

The files are in `models/onnx`; `manifest.json` there names their sha256, and a file that differs is refused.
onnxruntime, tokenizers and numpy are enough.

```sh
python -m {PACKAGE}.predict --text "…"{more}                    # one, int8
python -m {PACKAGE}.predict --model fp32 texts.jsonl       # JSON Lines with {keys}
```

```python
from pathlib import Path
from {PACKAGE}.inference import OnnxClassifier

for line in OnnxClassifier(Path("models/onnx")).predict([{texts}]):
    print({ANSWER[task]})
```
"""


def parameters(params: Params) -> str:
    """All of `params.yaml` but where the files come from."""
    stream = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.dump(params.model_dump(exclude={"fetch", "gate", "launcher", "search"}), stream)
    return f"\n## Parameters\n\n```yaml\n{stream.getvalue()}```\n"


def with_interval(values: dict[str, float], score: str) -> str:
    """A score and its interval, as in `0.823 [0.799, 0.846]`."""
    return f"{values[score]:.3f} [{values[f'{score}_low']:.3f}, {values[f'{score}_high']:.3f}]"


def table(header: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    lines = [[str(cell).replace("|", "\\|") for cell in row] for row in [header, *rows]]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def address_of(source: Source | None) -> str:
    """The address as `params.yaml` has it, without a path on this machine."""
    return source.uri if source and "://" in source.uri else "local files"


def on_hub(source: Source | None) -> str | None:
    """The name on the Hugging Face hub, for what lies there."""
    found = re.match(r"hf://(?:datasets/)?([^@]+)@", source.uri) if source else None
    return found[1] if found else None
