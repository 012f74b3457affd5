"""Checkpoints that survive a kill, or the end of the machine: each is one file, which is either complete or absent."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..common import distributed
from ..common.fingerprint import reading
from ..errors import UserError

torch.serialization.set_crc32_options(False)  # checksums take most of the time

SHARE_OF_TIME = 0.02
BEST = "best.safetensors"
FINAL = "final.safetensors"  # the name of `BEST` when the training is over
LOGITS = "validation_logits"  # the key in `BEST` of the logits that its weights give


@dataclass
class Progress:
    """How far a run has come.

    step: steps done; losses: of those since the last point of the curve, the mean over the ranks; best: the score and
    the negative loss of the best weights.
    """

    step: int = 0
    curve: list[dict[str, Any]] = field(default_factory=list)
    best: tuple[float, float] | None = None
    losses: list[float] = field(default_factory=list)

    def log(self) -> None:
        """Add a point to the curve."""
        self.curve.append({"step": self.step, "training_loss": sum(self.losses) / len(self.losses)})
        self.losses = []


def save(directory: Path, progress: Progress, model: nn.Module, optimizer: torch.optim.Optimizer) -> float:
    """Write a checkpoint in place of the last one. Returns when (`time.monotonic`) the next one is due.

    All checkpoints take at most `SHARE_OF_TIME`. The timing changes no byte.
    """
    start = time.monotonic()
    state = {"progress": vars(progress), "model": trained(model), "optimizer": optimizer.state_dict()}
    with written_beside(directory / f"step-{progress.step}.pt", "step.partial") as beside, beside.open("wb") as file:
        torch.save(state, file)
    for old in _by_step(directory)[:-1]:
        old.unlink()
    return start + (time.monotonic() - start) / SHARE_OF_TIME


@contextmanager
def written_beside(path: Path, name: str) -> Iterator[Path]:
    """Yield a path of this name; when the block ends well, rename what it wrote there.

    The bytes are on the disk before. If the machine stopped in between, a name without its bytes would be left.
    """
    beside = path.with_name(name)
    try:
        yield beside
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def load_last(directory: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Load rank 0's newest checkpoint, if there is one, into model and optimizer. Returns how far that run had come."""
    found = _by_step(directory)
    last = distributed.broadcast(found[-1] if found and (directory / BEST).exists() else None)
    if last is None:  # without the best weights the directory is half deleted
        for old in found:
            old.unlink(missing_ok=True)
        return Progress()
    if not last.exists():
        raise UserError(
            "this process does not see the checkpoint of rank 0",
            expected="one shared directory of the project for the processes of all nodes",
            found=f"no {last} in {Path.cwd()}",
            fix="start every node in the shared directory, see docs/running.md",
        )
    with reading(directory):
        state: dict[str, Any] = torch.load(last, map_location="cpu", weights_only=True)
    best_logits(directory)  # if they are damaged, it shows now, and not after the last step
    model.load_state_dict(state["model"], strict=False)
    optimizer.load_state_dict(state["optimizer"])
    return Progress(**state["progress"])


def save_best(directory: Path, model: nn.Module, logits: Tensor) -> None:
    """Save the weights, and their logits of the validation rows, as the best so far."""
    weights = {name: weights.clone() for name, weights in trained(model).items()}
    with written_beside(directory / BEST, "best.partial") as beside:
        save_file(weights | {LOGITS: logits}, beside, metadata={"format": "pt"})


def best_logits(directory: Path) -> np.ndarray:
    """The logits of the validation rows under the best weights so far (rows x outputs)."""
    with reading(directory), safe_open(directory / BEST, "np") as file:
        return file.get_tensor(LOGITS)


def final_weights(directory: Path) -> dict[str, Tensor]:
    """The best weights of a training that is over, and their logits."""
    with reading(directory):
        return load_file(directory / FINAL)


def finish(directory: Path) -> None:
    """Give the best weights their final name, unless a killed run has. What only a training needs is deleted."""
    if (directory / BEST).exists():
        (directory / BEST).replace(directory / FINAL)
    for old in directory.glob("step*"):
        old.unlink()


def trained(model: nn.Module) -> dict[str, Tensor]:
    """The weights that training changes, by name; also what layers of one's own, such as BatchNorm, count."""
    weights = {name: weights.detach() for name, weights in model.named_parameters() if weights.requires_grad}
    return weights | {name: values for name, values in model.named_buffers() if not name.startswith("encoder.")}


def _by_step(directory: Path) -> list[Path]:
    return sorted(directory.glob("step-*.pt"), key=lambda path: int(path.stem.removeprefix("step-")))
