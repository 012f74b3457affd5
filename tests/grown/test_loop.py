"""The training loop in detail: batches, learning rate, optimizer, seeds, length of an epoch, time of checkpoints."""

import math
import os
import shutil
from itertools import chain, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
import torch
from review_sentiment import paths
from review_sentiment.common import distributed, fingerprint
from review_sentiment.common.io import write_json
from review_sentiment.common.tasks import UNSCALED, target_scale_of
from review_sentiment.config import Params, Task
from review_sentiment.errors import UserError
from review_sentiment.text import token_store, tokenization
from review_sentiment.training import batches, checkpoints, loop
from test_training import TEXT, model_of, params_of
from transformers import get_linear_schedule_with_warmup
from transformers.trainer_pt_utils import get_parameter_names

Ids = dict[str, token_store.Ragged]


@pytest.fixture
def store(base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ids:
    """The store of three small tables, written some rows at a time; the working directory holds them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(token_store, "ROWS_AT_ONCE", 4)
    shutil.copytree(base_model, paths.BASE_MODEL)
    paths.PROCESSED.mkdir(parents=True)
    write_json(paths.LABELS, ["bad", "fair", "good"])
    for split, count in {"train": 10, "validation": 3, "test": 1}.items():
        texts = [" ".join(["a warm film"] * (row + 1)) for row in range(count)]
        table = {"text": texts, "label": [row % 3 for row in range(count)]}
        pl.DataFrame(table, schema_overrides={"label": pl.UInt32}).write_parquet(paths.split_table(split))
    return token_store.token_ids(TEXT)


def test_the_store_gives_back_every_text(store: Ids) -> None:
    tokenizer = tokenization.load_tokenizer(paths.BASE_MODEL / "tokenizer.json", 16)
    for split in paths.SPLITS:
        texts = pl.read_parquet(paths.split_table(split))["text"].to_list()
        assert [row.tolist() for row in store[split]] == tokenization.encode(tokenizer, texts, "")
    assert len(store["all"]) == 14
    again = token_store.token_ids(TEXT)
    for found in (store, again):  # of texts of 1 to 10 times 3 words and 2 special tokens, 6 have more than 16
        assert {name: ids.cut for name, ids in found.items()} == {"train": 6, "validation": 0, "test": 0, "all": 6}
    assert [row.tolist() for row in again["all"]] == [row.tolist() for row in store["all"]]
    assert len(list(paths.TOKENS.iterdir())) == 1


@pytest.mark.parametrize(
    ("task", "labels", "kind", "expected"),
    [
        ("single_label", [2, 0, 1], pl.UInt32, [2, 0, 1]),
        ("regression", [0.5, -1.0, 3.0], pl.Float64, [0.5, -1.0, 3.0]),
        ("multi_label", [[0, 2], [], [1]], pl.List(pl.UInt32), [[1, 0, 1], [0, 0, 0], [0, 1, 0]]),
    ],
)
def test_a_batch_holds_the_targets_of_its_rows(
    store: Ids, task: Task, labels: list, kind: pl.DataType, expected: list
) -> None:
    table = paths.split_table("validation")
    pl.read_parquet(table).with_columns(pl.Series("label", labels, dtype=kind)).write_parquet(table)
    rows = batches.SplitDataset("validation", store["validation"], task, UNSCALED)
    ids, mask, targets = rows.batch(np.array([2, 0]))
    assert targets.tolist() == [expected[2], expected[0]]
    assert str(targets.dtype) == ("torch.int64" if kind == pl.UInt32 else "torch.float32")
    lengths = [len(rows.sequences[2]), len(rows.sequences[0])]
    assert ids.shape == mask.shape == (2, max(lengths))
    assert mask.sum(dim=1).tolist() == lengths


def test_numbers_are_trained_in_a_unit_of_their_own(store: Ids) -> None:
    numbers = [1_000_000.5, 1_300_000.0, 700_000.25]
    table = paths.split_table("validation")
    pl.read_parquet(table).with_columns(pl.Series("label", numbers)).write_parquet(table)
    rows = batches.SplitDataset("validation", store["validation"], "regression")
    mean, deviation = np.mean(numbers), np.std(numbers)
    assert rows.unit.mean == pytest.approx(mean)
    assert 2**-0.5 < rows.unit.scale / deviation < 2**0.5
    assert np.log2(rows.unit.scale) % 1 == 0
    targets = rows.targets(np.arange(3))
    assert targets * rows.unit.scale + rows.unit.mean == pytest.approx(numbers, rel=1e-7)
    weight, bias = np.array([[3.0, -0.7]], dtype=np.float32), np.array([0.25], dtype=np.float32)
    of_numbers = rows.unit.head_in_raw_units(weight, bias)
    vector = np.array([0.5, 2.0])
    assert of_numbers[0] @ vector + of_numbers[1] == pytest.approx((weight @ vector + bias) * rows.unit.scale + mean)
    again = rows.unit.head_in_training_units(*of_numbers)
    assert again[0].tolist() == weight.tolist()  # a power of two rounds nothing
    assert again[1] == pytest.approx(bias)
    assert target_scale_of([1, 2, 3], "single_label") == UNSCALED


def test_the_order_of_the_rows_follows_from_seed_and_pass() -> None:
    lengths = np.arange(1000) % 37
    first = batches.order_of(lengths, 32, seed=42, pass_index=0).tolist()
    assert batches.order_of(lengths, 32, seed=42, pass_index=0).tolist() == first
    assert sorted(first) == list(range(1000))
    assert batches.order_of(lengths, 32, seed=42, pass_index=1).tolist() != first
    assert batches.order_of(lengths, 32, seed=43, pass_index=0).tolist() != first
    spread = [np.ptp(lengths[first[start : start + 32]]) for start in range(0, 1000, 32)]
    assert np.median(spread) < 3


def test_checkpoints_take_a_fiftieth_of_the_time_and_only_the_last_stays(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, now, save = model_of(base_model), [100.0], torch.save
    optimizer = torch.optim.AdamW(model.parameters())

    def in_two_seconds(*args: Any) -> None:
        now[0] += 2
        save(*args)

    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(torch, "save", in_two_seconds)
    assert checkpoints.save(tmp_path, checkpoints.Progress(step=9), model, optimizer) == 200
    assert checkpoints.save(tmp_path, checkpoints.Progress(step=10), model, optimizer) == 202
    assert [path.name for path in tmp_path.iterdir()] == ["step-10.pt"]
    checkpoints.save_best(tmp_path, model, torch.zeros(1, 1))
    assert checkpoints.load_last(tmp_path, model, optimizer).step == 10


def test_a_checkpoint_without_the_best_weights_counts_as_none(base_model: Path, tmp_path: Path) -> None:
    """A kill while the directory is deleted may leave only this."""
    model = model_of(base_model)
    optimizer = torch.optim.AdamW(model.parameters())
    checkpoints.save(tmp_path, checkpoints.Progress(step=9), model, optimizer)
    assert checkpoints.load_last(tmp_path, model, optimizer) == checkpoints.Progress()
    assert list(tmp_path.iterdir()) == []  # later it would belong to other best weights


@pytest.mark.parametrize("name", ["step-9.pt", checkpoints.BEST, checkpoints.FINAL])
@pytest.mark.parametrize("left", [0, 1000])
def test_a_damaged_checkpoint_names_what_to_delete(name: str, left: int, base_model: Path, tmp_path: Path) -> None:
    """As a power failure may leave it; the trained weights are 100 kB."""
    model = model_of(base_model)
    optimizer = torch.optim.AdamW(model.parameters())
    checkpoints.save_best(tmp_path, model, torch.zeros(1, 1))
    shutil.copyfile(tmp_path / checkpoints.BEST, tmp_path / checkpoints.FINAL)
    checkpoints.save(tmp_path, checkpoints.Progress(step=9), model, optimizer)
    os.truncate(tmp_path / name, left)
    with pytest.raises(UserError, match=f"fix:      rm -r {tmp_path}, then"):
        checkpoints.load_last(tmp_path, model, optimizer)
        checkpoints.final_weights(tmp_path)
    assert (tmp_path / name).exists()


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, on_disk = model_of(base_model), set()

    def fsync(descriptor: int) -> None:
        found = os.fstat(descriptor)
        on_disk.add((found.st_ino, found.st_size, tuple(path.name for path in tmp_path.iterdir())))

    monkeypatch.setattr(os, "fsync", fsync)
    for save, name in (
        (lambda: checkpoints.save_best(tmp_path, model, torch.zeros(1, 1)), checkpoints.BEST),
        (lambda: checkpoints.save(tmp_path, checkpoints.Progress(9), model, loop.adamw(model, params_of().fine_tune)),
         "step-9.pt"),
    ):  # fmt: skip
        save()
        written = (tmp_path / name).stat()
        (names,) = (names for number, size, names in on_disk if (number, size) == (written.st_ino, written.st_size))
        assert name not in names


@pytest.mark.parametrize("lost", [token_store.IDS, token_store.BOUNDS, token_store.COUNTS])
def test_a_store_that_lacks_a_file_is_written_again(store: Ids, lost: str) -> None:
    kept = [row.tolist() for row in store["all"]]
    next(paths.TOKENS.glob(f"*/{lost}")).unlink()
    assert [row.tolist() for row in token_store.token_ids(TEXT)["all"]] == kept


@pytest.mark.parametrize("lost", [token_store.IDS, token_store.BOUNDS, token_store.COUNTS])
@pytest.mark.parametrize("left", [0, 100])
def test_a_damaged_store_names_what_to_delete(store: Ids, lost: str, left: int) -> None:
    """As a loss of power may leave it."""
    kept = [row.tolist() for row in store["all"]]
    damaged = next(paths.TOKENS.glob(f"*/{lost}"))
    os.truncate(damaged, left)
    with pytest.raises(UserError, match=f"fix:      rm -r {damaged.parent}, then"):
        token_store.token_ids(TEXT)
    shutil.rmtree(damaged.parent)
    assert [row.tolist() for row in token_store.token_ids(TEXT)["all"]] == kept


def test_of_the_kept_directories_no_half_stays_under_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(path: Path) -> None:
        next(path.iterdir()).unlink()
        raise KeyboardInterrupt

    root = tmp_path / "kept"
    for age, name in enumerate(("before", "long before")):
        (root / name).mkdir(parents=True)
        for file in "ab":
            (root / name / file).touch()
        os.utime(root / name, (1000 - age, 1000 - age))
    (root / ".DS_Store").touch()
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(fingerprint.shutil, "rmtree", killed)
        fingerprint.cache_directory(root, "new")
    assert {path.name for path in root.iterdir()} == {".DS_Store", "before", "long before.old", "new"}
    fingerprint.cache_directory(root, "newest")
    assert {path.name for path in root.iterdir()} == {".DS_Store", "new", "newest"}


@pytest.mark.parametrize(
    "line",
    [
        "from ..parts.loss import focal",
        "from own.parts.loss import focal",
        "from own.parts import loss",
        "import own.parts.loss as loss",
    ],
)
def test_what_is_kept_belongs_to_the_code_however_imported_and_to_data_beside_it(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "own"
    monkeypatch.setattr(fingerprint, "PACKAGE", package)
    for name, text in {"stages/stage.py": line, "parts/loss.py": "focal = 1", "parts/__pycache__/loss.pyc": ""}.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(f"{text}\n", encoding="utf-8")
    names = [fingerprint.fingerprint(package / "stages/stage.py", [], {})]
    for name in ("parts/loss.py", "parts/weights.json", "parts/README.md", "parts/__pycache__/loss.pyc"):
        (package / name).write_text("focal = 2\n", encoding="utf-8")
        names.append(fingerprint.fingerprint(package / "stages/stage.py", [], {}))
    assert [name != before for before, name in pairwise(names)] == [True, True, False, False]


def steps_of(
    store: Ids, params: Params, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[list[float], int]]:
    """Train; the learning rates of all groups and the seed of the generator at each step."""
    steps: list[tuple[list[float], int]] = []
    usual = loop.train_step

    def train_step(model: Any, optimizer: torch.optim.Optimizer, *more: Any) -> torch.Tensor:
        steps.append(([group["lr"] for group in optimizer.param_groups], torch.initial_seed()))
        return usual(model, optimizer, *more)

    monkeypatch.setattr(loop, "train_step", train_step)
    sets = (batches.SplitDataset(split, store[split], "single_label") for split in ("train", "validation"))
    directory.mkdir(exist_ok=True)
    torch.manual_seed(0)  # of the head
    loop.train(model_of(paths.BASE_MODEL), *sets, params, directory)
    return steps


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5])
def test_the_learning_rate_is_that_of_the_scheduler_of_transformers(
    store: Ids, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warmup: float
) -> None:
    found = steps_of(store, params_of(warmup_fraction=warmup), tmp_path / "run", monkeypatch)
    assert len(found) == 9  # 10 rows in batches of 4, three times
    assert len({seed for _, seed in found}) == 9
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=params_of().fine_tune.learning_rate)
    scheduler = get_linear_schedule_with_warmup(optimizer, math.ceil(warmup * 9), 9)
    for rates, _ in found:
        assert rates == pytest.approx(scheduler.get_last_lr() * 2)
        optimizer.step()
        scheduler.step()


def test_the_seed_of_a_step_follows_from_seed_step_and_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(seed: int, step: int, rank: int) -> list[float]:
        monkeypatch.setattr(distributed, "rank", lambda: rank)
        torch.rand(3)
        loop.seed_step(seed, step)
        return torch.rand(4).tolist()

    cases = [(42, 7, 0), (43, 7, 0), (42, 8, 0), (42, 7, 1)]
    first = [drawn(*case) for case in cases]
    assert len({tuple(values) for values in first}) == len(cases)
    assert [drawn(*case) for case in reversed(cases)] == first[::-1]


def test_what_layers_of_ones_own_count_is_kept_with_the_weights(base_model: Path) -> None:
    model = model_of(base_model)
    before = set(checkpoints.trained(model))
    model.norm = torch.nn.BatchNorm1d(4)
    added = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    assert set(checkpoints.trained(model)) - before == {f"norm.{name}" for name in added}


def test_weights_decay_as_the_trainer_of_transformers_lets_them(base_model: Path) -> None:
    model = model_of(base_model)
    optimizer = loop.adamw(model, params_of(weight_decay=0.25, learning_rate=0.5).fine_tune)
    assert isinstance(optimizer, torch.optim.AdamW)
    names = {weights: name for name, weights in model.named_parameters() if weights.requires_grad}
    assert len(names) == sum(1 for _ in model.parameters()) - 2  # not the pooler
    found = {group["weight_decay"]: {names[one] for one in group["params"]} for group in optimizer.param_groups}
    decayed = set(get_parameter_names(model, [torch.nn.LayerNorm], ["bias"])) & set(names.values())
    assert found == {0.25: decayed, 0.0: set(names.values()) - decayed}
    assert {group["lr"] for group in optimizer.param_groups} == {0.5}


def test_weights_that_no_longer_give_numbers_end_the_training(
    store: Ids, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step may give them, whose own loss is still finite."""
    params = params_of(epochs=1, batch_size=10, learning_rate=1e38, warmup_fraction=0.0)
    with pytest.raises(UserError, match="the validation loss is NaN or infinite"):
        steps_of(store, params, tmp_path / "run", monkeypatch)


def test_a_loss_that_cannot_be_made_is_refused_before_any_work(
    store: Ids, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="class_weights names labels"):
        steps_of(store, params_of(class_weights={"great": 2.0}), tmp_path / "run", monkeypatch)
    assert not any((tmp_path / "run").iterdir())


@pytest.mark.parametrize(("stopped_in", "left"), [(3, 12), (7, 7), (13, 2)])
def test_a_long_run_loses_few_steps_by_a_kill_and_no_byte(
    store: Ids, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_in: int, left: int
) -> None:
    """A point of the curve of a run of days is hours long."""
    monkeypatch.setattr(loop, "POINTS_PER_RUN", 1)
    monkeypatch.setattr(loop, "MOST_STEPS", 2)
    monkeypatch.setattr(checkpoints, "SHARE_OF_TIME", math.inf)
    params = params_of(epochs=2, min_steps=14)
    whole, killed = (tmp_path / name for name in ("whole", "killed"))
    assert len(steps_of(store, params, whole, monkeypatch)) == 14
    usual, done = loop.train_step, []

    def stopping(*arguments: Any) -> torch.Tensor:
        if len(done) == stopped_in:
            raise KeyboardInterrupt
        done.append(usual(*arguments))
        return done[-1]

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(loop, "train_step", stopping)
        steps_of(store, params, killed, monkeypatch)
    assert len(steps_of(store, params, killed, monkeypatch)) == left
    files = [{path.name: path.read_bytes() for path in directory.iterdir()} for directory in (whole, killed)]
    assert files[0].keys() == {checkpoints.BEST, loop.CURVE, "step-12.pt"}
    for name in (checkpoints.BEST, loop.CURVE):
        assert files[0][name] == files[1][name]
    assert math.isfinite(pl.read_csv(killed / loop.CURVE)["training_loss"][-1])


@pytest.mark.parametrize(("epoch", "epochs"), [(201, 1), (201, 3), (7, 2), (100, 50), (1, 1)])
def test_points_of_the_curve_are_means_over_equally_many_steps(epoch: int, epochs: int) -> None:
    plan = loop.Plan.of(params_of(epochs=epochs, batch_size=1, min_steps=1).fine_tune, row_count=epoch)
    stops = [step for step in range(1, plan.total_steps + 1) if plan.logs_after(step)]
    lengths = np.diff([0, *stops])
    assert lengths.max() - lengths.min() <= 1
    assert {n * epoch for n in range(1, epochs + 1)} <= set(stops)  # every epoch ends with a point
    assert len(stops) >= min(24, plan.total_steps)


@pytest.mark.parametrize(("rows", "epochs", "plan"), [
    (20, 3, (1, 20, 60)), (20, 1, (1, 60, 60)), (300, 3, (10, 67, 201)), (5758, 1, (180, 200, 200)),
    (6402, 1, (201, 201, 201)), (6402, 3, (201, 201, 603)),
])  # fmt: skip
def test_few_rows_are_passed_over_until_there_are_enough_steps(rows: int, epochs: int, plan: tuple[int, ...]) -> None:
    params = params_of(epochs=epochs, batch_size=32, min_steps=200)
    made = loop.Plan.of(params.fine_tune, rows)
    assert (made.steps_per_pass, made.steps_per_epoch, made.total_steps) == plan
    lengths = np.full(rows, 5)
    taken = SimpleNamespace(sequences=SimpleNamespace(lengths=lambda: lengths), batch=list)
    given = list(loop.batches_from(0, made, cast(batches.SplitDataset, taken), params))
    parts = [own for own, _ in given]
    passes = [list(chain(*parts[n : n + made.steps_per_pass])) for n in range(0, len(given), made.steps_per_pass)]
    assert all(sorted(one) == list(range(rows)) for one in passes)
    assert len(passes) == math.ceil(made.total_steps / made.steps_per_pass)
    assert passes[1:2] != passes[:1]
    later = list(loop.batches_from(made.total_steps - 3, made, cast(batches.SplitDataset, taken), params))
    assert later == given[made.total_steps - 3 :]


@pytest.mark.parametrize(
    ("patience", "scores", "over"),
    [
        (None, [0.9, 0.8, 0.7, 0.6], False),
        (2, [0.9, 0.5, 0.6, 0.7], False),  # the first is before any step
        (2, [0.1, 0.5, 0.4], False),
        (2, [0.1, 0.5, 0.4, 0.5], True),
    ],
)
def test_patience_ends_training(patience: int | None, scores: list[float], over: bool) -> None:
    params = params_of(epochs=9, patience=patience, batch_size=2)
    plan = loop.Plan.of(params.fine_tune, row_count=20)
    curve = [{"step": 10 * n, "validation_accuracy": score} for n, score in enumerate(scores)]
    assert loop.is_over(checkpoints.Progress(10 * len(curve) - 10, [*curve, {"step": 45}]), plan, params) is over
    assert loop.is_over(checkpoints.Progress(plan.total_steps, curve[:1]), plan, params)
