"""The training loop. Each step depends only on the weights before it and on its number, so a kill changes no byte.

It is plain torch, not the Trainer of transformers. The Trainer draws the order of the rows from a generator that a
resumed run does not restore, takes longer to import, and spends more time between steps.
"""

import math
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from ..common import distributed
from ..common.io import write_text
from ..common.tasks import predictions_of
from ..config import SCORES, FineTune, Params
from ..errors import UserError
from ..modeling.classifier import LOSSES, Classifier
from ..modeling.forward import batcher_for, in_order, run_batches
from ..modeling.scores import paired_bootstrap, scores
from . import checkpoints
from .batches import SplitDataset, order_of
from .checkpoints import Progress
from .loss import Loss, training_loss

POINTS_PER_RUN = 24
MOST_STEPS = 50  # without a checkpoint, as far as those may take time: see `checkpoints.save`
MOST_PASSES = 60  # over the rows, for `min_steps`: a few dozen rows are memorized by then
CURVE = "curve.csv"
SAMPLES = 200

# What `SplitDataset.batch` gives for this rank's rows, and the weight of their mean loss: all rows count equally.
RankBatch = tuple[tuple[Tensor, ...], float]


@dataclass(frozen=True)
class Plan:
    """An epoch is a pass over the rows, or more. Points of the curve are equally many steps apart, or one more."""

    steps_per_pass: int
    steps_per_epoch: int
    total_steps: int
    points_per_epoch: int

    @classmethod
    def of(cls, settings: FineTune, row_count: int) -> "Plan":
        """The plan for this many rows."""
        steps_per_pass = math.ceil(row_count / settings.batch_size)
        wanted = math.ceil(min(settings.min_steps, MOST_PASSES * steps_per_pass) / settings.epochs)
        steps_per_epoch = max(steps_per_pass, wanted)
        points = min(steps_per_epoch, math.ceil(POINTS_PER_RUN / settings.epochs))
        return cls(steps_per_pass, steps_per_epoch, settings.epochs * steps_per_epoch, points)

    def stops_after(self, step: int) -> bool:
        """Whether a checkpoint may be written after this many steps."""
        return step % MOST_STEPS == 0 or self.logs_after(step)

    def logs_after(self, step: int) -> bool:
        """Whether the curve gets a point after this many steps."""
        return step * self.points_per_epoch % self.steps_per_epoch < self.points_per_epoch


def train(
    model: Classifier, train_set: SplitDataset, validation_set: SplitDataset, params: Params, directory: Path
) -> None:
    """Train on the model's device. If the directory holds a checkpoint, continue from the last one.

    Afterwards the directory holds the weights of the kept epoch (`checkpoints.BEST`) and the training curve (`CURVE`).
    The model before the first step may be kept too: the pretrained encoder with the probe's weights as its head.
    """
    distributed.require_divisible(params.fine_tune.batch_size)
    plan = Plan.of(params.fine_tune, len(train_set))
    loss = training_loss(train_set, params, next(model.parameters()).device)
    # Every rank trains a copy; the backward pass averages the gradients over all ranks. Because no bucket is rebuilt,
    # gradients are summed in the same order, even after a kill.
    parallel = DistributedDataParallel(model, find_unused_parameters=True) if distributed.world_size() > 1 else model
    optimizer = adamw(model, params.fine_tune)
    progress = begin(model, optimizer, validation_set, params, directory)
    batches = batches_from(progress.step, plan, train_set, params)
    losses: list[Tensor] = []
    due = 0.0
    with tqdm(total=plan.total_steps, initial=progress.step, desc="steps", disable=None) as bar:
        for step in range(progress.step, plan.total_steps):
            seed_step(params.seed, step)
            for group in optimizer.param_groups:
                group["lr"] = params.fine_tune.learning_rate * schedule(step, plan, params.fine_tune)
            losses.append(train_step(parallel, optimizer, next(batches), loss, params))
            bar.update()
            if not plan.stops_after(step + 1):
                continue
            progress.step = step + 1
            progress.losses += finite(distributed.all_reduce_mean(torch.stack(losses)).tolist(), "training")
            losses.clear()
            ends_epoch = progress.step % plan.steps_per_epoch == 0
            if plan.logs_after(progress.step):
                progress.log()
                if ends_epoch:
                    end_epoch(model, validation_set, params, directory, progress, last=step + 1 == plan.total_steps)
                if is_over(progress, plan, params):
                    break
            if distributed.on_rank_0() and (ends_epoch or time.monotonic() >= due):
                due = checkpoints.save(directory, progress, model, optimizer)


def begin(
    model: Classifier, optimizer: torch.optim.Optimizer, validation_set: SplitDataset, params: Params, directory: Path
) -> Progress:
    """Continue from the last checkpoint; or, before the first step, measure the model. Returns the progress."""
    progress = checkpoints.load_last(directory, model, optimizer)
    if not progress.step:
        if distributed.on_rank_0() and (others := [*directory.parent.glob("*/step-*.pt")]):
            print(
                f"starting from the beginning: {others[0]}, which is kept until this training ends, is of other "
                "parameters, inputs, code, libraries or hardware, or of another number of processes",
                file=sys.stderr,
            )
        progress.curve.append({"step": 0, "training_loss": None})
        end_epoch(model, validation_set, params, directory, progress, last=False)
    elif distributed.on_rank_0():
        print(f"going on from step {progress.step}", file=sys.stderr)
    return progress


def batches_from(step: int, plan: Plan, train_set: SplitDataset, params: Params) -> Iterator[RankBatch]:
    """This rank's rows in the batch of this step and of each later one. A rank without rows gets one of weight 0."""
    size, ranks = params.fine_tune.batch_size, distributed.world_size()
    for pass_index in range(step // plan.steps_per_pass, math.ceil(plan.total_steps / plan.steps_per_pass)):
        order = order_of(train_set.sequences.lengths(), size, params.seed, pass_index)
        done = max(0, step - pass_index * plan.steps_per_pass)
        for start in range(done * size, len(order), size):
            batch = order[start : start + size]
            own = batch[distributed.rank() :: ranks]
            yield train_set.batch(own if len(own) else batch[:1]), len(own) * ranks / len(batch)


def adamw(model: nn.Module, settings: FineTune) -> torch.optim.Optimizer:
    """AdamW with weight decay on matrices, but not on biases and the weights of norms."""
    trained = [weights for weights in model.parameters() if weights.requires_grad]
    matrices = [weights for weights in trained if weights.ndim > 1]
    others = [weights for weights in trained if weights.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)


def schedule(step: int, plan: Plan, settings: FineTune) -> float:
    """The learning rate of a step as a fraction of the highest: linear warm-up, then linear decay to 0."""
    warmup = math.ceil(settings.warmup_fraction * plan.total_steps)
    return step / warmup if step < warmup else (plan.total_steps - step) / (plan.total_steps - warmup)


def seed_step(seed: int, step: int) -> None:
    """Seed the dropout generator for this step; each rank drops different units."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step, distributed.rank()]).generate_state(1)[0]))


def train_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, batch: RankBatch, loss_of: Loss, params: Params
) -> Tensor:
    """Take one step, in `fine_tune.accumulation` parts, whose gradients add up. Returns this rank's weighted loss."""
    values, weight = batch
    device = next(model.parameters()).device
    row_count = len(values[0])
    count = min(params.fine_tune.accumulation, row_count)
    model.train()
    optimizer.zero_grad()
    losses = []
    for number, part in enumerate(zip(*(value.tensor_split(count) for value in values), strict=True), start=1):
        ids, mask, *wanted = (distributed.to_device(value, device) for value in part)
        # The last backward pass averages the ranks' sums of gradients; the others only add to this rank's.
        with model.no_sync() if isinstance(model, DistributedDataParallel) and number < count else nullcontext():
            with torch.autocast(device.type, torch.bfloat16, enabled=params.compute.precision == "bf16"):
                logits = model(ids, mask)
            loss = loss_of(logits.float(), *wanted) * (weight * (len(ids) / row_count))
            loss.backward()
        losses.append(loss.detach())
    nn.utils.clip_grad_norm_(model.parameters(), params.fine_tune.max_grad_norm)
    optimizer.step()
    return torch.stack(losses).sum()


def finite(losses: list[float], of: str) -> list[float]:
    """These losses. Raises UserError when one is NaN or infinite."""
    for loss in losses:
        if not math.isfinite(loss):
            raise UserError(
                f"the {of} loss is NaN or infinite",
                expected="a loss that falls",
                found=str(loss),
                fix="lower fine_tune.learning_rate or fine_tune.max_grad_norm in params.yaml",
            )
    return losses


def end_epoch(
    model: Classifier, validation_set: SplitDataset, params: Params, directory: Path, progress: Progress, *, last: bool
) -> None:
    """Measure on the validation rows, keep the weights if they are the best, and write the curve.

    The last epoch, where the learning rate has fallen to 0, should be the best; on few rows another may look better by
    chance. So it is kept too if it may be worse only by chance (the one-standard-error rule of Breiman et al. 1984,
    Classification and Regression Trees, 3.4.3), but never if it is worse than the model before the first step.
    """
    logits = logits_of(model, validation_set, params)
    if logits is None:
        return
    targets, logits_tensor = validation_set.targets(np.arange(len(validation_set))), torch.from_numpy(logits)
    loss = LOSSES[params.task](logits_tensor, torch.from_numpy(targets)).item()
    if progress.step:  # after steps whose own losses were finite
        finite([loss], "validation")
    found = scores(params.task, targets, predictions_of(params.task, logits))
    shown = sorted(SCORES[params.task], key=params.score.__eq__)  # the score that chooses is the last column
    progress.curve[-1] |= {"validation_loss": loss} | {f"validation_{name}": found[name] for name in shown}
    now, start = (standing(progress.curve[n], params) for n in (-1, 0))
    if (
        progress.best is None
        or now > progress.best
        or (last and now >= start and may_be_chance(params, targets, checkpoints.best_logits(directory), logits))
    ):
        checkpoints.save_best(directory, model, logits_tensor)
        progress.best = now
    curve = pl.DataFrame(progress.curve, infer_schema_length=None)
    write_text(directory / CURVE, curve.write_csv(float_precision=6))


def standing(row: dict[str, Any], params: Params) -> tuple[float, float]:
    """How good the model at this row of the curve is: by its score, and of equal scores by the lower loss."""
    return row[f"validation_{params.score}"], -row["validation_loss"]


def may_be_chance(params: Params, targets: np.ndarray, best: np.ndarray, last: np.ndarray) -> bool:
    """Whether the last epoch's score is lower by at most one standard error of the difference (paired bootstrap)."""
    task, score = params.task, params.score
    before, after = (predictions_of(task, logits) for logits in (best, last))
    lead = scores(task, targets, before)[score] - scores(task, targets, after)[score]
    return lead <= float(paired_bootstrap(task, score, targets, before, after, SAMPLES).std())


def is_over(progress: Progress, plan: Plan, params: Params) -> bool:
    """Whether the last step is done, or the best score is at least `fine_tune.patience` epochs old.

    The model before the first step does not count, because a high learning rate first makes the model worse.
    """
    column, patience = f"validation_{params.score}", params.fine_tune.patience
    found = [row[column] for row in progress.curve[1:] if column in row]  # only rank 0 has them
    waited = len(found) - 1 - found.index(max(found)) if found else 0
    return distributed.broadcast(progress.step == plan.total_steps or (patience is not None and waited >= patience))


def logits_of(model: Classifier, dataset: SplitDataset, params: Params) -> np.ndarray | None:
    """The logits of all rows in order, on rank 0; None on the others. Each rank computes its part of the batches."""
    batcher = batcher_for(model, params.compute, params.text.max_length)
    own = list(run_batches(batcher, dataset.sequences, output="logits", bf16=params.compute.precision == "bf16"))
    found = distributed.gather(own)
    return None if found is None else in_order(found)
