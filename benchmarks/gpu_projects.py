"""What `gpu.py` runs: copies of a grown project with tables of its texts and BERT encoders of random weights."""

import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from pairs import HERE, copied, environment, package_of


@dataclass(frozen=True)
class Shape:
    """The shape of a BERT encoder."""

    name: str
    size: int
    layers: int
    heads: int
    inner: int

    def operations(self, length: int) -> int:
        """Floating-point operations of the forward pass for one token of a text of this length, in matrix products.

        Training takes three times as many.
        """
        weights = self.layers * (4 * self.size**2 + 2 * self.size * self.inner)
        return 2 * weights + self.layers * 4 * length * self.size


@dataclass(frozen=True)
class Settings:
    """How large everything is.

    rows: of the table for the checks, whose texts of very different length are cut at `longest` tokens; `long_rows` of
    another, whose texts are all cut at `longer` tokens.
    steps: of training, by precision, in each measurement of speed.
    """

    device: str
    rows: int
    longest: int
    long_rows: int
    longer: int
    small: Shape
    large: tuple[Shape, ...]
    lengths: tuple[int, ...]
    tokens_per_step: int
    steps: dict[str, int]
    with_trainer: bool


ON_CARD = Settings(
    device="cuda",
    rows=4000,
    longest=512,
    long_rows=244,  # a packed row holds 8 of them: the last one is not full, nor that of a third of them
    longer=2048,
    small=Shape("22 M", 384, 6, 12, 1536),
    large=(Shape("110 M", 768, 12, 12, 3072), Shape("300 M", 1024, 24, 16, 4096)),
    lengths=(128, 512),
    tokens_per_step=16_384,
    steps={"bf16": 48, "fp32": 24},
    with_trainer=True,
)
TINY = Shape("tiny", 32, 2, 2, 64)
# To try these programs without a card.
ON_CPU = Settings("cpu", 300, 64, 120, 600, TINY, (TINY,), (16,), 256, {"fp32": 24}, with_trainer=False)


class FailedError(Exception):
    """A stage that did not end well, or a check that does not hold; why."""


class Bench:
    """A folder of projects, and the moment at which everything must have ended."""

    def __init__(self, source: Path, folder: Path, settings: Settings, minutes: float) -> None:
        """source: a grown project with a CSV table in data/raw (columns text and label), and a base tokenizer."""
        self.settings, self.folder = settings, folder
        self.deadline = time.monotonic() + 60 * minutes
        self.package = package_of(source)
        self.tokenizer = source / "models/base/tokenizer.json"
        self.texts = pl.read_csv(next((source / "data/raw").glob("*.csv"))).select("text", "label")
        self.bare = folder / "bare"
        shutil.copytree(source / "src", self.bare / "src", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copyfile(source / "params.yaml", self.bare / "params.yaml")

    def seconds_left(self) -> float:
        """Until the deadline."""
        return self.deadline - time.monotonic()

    def project(self, name: str, table: pl.DataFrame, **changes: object) -> Path:
        """A project with this table, in which `prepare` has run; changes of params.yaml, dots as two underscores."""
        given = {key.replace("__", "."): value for key, value in changes.items()}
        ours = {
            "compute.device": self.settings.device,
            "prepare.keep": None,
            "prepare.label_names": None,
            "embeddings.near_duplicate_cosine": 1.0,
        }
        project = copied(self.bare, self.folder / name, ours | given)
        (project / "data/raw").mkdir(parents=True)
        table.write_csv(project / "data/raw/table.csv")
        self.run(project, "prepare")
        return project

    def encoder(self, shape: Shape, longest: int = 512) -> Path:
        """A base model of this shape for texts of at most `longest` tokens, always with the same weights."""
        import torch  # here: a program that only reads records needs neither
        from tokenizers import Tokenizer
        from transformers import BertConfig, BertModel

        directory = self.folder / "encoders" / f"{shape.name.replace(' ', '-')}-{longest}"
        config = BertConfig(
            vocab_size=Tokenizer.from_file(str(self.tokenizer)).get_vocab_size(),
            hidden_size=shape.size,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            intermediate_size=shape.inner,
            max_position_embeddings=longest,
        )
        torch.manual_seed(0)
        BertModel(config).save_pretrained(directory)
        shutil.copyfile(self.tokenizer, directory / "tokenizer.json")
        return directory

    def mixed(self, rows: int) -> pl.DataFrame:
        """So many texts as they are."""
        return self.texts.sample(rows, seed=0, shuffle=True)

    def of_length(self, words: int, rows: int) -> pl.DataFrame:
        """Texts of at least so many words, so that all have the same length when they are cut there: joined ones."""
        draw, texts, labels = random.Random(0), self.texts["text"].to_list(), []
        joined = []
        while len(joined) < rows:
            text = ""
            while len(text.split()) < words:
                text += " " + draw.choice(texts)
            joined.append(" ".join(text.split()[: 2 * words]))
            labels.append(len(joined) % 2)
        return pl.DataFrame({"text": joined, "label": labels})

    def run(self, project: Path, *stages: str, **variables: str) -> None:
        """Run stages as DVC does, but in one process, which loads torch once. Raises FailedError."""
        self.command([sys.executable, str(HERE / "stages.py"), self.package, *stages], project, variables)

    def command(self, command: list[str], project: Path, variables: dict[str, str] | None = None) -> str:
        """What a command prints. Raises FailedError when it fails, or has not ended at the deadline."""
        try:
            done = subprocess.run(
                command,
                cwd=project,
                env=environment_of(project) | (variables or {}),
                capture_output=True,
                text=True,
                check=False,
                timeout=max(1.0, self.seconds_left()),
            )
        except subprocess.TimeoutExpired:
            raise FailedError(f"{' '.join(command[1:])}: not ended when the time was up") from None
        if done.returncode:
            print(done.stderr, file=sys.stderr, flush=True)
            lines = [line for line in done.stderr.splitlines() if line.strip()] or [""]
            raise FailedError(f"{' '.join(command[1:])}: exit code {done.returncode}, {lines[-1][:200]}")
        return done.stdout


def environment_of(project: Path) -> dict[str, str]:
    """The environment of every process: one card; the project's code and the peers before what this process imports."""
    found = [str(project / "src"), str(HERE / "peers"), os.environ.get("PYTHONPATH", "")]
    card = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
    return environment(project) | {"PYTHONPATH": os.pathsep.join(filter(None, found)), "CUDA_VISIBLE_DEVICES": card}


def with_encoder(project: Path, target: Path, encoder: Path, **changes: object) -> Path:
    """A copy of a prepared project with this base model; changes of params.yaml, dots as two underscores."""
    copied(project, target, {key.replace("__", "."): value for key, value in changes.items()})
    shutil.copytree(encoder, target / "models/base", copy_function=os.link)
    return target
