"""Some training steps of the Trainer of transformers, on texts of one length; `gpu_clock.py` takes the time.

python -m steps MODEL OUT --length 128 --batch 32 --steps 24 --precision bf16 --device cuda
"""

import argparse

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, Trainer, TrainingArguments, set_seed


def main() -> None:
    """Train; only the clock's record stays."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("out")
    for number in ("--length", "--batch", "--steps"):
        parser.add_argument(number, type=int, required=True)
    parser.add_argument("--precision", choices=("fp32", "bf16"), required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), required=True)
    arguments = parser.parse_args()
    set_seed(42)
    model = AutoModelForSequenceClassification.from_pretrained(arguments.model, num_labels=2, dtype=torch.float32)
    vocabulary = AutoConfig.from_pretrained(arguments.model).vocab_size
    ids = torch.randint(5, vocabulary, (arguments.steps * arguments.batch, arguments.length))
    rows = [
        {"input_ids": row, "attention_mask": torch.ones_like(row), "labels": number % 2}
        for number, row in enumerate(ids)
    ]
    settings = TrainingArguments(
        output_dir=arguments.out,
        use_cpu=arguments.device == "cpu",
        bf16=arguments.precision == "bf16",
        per_device_train_batch_size=arguments.batch,
        num_train_epochs=1,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    Trainer(model=model, args=settings, train_dataset=rows).train()


if __name__ == "__main__":
    main()
