"""Measure the models on the same test rows: the probe, torch, ONNX fp32 and ONNX int8; write the model card."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from .. import paths
from ..common.determinism import use_deterministic_kernels
from ..common.io import new_directory, read_json, size_of, write_bytes, write_json, write_text
from ..common.manifest import verified_manifest
from ..common.tasks import as_written, label_disagreement, predictions_of, targets_of
from ..config import Params
from ..evaluation.card import model_card
from ..evaluation.metrics import (
    at_thresholds,
    calibration,
    calibration_table,
    groups_of,
    per_class_table,
    predictions_table,
    scores_by_column,
    summary,
)
from ..evaluation.robustness import robustness
from ..inference.classifier import MODELS, OnnxClassifier, shipped
from ..kernels import accelerate
from ..modeling.fine_tuned import load_fine_tuned
from ..modeling.forward import batcher_for, run_over
from ..modeling.probe import load_probe
from ..text.tokenization import Text, encode, load_tokenizer, texts_of

Values = dict[str, np.ndarray]
Tables = dict[str, list[dict[str, Any]]]


def run(params: Params) -> None:
    """Write the metrics of every model, the tables that DVC plots, and the model card."""
    use_deterministic_kernels(params.compute)
    labels = read_json(paths.LABELS)
    table = pl.read_parquet(paths.split_table("test"))
    targets = targets_of(table["label"], params.task, len(labels))
    texts = texts_of(table)
    logits = logits_of_torch(texts, params)
    values = predictions_of_models(texts, logits, params)
    metrics = measure(params, targets, values, groups_of(table))
    if "calibration_error" in metrics["torch"]:
        unscaled = predictions_of(params.task, logits * verified_manifest(paths.FINE_TUNED)["temperature"])
        found = calibration(params.task, targets, unscaled, params.evaluate.calibration_bins, params.seed)
        metrics["torch"]["calibration_error_unscaled"] = as_written(found["calibration_error"])
    model = OnnxClassifier(paths.ONNX, threads=params.compute.threads)
    given = values[f"onnx_{model.precision}"]
    if model.thresholds is not None:
        metrics["thresholds"] = at_thresholds(params.task, targets, given, model.thresholds)
    write_json(paths.METRICS, metrics)
    rows = io.BytesIO()
    predictions_table(params.task, table, labels, values).write_parquet(rows)
    write_bytes(paths.PREDICTIONS, rows.getvalue())
    perturbed = {} if params.prepare.fold else robustness(params, model, texts, targets, given)  # folds give scores
    write_json(paths.ROBUSTNESS, perturbed)
    with new_directory(paths.EVALUATION) as new:
        for name, content in tables(params, table, targets, values, labels).items():
            write_text(new / f"{name}.csv", pl.DataFrame(content).write_csv())
    write_text(paths.MODEL_CARD, model_card(params, reports(labels, metrics, perturbed)))


def measure(params: Params, targets: np.ndarray, values: Values, groups: np.ndarray) -> dict[str, Any]:
    """The metrics of every model."""
    metrics: dict[str, Any] = {"test_rows": len(targets)}
    for model, found in values.items():
        probe = None if model == "probe" else values["probe"]
        metrics[model] = summary(params, targets, found, probe, groups)
        if params.task != "regression" and model != "torch":
            disagreement = label_disagreement(params.task, found, values["torch"])
            metrics[model]["label_disagreements_with_torch"] = int(disagreement.sum())
    return metrics


def tables(params: Params, rows: pl.DataFrame, targets: np.ndarray, values: Values, labels: list[str]) -> Tables:
    """The tables to plot, by name: calibration, scores by the kept columns, and what else the task allows."""
    task, bins = params.task, params.evaluate.calibration_bins

    def of_all_models(table: Callable[[np.ndarray], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        return [{"model": model} | row for model, found in values.items() for row in table(found)]

    made = {"calibration": of_all_models(lambda found: calibration_table(task, targets, found, bins))}
    if by_column := scores_by_column(task, rows, targets, values, params.score):
        made["by_column"] = by_column
    if task != "regression":
        made["per_class"] = of_all_models(lambda found: per_class_table(task, targets, found, labels))
    *_, last = values.values()
    if task == "regression":
        pairs = zip(rows["label"], last[:, 0].tolist(), strict=True)
        made["predictions"] = [{"actual": actual, "predicted": as_written(given)} for actual, given in pairs]
    elif task != "multi_label":
        pairs = zip(targets, last.argmax(axis=1), strict=True)
        made["confusion_matrix"] = [{"actual": labels[actual], "predicted": labels[given]} for actual, given in pairs]
    return made


def logits_of_torch(texts: Sequence[Text], params: Params) -> np.ndarray:
    """The logits of the fine-tuned model, rows x outputs, float64."""
    model = load_fine_tuned(paths.FINE_TUNED, params.text.pooling, params.task)
    accelerate(model, params.compute, training=False)
    tokenizer = load_tokenizer(paths.FINE_TUNED / "tokenizer.json", params.text.max_length)
    batcher = batcher_for(model, params.compute, params.text.max_length)
    return run_over(batcher, encode(tokenizer, texts, params.text.prefix), output="logits").astype(np.float64)


def predictions_of_models(texts: Sequence[Text], logits: np.ndarray, params: Params) -> Values:
    """The predictions (`tasks.predictions_of`) of each model, the shipped one last; `logits`: of the torch model."""
    task, threads = params.task, params.compute.threads
    of_probe = load_probe(paths.PROBE).logits(np.load(paths.split_embeddings("test")))
    values = {"probe": predictions_of(task, of_probe), "torch": predictions_of(task, logits)}
    for name in shipped(verified_manifest(paths.ONNX)["files"]):
        model = OnnxClassifier(paths.ONNX, name, threads)
        # Not `values`, which cleans: these texts are clean.
        values[f"onnx_{name}"] = model.values_of_ids(encode(model.tokenizer, texts, model.prefix))
    return values


def reports(labels: list[str], metrics: dict[str, Any], perturbed: dict[str, Any]) -> dict[str, Any]:
    """What the model card shows, from this and earlier stages; `sizes`: the bytes of each model's file."""
    trained = verified_manifest(paths.FINE_TUNED)
    files = {"probe": paths.PROBE_FILE, "torch": paths.FINE_TUNED / "model.safetensors"}
    files |= {f"onnx_{name}": paths.ONNX / file for name, file in MODELS.items() if f"onnx_{name}" in metrics}
    return {
        "labels": labels,
        "metrics": metrics,
        "robustness": perturbed,
        "profile": read_json(paths.DATA_PROFILE),
        "near_duplicates": read_json(paths.NEAR_DUPLICATES),
        "parity": read_json(paths.PARITY),
        "probe": verified_manifest(paths.PROBE),
        "trained": trained["parameters"],
        "temperature": trained["temperature"],
        "sizes": {name: size_of(file) for name, file in files.items()},
    }
