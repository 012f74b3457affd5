"""A large encoder: LoRA and other ways to train in less memory, beside full fine-tuning.

    python benchmarks/large.py build/review-sentiment

The encoder is a BERT of 20 layers and 285 million parameters, random ones, so nothing is said of accuracy. Every side
trains the same few rows for two epochs, in a process of its own; time and largest memory count all that the stage
does. LoRA is also killed after its first checkpoint and run again, and exported: `export_onnx` compares it with torch.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from machine import machine
from pairs import (
    CHECKPOINTS,
    Measure,
    Watch,
    copied,
    costs,
    environment,
    fewer_rows,
    forget_training,
    interleaved,
    item,
    keep,
    medians,
    package_of,
    parser,
    ratios,
    run_stage,
)
from transformers import AutoConfig, AutoModel

SIZE = {"hidden_size": 1024, "num_hidden_layers": 20, "num_attention_heads": 16, "intermediate_size": 4096}
SETTINGS = {"fine_tune.epochs": 2, "fine_tune.batch_size": 16, "export_onnx.max_int8_drop": 0.99}
SIDES: dict[str, dict[str, Any]] = {
    "full": {},
    "checkpointing, in 4 parts": {"gradient_checkpointing": True, "accumulation": 4},
    "last 4 layers": {"trainable_layers": 4},
    "LoRA": {"lora": {"rank": 8, "alpha": 16, "dropout": 0.05}},
}
MOST_MEMORY = {"LoRA": 0.5}  # over that of full fine-tuning


def main() -> None:
    """Measure."""
    made = parser(__doc__, pairs=1)
    made.add_argument("--rows", type=int, default=64, help="of all splits; default: %(default)s")
    arguments = made.parse_args()
    with item("large") as folder:
        watch = Watch()
        prepared = copied(arguments.project, folder / "prepared", SETTINGS)
        fewer_rows(prepared, arguments.rows)
        parameters = enlarge(prepared / "models/base")
        for stage in ("check_model", "embeddings"):
            run_stage(prepared, stage)
        projects = {
            name: copied(prepared, folder / name, {f"fine_tune.{key}": value for key, value in changes.items()})
            for name, changes in SIDES.items()
        }
        sides = {name: partial(run_stage, project, "fine_tune") for name, project in projects.items()}
        rounds = interleaved(sides, arguments.pairs)
        same = resumed(projects["LoRA"])
        for stage in ("export_onnx", "evaluate"):
            run_stage(projects["LoRA"], stage)
        metrics = json.loads((projects["LoRA"] / "reports/metrics.json").read_text("utf-8"))
        unlike = metrics["onnx_fp32"]["label_disagreements_with_torch"]
        parity = json.loads((projects["LoRA"] / "reports/parity.json").read_text("utf-8"))
        below = parity["fp32_logit_difference_below"]
        each = "; ".join(
            f"{name} {medians(rounds, name):.0f} s, {medians(rounds, name, 'peak') / 1000:.2f} GB" for name in SIDES
        )
        keep(
            "large",
            peer="the same stage, all weights trained",
            compared=f"BERT of {parameters / 1e6:.0f} M parameters, {arguments.rows} rows of all splits, two epochs in"
            f" batches of 16; {each}; LoRA as ONNX: logits less than {below} from torch's",
            measures=[
                *(
                    Measure(f"{name}: {what} over full", ratios(rounds, name, "full", key), at_most=bar)
                    for name in list(SIDES)[1:]
                    for what, key, bar in (
                        ("memory", "peak", MOST_MEMORY.get(name)),
                        ("processor time", "processor", None),
                    )
                ),
                Measure("LoRA killed and run again: same bytes", [float(same)], at_least=1, unit=""),
                Measure("LoRA as ONNX: labels unlike torch's", [unlike], at_most=0, unit=""),
            ],
            costs=costs(rounds, "LoRA"),
            machine=machine("torch", "transformers", "peft"),
            watch=watch,
        )


def enlarge(base: Path) -> int:
    """Put a larger encoder with random weights in the place of another, under its tokenizer; how many parameters."""
    config = AutoConfig.from_pretrained(base)
    config.update(SIZE)
    torch.manual_seed(0)
    model = AutoModel.from_config(config)
    for name in ("config.json", "model.safetensors"):  # which may be links
        (base / name).unlink()
    model.save_pretrained(base)
    return sum(weights.numel() for weights in model.parameters())


def resumed(project: Path) -> bool:
    """Train again, killed after the first checkpoint; whether it was, and the model has the same bytes as before."""
    unbroken = digests(project)
    shutil.rmtree(project / "models/fine_tuned")
    forget_training(project)
    command = [sys.executable, "-m", package_of(project), "fine_tune"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=project, env=environment(project), **quiet) as running:
        while not any(project.glob(f"{CHECKPOINTS}/*/step-*.pt")) and running.poll() is None:
            time.sleep(0.01)
        killed = running.poll() is None
        running.kill()
    run_stage(project, "fine_tune")
    return killed and digests(project) == unbroken


def digests(project: Path) -> dict[Path, str]:
    """The sha256 of each file of the fine-tuned model."""
    files = [path for path in (project / "models/fine_tuned").rglob("*") if path.is_file()]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


if __name__ == "__main__":
    main()
