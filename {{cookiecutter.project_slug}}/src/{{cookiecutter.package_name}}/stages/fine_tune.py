"""Fine-tune the model. Its head starts from the linear probe (LP-FT, Kumar et al. 2022, arXiv:2202.10054)."""

import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from .. import paths
from ..common import distributed
from ..common.determinism import hardware, use_deterministic_kernels
from ..common.fingerprint import cache_directory, fingerprint, keep_only
from ..common.io import new_directory, read_json, sha256_of, write_text
from ..common.manifest import write_manifest
from ..common.tasks import TargetScale
from ..config import Params
from ..kernels import accelerate, trim_vocabulary
from ..modeling.classifier import Classifier, load_base
from ..modeling.fine_tuned import save_fine_tuned
from ..modeling.probe import load_probe
from ..text.token_store import token_ids
from ..training import checkpoints
from ..training.batches import SplitDataset
from ..training.loop import CURVE, train
from ..training.memory import merge_adapters, save_memory
from ..training.temperature import temperature


def run(params: Params) -> None:
    """Write `models/fine_tuned` and the training curve; continue from the last checkpoint of the same run."""
    use_deterministic_kernels(params.compute)
    device = distributed.join(params.compute)
    ids = token_ids(params.text)
    train_set = SplitDataset("train", ids["train"], params.task, weighted=params.fine_tune.row_weights)
    validation_set = SplitDataset("validation", ids["validation"], params.task, train_set.unit)
    key_parts = settings(params) | {"hardware": hardware(params.compute)}
    key_parts |= {"peft": version("peft")} if params.fine_tune.lora else {}
    key = distributed.broadcast(fingerprint(Path(__file__), inputs(), key_parts))  # machines may differ
    with distributed.rank_0_first():
        directory = cache_directory(paths.CHECKPOINTS, key)
    model = initial_model(params, train_set.unit)
    restore_vocabulary = trim_vocabulary(model, params.compute, train_set.sequences, validation_set.sequences)
    finished = distributed.broadcast(all((directory / name).exists() for name in (checkpoints.FINAL, CURVE)))
    if not finished:
        train(model.to(device), train_set, validation_set, params, directory)
    if not distributed.on_rank_0():
        return
    if finished:
        print(f"taking the weights of a training that was finished before: {directory}", file=sys.stderr)
    checkpoints.finish(directory)
    best = checkpoints.final_weights(directory)
    logits = best.pop(checkpoints.LOGITS).numpy()
    scaling = temperature(params.task, logits, validation_set.targets(np.arange(len(validation_set))))
    del model  # one at a time in memory
    with new_directory(paths.FINE_TUNED) as new:
        model = initial_model(params, train_set.unit)
        model.load_state_dict(restore_vocabulary(best), strict=False)
        if params.fine_tune.lora:
            merge_adapters(model.encoder)
        head = [weights.detach().numpy() / scaling for weights in (model.head.weight, model.head.bias)]
        set_head(model, *train_set.unit.head_in_raw_units(*head))
        shutil.copyfile(paths.LABELS, new / paths.LABELS.name)
        tokenizer, labels = paths.BASE_MODEL / "tokenizer.json", read_json(paths.LABELS)
        save_fine_tuned(model, tokenizer, labels, params.task, params.text, new)
        digests = {path.as_posix(): sha256_of(path) for path in inputs()}
        write_manifest(new, {"inputs": digests, "parameters": settings(params), "temperature": scaling})
    write_text(paths.TRAINING_CURVE, (directory / CURVE).read_text(encoding="utf-8"))
    keep_only(directory, others=0)


def inputs() -> list[Path]:
    """The files that decide this stage's result."""
    tables = [paths.split_table("train"), paths.split_table("validation"), paths.LABELS]
    return [*tables, paths.PROBE_FILE, *paths.BASE_FILES]


def settings(params: Params) -> dict[str, object]:
    """What decides the result: the parameters, with the score that chooses by name, and the number of processes."""
    blocks = {"task", "select_by", "seed", "compute", "text", "fine_tune"}
    return params.model_dump(include=blocks) | {"select_by": params.score, "processes": distributed.world_size()}


def initial_model(params: Params, unit: TargetScale) -> Classifier:
    """The pretrained encoder with the probe's weights as its head, which predicts in the unit."""
    torch.manual_seed(params.seed)  # of layers that somebody adds to the head, which start from random weights
    probe = load_probe(paths.PROBE)
    model = load_base(paths.BASE_MODEL, len(probe.bias), params.text, params.task)
    save_memory(model.encoder, params.fine_tune, params.seed)
    accelerate(model, params.compute, training=True)
    set_head(model, *unit.head_in_training_units(probe.weight, probe.bias))
    return model


@torch.no_grad()
def set_head(model: Classifier, weight: np.ndarray, bias: np.ndarray) -> None:
    """Give the head these weights (outputs x size) and this bias (outputs)."""
    model.head.weight.copy_(torch.from_numpy(weight))
    model.head.bias.copy_(torch.from_numpy(bias))
