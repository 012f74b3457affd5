"""Check on a small copy, in seconds, that the base model can be trained and exported, before any work is spent on it.

The stage finds out what the architecture allows, prints it, and records it for `export_onnx`.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from .. import paths
from ..common.determinism import use_deterministic_kernels
from ..common.io import write_json
from ..config import Params
from ..errors import UserError
from ..export import graph
from ..export.parity import differences
from ..export.quantization import quantize
from ..inference.classifier import open_session
from ..kernels import pack
from ..modeling.classifier import Classifier, separator_of
from ..modeling.encoder import load_encoder, longest_text, no_encoder, require_bf16, small_copy, token_ids
from ..modeling.fine_tuned import POOLING_MODES
from ..modeling.forward import Padded, run_over
from ..modeling.hub_classifier import HubClassifier
from ..text.tokenization import LENGTH_STEP, load_tokenizer

LENGTHS = (3, 8, 21, 1024)
OUTPUTS = 3


def run(params: Params) -> None:
    """Write `reports/encoder.json`, or refuse the model and say why."""
    use_deterministic_kernels(params.compute)
    encoder = load_encoder(paths.BASE_MODEL)
    if "AutoModel" in (getattr(encoder.config, "auto_map", None) or {}):
        print(f"the model brings its own code (auto_map), which is never run: {type(encoder).__name__} of transformers")
        print("reads its weights; see on the model's page whether that is the same model")
    small = small_copy(encoder)
    require_length(small, params.text.max_length)
    ids = token_ids(small, params.text.max_length)[None]  # the longest: after a short one BigBird has another attention
    if params.compute.precision == "bf16":
        require_bf16(small, ids)
    with torch.inference_mode():
        width = small(input_ids=ids).last_hidden_state.shape[-1]
    if width != encoder.config.hidden_size:
        raise no_encoder(paths.BASE_MODEL, f"{type(encoder).__name__}, whose states have {width} numbers each")
    require_vectors(encoder, load_tokenizer(paths.BASE_FILES[2], params.text.max_length))
    separator = separator_of(paths.BASE_MODEL, encoder.config, params.task)
    torch.manual_seed(0)
    model = Classifier(small, OUTPUTS, params.text.pooling, params.task, separator).eval()
    with torch.inference_mode():
        hub: Any = HubClassifier(small, torch.nn.Linear(width, OUTPUTS), POOLING_MODES[params.text.pooling], "")
        hub.load_state_dict(model.state_dict(), strict=False)
        distance = (hub(ids, **model.token_types(ids)).logits - model(ids, torch.ones_like(ids))).abs().max()
    if not distance <= params.export_onnx.max_logit_difference:
        print("the model differs from hub_classifier.py: other libraries will not get it from models/fine_tuned")
    found = {
        "model_type": encoder.config.model_type,
        "attention": encoder.config._attn_implementation,
        "fused": can_be_fused(model, params),
        "packed": pack(model, params.compute, params.text.max_length) is not None,
    }
    write_json(paths.ENCODER, found)
    print("encoder: " + ", ".join(f"{name} {str(value).lower()}" for name, value in found.items()))


def require_vectors(encoder: Any, tokenizer: Tokenizer) -> None:
    """Raise UserError when a text may have tokens for which the encoder has no vector."""
    rows = len(encoder.get_input_embeddings().weight)
    special = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    never = special - {*tokenizer.encode("\U0002a6a5").ids, *tokenizer.encode("", "").ids}  # typed, they are split
    without = [token for token, number in tokenizer.get_vocab().items() if number >= rows and number not in never]
    if without:
        found = f"{rows} vectors, and none for the tokens {', '.join(sorted(without)[:5])}"
        raise no_encoder(paths.BASE_MODEL, found, "resize_token_embeddings(len(tokenizer)) where it was made, or ")


def require_length(encoder: Any, wanted: int) -> None:
    """Raise UserError when the encoder cannot read texts of this many tokens, padded as in batches."""
    padded = -(-wanted // LENGTH_STEP) * LENGTH_STEP
    longest = longest_text(encoder, padded) // LENGTH_STEP * LENGTH_STEP
    if longest < wanted:
        raise UserError(
            "text.max_length is more than the model accepts",
            expected=f"at most {longest} tokens",
            found=str(wanted),
            fix=f"set text.max_length to {longest} in params.yaml, or choose another model",
        )


def can_be_fused(model: Classifier, params: Params) -> bool:
    """Whether attention is exported as one operator: if wanted and possible. Raises UserError if the export fails."""
    sequences = texts(model, params.text.max_length)
    expected = run_over(Padded(model), sequences, output="logits")
    require_independence(model, sequences, expected, params.export_onnx.max_logit_difference)
    wanted = params.export_onnx.fused
    if wanted is not False:
        try:
            export(model, sequences, expected, params, fused=True)
            return True
        except UserError:
            if wanted is True:
                raise
    export(model, sequences, expected, params, fused=False)
    return False


def texts(model: Classifier, max_length: int) -> list[list[int]]:
    """Token ids of texts of several lengths, as pairs where the model has a separator."""
    sequences = [token_ids(model.encoder, min(length, max_length)).tolist() for length in LENGTHS]
    if model.separator is not None:
        for ids in sequences:
            ids[1] = model.separator
    return sequences


@torch.inference_mode()
def require_independence(model: Classifier, sequences: list[list[int]], padded: np.ndarray, limit: float) -> None:
    """Raise UserError when a text's logits depend on the padding of its batch."""
    alone = [model(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.int64))[0].numpy() for ids in sequences]
    distance = float(np.abs(padded - np.stack(alone)).max())
    if not distance <= limit:
        raise UserError(
            "the model's predictions depend on padding",
            expected=f"the same logits, within {limit}, for a text alone and in a padded batch",
            found=f"{type(model.encoder).__name__}, whose logits differ by {distance:.2g}",
            fix="choose another model under fetch.model in params.yaml",
        )


def export(model: Classifier, sequences: list[list[int]], expected: np.ndarray, params: Params, *, fused: bool) -> None:
    """Export, quantize and compare the small model. Raises UserError when that fails."""
    with tempfile.TemporaryDirectory() as folder:
        path, int8 = Path(folder) / "model.onnx", Path(folder) / "int8.onnx"
        graph.export(model, path, params.export_onnx.opset, fused=fused)
        distance, _ = differences(open_session(path, params.compute.threads), sequences, expected)
        if not distance.max() <= params.export_onnx.max_logit_difference:
            raise UserError(
                "the exported model is not the torch model",
                expected=f"the same logits within {params.export_onnx.max_logit_difference}",
                found=f"a difference of {distance.max():.2g}",
                fix="choose another model under fetch.model in params.yaml, or another export_onnx.opset",
            )
        if params.export_onnx.int8:
            quantize(path, sequences, int8, params.compute.threads)
            open_session(int8, params.compute.threads)
