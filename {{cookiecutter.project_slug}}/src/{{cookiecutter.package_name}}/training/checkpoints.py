"""Checkpoints that survive a kill: each is one file, which is either complete or absent."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..common.fingerprint import reading

torch.serialization.set_crc32_options(False)  # checksums take most of the time

SHARE_OF_TIME = 0.05
BEST = "best.safetensors"
FINAL = "final.safetensors"  # the name of `BEST` when the training is over
LOGITS = "validation_logits"  # the key in `BEST` of the logits that its weights give


@dataclass
class Progress:
    """How far a run has come: steps done, the curve so far, and the score and the negative loss of the best weights."""

    step: int = 0
    curve: list[dict[str, Any]] = field(default_factory=list)
    best: tuple[float, float] | None = None


def save(directory: Path, progress: Progress, model: nn.Module, optimizer: torch.optim.Optimizer) -> float:
    """Write a checkpoint in place of the last one. Returns when (`time.monotonic`) the next one is due.

    All checkpoints take at most `SHARE_OF_TIME`. The timing changes no byte.
    """
    start = time.monotonic()
    state = {"progress": vars(progress), "model": trained(model), "optimizer": optimizer.state_dict()}
    beside = directory / "step.partial"
    try:
        with beside.open("wb") as file:
            torch.save(state, file)
        beside.replace(directory / f"step-{progress.step}.pt")
    finally:
        beside.unlink(missing_ok=True)
    for old in _by_step(directory)[:-1]:
        old.unlink()
    return start + (time.monotonic() - start) / SHARE_OF_TIME


def load_last(directory: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Load the newest checkpoint, if there is one, into model and optimizer. Returns how far that run had come."""
    found = _by_step(directory)
    if not found or not (directory / BEST).exists():  # without it the directory is half deleted
        for old in found:
            old.unlink(missing_ok=True)
        return Progress()
    with reading(directory):
        state: dict[str, Any] = torch.load(found[-1], map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"], strict=False)
    optimizer.load_state_dict(state["optimizer"])
    return Progress(**state["progress"])


def save_best(directory: Path, model: nn.Module, logits: Tensor) -> None:
    """Save the weights, and their logits of the validation rows, as the best so far."""
    beside = directory / "best.partial"
    weights = {name: weights.clone() for name, weights in trained(model).items()}
    save_file(weights | {LOGITS: logits}, beside, metadata={"format": "pt"})
    beside.replace(directory / BEST)


def best_logits(directory: Path) -> np.ndarray:
    """The logits of the validation rows under the best weights so far (rows x outputs)."""
    with reading(directory), safe_open(directory / BEST, "np") as file:
        return file.get_tensor(LOGITS)


def finish(directory: Path) -> None:
    """Give the best weights their final name. What only a training that goes on needs is deleted."""
    (directory / BEST).replace(directory / FINAL)
    for old in _by_step(directory):
        old.unlink()


def trained(model: nn.Module) -> dict[str, Tensor]:
    """The weights that training changes, by name; also what layers of one's own, such as BatchNorm, count."""
    weights = {name: weights.detach() for name, weights in model.named_parameters() if weights.requires_grad}
    return weights | {name: values for name, values in model.named_buffers() if not name.startswith("encoder.")}


def _by_step(directory: Path) -> list[Path]:
    return sorted(directory.glob("step-*.pt"), key=lambda path: int(path.stem.removeprefix("step-")))
