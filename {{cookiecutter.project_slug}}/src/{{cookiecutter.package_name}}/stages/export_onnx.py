"""Export the model to ONNX, in float32 and int8, and refuse it unless it predicts what the torch model predicts."""

import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars as pl

from .. import paths
from ..common.determinism import use_deterministic_kernels
from ..common.io import new_directory, read_json, write_json
from ..common.manifest import verified_manifest, write_manifest
from ..common.tasks import predictions_of, target_scale_of, targets_of
from ..config import Params
from ..export import graph
from ..export.parity import differences, hard_texts, limit_of, report, require_parity
from ..export.quantization import quantize
from ..export.thresholds import thresholds
from ..inference.classifier import MODELS, TOKENIZER, cleaned, open_session, run_in_order, run_sorted
from ..modeling.fine_tuned import load_fine_tuned
from ..modeling.forward import batcher_for, run_over
from ..text.tokenization import Text, encode, load_tokenizer, texts_of

CALIBRATION_ROWS = 256
LIBRARIES = ("onnx", "onnxruntime", "onnxscript", "tokenizers", "torch", "transformers")


def run(params: Params) -> None:
    """Write `models/onnx` and the parity report, or fail without writing either."""
    use_deterministic_kernels(params.compute)
    validation = pl.read_parquet(paths.split_table("validation"))
    label_count = len(read_json(paths.LABELS))
    texts: list[Text] = [*texts_of(validation), *map(cleaned, hard_texts(params.task))]
    tokenizer = load_tokenizer(paths.FINE_TUNED / TOKENIZER, params.text.max_length)
    sequences = encode(tokenizer, texts, params.text.prefix)
    model = load_fine_tuned(paths.FINE_TUNED, params.text.pooling, params.task)
    expected = run_over(batcher_for(model, params.compute, params.text.max_length), sequences, output="logits")
    with new_directory(paths.ONNX) as new:
        fp32, int8 = (new / file for file in MODELS.values())
        fp32.parent.mkdir()
        operators = graph.export(model, fp32, params.export_onnx.opset, fused=fused(params))
        del model  # quantization needs the memory
        if params.export_onnx.int8:
            train = pl.scan_parquet(paths.split_table("train"))
            step = max(1, train.select(pl.len()).collect().item() // CALIBRATION_ROWS)
            calibration = encode(tokenizer, texts_of(train.gather_every(step).collect()), params.text.prefix)
            quantize(fp32, calibration, int8, params.compute.threads)
        for name in (TOKENIZER, "tokenizer_config.json", "config.json"):
            shutil.copyfile(paths.FINE_TUNED / name, new / name)
        targets = targets_of(validation["label"], params.task, label_count)
        parity, logits = check(new, sequences, texts, expected, targets, params)
        precision = params.export_onnx.min_precision
        values = {name: predictions_of(params.task, model_logits) for name, model_logits in logits.items()}
        by_model = {name: thresholds(params.task, targets, values[name], precision) for name in values if precision}
        for name, model_thresholds in by_model.items():
            if n := model_thresholds.count(None):
                print(f"{name}: {n} of {label_count} labels have no threshold and are never predicted", file=sys.stderr)
        write_manifest(new, facts(params) | {"operators": operators, "parity": parity, "thresholds": by_model or None})
    write_json(paths.PARITY, parity)


def check(
    new: Path, sequences: list[list[int]], texts: list[Text], expected: np.ndarray, targets: np.ndarray, params: Params
) -> tuple[dict[str, object], dict[str, np.ndarray]]:
    """Compare the files just written with torch's logits (`expected`). The first rows are the ones that have targets.

    Returns the parity report, and the logits of each shipped model on the rows that have targets.
    """
    fp32 = open_session(new / MODELS["fp32"], params.compute.threads)
    distance, logits_fp32 = differences(fp32, sequences, expected)
    trained_on = pl.read_parquet(paths.split_table("train"), columns=["label"])["label"]
    limit = limit_of(target_scale_of(trained_on, params.task), expected, params.export_onnx.max_logit_difference)
    require_parity(distance, texts, limit)
    real = sequences[: len(targets)]
    logits = {"torch": expected[: len(targets)], "fp32": logits_fp32[: len(targets)]}
    if params.export_onnx.int8:
        int8 = open_session(new / MODELS["int8"], params.compute.threads)
        logits |= {"int8": run_sorted(int8, real, expected.shape[1]), "int8_alone": run_in_order(int8, real, size=1)}
    in_units = distance * (params.export_onnx.max_logit_difference / limit)
    found = report(in_units, targets, logits, params)
    return found, {name: logits[name] for name in MODELS if name in logits}


def fused(params: Params) -> bool:
    """Whether attention becomes one operator: as the parameters say, or with `auto` as `check_model` found."""
    wanted = params.export_onnx.fused
    return read_json(paths.ENCODER)["fused"] if wanted == "auto" else wanted


def facts(params: Params) -> dict[str, object]:
    """The parameters that prediction needs, and what the model was made from."""
    trained = verified_manifest(paths.FINE_TUNED)
    return {
        "task": params.task,
        "labels": read_json(paths.LABELS),
        "label_separator": params.prepare.label_separator,
        "max_length": params.text.max_length,
        "pooling": params.text.pooling,
        "prefix": params.text.prefix,
        "encoder": read_json(paths.ENCODER),
        "opset": params.export_onnx.opset,
        "libraries": {name: version(name).partition("+")[0] for name in LIBRARIES},  # without the build: 2.13.0+cpu
        "trained": {
            "inputs": trained["inputs"],
            "parameters": trained["parameters"],
            "weights": trained["files"]["model.safetensors"]["sha256"],
        },
    }
