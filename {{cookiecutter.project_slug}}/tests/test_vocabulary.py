"""Training carries only the rows of the embedding table that texts use; nothing else differs."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_model
from transformers import AutoModel, BertConfig, DistilBertConfig, ModernBertConfig, MPNetConfig, RobertaConfig
from transformers.configuration_utils import PretrainedConfig

from {{ cookiecutter.package_name }}.kernels.vocabulary import ids_in, narrow
from {{ cookiecutter.package_name }}.modeling.classifier import Classifier

SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
SPECIAL = {"bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
CONFIGS = [
    BertConfig(vocab_size=400, **SMALL),
    RobertaConfig(vocab_size=400, pad_token_id=1, **SMALL),
    MPNetConfig(vocab_size=400, pad_token_id=1, **SMALL),
    ModernBertConfig(vocab_size=400, pad_token_id=399, **SMALL, **SPECIAL),
    DistilBertConfig(vocab_size=400, dim=64, n_layers=2, n_heads=4, hidden_dim=128),
]
TEXTS = [[2, 70, 300, 70, 11, 3], [2, 12, 3]]
USED = [2, 3, 11, 12, 70, 300]


def model_of(config: PretrainedConfig) -> Classifier:
    torch.manual_seed(0)
    return Classifier(AutoModel.from_config(config), 2, "mean", "single_label").eval()


def learn(model: Classifier) -> float:
    """One step on the texts, the shorter one padded; the loss before it."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    ids = torch.tensor([[2, 70, 300, 70, 11, 3], [2, 12, 3, 0, 0, 0]])
    mask = torch.tensor([[1] * 6, [1] * 3 + [0] * 3])
    loss = torch.nn.functional.cross_entropy(model(ids, mask), torch.tensor([0, 1]))
    loss.backward()
    optimizer.step()
    return loss.item()


def test_the_ids_of_all_texts_are_found() -> None:
    assert ids_in(([[2, 9, 3]], [[2, 4, 4, 3], [7]]), 12).tolist() == [2, 3, 4, 7, 9]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_the_used_rows_learn_the_same_and_the_others_stay(config: PretrainedConfig, tmp_path: Path) -> None:
    whole, narrowed = model_of(config), model_of(config)
    table = narrow(narrowed, TEXTS[:1], TEXTS[1:])
    before = table.rows.clone()
    assert table.used.tolist() == USED
    sizes = [sum(weights.numel() for weights in model.parameters()) for model in (whole, narrowed)]
    assert sizes[0] - sizes[1] == (400 - len(USED)) * 64
    assert learn(narrowed) == learn(whole)

    save_model(narrowed, str(tmp_path / "narrowed.safetensors"))
    table.put_back(tmp_path / "narrowed.safetensors", tmp_path / "whole.safetensors")
    found, expected = load_file(tmp_path / "whole.safetensors"), whole.state_dict()
    assert found.keys() == expected.keys()
    learnt, as_expected = found.pop(table.name), expected.pop(table.name)
    torch.testing.assert_close(found, dict(expected))
    torch.testing.assert_close(learnt[USED], as_expected[USED])
    assert (learnt != before).any(dim=1).nonzero().flatten().tolist() == USED
