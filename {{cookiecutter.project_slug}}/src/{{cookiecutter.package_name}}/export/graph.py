"""Export the torch model to an ONNX graph whose bytes depend only on the model."""

import logging
import math
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import helper
from onnx.external_data_helper import set_external_data, write_external_data_tensors
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import bidirectional_mask_function

from ..common.io import WEIGHTS_SUFFIX
from ..errors import UserError, raise_if_memory
from ..modeling.classifier import Classifier

LARGEST_PROTOBUF = 2_000_000_000  # bytes of weights; protobuf allows 2 GiB, and the rest of the graph needs some
ALIGNMENT = 65536  # of external weights, as onnx advises: every system can memory-map a file from such an offset
SMALLEST_EXTERNAL = 1024  # bytes; smaller tensors may be needed to infer shapes

logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # torchvision is not needed here


def _one_node(
    _module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    *,
    scaling: float,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention (batch x heads x sequence x size) as a single onnxruntime operator, during the export."""
    batch, heads, sequence, size = query.shape
    if key.shape[1] != heads:
        raise _not_fused("a model whose heads share keys")
    tokens = [part.transpose(1, 2).reshape(batch, sequence, heads * size) for part in (query, key, value)]
    output = torch.onnx.ops.symbolic(
        "com.microsoft::MultiHeadAttention",
        [*tokens, None, attention_mask],
        {"num_heads": heads, "scale": float(scaling)},
        dtype=query.dtype,
        shape=(batch, sequence, heads * size),
        version=1,
    )
    return output.view(batch, sequence, heads, size), None


def _padding(*, mask_function: Callable, attention_mask: torch.Tensor, **_: Any) -> torch.Tensor:
    """The mask that this operator takes: 1 for a token, 0 for padding (batch x sequence, int32)."""
    if mask_function is not bidirectional_mask_function:
        raise _not_fused("a model whose tokens do not all see each other")
    return attention_mask.to(torch.int32)


AttentionInterface.register("one_node", _one_node)
AttentionMaskInterface.register("one_node", _padding)


def _not_fused(found: str) -> UserError:
    return UserError(
        "the graph cannot be fused",
        expected="one attention operator for every layer, and layer norm and GELU as one operator each",
        found=found,
        fix="set export_onnx.fused to false in params.yaml",
    )


def export(model: Classifier, path: Path, opset: int, *, fused: bool) -> Counter[str]:
    """Write the model in float32, see `save`, and return its operators.

    It maps `input_ids` and `attention_mask` (batch x sequence, int64) to `logits` (batch x labels). fused: attention as
    one operator of onnxruntime. Raises UserError if that does not fit the model, or if torch cannot export the model.
    """
    encoder: Any = model.encoder
    layers, usual = encoder.config.num_hidden_layers, encoder.config._attn_implementation
    if fused and not getattr(encoder, "_supports_attention_backend", False):
        raise _not_fused("a family whose attention cannot be exchanged")
    try:
        # torch's own fused attention exports as the same products, but not with every family's position biases.
        encoder.set_attn_implementation("one_node" if fused else "eager")
        graph = _traced(model, opset)
        strip(graph)
        save(graph, path)
        onnx.checker.check_model(path, full_check=True)
    except OSError:  # a full disk says nothing about the model
        raise
    except Exception as error:  # torch wraps every error, from its code or ours, in errors of its own
        raise _cause_of(error) from None
    finally:
        encoder.set_attn_implementation(usual)
    found = operators(graph)
    if fused and (found["MultiHeadAttention"] != layers or found["Softmax"]):
        raise _not_fused(f"{layers} layers, and the operators {dict(found)}")
    return found


def _cause_of(error: BaseException) -> UserError:
    """The UserError behind an error of the exporter, or a new one about its root cause."""
    while not isinstance(error, UserError) and (error.__cause__ or error.__context__):
        error = error.__cause__ or error.__context__ or error
    if isinstance(error, UserError):
        return error
    raise_if_memory(error)
    return UserError(
        "torch cannot export the model",
        expected="an encoder that torch.onnx.export takes",
        found=f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}",
        fix="choose another model under fetch.model in params.yaml, or another export_onnx.opset",
    )


def operators(graph: onnx.ModelProto) -> Counter[str]:
    """How often each operator occurs in the graph."""
    return Counter(node.op_type for node in graph.graph.node)


def _traced(model: Classifier, opset: int) -> onnx.ModelProto:
    ids = torch.ones(2, 8, dtype=torch.int64)
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    shape = {0: "batch", 1: "sequence"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about its own code
        program: Any = torch.onnx.export(
            model.eval(),
            (ids, mask),
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_shapes=(shape, shape),
            opset_version=opset,
            external_data=False,
            verbose=False,
        )
    return program.model_proto


def strip(graph: onnx.ModelProto) -> None:
    """Remove what the exporter writes about this machine: stack traces with paths, line numbers, its own version."""
    graph.producer_name = graph.producer_version = ""
    parts = [graph.graph, *graph.functions]
    values = [*graph.graph.input, *graph.graph.output, *graph.graph.initializer]
    for part in parts:
        del part.value_info[:]
    for holder in [graph, *parts, *(node for part in parts for node in part.node), *values]:
        holder.doc_string = ""
        del holder.metadata_props[:]


def save(graph: onnx.ModelProto, path: Path) -> None:
    """Write the same bytes for the same graph; weights too large for protobuf move into a second file, with `.data`."""
    weights = graph.graph.initializer
    sizes = [math.prod(weight.dims) * helper.tensor_dtype_to_np_dtype(weight.data_type).itemsize for weight in weights]
    if sum(sizes) > LARGEST_PROTOBUF:
        beside = path.with_name(path.name + WEIGHTS_SUFFIX)
        beside.write_bytes(b"")  # onnx appends; a file that it creates itself could be read by nobody else
        offset = 0
        for weight, size in zip(weights, sizes, strict=True):
            if size >= SMALLEST_EXTERNAL and weight.HasField("raw_data"):
                set_external_data(weight, beside.name, offset)
                offset += math.ceil(size / ALIGNMENT) * ALIGNMENT
        write_external_data_tensors(graph, str(path.parent))
    path.write_bytes(graph.SerializeToString(deterministic=True))
