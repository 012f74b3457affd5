"""What spares memory in training: parts of a batch, adapters, frozen layers, layers computed again."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from review_sentiment import paths
from review_sentiment.common.manifest import MANIFEST
from review_sentiment.config import Lora
from review_sentiment.errors import UserError
from review_sentiment.kernels import accelerate
from review_sentiment.modeling import classifier
from review_sentiment.modeling.probe import Probe, load_probe, save_probe
from review_sentiment.training import checkpoints, loop, memory
from safetensors.torch import load_file
from small_project import before_fine_tune, bytes_of, checkpoints_of, run_stage, write_params
from test_sameness import kill_when
from test_training import model_of, params_of
from torch.nn.parallel import DistributedDataParallel
from transformers import AutoConfig, AutoModel

LORA = Lora(rank=4, alpha=8, dropout=0.1)


def reduced(base_model: Path, *, dropout: bool = True, kernels: str = "plain", **changes: object) -> Any:
    """A model that is trained as these changes of `fine_tune` say."""
    model, params = model_of(base_model), params_of(**changes)
    memory.save_memory(model.encoder, params.fine_tune, params.seed)
    accelerate(model, params.compute.model_copy(update={"kernels": kernels}), training=True)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout) and not dropout:
            module.p = 0.0
    return model


def one_step(model: Any, **changes: object) -> dict[str, torch.Tensor]:
    """The trained weights after a step over ten texts of several lengths; their gradients stay in the model."""
    params = params_of(learning_rate=0.1, max_grad_norm=1e9, **changes)
    mask = (torch.arange(12) < torch.arange(3, 13)[:, None]).long()
    ids = torch.arange(120).reshape(10, 12) % 40 + 5
    torch.manual_seed(0)
    batch = ((ids * mask, mask, torch.arange(10) % 3), 0.5)
    loop.train_step(model, loop.adamw(model, params.fine_tune), batch, classifier.LOSSES["single_label"], params)
    return checkpoints.trained(model)


def gradients(model: Any) -> list[torch.Tensor]:
    return [weights.grad for weights in model.parameters() if weights.grad is not None]


@pytest.mark.parametrize("parts", [3, 4, 99])
def test_the_gradients_of_the_parts_add_up_to_those_of_the_batch(base_model: Path, parts: int) -> None:
    whole, divided = (reduced(base_model, dropout=False) for _ in range(2))
    divided.load_state_dict(whole.state_dict())
    one_step(whole)
    one_step(divided, accumulation=parts)
    torch.testing.assert_close(gradients(divided), gradients(whole), rtol=1e-4, atol=1e-7)


def test_several_processes_average_the_gradients_of_all_parts_once(base_model: Path, tmp_path: Path) -> None:
    found = []
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        for parts in (1, 3):
            model, sent = DistributedDataParallel(reduced(base_model), find_unused_parameters=True), []
            model.register_comm_hook(sent, count)
            one_step(model, accumulation=parts)
            found.append(len(sent))
    finally:
        torch.distributed.destroy_process_group()
    assert found[0] == found[1] > 0


def count(sent: list[int], bucket: torch.distributed.GradBucket) -> torch.futures.Future[torch.Tensor]:
    sent.append(bucket.index())
    done: torch.futures.Future[torch.Tensor] = torch.futures.Future()
    done.set_result(bucket.buffer())
    return done


@pytest.mark.parametrize(
    ("changes", "moves"),
    [
        ({"trainable_layers": 0}, ()),
        ({"trainable_layers": 1}, ("encoder.encoder.layer.1.",)),
        ({"lora": LORA}, ("encoder.encoder.layer.0.", "encoder.encoder.layer.1.")),
        ({"lora": LORA, "trainable_layers": 1}, ("encoder.encoder.layer.1.",)),
    ],
)
@pytest.mark.parametrize("kernels", ["plain", "fast"])
def test_only_the_named_weights_are_trained(base_model: Path, changes: dict, moves: tuple, kernels: str) -> None:
    model = reduced(base_model, kernels=kernels, **changes)
    before = {name: weights.clone() for name, weights in model.state_dict().items()}
    trained = one_step(model, **changes)
    moved = {name for name, weights in model.state_dict().items() if not torch.equal(weights, before[name])}
    assert moved <= trained.keys()
    assert {"lora_" in name for name in trained if not name.startswith("head.")} <= {"lora" in changes}
    assert {next((at for at in ("head.", *moves) if name.startswith(at)), name) for name in moved} == {"head.", *moves}


@pytest.mark.parametrize("changes", [{}, {"lora": LORA}, {"trainable_layers": 1}])
@pytest.mark.parametrize("kernels", ["plain", "fast"])
def test_layers_that_are_computed_again_learn_the_same(base_model: Path, changes: dict, kernels: str) -> None:
    found, passes = [], []
    for checkpointing in (False, True):
        torch.manual_seed(1)  # the head
        model = reduced(base_model, kernels=kernels, gradient_checkpointing=checkpointing, **changes)
        for number, layer in enumerate(model.encoder.encoder.layer):
            layer.output.register_forward_pre_hook(lambda _module, _inputs, number=number: passes.append(number))
        found.append(one_step(model))
    assert passes == [0, 1, 0, 1, 1, *([] if "trainable_layers" in changes else [0])]  # frozen layers only once
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_kernels_and_plain_torch_give_adapters_the_same_gradients(base_model: Path) -> None:
    models = [reduced(base_model, dropout=False, kernels=kernels, lora=LORA) for kernels in ("plain", "fast")]
    models[1].load_state_dict(models[0].state_dict())
    for model in models:
        one_step(model)
    torch.testing.assert_close(gradients(models[1]), gradients(models[0]), rtol=1e-4, atol=1e-6)
    layer = models[1].encoder.encoder.layer[0].attention.self.query
    assert type(layer.base_layer) is type(layer.lora_A["default"]) is not torch.nn.Linear


def test_merged_adapters_give_the_same_logits(base_model: Path) -> None:
    model, base = reduced(base_model, lora=LORA), model_of(base_model).encoder.state_dict()
    start = {name: weights.clone() for name, weights in checkpoints.trained(model).items()}
    again = checkpoints.trained(reduced(base_model, lora=LORA))
    assert all(torch.equal(weights, again[name]) for name, weights in start.items() if "lora_" in name)
    one_step(model)
    ids = torch.tensor([[2, 7, 8, 3], [2, 9, 3, 0]])
    beside = model.eval()(ids, (ids != 0).long())
    memory.merge_adapters(model.encoder)
    torch.testing.assert_close(model(ids, (ids != 0).long()), beside, rtol=1e-5, atol=1e-5)
    merged = model.encoder.state_dict()
    assert merged.keys() == base.keys()
    name = "encoder.layer.0.output.dense.weight"
    assert not torch.equal(merged[name], base[name])


@pytest.mark.parametrize(
    ("family", "changes", "fixed"),
    [
        ("albert", {"trainable_layers": 1}, {"trainable_layers": None}),
        ("albert", {"gradient_checkpointing": True}, {"gradient_checkpointing": False}),
        ("squeezebert", {"trainable_layers": 5}, {"trainable_layers": 2}),
        ("squeezebert", {"lora": LORA}, {"lora": None}),
    ],
)
def test_what_an_encoder_cannot_do_is_refused(family: str, changes: dict, fixed: dict) -> None:
    small = {"hidden_size": 16, "embedding_size": 16, "num_attention_heads": 4, "intermediate_size": 16}
    encoder = AutoModel.from_config(AutoConfig.for_model(family, **small, num_hidden_layers=2, vocab_size=50))
    if family == "squeezebert":
        encoder.pooler.requires_grad_(False)  # as load_encoder does; it is the only linear layer
    (name, value), *_ = fixed.items()
    written = {None: "null", False: "false"}.get(value, str(value))
    with pytest.raises(UserError, match=rf"fix: +set fine_tune\.{name}: {written} in params.yaml"):
        memory.save_memory(encoder, params_of(**changes).fine_tune, seed=1)
    memory.save_memory(encoder, params_of(**fixed).fine_tune, seed=1)


def forget_probe(directory: Path) -> None:
    """Put a probe there that knows nothing, so that training has something to gain."""
    known = load_probe(directory)
    (directory / MANIFEST).unlink()
    save_probe(Probe(np.zeros_like(known.weight), np.zeros_like(known.bias)), 1.0, directory)


@pytest.mark.slow
def test_a_killed_training_of_adapters_ends_with_the_same_bytes(
    trained: Path, base_model: Path, tmp_path: Path
) -> None:
    reduced = {
        "lora": {"rank": 4, "alpha": 8, "dropout": 0.1},
        "trainable_layers": 1,
        "gradient_checkpointing": True,
        "accumulation": 3,
    }
    changes = {f"fine_tune__{key}": value for key, value in reduced.items()}
    unbroken, killed = (before_fine_tune(trained, tmp_path / name) for name in ("unbroken", "killed"))
    for project in (unbroken, killed):
        write_params(project / "params.yaml", base_model, **changes)
        forget_probe(project / paths.PROBE)
    assert run_stage(unbroken, "fine_tune").returncode == 0
    kill_when(killed, lambda: max(checkpoints_of(killed), default=0) >= 15)
    last = checkpoints_of(killed)[-1]
    assert f"going on from step {last}" in run_stage(killed, "fine_tune").stderr
    assert bytes_of(killed) == bytes_of(unbroken)
    _, notes = AutoModel.from_pretrained(killed / paths.FINE_TUNED, output_loading_info=True)
    assert not notes["missing_keys"]
    assert not notes["unexpected_keys"]
    before, after = (load_file(killed / at / "model.safetensors") for at in (paths.BASE_MODEL, paths.FINE_TUNED))
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert {name.partition(".layer.1.")[0] for name in changed} == {"encoder"}
