"""The torch model as an ONNX graph whose bytes depend on nothing but the model."""

import copy
import logging
import warnings
from pathlib import Path

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

from .classifier import Classifier

logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # torchvision is not missed here


class _Logits(torch.nn.Module):
    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids, attention_mask)["logits"]


def export(model: Classifier, opset: int) -> onnx.ModelProto:
    """The model in float32: `input_ids` and `attention_mask` (batch x sequence, int64) to `logits` (batch x labels)."""
    ids = torch.ones(2, 8, dtype=torch.int64)
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    shape = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch about itself
        program = torch.onnx.export(
            _Logits(model).eval(),
            (ids, mask),
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_shapes=(shape, shape),
            opset_version=opset,
            dynamo=True,
            external_data=False,
            optimize=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("the exporter returned no program")
    graph = program.model_proto
    strip(graph)
    name_axes(graph)
    onnx.checker.check_model(graph, full_check=True)
    return graph


def strip(graph: onnx.ModelProto) -> None:
    """Remove what the exporter writes of this machine: stack traces with paths, line numbers, its own version."""
    graph.producer_name = graph.producer_version = ""
    graph.doc_string = ""
    del graph.metadata_props[:]
    for part in [graph.graph, *graph.functions]:
        part.doc_string = ""
        del part.metadata_props[:]
        del part.value_info[:]
        for node in part.node:
            node.doc_string = ""
            del node.metadata_props[:]
    for value in [*graph.graph.input, *graph.graph.output, *graph.graph.initializer]:
        value.doc_string = ""
        del value.metadata_props[:]


def name_axes(graph: onnx.ModelProto) -> None:
    """Name the free axes of the inputs and outputs. Raises ValueError where the exporter fixed one of them."""
    for value in [*graph.graph.input, *graph.graph.output]:
        axes = ["batch"] if value.name == "logits" else ["batch", "sequence"]
        for dimension, name in zip(value.type.tensor_type.shape.dim, axes, strict=False):
            if dimension.HasField("dim_value"):
                raise ValueError(f"axis {name} of {value.name} is fixed at {dimension.dim_value}")
            dimension.dim_param = name


def save(graph: onnx.ModelProto, path: Path) -> None:
    """Write one file, the same bytes for the same graph."""
    path.write_bytes(graph.SerializeToString(deterministic=True))


def quantize(graph: onnx.ModelProto, path: Path) -> None:
    """Write the graph with int8 weights (matrix products and embedding tables), one scale per channel.

    Weights keep 7 bits: on a CPU without VNNI the sum of two 8-bit products overflows 16 bits (ORT #5849).
    """
    logging.disable(logging.WARNING)  # of a preparation that only static quantisation needs
    try:
        quantize_dynamic(
            copy.deepcopy(graph),
            path,
            op_types_to_quantize=["MatMul", "Gemm", "Gather"],
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
        )
    finally:
        logging.disable(logging.NOTSET)
    quantized = onnx.load(path)
    strip(quantized)
    save(quantized, path)
