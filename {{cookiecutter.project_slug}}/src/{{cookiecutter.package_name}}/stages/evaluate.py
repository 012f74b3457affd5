"""Measure the four models on the same test rows: the probe, torch, ONNX fp32 and ONNX int8; write the model's card."""

from typing import Any

import numpy as np
import polars as pl

from .. import paths
from ..card import Facts, model_card
from ..classifier import load_fine_tuned, run_over
from ..determinism import pin_model, use_deterministic_kernels
from ..files import read_json, write_json, write_text
from ..inference import MODELS, OnnxClassifier
from ..metrics import calibration_table, per_class_table, probabilities_of, summary
from ..params import Params
from ..probe import load_probe
from ..tokens import encode, load_tokenizer


def run(params: Params) -> None:
    """Write the metrics of every model, three tables that DVC plots, and the model's card."""
    use_deterministic_kernels(params.compute)
    names = read_json(paths.LABELS)
    table = pl.read_parquet(paths.split_table("test"))
    labels = table["label"].to_numpy()
    probabilities = predict_all(table["text"].to_list(), names, params)
    baseline = probabilities["probe"].argmax(axis=1)
    knobs = params.evaluate
    metrics: dict[str, Any] = {
        model: summary(
            labels, values, baseline, bins=knobs.calibration_bins, samples=knobs.bootstrap_samples, seed=params.seed
        )
        for model, values in probabilities.items()
    }
    for model, values in probabilities.items():
        others = values.argmax(axis=1) != probabilities["torch"].argmax(axis=1)
        metrics[model]["rows_labelled_unlike_torch"] = int(others.sum())
    metrics["test_rows"] = len(labels)
    write_json(paths.METRICS, metrics)
    per_class = {model: per_class_table(labels, values, names) for model, values in probabilities.items()}
    write_text(paths.PER_CLASS, one_table(per_class))
    bins = {model: calibration_table(labels, v, knobs.calibration_bins) for model, v in probabilities.items()}
    write_text(paths.CALIBRATION, one_table(bins))
    shipped = probabilities["onnx_int8"].argmax(axis=1)
    confusion = pl.DataFrame({"actual": [names[i] for i in labels], "predicted": [names[i] for i in shipped]})
    write_text(paths.CONFUSION, confusion.write_csv())
    write_text(paths.MODEL_CARD, model_card(params, facts(names, metrics)))


def predict_all(texts: list[str], names: list[str], params: Params) -> dict[str, np.ndarray]:
    """The probabilities of every model, rows x labels."""
    probe = load_probe(paths.PROBE)
    vectors = np.load(paths.split_embeddings("test"))
    model = load_fine_tuned(paths.FINE_TUNED, len(names), params.text.pooling)
    pin_model(model, params.compute)
    tokenizer = load_tokenizer(paths.FINE_TUNED / "tokenizer.json", params.text.max_length)
    logits = run_over(model, encode(tokenizer, texts), output="logits")
    threads = params.compute.threads
    return {
        "probe": probe.predict_proba(vectors.astype(np.float64)),
        "torch": probabilities_of(logits),
        "onnx_fp32": OnnxClassifier(paths.ONNX, "fp32", threads).probabilities(texts),
        "onnx_int8": OnnxClassifier(paths.ONNX, "int8", threads).probabilities(texts),
    }


def facts(names: list[str], metrics: dict[str, Any]) -> Facts:
    """What the model's card tells, from this and earlier stages."""
    files = {"probe": paths.PROBE_FILE, "torch": paths.FINE_TUNED / "model.safetensors"}
    files |= {f"onnx_{name}": paths.ONNX / file for name, file in MODELS.items()}
    return Facts(
        labels=names,
        metrics=metrics,
        profile=read_json(paths.DATA_PROFILE),
        near_duplicates=read_json(paths.NEAR_DUPLICATES),
        parity=read_json(paths.PARITY),
        sizes={name: file.stat().st_size for name, file in files.items()},
    )


def one_table(tables: dict[str, list[dict]]) -> str:
    """The tables of all models under each other, as CSV with the model in the first column."""
    return pl.DataFrame([{"model": model} | row for model, rows in tables.items() for row in rows]).write_csv()
