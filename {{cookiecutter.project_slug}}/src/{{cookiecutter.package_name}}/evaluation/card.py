"""Facts for the model card, in the format of the Hugging Face hub. The card's text is in model_card.md: edit it there.

All facts come from the parameters, the manifests and the reports, so the same run writes the same card.
"""

import json
import re
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from jinja2 import TemplateError

from ..config import Params, Source, Task
from ..errors import UserError

TEMPLATE = Path(__file__).parent / "model_card.md"
PACKAGE = str(__package__).partition(".")[0]
NAME = PACKAGE.replace("_", "-")
MODELS = {
    "probe": "linear probe on frozen embeddings",
    "torch": "fine-tuned, torch",
    "onnx_fp32": "ONNX fp32",
    "onnx_int8": "ONNX int8",
}
MACRO_F1 = ("macro-F1", "f1")
# The scores on the card: the name of each on the card, and on the hub.
SCORES: dict[Task, dict[str, tuple[str, str]]] = {
    "single_label": {"accuracy": ("accuracy", "accuracy"), "macro_f1": MACRO_F1},
    "pair": {"accuracy": ("accuracy", "accuracy"), "macro_f1": MACRO_F1},
    "multi_label": {"micro_f1": ("micro-F1", "f1"), "macro_f1": MACRO_F1, "exact_match": ("exact match", "accuracy")},
    "regression": {"r2": ("R²", "r_squared"), "rmse": ("RMSE", "rmse"), "mae": ("MAE", "mae")},
}


def model_card(params: Params, reports: dict[str, Any]) -> str:
    """The card as Markdown below its YAML header, of the reports that `stages/evaluate.py` names. Raises UserError."""
    models = {model: title for model, title in MODELS.items() if model in reports["metrics"]}
    try:
        card = ModelCard.from_template(
            front_matter(params, reports["metrics"]),
            template_path=str(TEMPLATE),
            **reports,
            name=NAME,
            package=PACKAGE,
            params=params,
            base_model=address_of(params.fetch.model),
            data=address_of(params.fetch.data),
            models=models,
            shipped=[*models][-1],
            scores={score: name for score, (name, _) in SCORES[params.task].items()},
            parameters=parameters(params, reports["trained"]),
        )
    except (TemplateError, TypeError) as error:
        raise UserError(
            "the model card cannot be written",
            expected=f"a Jinja template in {'/'.join(TEMPLATE.parts[-3:])} that names facts of card.py",
            found=f"{type(error).__name__}: {error}",
            fix="correct the template, then dvc repro",
        ) from error
    return f"{card}\n"


def front_matter(params: Params, metrics: dict[str, Any]) -> ModelCardData:
    """The metadata that the hub reads."""
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
                metric_value=metrics[model][score],
            )
            for model in MODELS
            if model.startswith("onnx") and model in metrics
            for score, (name, kind) in scores.items()
        ],
    )


def parameters(params: Params, trained: dict[str, Any]) -> dict[str, str]:
    """The parameters that decided the model: those in its manifest, and those that chose its training rows."""
    split = {"split_seed", "validation_fraction", "test_fraction", "group_column", "time_column", "fold"}
    rows = params.prepare.model_dump(include={"keep", "additions", *split})
    return dict(sorted(dotted({**trained, "prepare": rows}).items()))


def dotted(tree: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """The leaves of nested parameters by their dotted name, as JSON."""
    leaves: dict[str, str] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            leaves |= dotted(value, f"{prefix}{name}.")
        else:
            leaves[prefix + name] = json.dumps(value, ensure_ascii=False)
    return leaves


def address_of(source: Source | None) -> str:
    """The address in `params.yaml`, but no path on this machine."""
    return source.uri if source and "://" in source.uri else "local files"


def on_hub(source: Source | None) -> str | None:
    """The name on the Hugging Face hub; None for a source that is not there."""
    found = re.match(r"hf://(?:datasets/)?([^@]+)@", source.uri) if source else None
    return found[1] if found else None
