"""The project that the tests train: generated sentences, a seeded model of two layers, parameters of its own.

No test reads the parameters of `params.yaml` in the project's root, so every valid one passes.
"""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from ruamel.yaml import YAML
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

if TYPE_CHECKING:
    from {{ cookiecutter.package_name }}.config import Params

ROOT = Path(__file__).parent.parent
PACKAGE = "{{ cookiecutter.package_name }}"
OUTS = ("data/processed", "embeddings", "models", "reports")
STAGES = ("fetch", "check_model", "prepare", "embeddings", "fine_tune", "export_onnx", "evaluate")

# Every parameter of config.Params; test_config.py names those that are missing.
PARAMS = """\
task: single_label
select_by: null
seed: 42
launcher: python
compute:
  device: cpu
  precision: fp32
  threads: 2
  determinism: machine
  kernels: fast
text:
  max_length: 32
  pooling: mean
  prefix: ""
fetch:
  model:
    into: models/base
    uri: model
    sha256:
      config.json: null
      model.safetensors: null
      tokenizer.json: null
prepare:
  text_column: text
  second_text_column: null
  label_column: label
  label_separator: ","
  label_names: null
  keep: null
  keep_columns: []
  malformed_rows: fail
  split_seed: 42
  validation_fraction: 0.125
  test_fraction: 0.125
  group_column: null
  time_column: null
  fold: null
  additions: null
embeddings:
  probe_c: [0.01, 0.1, 1.0, 10.0]
  near_duplicate_cosine: 0.95
fine_tune:
  learning_rate: 0.001
  epochs: 2
  min_steps: 1
  patience: null
  batch_size: 32
  class_weights: null
  row_weights: null
  label_smoothing: 0.0
  weight_decay: 0.01
  warmup_fraction: 0.1
  max_grad_norm: 1.0
  lora: null
  trainable_layers: null
  gradient_checkpointing: false
  accumulation: 1
export_onnx:
  opset: 20
  fused: auto
  max_logit_difference: 0.0001
  int8: true
  max_int8_drop: 0.1
  min_precision: null
evaluate:
  bootstrap_samples: 2000
  calibration_bins: 15
  typing_errors: 0.05
  dropped_words: 0.2
  kept_share: 0.5
"""

WORDS = {
    "good": ["warm", "funny", "tender", "bright", "clever", "moving"],
    "bad": ["dull", "loud", "hollow", "clumsy", "stale", "tired"],
    "none": ["the", "film", "a", "story", "an", "actor", "this", "scene", "and", "but", "plot", "is", "of", "with"],
}


def sentences(count: int, seed: int) -> list[tuple[str, str]]:
    """Sentences with their label: mostly filler, three words of the label, sometimes one of the other label."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        label, other = draw.sample(["good", "bad"], 2)
        words = [draw.choice(WORDS["none"]) for _ in range(draw.randint(3, 12))]
        words += draw.choices(WORDS[label], k=3) + draw.choices(WORDS[other], k=draw.randint(0, 1))
        draw.shuffle(words)
        rows.append((" ".join(words), label))
    return rows


WRITERS: dict[str, Callable[[pl.DataFrame, Path], object]] = {
    ".csv": lambda table, path: table.write_csv(path),
    ".tsv": lambda table, path: table.write_csv(path, separator="\t"),
    ".jsonl": lambda table, path: table.write_ndjson(path),
    ".parquet": lambda table, path: table.write_parquet(path),
}


def write_table(path: Path, rows: list[tuple[str, str]]) -> None:
    """Write rows as CSV with the columns text and label."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(rows, schema=["text", "label"], orient="row").write_csv(path)


def write_base_model(directory: Path) -> None:
    """Write a BERT of two small layers with seeded weights, and a tokenizer of the words above."""
    import torch  # seconds, which most test modules do not need
    from transformers import BertConfig, BertModel

    directory.mkdir(parents=True)
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=special)
    tokenizer.train_from_iterator([text for text, _ in sentences(400, seed=0)], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(directory / "tokenizer.json"))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(directory)


def checkpoints_of(project: Path) -> list[int]:
    """The steps of the checkpoints of a project, in ascending order."""
    return sorted(int(path.stem.removeprefix("step-")) for path in project.glob(".checkpoints/*/step-*.pt"))


def values_with(**changes: object) -> dict[str, Any]:
    """The values of PARAMS, changed by dotted key, the dot written as two underscores: `fine_tune__epochs=1`."""
    values = YAML(typ="safe").load(PARAMS)
    for key, value in changes.items():
        block, _, name = key.partition("__")
        (values[block] if name else values)[name or block] = value
    return values


def params_with(task: str = "single_label", **prepare: Any) -> "Params":
    """The parameters of the small project, validated, with another task or other values of its block `prepare`."""
    from {{ cookiecutter.package_name }}.config import Params

    return Params.model_validate(values_with(task=task, **{f"prepare__{key}": prepare[key] for key in prepare}))


def write_params(path: Path, base_model: Path, **changes: object) -> None:
    """Write `params.yaml` of a small project that takes its base model from this directory."""
    files = ("config.json", "model.safetensors", "tokenizer.json")
    model = {"into": "models/base", "uri": str(base_model), "sha256": digests(base_model, files)}
    yaml = YAML(typ="safe", pure=True)
    yaml.width, yaml.default_flow_style, yaml.sort_base_mapping_type_on_output = 4096, False, False
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(values_with(**{"fetch__model": model} | changes), file)


def digests(directory: Path, names: Iterable[str]) -> dict[str, str]:
    """The sha256 of the named files."""
    return {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in names}


def run_python(
    folder: Path, *arguments: str | Path, prefix: tuple[str, ...] = (), given: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run Python on the code of this project; prefix: a command before it, given: its standard input."""
    return subprocess.run(
        [*prefix, sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")} | environment,
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )


def run_stage(
    project: Path, stage: str, prefix: tuple[str, ...] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run one stage in a project as DVC does; prefix: a command before it, such as `taskset -c 0`."""
    return run_python(project, "-m", PACKAGE, stage, prefix=prefix, **environment)


def run_stages(project: Path, *stages: str, prefix: tuple[str, ...] = (), **environment: str) -> None:
    """Run stages that must end well, all in one process."""
    done = run_python(project, ROOT / "tests/record_reads.py", *stages, prefix=prefix, **environment)
    assert done.returncode == 0, done.stderr


def bytes_of(project: Path) -> dict[str, bytes]:
    """The content of every file of every out, by its path."""
    files = [path for folder in OUTS for path in (project / folder).rglob("*") if path.is_file()]
    return {path.relative_to(project).as_posix(): path.read_bytes() for path in files}


def before_fine_tune(trained: Path, project: Path) -> Path:
    """A copy of the trained project in which `fine_tune` has not run."""
    shutil.copytree(trained, project, ignore=shutil.ignore_patterns("fine_tuned", ".checkpoints"))
    (project / "reports/training_curve.csv").unlink()
    return project


def report(project: Path, name: str) -> dict:
    """A JSON report of a project."""
    return json.loads((project / "reports" / name).read_text(encoding="utf-8"))
