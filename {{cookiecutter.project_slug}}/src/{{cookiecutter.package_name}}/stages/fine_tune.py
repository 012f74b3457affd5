"""Fine-tune the whole model. Its head starts from the linear probe (LP-FT, Kumar et al. 2022, arXiv:2202.10054)."""

import math
import shutil
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from transformers import EvalPrediction, PrinterCallback, TrainingArguments

from .. import checkpoints, paths, processes
from ..classifier import Classifier, load_base
from ..determinism import pin_model, seed_everything, use_deterministic_kernels
from ..files import new_directory, sha256_of, write_text
from ..identity import identity_of, own_directory
from ..manifest import write_manifest
from ..metrics import DECIMALS, scores
from ..params import Params, Task
from ..probe import load_probe
from ..tasks import MAIN_SCORE, values_of
from ..token_store import open_store
from ..training_data import OwnOrder, Rows

CHECKPOINTS_PER_RUN = 24


def run(params: Params) -> None:
    """Write `models/fine_tuned` and the training curve; go on from the last checkpoint of the same run."""
    use_deterministic_kernels(params.compute)
    processes.join(params.compute)
    seed_everything(params.seed)
    store = open_store(params.text.max_length)
    train, validation = (Rows(split, store, params.task) for split in ("train", "validation"))
    with processes.first_goes_ahead():
        directory = own_directory(paths.CHECKPOINTS, identity_of(inputs(), knobs(params)))
        last = checkpoints.last_complete(directory)
    trainer = OwnOrder(
        model=start_model(params),
        args=training_arguments(params, len(train), directory),
        train_dataset=train,
        eval_dataset=validation,
        data_collator=validation.collate,
        compute_metrics=partial(validation_scores, params.task),
        callbacks=[checkpoints.KeepBest(directory, MAIN_SCORE[params.task]), checkpoints.MarkComplete()],
    )
    trainer.remove_callback(PrinterCallback)  # where there is no terminal the log stays short; the curve has it all
    if last is not None and processes.is_first():
        print(f"going on from step {last.name.rpartition('-')[2]}", file=sys.stderr)
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    if not processes.is_first():
        return
    with new_directory(paths.FINE_TUNED) as new:
        shutil.copyfile(directory / f"{checkpoints.BEST}.safetensors", new / "model.safetensors")
        for name in ("config.json", "tokenizer.json"):
            shutil.copyfile(paths.BASE_MODEL / name, new / name)
        shutil.copyfile(paths.LABELS, new / paths.LABELS.name)
        write_manifest(
            new, {"inputs": {path.as_posix(): sha256_of(path) for path in inputs()}, "parameters": knobs(params)}
        )
    write_text(paths.TRAINING_CURVE, curve(trainer.state.log_history, MAIN_SCORE[params.task]))
    shutil.rmtree(paths.CHECKPOINTS)


def inputs() -> list[Path]:
    """The files that decide this stage's result."""
    tables = [paths.split_table("train"), paths.split_table("validation"), paths.LABELS]
    return [*tables, paths.PROBE_FILE, *sorted(paths.BASE_MODEL.iterdir())]


def knobs(params: Params) -> dict[str, object]:
    """The parameters that decide it, and how many processes share each batch: sums are split among them."""
    blocks = {"task", "seed", "compute", "text", "fine_tune"}
    return params.model_dump(include=blocks, exclude={"compute": {"launcher"}}) | {"processes": processes.count()}


def start_model(params: Params) -> Classifier:
    """The pretrained encoder under a head with the probe's weights."""
    probe = load_probe(paths.PROBE)
    model = load_base(paths.BASE_MODEL, len(probe.bias), params.text, params.task)
    pin_model(model, params.compute)
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(probe.weight))
        model.head.bias.copy_(torch.from_numpy(probe.bias))
    return model


def training_arguments(params: Params, rows: int, directory: Path) -> TrainingArguments:
    """What the Trainer is told. Whatever decides bits is named here, because the Trainer's defaults move."""
    knobs, compute = params.fine_tune, params.compute
    share = processes.share_of_batch(knobs.batch_size)
    epoch = math.ceil(rows / knobs.batch_size)
    steps = knobs.epochs * epoch
    every = math.ceil(steps / CHECKPOINTS_PER_RUN)
    return TrainingArguments(
        output_dir=str(directory),
        num_train_epochs=knobs.epochs,
        per_device_train_batch_size=share,
        per_device_eval_batch_size=share,
        train_sampling_strategy="group_by_length",
        learning_rate=knobs.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=math.ceil(knobs.warmup_fraction * steps),
        weight_decay=knobs.weight_decay,
        max_grad_norm=knobs.max_grad_norm,
        optim="adamw_torch_fused",
        seed=params.seed + processes.rank(),  # each process drops out other units
        data_seed=params.seed,
        bf16=compute.precision == "bf16",
        use_cpu=compute.device == "cpu",
        eval_strategy="steps",  # by step, not by epoch: the Trainer then evaluates before it saves the same step
        eval_steps=epoch,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        logging_strategy="steps",
        logging_steps=every,
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_pin_memory=compute.device == "cuda",
        accelerator_config={"non_blocking": compute.device == "cuda"},
        ddp_find_unused_parameters=True,  # also keeps the order in which gradients are summed, after a kill too
        disable_tqdm=not sys.stderr.isatty(),
        report_to="none",
    )


def validation_scores(task: Task, prediction: EvalPrediction) -> dict[str, float]:
    """The scores of the validation rows."""
    logits, targets = np.asarray(prediction.predictions), np.asarray(prediction.label_ids)
    return scores(task, targets, values_of(task, logits))


def curve(history: list[dict[str, float]], score: str) -> str:
    """The log as CSV: step, training loss, validation loss and score; nothing that a clock touches."""
    lines = [f"step,training_loss,validation_loss,validation_{score}"]
    for entry in history:
        values = [entry.get(name) for name in ("loss", "eval_loss", f"eval_{score}")]
        if any(value is not None for value in values):
            cells = ["" if value is None else f"{value:.{DECIMALS}f}" for value in values]
            lines.append(",".join([str(entry["step"]), *cells]))
    return "\n".join(lines) + "\n"
