"""Measure the four models on the same test rows: the probe, torch, ONNX fp32 and ONNX int8; write the model's card."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from .. import paths
from ..common.determinism import use_deterministic_kernels
from ..common.io import new_directory, read_json, write_bytes, write_json, write_text
from ..common.metrics import DECIMALS, calibration_table, per_class_table, summary
from ..common.tasks import decided_otherwise, targets_of, values_of, width_of
from ..config import Params
from ..evaluation.card import Facts, model_card
from ..evaluation.predictions import predictions
from ..evaluation.robustness import robustness
from ..inference.classifier import MODELS, OnnxClassifier
from ..kernels import accelerate
from ..modeling.classifier import load_fine_tuned
from ..modeling.forward import batched, run_over
from ..modeling.probe import load_probe
from ..text.tokenization import Text, encode, load_tokenizer, texts_of


def run(params: Params) -> None:
    """Write the metrics of every model, the tables that DVC plots, and the model's card."""
    use_deterministic_kernels(params.compute)
    names = read_json(paths.LABELS)
    table = pl.read_parquet(paths.split_table("test"))
    targets = targets_of(table["label"], params.task, len(names))
    texts = texts_of(table)
    values = values_of_models(texts, names, params)
    knobs = params.evaluate
    metrics: dict[str, Any] = {
        model: summary(
            params.task,
            targets,
            found,
            values["probe"],
            bins=knobs.calibration_bins,
            samples=knobs.bootstrap_samples,
            seed=params.seed,
        )
        for model, found in values.items()
    }
    if params.task != "regression":
        for model, found in values.items():
            others = decided_otherwise(params.task, found, values["torch"])
            metrics[model]["rows_labelled_unlike_torch"] = int(others.sum())
    metrics["test_rows"] = len(targets)
    write_json(paths.METRICS, metrics)
    said = io.BytesIO()
    predictions(params.task, table, names, values).write_parquet(said)
    write_bytes(paths.PREDICTIONS, said.getvalue())
    shipped = OnnxClassifier(paths.ONNX, "int8", params.compute.threads)
    before = values["onnx_int8"]
    strained = robustness(params.task, shipped, texts, targets, before, knobs=knobs, seed=params.seed)
    write_json(paths.ROBUSTNESS, strained)
    with new_directory(paths.EVALUATION) as new:
        for name, rows in tables(params, targets, values, names).items():
            write_text(new / f"{name}.csv", pl.DataFrame(rows).write_csv())
    write_text(paths.MODEL_CARD, model_card(params, facts(names, metrics, strained)))


def tables(
    params: Params, targets: np.ndarray, values: dict[str, np.ndarray], names: list[str]
) -> dict[str, list[dict[str, Any]]]:
    """What is drawn, by name: the calibration, and what the task allows beside it."""
    task, bins = params.task, params.evaluate.calibration_bins
    made = {"calibration": of_all_models(values, lambda found: calibration_table(task, targets, found, bins))}
    if task != "regression":
        made["per_class"] = of_all_models(values, lambda found: per_class_table(task, targets, found, names))
    shipped = values["onnx_int8"]
    if task == "regression":
        pairs = zip(targets.tolist(), shipped[:, 0].tolist(), strict=True)
        made["predictions"] = [{"actual": actual, "predicted": round(given, DECIMALS)} for actual, given in pairs]
    elif task != "multi_label":
        pairs = zip(targets, shipped.argmax(axis=1), strict=True)
        made["confusion_matrix"] = [{"actual": names[actual], "predicted": names[given]} for actual, given in pairs]
    return made


def of_all_models(
    values: dict[str, np.ndarray], table: Callable[[np.ndarray], list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """The tables of all models under each other, with the model in the first column."""
    return [{"model": model} | row for model, found in values.items() for row in table(found)]


def values_of_models(texts: Sequence[Text], names: list[str], params: Params) -> dict[str, np.ndarray]:
    """What every model says, rows x width, see `tasks.values_of`."""
    task, threads = params.task, params.compute.threads
    vectors = np.load(paths.split_embeddings("test"))
    model = load_fine_tuned(paths.FINE_TUNED, width_of(task, len(names)), params.text.pooling, task)
    accelerate(model, params.compute, training=False)
    tokenizer = load_tokenizer(paths.FINE_TUNED / "tokenizer.json", params.text.max_length)
    over = batched(model, params.compute, params.text.max_length)
    logits = run_over(over, encode(tokenizer, texts), output="logits")
    return {
        "probe": values_of(task, load_probe(paths.PROBE).logits(vectors)),
        "torch": values_of(task, logits.astype(np.float64)),
        "onnx_fp32": OnnxClassifier(paths.ONNX, "fp32", threads).values(texts),
        "onnx_int8": OnnxClassifier(paths.ONNX, "int8", threads).values(texts),
    }


def facts(names: list[str], metrics: dict[str, Any], strained: dict[str, Any]) -> Facts:
    """What the model's card tells, from this and earlier stages."""
    files = {"probe": paths.PROBE_FILE, "torch": paths.FINE_TUNED / "model.safetensors"}
    files |= {f"onnx_{name}": paths.ONNX / file for name, file in MODELS.items()}
    return Facts(
        labels=names,
        metrics=metrics,
        robustness=strained,
        profile=read_json(paths.DATA_PROFILE),
        near_duplicates=read_json(paths.NEAR_DUPLICATES),
        parity=read_json(paths.PARITY),
        sizes={name: file.stat().st_size for name, file in files.items()},
    )
