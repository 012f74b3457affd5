"""The folder of a fine-tuned model, which other libraries can open too.

config.json, model.safetensors    the encoder under its own names, and the labels: transformers' AutoModel
tokenizer.json                    as prediction uses it; tokenizer_config.json describes it to transformers
modules.json, 1_Pooling, 2_Dense  pooling and head: SentenceTransformer, whose vectors are the logits
hub_classifier.py                 AutoModelForSequenceClassification, with trust_remote_code=True
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from ..common.io import write_json
from ..common.manifest import verified_manifest
from ..common.tasks import output_size
from ..config import Task, TextSettings
from ..text.tokenization import load_tokenizer
from .classifier import Classifier, Pooling, separator_of
from .encoder import load_encoder

HEAD = "2_Dense/model.safetensors"
NEEDED = ("config.json", "model.safetensors", "tokenizer.json", HEAD)
POOLING_MODES = {"mean": "mean", "cls": "cls", "last": "lasttoken"}
HUB_CODE = {
    "auto_map": {"AutoModelForSequenceClassification": "hub_classifier.HubClassifier"},
    # With this, a pipeline without trust_remote_code fails; otherwise it would take an untrained head.
    "custom_pipelines": {
        "text-classification": {"impl": "hub_classifier.HubPipeline", "pt": ["AutoModelForSequenceClassification"]}
    },
}
PROBLEM_TYPES: dict[Task, str] = {
    "single_label": "single_label_classification",
    "pair": "single_label_classification",
    "multi_label": "multi_label_classification",
    "regression": "regression",
}


def save_fine_tuned(
    model: Classifier, tokenizer: Path, labels: Sequence[str], task: Task, text: TextSettings, directory: Path
) -> None:
    """Write the model, with a copy of its `tokenizer.json`."""
    encoder: Any = model.encoder
    loaded = load_tokenizer(tokenizer, text.max_length)
    loaded.save(str(directory / "tokenizer.json"))
    write_json(directory / "tokenizer_config.json", tokenizer_config(loaded, model, text.max_length))
    encoder.config.update(label_config(task, labels) | HUB_CODE)
    encoder.save_pretrained(directory)
    shutil.copyfile(Path(__file__).with_name("hub_classifier.py"), directory / "hub_classifier.py")
    write_head(model, directory)
    pooling = {"word_embedding_dimension": encoder.config.hidden_size, "pooling_mode": POOLING_MODES[text.pooling]}
    write_json(directory / "1_Pooling/config.json", pooling)
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{name}"}
        for n, (path, name) in enumerate([("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense")])
    ]
    write_json(directory / "modules.json", modules)
    write_json(directory / "sentence_bert_config.json", {"max_seq_length": text.max_length, "do_lower_case": False})
    prompts = {"query": text.prefix, "document": text.prefix}
    write_json(directory / "config_sentence_transformers.json", {"prompts": prompts, "default_prompt_name": "query"})


def write_head(model: Classifier, directory: Path) -> None:
    """Write the head as a linear layer without an activation. Other libraries refuse it if it has further weights."""
    (directory / HEAD).parent.mkdir()
    own = {name: values for name, values in model.state_dict().items() if not name.startswith("encoder.")}
    weights = {name_in_file(name): values.detach().clone() for name, values in own.items()}
    save_file(weights, directory / HEAD, metadata={"format": "pt"})
    shape = {"in_features": model.head.in_features, "out_features": model.head.out_features, "bias": True}
    activation = {"activation_function": "torch.nn.modules.linear.Identity"}
    write_json((directory / HEAD).with_name("config.json"), shape | activation)


def name_in_file(name: str) -> str:
    """The name of a weight there, and the way back: sentence-transformers' name of `head` is `linear`."""
    first, dot, rest = name.partition(".")
    return {"head": "linear", "linear": "head"}.get(first, first) + dot + rest


def label_config(task: Task, labels: Sequence[str]) -> dict[str, Any]:
    """The entries about labels in the configuration of transformers."""
    names = labels if task != "regression" else ["value"]
    return {
        "num_labels": output_size(task, len(labels)),
        "id2label": dict(enumerate(names)),
        "label2id": {name: index for index, name in enumerate(names)},
        "problem_type": PROBLEM_TYPES[task],
    }


def tokenizer_config(tokenizer: Tokenizer, model: Classifier, max_length: int) -> dict[str, Any]:
    """The configuration that makes transformers use a `tokenizer.json` as it is, whatever its family."""
    config: Any = model.encoder.config
    padding = tokenizer.id_to_token(config.pad_token_id or 0)
    types = ["token_type_ids"] if model.separator is not None else []
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_length,
        "model_input_names": ["input_ids", "attention_mask", *types],
        "pad_token": padding,
        "padding_side": "right",
        "truncation_side": "right",
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": True,  # typed special tokens are text, see `load_tokenizer`
    }


def load_fine_tuned(directory: Path, pooling: Pooling, task: Task) -> Classifier:
    """The model that `fine_tune` wrote, ready to predict. Raises UserError when one of its files was changed."""
    verified_manifest(directory, NEEDED)
    encoder = load_encoder(directory)
    own = {name_in_file(name): weights for name, weights in load_file(directory / HEAD).items()}
    model = Classifier(encoder, len(own["head.bias"]), pooling, task, separator_of(directory, encoder.config, task))
    model.load_state_dict(own | {f"encoder.{name}": weights for name, weights in encoder.state_dict().items()})
    return model.eval()
