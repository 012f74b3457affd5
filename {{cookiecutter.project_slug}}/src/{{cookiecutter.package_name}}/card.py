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

from .params import Params, Source

PACKAGE = str(__package__)
NAME = PACKAGE.replace("_", "-")
MODELS = {
    "probe": "linear probe on frozen embeddings",
    "torch": "fine-tuned, torch",
    "onnx_fp32": "ONNX fp32",
    "onnx_int8": "ONNX int8",
}
SHIPPED = ("onnx_fp32", "onnx_int8")
LOADING = f"""
## How to load it

The files are in `models/onnx`; `manifest.json` there names their sha256, and a file that differs is refused.
onnxruntime, tokenizers and numpy are enough.

```sh
python -m {PACKAGE}.predict --text "…"                    # one text, int8
python -m {PACKAGE}.predict --model fp32 texts.jsonl       # JSON Lines with a key `text`
```

```python
from pathlib import Path
from {PACKAGE}.inference import OnnxClassifier

for line in OnnxClassifier(Path("models/onnx")).predict(["A first text.", "A second one."]):
    print(line["label"], line["probabilities"])
```
"""


@dataclass(frozen=True)
class Facts:
    """What the reports say; `sizes` are the bytes of each model's file."""

    labels: list[str]
    metrics: dict[str, Any]
    profile: dict[str, Any]
    near_duplicates: dict[str, Any]
    parity: dict[str, Any]
    sizes: dict[str, int]


def model_card(params: Params, facts: Facts) -> str:
    """The card as Markdown under its YAML."""
    sections = [
        f"# {NAME}\n\nA text classifier with {len(facts.labels)} labels, fine-tuned from"
        f" {address_of(params.fetch.model)} and shipped as ONNX. `README.md` says what it is for.\n",
        results(facts),
        data(params, facts),
        parity(facts),
        limits(params, facts),
        LOADING,
        parameters(params),
    ]
    return str(ModelCard(f"---\n{front_matter(params, facts).to_yaml()}\n---\n\n" + "".join(sections)))


def front_matter(params: Params, facts: Facts) -> ModelCardData:
    """What the hub reads."""
    source = params.fetch.data
    scores = {"accuracy": ("accuracy", "accuracy"), "macro_f1": ("f1", "macro-F1")}
    return ModelCardData(
        model_name=NAME,
        pipeline_tag="text-classification",
        library_name="onnx",
        tags=["text-classification", "onnx"],
        base_model=on_hub(params.fetch.model),
        datasets=[name] if (name := on_hub(source)) else None,
        metrics=["accuracy", "f1"],
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
            for score, (kind, name) in scores.items()
        ],
    )


def results(facts: Facts) -> str:
    """The four models side by side."""
    rows = [
        (
            name,
            with_interval(facts.metrics[model], "accuracy"),
            with_interval(facts.metrics[model], "macro_f1"),
            f"{facts.metrics[model]['calibration_error']:.3f}",
            f"{facts.sizes[model] / 1e6:.2f} MB",
        )
        for model, name in MODELS.items()
    ]
    header = ("model", "accuracy", "macro-F1", "calibration error", "size")
    return (
        f"\n## Results\n\nMeasured on {facts.metrics['test_rows']} test rows that training never saw; in brackets the"
        f" 95 % bootstrap interval.\n\n{table(header, rows)}"
    )


def data(params: Params, facts: Facts) -> str:
    """Where the rows come from, what was dropped, how many are left."""
    splits = {split: facts.profile[split] for split in ("train", "validation", "test")}
    rows = [(label, *(part["per_label"].get(label, 0) for part in splits.values())) for label in facts.labels]
    total = ("all", *(part["rows"] for part in splits.values()))
    dropped = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in facts.profile["dropped"].items())
    characters = splits["train"]["characters"]
    return (
        f"\n## Data\n\nFrom {address_of(params.fetch.data)}: {facts.profile['read']} rows read,"
        f" {facts.profile['mended_encoding']} of them with mended characters. Dropped: {dropped}."
        f" Half of the training texts have at most {characters['p50']} characters, 99 % at most {characters['p99']}."
        f"\n\n{table(('label', *splits), [*rows, total])}"
    )


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
    return f"""
## Limits

- It knows the language, the topics and the time of the rows above. Nothing else was measured.
- Texts are cut at {params.text.max_length} tokens.
- int8 gives {int8["rows_labelled_unlike_torch"]} of {rows} test rows another label than torch does.
- The probabilities of int8 are off by {int8["calibration_error"]:.3f} on average (expected calibration error).
- {near} of {rows} test rows nearly repeat a training row (cosine of at least \
{params.embeddings.near_duplicate_cosine}): such rows are easier than new ones.
"""


def parameters(params: Params) -> str:
    """All of `params.yaml` but where the files come from."""
    stream = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.dump(params.model_dump(exclude={"fetch"}), stream)
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
