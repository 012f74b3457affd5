"""Checkpoints that survive a kill."""

import shutil
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from . import processes
from .classifier import save_weights
from .files import read_json, write_json

COMPLETE = "complete"
BEST = "best"


def last_complete(directory: Path) -> Path | None:
    """The newest checkpoint that was written to its end; torn ones are removed."""
    complete = []
    for checkpoint in directory.glob("checkpoint-*"):
        if (checkpoint / COMPLETE).exists():
            complete.append(checkpoint)
        else:
            shutil.rmtree(checkpoint)
    return max(complete, key=lambda checkpoint: int(checkpoint.name.rpartition("-")[2]), default=None)


class MarkComplete(TrainerCallback):
    """Mark a checkpoint once all of it, every process's part, is on the disk."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:  # noqa: ARG002
        """Called by the Trainer after it wrote a checkpoint."""
        processes.wait()
        if processes.is_first():
            (Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / COMPLETE).touch()


class KeepBest(TrainerCallback):
    """Keep the weights of the epoch with the best validation score; the earliest of equals."""

    def __init__(self, directory: Path, score: str) -> None:
        self.score = score
        self.weights = directory / f"{BEST}.safetensors"
        self.record = directory / f"{BEST}.json"

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:  # noqa: ARG002
        """Called by the Trainer after each epoch's evaluation."""
        if not processes.is_first():
            return
        metrics = kwargs["metrics"]
        found = {"score": metrics[f"eval_{self.score}"], "epoch": round(metrics["epoch"])}
        if self.record.exists() and read_json(self.record)["score"] >= found["score"]:
            return
        beside = self.weights.with_suffix(".partial")
        save_weights(kwargs["model"], beside)
        beside.replace(self.weights)
        write_json(self.record, found)
