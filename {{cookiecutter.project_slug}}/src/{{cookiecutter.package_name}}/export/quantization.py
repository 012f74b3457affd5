"""The graph with int8 weights and activations, after its outlying channels are scaled down.

All activations of a matrix share one scale. A few channels that are ten times as large as the others take most of
the 8 bits (Dettmers et al. 2022, arXiv:2208.07339). They are divided by a power of two and their weights multiplied by
it (after SmoothQuant, Xiao et al. 2022, arXiv:2211.10438): float32 results keep every bit, and int8 loses less.
"""

import logging
import math
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.onnx_model import ONNXModel

from ..common.io import WEIGHTS_SUFFIX
from ..inference.classifier import open_session
from ..text.tokenization import fixed_shape_batches
from .graph import save, strip

# Channels beyond this percentile of their matrix count as outlying. On the sample data 90 to 98.5 did equally well.
OUTLYING = 95


def quantize(model: Path, calibration: Sequence[Sequence[int]], path: Path, threads: int) -> None:
    """Write the model with int8 matrix products and embedding tables, one scale per channel of the weights.

    calibration: token ids of texts that show how large activations get. Weights use 7 bits, because on a CPU without
    VNNI the sum of two 8-bit products overflows 16 bits (onnxruntime #5849).
    """
    with tempfile.TemporaryDirectory() as folder:
        level, made = Path(folder) / "level.onnx", Path(folder) / "int8.onnx"
        write_without_outliers(model, calibration, level, threads)
        logging.disable(logging.WARNING)  # onnxruntime asks for a preparation that only static quantisation needs
        quantize_dynamic(
            level,
            made,
            op_types_to_quantize=["MatMul", "Gemm", "Gather"],
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            use_external_data_format=level.with_name(level.name + WEIGHTS_SUFFIX).exists(),
            extra_options={"DefaultTensorType": TensorProto.FLOAT},
        )
        logging.disable(logging.NOTSET)
        quantized = onnx.load(made)
    strip(quantized)
    save(quantized, path)


def write_without_outliers(model: Path, calibration: Sequence[Sequence[int]], path: Path, threads: int) -> None:
    """Write the model with its outlying channels divided. It works through files, so that few copies are in memory."""
    plain = ONNXModel(onnx.load(model))
    plain.replace_gemm_with_matmul()
    save(plain.model, path)
    del plain
    largest = largest_activations(path, calibration, threads)
    level = onnx.load(path)
    divide_outlying_channels(level, largest)
    save(level, path)


def matrix_products(graph: onnx.ModelProto) -> dict[str, list[onnx.NodeProto]]:
    """The products of activations with constant weights that nothing else uses, by the name of the activations."""
    weights = {weight.name for weight in graph.graph.initializer}
    uses = Counter(name for node in graph.graph.node for name in node.input)
    found: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.graph.node:
        if node.op_type != "MatMul" or node.input[0] in weights or node.input[1] not in weights:
            continue
        if uses[node.input[1]] == 1:
            found.setdefault(node.input[0], []).append(node)
    return found


def largest_activations(model: Path, sequences: Sequence[Sequence[int]], threads: int) -> dict[str, np.ndarray]:
    """For the input of every matrix product, each channel's largest magnitude, without padding where it has rows."""
    watched, beside = onnx.load(model, load_external_data=False), model.with_suffix(".watched.onnx")
    names = list(matrix_products(watched))
    watched.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    largest: dict[str, np.ndarray] = {}
    beside.write_bytes(watched.SerializeToString())
    session = open_session(beside, threads)
    for batch in fixed_shape_batches(sequences):
        values = session.run(names, {"input_ids": batch.ids, "attention_mask": batch.mask})
        for name, value in zip(names, values, strict=True):
            rows = np.abs(np.asarray(value))
            rows = rows[batch.mask.astype(bool)] if rows.ndim == 3 and rows.shape[:2] == batch.mask.shape else rows
            magnitude = rows.reshape(-1, rows.shape[-1]).max(axis=0)
            largest[name] = np.maximum(largest.get(name, magnitude), magnitude)
    return largest


def divide_outlying_channels(graph: onnx.ModelProto, largest: dict[str, np.ndarray]) -> None:
    """Divide the outlying channels by powers of two, and multiply the matching weight rows by them, in place."""
    weights = {weight.name: weight for weight in graph.graph.initializer}
    divided: dict[str, onnx.NodeProto] = {}
    for name, products in matrix_products(graph).items():
        usual, scaled = np.percentile(largest[name], OUTLYING), f"{name}_scaled"
        if not usual > 0:
            continue
        factor = nearest_power_of_two(np.maximum(largest[name], usual) / usual)
        graph.graph.initializer.append(numpy_helper.from_array(1 / factor, f"{scaled}_by"))
        divided[name] = helper.make_node("Mul", [name, f"{scaled}_by"], [scaled], name=scaled)
        for product in products:
            weight = weights[product.input[1]]
            weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * factor[:, None], weight.name))
            product.input[0] = scaled
    nodes = list(graph.graph.node)
    del graph.graph.node[:]
    for node in nodes:
        graph.graph.node.append(node)
        graph.graph.node.extend(divided[name] for name in node.output if name in divided)


def nearest_power_of_two(ratios: np.ndarray) -> np.ndarray:
    """The nearest power of two on a logarithmic scale, float32: exact, while CPUs round a logarithm differently."""
    fraction, exponent = np.frexp(ratios)  # a fraction of at least one half
    return np.ldexp(np.float32(1), exponent - (fraction < math.sqrt(0.5)))
