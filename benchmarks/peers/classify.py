"""Classify texts with the pipeline of transformers on torch, in fp32.

    python classify.py MODEL TOKENIZER TEXTS.jsonl OUT.json --pooling mean --batch-size 32 --max-length 128
    python classify.py MODEL TOKENIZER TEXTS.jsonl OUT.json --pooling mean --find         which batch size is fastest

MODEL holds config.json, model.safetensors and labels.json of a fine-tuned model of the project: both sides have the
same weights. Importing, loading and a few texts come before the clock.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from clock import Clock
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, pipeline
from transformers.modeling_outputs import SequenceClassifierOutput

SIZES = (1, 8, 32, 64, 128)


class Pooled(PreTrainedModel):
    """An encoder, pooling and a linear layer, as a model that the pipeline takes."""

    def __init__(self, config, pooling: str) -> None:
        """pooling: mean or cls."""
        super().__init__(config)
        self.encoder = AutoModel.from_config(config, attn_implementation="sdpa")
        self.head = torch.nn.Linear(config.hidden_size, config.num_labels)
        self.pooling = pooling

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None) -> SequenceClassifierOutput:
        """The logits."""
        found = self.encoder(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        tokens, weights = found.last_hidden_state, attention_mask.unsqueeze(-1).float()
        vectors = tokens[:, 0] if self.pooling == "cls" else (tokens * weights).sum(dim=1) / weights.sum(dim=1)
        return SequenceClassifierOutput(logits=self.head(vectors))


def main() -> None:
    """Write the labels; or tell the best batch size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("tokenizer")
    parser.add_argument("texts", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pooling", required=True)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--one-by-one", action="store_true")
    parser.add_argument("--find", action="store_true")
    arguments = parser.parse_args()
    labels = json.loads((arguments.model / "labels.json").read_text(encoding="utf-8"))
    config = AutoConfig.from_pretrained(arguments.model, num_labels=len(labels), id2label=dict(enumerate(labels)))
    model = Pooled(config, arguments.pooling)
    weights = {f"encoder.{name}": value for name, value in load_file(arguments.model / "model.safetensors").items()}
    head = load_file(arguments.model / "2_Dense/model.safetensors")
    weights |= {name.replace("linear.", "head."): value for name, value in head.items()}
    missing = model.load_state_dict(weights, strict=False).missing_keys
    assert not [name for name in missing if "pooler" not in name and "position_ids" not in name], missing
    tokenizer = AutoTokenizer.from_pretrained(arguments.tokenizer)
    classify = pipeline("text-classification", model=model.eval(), tokenizer=tokenizer, device="cpu")
    settings = {"truncation": True, "max_length": arguments.max_length}
    list(classify(texts_in(arguments.texts, 8), batch_size=arguments.batch_size, **settings))
    clock = Clock()
    if arguments.find:
        found = {}
        for size in SIZES:
            one = Clock()
            list(classify(texts_in(arguments.texts), batch_size=size, **settings))
            found[size] = one.seconds()
        clock.tell(best=min(found, key=lambda size: found[size]), by_size=found)
        return
    if arguments.one_by_one:
        answers = [classify(text, **settings)[0] for text in texts_in(arguments.texts)]
    else:
        answers = list(classify(texts_in(arguments.texts), batch_size=arguments.batch_size, **settings))
    arguments.out.write_text(json.dumps([answer["label"] for answer in answers]), encoding="utf-8")
    clock.tell()


def texts_in(path: Path, most: int | None = None) -> Iterator[str]:
    """The texts, one after the other."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file):
            if number == most:
                return
            yield json.loads(line)["text"]


if __name__ == "__main__":
    main()
