"""The classifier in this folder for transformers: its encoder, pooling of the last states, and one linear layer.

With trust_remote_code=True, `auto_map` and `custom_pipelines` in config.json lead here. This file uses the weights,
pooling and prompt that sentence-transformers reads; `AutoModel` reads the encoder without this file.
"""

import inspect
import json
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedModel, TextClassificationPipeline
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import cached_file


class HubClassifier(PreTrainedModel):
    """Maps token ids of texts to logits: rows x labels, float32."""

    # The encoder decides.
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = _can_set_experts_implementation_cached_value = True

    def __init__(self, encoder: Any, head: nn.Linear, pooling: str, prompt: str) -> None:
        super().__init__(encoder.config)
        self.encoder, self.head, self.pooling, self.prompt = encoder, head, pooling, prompt
        self.takes_types = "token_type_ids" in inspect.signature(encoder.forward).parameters

    @classmethod
    def from_pretrained(cls, folder: str | Path, *args: Any, **options: Any) -> Any:
        """The model in `folder`; the options are those of any transformers model."""
        hub = {name: options[name] for name in ("cache_dir", "revision", "token") if name in options}

        def text_of(file: str) -> Any:
            return json.loads(Path(str(cached_file(folder, file, **hub))).read_text(encoding="utf-8"))

        config: Any = AutoConfig.from_pretrained(folder, **hub)
        encoder_class = getattr(transformers, config.architectures[0])
        loaded = encoder_class.from_pretrained(folder, *args, **options | {"trust_remote_code": False})
        encoder, *notes = loaded if isinstance(loaded, tuple) else (loaded,)
        state = load_file(str(cached_file(folder, "2_Dense/model.safetensors", **hub)))
        outputs, inputs = state["linear.weight"].shape
        head = nn.Linear(inputs, outputs, device=encoder.device)
        head.load_state_dict({name.removeprefix("linear."): values for name, values in state.items()})
        texts = text_of("config_sentence_transformers.json")
        prompt = texts["prompts"].get(texts["default_prompt_name"], "")
        model = cls(encoder, head, text_of("1_Pooling/config.json")["pooling_mode"], prompt).eval()
        return (model, *notes) if notes else model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None, **_: Any
    ) -> SequenceClassifierOutput:
        """The logits of token ids: rows x length, padded on either side."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        types = {"token_type_ids": token_type_ids} if self.takes_types and token_type_ids is not None else {}
        states = self.encoder(input_ids=input_ids, attention_mask=mask, **types).last_hidden_state.float()
        if self.pooling == "mean":
            vectors = (states * mask.unsqueeze(-1)).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        else:
            token = {"cls": mask, "lasttoken": mask.cumsum(dim=1)}[self.pooling].argmax(dim=1)
            vectors = states[torch.arange(len(states), device=states.device), token]
        return SequenceClassifierOutput(logits=self.head(vectors))


class HubPipeline(TextClassificationPipeline):
    """Maps texts to labels; texts are cut and prompted as in training."""

    def check_model_type(self, supported_models: Any) -> None:
        """Check nothing: this model is not in transformers' list."""

    def preprocess(self, inputs: Any, **options: Any) -> Any:
        """Token ids of a text, or of {"text": …, "text_pair": …}."""
        add = self.model.prompt
        prompted = {key: add + text for key, text in inputs.items()} if isinstance(inputs, dict) else add + inputs
        return super().preprocess(prompted, **{"truncation": True} | options)
