"""What a small project is made of: invented sentences, and a seeded model of two layers."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import torch
from ruamel.yaml import YAML
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel

ROOT = Path(__file__).parent.parent
PACKAGE = "{{ cookiecutter.package_name }}"
USER = "quaint-user-name"
OUTS = ("data/processed", "embeddings", "models", "reports")
STAGES = ("fetch", "prepare", "embeddings", "fine_tune", "export_onnx", "evaluate")

WORDS = {
    "good": ["warm", "funny", "tender", "bright", "clever", "moving"],
    "bad": ["dull", "loud", "hollow", "clumsy", "stale", "tired"],
    "none": ["the", "film", "a", "story", "an", "actor", "this", "scene", "and", "but", "plot", "is", "of", "with"],
}


def sentences(count: int, seed: int) -> list[tuple[str, str]]:
    """Sentences with their label: mostly filler, with words that tell, some of them the wrong way."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        label, other = draw.sample(["good", "bad"], 2)
        words = [draw.choice(WORDS["none"]) for _ in range(draw.randint(3, 12))]
        words += draw.choices(WORDS[label], k=3) + draw.choices(WORDS[other], k=draw.randint(0, 1))
        draw.shuffle(words)
        rows.append((" ".join(words), label))
    return rows


def write_table(path: Path, rows: list[tuple[str, str]]) -> None:
    """Write rows as CSV with the columns text and label."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(rows, schema=["text", "label"], orient="row").write_csv(path)


def write_base_model(directory: Path) -> None:
    """Write a BERT of two small layers with seeded weights, and a tokenizer of the words above."""
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
    """The steps of the checkpoints there, the last one at the end."""
    return sorted(int(path.stem.removeprefix("step-")) for path in project.glob(".checkpoints/*/step-*.pt"))


def write_params(path: Path, base_model: Path, **changes: object) -> None:
    """Write this project's params.yaml for the small model; changes by dotted key, dots written as two underscores."""
    yaml = YAML()
    yaml.width = 4096
    params = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    files = dict.fromkeys(("config.json", "model.safetensors", "tokenizer.json"))
    params["compute"] |= {"device": "cpu", "precision": "fp32"}
    params["text"]["max_length"] = 32
    params["fetch"] = {"data": None, "model": {"uri": str(base_model), "sha256": digests(base_model, files)}}
    params["prepare"] |= {"keep": None, "text_column": "text", "label_column": "label"}
    params["fine_tune"] |= {"epochs": 2, "learning_rate": 0.001}
    params["export_onnx"] |= {"max_int8_drop": 0.1}
    for key, value in changes.items():
        block, _, name = key.partition("__")
        target = params[block] if name else params
        target[name or block] = value
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(params, file)


def digests(directory: Path, names: dict[str, None]) -> dict[str, str]:
    """The sha256 of the named files, by an independent program."""
    return {
        name: subprocess.run(["sha256sum", directory / name], capture_output=True, text=True, check=True).stdout[:64]
        for name in names
    }


def run_stage(
    project: Path, stage: str, prefix: tuple[str, ...] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run one stage in a project as DVC does; `prefix` is a command that starts it, such as `taskset -c 0`."""
    return subprocess.run(
        [*prefix, sys.executable, "-m", PACKAGE, stage],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def start_stage(project: Path, stage: str, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Start one stage in a session of its own and do not wait for it."""
    return subprocess.Popen(
        [*prefix, sys.executable, "-m", PACKAGE, stage],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def bytes_of(project: Path) -> dict[str, bytes]:
    """Every file of every out."""
    files = [path for folder in OUTS for path in (project / folder).rglob("*") if path.is_file()]
    return {path.relative_to(project).as_posix(): path.read_bytes() for path in files}


def before_fine_tune(trained: Path, project: Path) -> Path:
    """A copy of the trained project in which `fine_tune` has not run."""
    shutil.copytree(trained, project)
    shutil.rmtree(project / "models/fine_tuned")
    (project / "reports/training_curve.csv").unlink()
    return project


def report(project: Path, name: str) -> dict:
    """A JSON report of a project."""
    return json.loads((project / "reports" / name).read_text(encoding="utf-8"))
