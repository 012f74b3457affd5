"""Fine-tune with SetFit: pairs of texts for the encoder, then logistic regression on its vectors.

    python setfit_.py MODEL TRAIN TEST SEED

20 pairs a row each way, as its paper draws them (Tunstall et al. 2022, arXiv:2209.11055); all else by its defaults. The
clock starts when everything is imported: reading, loading, training and one prediction of the test rows count.
"""

import sys
import tempfile

import polars as pl
from clock import Clock
from datasets import Dataset
from setfit import SetFitModel, Trainer, TrainingArguments


def main() -> None:
    """Train and score."""
    name, train, test, seed = sys.argv[1:]
    clock = Clock()
    tables = [pl.read_parquet(path).select("text", "label") for path in (train, test)]
    rows, asked = (Dataset.from_dict(table.to_dict(as_series=False)) for table in tables)
    model = SetFitModel.from_pretrained(name, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        chosen = TrainingArguments(
            output_dir=folder,
            num_iterations=20,
            seed=int(seed),
            report_to="none",
            save_strategy="no",
            show_progress_bar=False,
        )
        trainer = Trainer(model=model, args=chosen, train_dataset=rows)
        trainer.train()
        right = [int(found) == label for found, label in zip(model.predict(asked["text"]), asked["label"], strict=True)]
    clock.tell(accuracy=sum(right) / len(right))


if __name__ == "__main__":
    main()
