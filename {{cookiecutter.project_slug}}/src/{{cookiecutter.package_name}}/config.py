"""`params.yaml` as typed, validated, frozen objects: one block per stage, and the blocks that several stages share.

There are no defaults here: every value is in the file. To check the file:

    python -m {{ cookiecutter.package_name }}.config
"""

import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from . import paths
from .errors import UserError, run_command

Task = Literal["single_label", "multi_label", "regression", "pair"]
# The scores that can choose the best epoch. Without `select_by` the first one does. For all of them, higher is better.
# DVC does not see an edit here: to choose by another one, set `select_by`.
SCORES: dict[Task, tuple[str, ...]] = {
    "single_label": ("accuracy", "macro_f1"),
    "pair": ("accuracy", "macro_f1"),
    "multi_label": ("micro_f1", "macro_f1", "exact_match"),
    "regression": ("r2",),
}
STAGES = ("fetch", "check_model", "prepare", "embeddings", "fine_tune", "export_onnx", "evaluate")

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]*$")]
# A path below a folder: no part of it is empty, "." or "..".
FileName = Annotated[str, Field(pattern=r"^([.]{0,2}[^/.\x00][^/\x00]*/)*[.]{0,2}[^/.\x00][^/\x00]*$")]
Model = TypeVar("Model", bound=BaseModel)
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Block(BaseModel):
    """A block of `params.yaml`. It refuses unknown keys, wrong types and values out of range."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Compute(Block):
    """What the heavy stages run on. Any value here can change bits of the results, so none is read from the machine."""

    device: Literal["cpu", "cuda"]
    precision: Literal["fp32", "bf16"]
    threads: Annotated[int, Field(ge=1, le=256)]
    determinism: Literal["machine", "portable"]
    kernels: Literal["fast", "plain"]

    @model_validator(mode="after")
    def _portable_means_fp32_on_a_cpu(self) -> "Compute":
        if self.determinism == "portable" and (self.device, self.precision) != ("cpu", "fp32"):
            raise ValueError("determinism: portable needs device: cpu and precision: fp32")
        return self


class TextSettings(Block):
    """How a text becomes one vector."""

    max_length: Annotated[int, Field(ge=8, le=8192)]
    pooling: Literal["mean", "cls", "last"]
    prefix: str


class Source(Block):
    """Files below one address, each with its sha256, or null as long as that is unknown."""

    uri: Name
    into: Literal["data/raw", "models/base"]
    sha256: Annotated[dict[FileName, Sha256 | None], Field(min_length=1)]

    @field_validator("uri")
    @classmethod
    def _holds_no_secret(cls, uri: str) -> str:
        if re.search(r"^(?!hf)\w+://[^/?#]*@|[?&]([\w-]*(sig(nature)?|secret|credential)|token)=", uri.lower()):
            raise ValueError("Git keeps this: S3's keys go into the environment, logins into ~/.netrc: machine HOST …")
        return uri


class Fetch(Block):
    """What to fetch. Leave out the block `data` if `data/raw` holds your own tables."""

    data: Source | None = None
    model: Source

    @field_validator("data", mode="before")
    @classmethod
    def _is_not_null(cls, value: object) -> object:
        if value is None:
            raise ValueError("leave the block out where data/raw holds your own tables")
        return value


class Keep(Block):
    """Keep only the rows with this value in this column."""

    column: Name
    value: str


class Fold(Block):
    """One of `of` equal parts of the rows; `index` counts from 0."""

    index: Annotated[int, Field(ge=0)]
    of: Annotated[int, Field(ge=2)]

    @model_validator(mode="after")
    def _there_is_such_a_fold(self) -> "Fold":
        if self.index >= self.of:
            raise ValueError("index must be less than of: the first fold has index 0")
        return self


class Additions(Block):
    """An additional table, whose rows are all training rows."""

    file: Name
    sha256: Sha256


class RowWeights(Block):
    """How much a training row weighs, by its value in a kept column (1 for others); then scaled to 1 on average."""

    column: Name
    weights: Annotated[dict[str, Positive], Field(min_length=1)]


class Prepare(Block):
    """Which columns to read, what to do with malformed rows, and how to split."""

    text_column: Name
    second_text_column: Name | None
    label_column: Name
    label_separator: Name
    keep: Keep | None
    keep_columns: list[Name]
    label_names: Annotated[dict[Name, Name], Field(min_length=1)] | None
    malformed_rows: Literal["fail", "quarantine"]
    split_seed: Seed
    validation_fraction: Fraction
    test_fraction: Fraction
    group_column: Name | None
    time_column: Name | None
    fold: Fold | None
    additions: Additions | None

    @model_validator(mode="after")
    def _the_values_fit_together(self) -> "Prepare":
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction + test_fraction must be less than 1")
        if self.fold and self.validation_fraction + 1 / self.fold.of >= 1:
            raise ValueError("validation_fraction + 1 / fold.of must be less than 1")
        if self.time_column and (self.group_column or self.fold):
            raise ValueError("time_column splits by time alone: group_column and fold must be null")
        columns = [name for name in (self.text_column, self.second_text_column, self.label_column) if name]
        if len(set(columns)) < len(columns):
            raise ValueError("text_column, second_text_column and label_column must be different columns")
        if len(set(self.keep_columns)) < len(self.keep_columns):
            raise ValueError("keep_columns must be different columns")
        return self

    @property
    def text_of_group(self) -> int | None:
        """0 if the text is the group, 1 if the second text is: then additions have groups too; else None."""
        texts = [self.text_column, self.second_text_column]
        return texts.index(self.group_column) if self.group_column and self.group_column in texts else None


class Embeddings(Block):
    """The linear probe on frozen embeddings, and what counts as a near-duplicate."""

    probe_c: Annotated[list[Positive], Field(min_length=1)]
    near_duplicate_cosine: Annotated[float, Field(gt=0, le=1)]


class Lora(Block):
    """Low-rank adapters, see `training/memory.py`."""

    rank: Count
    alpha: Count
    dropout: Fraction


class FineTune(Block):
    """Training; the last four values save memory, see `training/memory.py`."""

    learning_rate: Positive
    epochs: Count
    min_steps: Count
    patience: Count | None
    batch_size: Count
    class_weights: Literal["balanced"] | Annotated[dict[Name, Positive], Field(min_length=1)] | None
    row_weights: RowWeights | None
    label_smoothing: Fraction
    weight_decay: Annotated[float, Field(ge=0)]
    warmup_fraction: Fraction
    max_grad_norm: Positive
    lora: Lora | None
    trainable_layers: Annotated[int, Field(ge=0)] | None
    gradient_checkpointing: bool
    accumulation: Count

    @model_validator(mode="after")
    def _every_part_trains_something(self) -> "FineTune":
        if self.accumulation > self.batch_size:
            raise ValueError("accumulation must be at most batch_size")
        if self.lora and self.trainable_layers == 0:
            raise ValueError("lora needs layers that are trained: trainable_layers above 0, or null")
        return self


class ExportOnnx(Block):
    """The exported graph, and how closely it must match the torch model."""

    opset: Annotated[int, Field(ge=18, le=23)]
    fused: Literal["auto"] | bool
    max_logit_difference: Positive
    int8: bool
    max_int8_drop: Fraction
    min_precision: Annotated[float, Field(gt=0, lt=1)] | None


class Evaluate(Block):
    """How uncertainty and calibration are measured, and how texts are perturbed to measure robustness."""

    bootstrap_samples: Annotated[int, Field(ge=100)]
    calibration_bins: Annotated[int, Field(ge=2)]
    typing_errors: Fraction
    dropped_words: Fraction
    kept_share: Annotated[float, Field(gt=0, le=1)]


class Params(Block):
    """The whole of `params.yaml`."""

    task: Task
    select_by: Name | None
    seed: Seed
    launcher: Name
    compute: Compute
    text: TextSettings
    fetch: Fetch
    prepare: Prepare
    embeddings: Embeddings
    fine_tune: FineTune
    export_onnx: ExportOnnx
    evaluate: Evaluate

    @model_validator(mode="after")
    def _the_values_fit_the_task(self) -> "Params":
        if (self.task == "pair") != (self.prepare.second_text_column is not None):
            raise ValueError("prepare.second_text_column belongs to task: pair, and only to it; a pair has no number")
        weights = self.fine_tune.row_weights
        if weights and weights.column not in self.prepare.keep_columns:
            raise ValueError("fine_tune.row_weights.column must be one of prepare.keep_columns")
        if self.score not in SCORES[self.task]:
            raise ValueError(f"select_by must be null or one of {', '.join(SCORES[self.task])} with task: {self.task}")
        names = (self.prepare.label_names or {}).values()
        if self.task == "multi_label" and any(self.prepare.label_separator in name for name in names):
            raise ValueError("prepare.label_names must not hold label_separator, which joins several labels")
        if self.task == "regression" and self.fine_tune.class_weights:
            raise ValueError("fine_tune.class_weights must be null with task: regression, which has no labels")
        if self.task == "regression" and self.export_onnx.min_precision:
            raise ValueError("export_onnx.min_precision must be null with task: regression, which has no labels")
        return self

    @property
    def score(self) -> str:
        """The score that chooses the best epoch and that int8 must keep."""
        return self.select_by or SCORES[self.task][0]


def load_params(path: Path = paths.PARAMS) -> Params:
    """Read all parameters and validate them as a whole."""
    return load(path, Params)


def load(path: Path, model: type[Model]) -> Model:
    """Read and validate a whole file of settings. Raises UserError with one line for each wrong key."""
    try:
        # YAML 1.2, as DVC writes it: `dvc exp run -S` turns 5e-5 into 5e-05, which YAML 1.1 reads as a string.
        values = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"no {path} in {Path.cwd()}",
            expected="the command to run in the project's root",
            found="another directory",
            fix=f"change to the directory that holds {path}",
        ) from None
    except (YAMLError, ValueError, RecursionError) as error:  # not YAML, not UTF-8, or a number or a nesting too large
        raise UserError(
            f"{path} is not YAML", expected="YAML 1.2 in UTF-8", found=str(error), fix="correct what is named above"
        ) from None
    return validated(values, model, str(path), f"edit the keys named above in {path}")


def validated(values: Any, model: type[Model], name: str, fix: str) -> Model:
    """The settings as an object of the model. Raises UserError with one line for each wrong key."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        wrong = [_in_one_line(problem) for problem in error.errors()]
        raise UserError(
            f"{name} is refused:\n" + "\n".join(wrong),
            expected="every key of the generated file, each of its type and in its range",
            found=f"{len(wrong)} wrong",
            fix=fix,
        ) from None


def _in_one_line(problem: Any) -> str:
    key = ".".join(map(str, problem["loc"]))
    found = f"{problem['msg']}, found {problem['input']!r}" if key else problem["msg"]
    short = {"extra_forbidden": "unknown key", "missing": "missing"}
    return f"  {key or 'the file'}: {short.get(problem['type'], found)}"


def main() -> None:
    """Check `params.yaml`."""
    load_params()


if __name__ == "__main__":
    sys.exit(run_command(main))
