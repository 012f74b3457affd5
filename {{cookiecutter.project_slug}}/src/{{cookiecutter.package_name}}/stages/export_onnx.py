"""Write the model as ONNX, in float32 and int8, and refuse it unless it says what the torch model says."""

import shutil

import numpy as np
import polars as pl

from .. import graph, paths
from ..classifier import load_fine_tuned, run_over
from ..determinism import use_deterministic_kernels
from ..errors import UserError
from ..files import new_directory, read_json, sha256_of, write_json
from ..inference import MANIFEST, MODELS, TOKENIZER, open_session
from ..inference import run_over as run_onnx_over
from ..metrics import DECIMALS, accuracy
from ..params import ExportOnnx, Params
from ..tokens import encode, load_tokenizer


def run(params: Params) -> None:
    """Write `models/onnx` and the parity report, or fail without writing either."""
    use_deterministic_kernels(params.compute)
    labels = read_json(paths.LABELS)
    model = load_fine_tuned(paths.FINE_TUNED, len(labels), params.text.pooling)
    validation = pl.read_parquet(paths.split_table("validation"))
    tokenizer = load_tokenizer(paths.FINE_TUNED / TOKENIZER, params.text.max_length)
    sequences = encode(tokenizer, validation["text"].to_list())
    with new_directory(paths.ONNX) as new:
        exported = graph.export(model, params.export_onnx.opset)
        graph.save(exported, new / MODELS["fp32"])
        graph.quantize(exported, new / MODELS["int8"])
        shutil.copyfile(paths.FINE_TUNED / TOKENIZER, new / TOKENIZER)
        logits = {"torch": run_over(model, sequences, output="logits")}
        for name, file in MODELS.items():
            logits[name] = run_onnx_over(open_session(new / file, params.compute.threads), sequences, len(labels))
        parity = compare(logits, validation["label"].to_numpy(), params.export_onnx)
        files = {path.name: {"sha256": sha256_of(path), "bytes": path.stat().st_size} for path in sorted(new.iterdir())}
        manifest = {
            "files": files,
            "labels": labels,
            "max_length": params.text.max_length,
            "opset": params.export_onnx.opset,
        }
        write_json(new / MANIFEST, manifest)
    write_json(paths.PARITY, parity)


def compare(logits: dict[str, np.ndarray], labels: np.ndarray, limits: ExportOnnx) -> dict[str, object]:
    """What differs between torch, ONNX fp32 and int8 (logits: rows x labels); raises UserError beyond the limits."""
    difference = np.abs(logits["fp32"] - logits["torch"]).max(axis=1)
    chosen = {name: values.argmax(axis=1) for name, values in logits.items()}
    unequal = np.flatnonzero((chosen["fp32"] != chosen["torch"]) | (difference > limits.max_logit_difference))
    if len(unequal):
        worst = unequal[np.argsort(-difference[unequal])][:5]
        raise UserError(
            "the ONNX model is not the torch model",
            expected=f"the same label and logits within {limits.max_logit_difference} on every validation row",
            found=f"{len(unequal)} of {len(labels)} rows differ; the worst: "
            + ", ".join(f"row {row} by {difference[row]:.2g}" for row in worst),
            remedy="set text.pooling or export_onnx.opset otherwise, or raise export_onnx.max_logit_difference",
        )
    drop = accuracy(labels, chosen["fp32"]) - accuracy(labels, chosen["int8"])
    if drop > limits.max_int8_accuracy_drop:
        raise UserError(
            "the int8 model is too much worse",
            expected=f"a loss of accuracy of at most {limits.max_int8_accuracy_drop} on the validation rows",
            found=f"{drop:.4f}",
            remedy="raise export_onnx.max_int8_accuracy_drop, or ship the fp32 model",
        )
    return {
        "rows": len(labels),
        "fp32_rows_with_another_label": 0,
        "int8_rows_with_another_label": int(np.sum(chosen["int8"] != chosen["torch"])),
        "int8_accuracy_drop": round(drop, DECIMALS),
    }
