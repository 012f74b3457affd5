"""Fine-tune with the Trainer of transformers, set up as its example for text classification is.

    python train.py MODEL TRAIN VALIDATION OUT --rate 5e-5                   dynamic padding
    python train.py MODEL TRAIN VALIDATION OUT --rate 5e-5 --pad-to-max      as the example comes
    python train.py MODEL TRAIN VALIDATION OUT --rate 5e-5 --until 0.82      stop when validation accuracy is reached
    python train.py MODEL TRAIN VALIDATION OUT                               all as the Trainer's defaults say

The model has a new head on the pooled first token; batches of 32, at most 128 tokens, the Trainer's own optimizer and
schedule. By its defaults the Trainer takes three epochs in batches of 8. The clock starts when everything is imported:
reading, tokenizing, loading, training, one evaluation and saving count. With --until, `reached` is the seconds up to
the step that was good enough, without the evaluations. `epochs` are the seconds at the end of each.
"""

import argparse

import numpy as np
import polars as pl
from clock import Clock
from datasets import Dataset
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
    set_seed,
)

LOOKS_PER_EPOCH = 8


class StopWhenGood(TrainerCallback):
    """Stop at the first evaluation that reaches an accuracy, and keep the time without the evaluations."""

    def __init__(self, accuracy: float, clock: Clock) -> None:
        """clock: began before the data were read."""
        self.accuracy = accuracy
        self.clock = clock
        self.evaluations = 0.0
        self.reached: float | None = None

    def on_evaluate(self, args, state, control, metrics, **_) -> None:  # noqa: ARG002
        """Look at what the evaluation gave."""
        self.evaluations += metrics["eval_runtime"]
        if metrics["eval_accuracy"] >= self.accuracy:
            self.reached = self.clock.seconds() - self.evaluations
            control.should_training_stop = True


class Epochs(TrainerCallback):
    """Look at the clock at the end of each epoch."""

    def __init__(self, clock: Clock) -> None:
        """clock: began before the data were read."""
        self.clock = clock
        self.ends: list[float] = []

    def on_epoch_end(self, args, state, control, **_) -> None:  # noqa: ARG002
        """Write the time down."""
        self.ends.append(self.clock.seconds())


def main() -> None:
    """Train, evaluate, save."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("train")
    parser.add_argument("validation")
    parser.add_argument("out")
    parser.add_argument("--rate", type=float)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--pad-to-max", action="store_true")
    parser.add_argument("--until", type=float)
    parser.add_argument("--seed", type=int, default=42)
    arguments = parser.parse_args()
    clock = Clock()
    set_seed(arguments.seed)
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    padding = "max_length" if arguments.pad_to_max else False

    def tokenize(rows: dict) -> dict:
        return tokenizer(rows["text"], padding=padding, max_length=128, truncation=True)

    tables = {
        name: pl.read_parquet(getattr(arguments, name)).to_dict(as_series=False) for name in ("train", "validation")
    }
    rows = {name: Dataset.from_dict(table).map(tokenize, batched=True) for name, table in tables.items()}
    labels = len(set(tables["train"]["label"]))
    model = AutoModelForSequenceClassification.from_pretrained(arguments.model, num_labels=labels)
    epoch = -(-len(rows["train"]) // 32)
    looks = {"eval_strategy": "steps", "eval_steps": -(-epoch // LOOKS_PER_EPOCH)} if arguments.until else {}
    batches = {"per_device_train_batch_size": 32, "learning_rate": arguments.rate, "num_train_epochs": arguments.epochs}
    epochs = Epochs(clock)
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=arguments.out,
            seed=arguments.seed,
            use_cpu=True,
            disable_tqdm=True,
            report_to="none",
            **looks,
            **(batches if arguments.rate else {}),
        ),
        train_dataset=rows["train"],
        eval_dataset=rows["validation"],
        processing_class=tokenizer,
        data_collator=default_data_collator if arguments.pad_to_max else None,
        compute_metrics=lambda given: {"accuracy": float(np.mean(given.predictions.argmax(axis=1) == given.label_ids))},
    )
    trainer.add_callback(epochs)
    goal = StopWhenGood(arguments.until or 1.0, clock)
    if arguments.until:
        trainer.add_callback(goal)
    trainer.train()
    accuracy = trainer.evaluate()["eval_accuracy"]
    trainer.save_model()
    clock.tell(accuracy=accuracy, reached=goal.reached, epochs=epochs.ends)


if __name__ == "__main__":
    main()
