"""The training loop: batches, learning rate, optimizer, seeds, checkpoints; kills are in test_sameness.py."""

import math
import shutil
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from sklearn.utils.class_weight import compute_class_weight
from small_project import before_fine_tune, params_with, run_stage, write_params
from transformers import get_linear_schedule_with_warmup
from transformers.trainer_pt_utils import get_parameter_names

from {{ cookiecutter.package_name }} import paths
from {{ cookiecutter.package_name }}.common import distributed
from {{ cookiecutter.package_name }}.common.io import write_json
from {{ cookiecutter.package_name }}.common.tasks import LABELS, unit_of
from {{ cookiecutter.package_name }}.config import FineTune, Params, Task, Text
from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.modeling import classifier
from {{ cookiecutter.package_name }}.modeling.fine_tuned import HEAD
from {{ cookiecutter.package_name }}.modeling.probe import load_probe
from {{ cookiecutter.package_name }}.text import token_store, tokenization
from {{ cookiecutter.package_name }}.training import batches, checkpoints, loop, loss, temperature

TEXT = Text(max_length=16, pooling="mean", prefix="")


@pytest.fixture
def store(base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> token_store.TokenStore:
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
    return token_store.open_store(TEXT)


def test_the_store_gives_back_every_text(store: token_store.TokenStore) -> None:
    tokenizer = tokenization.load_tokenizer(paths.BASE_MODEL / "tokenizer.json", 16)
    for split in paths.SPLITS:
        texts = pl.read_parquet(paths.split_table(split))["text"].to_list()
        assert [row.tolist() for row in store.split(split)] == tokenization.encode(tokenizer, texts, "")
    assert store.span("validation") == (10, 13)
    assert len(store.all) == 14
    again = token_store.open_store(TEXT)
    assert [row.tolist() for row in again.all] == [row.tolist() for row in store.all]
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
    store: token_store.TokenStore, task: Task, labels: list, kind: pl.DataType, expected: list
) -> None:
    texts = pl.read_parquet(paths.split_table("validation"))["text"]
    table = pl.DataFrame({"text": texts, "label": pl.Series(labels, dtype=kind)})
    table.write_parquet(paths.split_table("validation"))
    rows = batches.Rows("validation", store, task, LABELS)
    ids, mask, targets = rows.batch(np.array([2, 0]))
    assert targets.tolist() == [expected[2], expected[0]]
    assert str(targets.dtype) == ("torch.int64" if kind == pl.UInt32 else "torch.float32")
    lengths = [len(rows.sequences[2]), len(rows.sequences[0])]
    assert ids.shape == mask.shape == (2, max(lengths))
    assert mask.sum(dim=1).tolist() == lengths


def test_numbers_are_trained_in_a_unit_of_their_own(store: token_store.TokenStore) -> None:
    numbers = [1_000_000.5, 1_300_000.0, 700_000.25]
    texts = pl.read_parquet(paths.split_table("validation"))["text"]
    pl.DataFrame({"text": texts, "label": numbers}).write_parquet(paths.split_table("validation"))
    rows = batches.Rows("validation", store, "regression")
    mean, deviation = np.mean(numbers), np.std(numbers)
    assert rows.unit.mean == pytest.approx(mean)
    assert 2**-0.5 < rows.unit.scale / deviation < 2**0.5
    assert np.log2(rows.unit.scale) % 1 == 0
    targets = rows.targets(np.arange(3))
    assert targets * rows.unit.scale + rows.unit.mean == pytest.approx(numbers, rel=1e-7)
    weight, bias = np.array([[3.0, -0.7]], dtype=np.float32), np.array([0.25], dtype=np.float32)
    of_numbers = rows.unit.unfold(weight, bias)
    vector = np.array([0.5, 2.0])
    assert of_numbers[0] @ vector + of_numbers[1] == pytest.approx((weight @ vector + bias) * rows.unit.scale + mean)
    again = rows.unit.fold(*of_numbers)
    assert again[0].tolist() == weight.tolist()  # a power of two rounds nothing
    assert again[1] == pytest.approx(bias)
    assert unit_of([1, 2, 3], "single_label") == LABELS


def test_the_order_of_the_rows_follows_from_seed_and_pass() -> None:
    lengths = np.arange(1000) % 37
    first = batches.order_of(lengths, 32, seed=42, number=0).tolist()
    assert batches.order_of(lengths, 32, seed=42, number=0).tolist() == first
    assert sorted(first) == list(range(1000))
    assert batches.order_of(lengths, 32, seed=42, number=1).tolist() != first
    assert batches.order_of(lengths, 32, seed=43, number=0).tolist() != first
    spread = [np.ptp(lengths[first[start : start + 32]]) for start in range(0, 1000, 32)]
    assert np.median(spread) < 3


def test_checkpoints_take_a_twentieth_of_the_time_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now)
    pace = checkpoints.Pace()
    assert pace.is_due()
    for seconds in (2.0, 0.5):
        with pace.measured():
            now += seconds
        now += 18.9 * seconds
        assert not pace.is_due()
        now += 0.2 * seconds
        assert pace.is_due()


def params_of(**changes: object) -> Params:
    """The parameters of the small project with plain kernels and other ones of `fine_tune`."""
    params = params_with()
    compute = params.compute.model_copy(update={"kernels": "plain"})
    fine_tune = params.fine_tune.model_copy(update={"batch_size": 4, "epochs": 3} | changes)
    return params.model_copy(update={"compute": compute, "fine_tune": fine_tune})


def model_of(base_model: Path) -> classifier.Classifier:
    return classifier.load_base(base_model, 3, TEXT, "single_label")


def steps_of(
    store: token_store.TokenStore, params: Params, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[list[float], int]]:
    """Train; the learning rates of all groups and the seed of the generator at each step."""
    steps: list[tuple[list[float], int]] = []
    usual = loop.train_step

    def train_step(model: Any, optimizer: torch.optim.Optimizer, *more: Any) -> torch.Tensor:
        steps.append(([group["lr"] for group in optimizer.param_groups], torch.initial_seed()))
        return usual(model, optimizer, *more)

    monkeypatch.setattr(loop, "train_step", train_step)
    rows, validation = (batches.Rows(split, store, "single_label") for split in ("train", "validation"))
    directory.mkdir()
    loop.train(model_of(paths.BASE_MODEL), torch.device("cpu"), rows, validation, params, directory)
    return steps


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5])
def test_the_learning_rate_is_that_of_the_scheduler_of_transformers(
    store: token_store.TokenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warmup: float
) -> None:
    found = steps_of(store, params_of(warmup_fraction=warmup), tmp_path / "run", monkeypatch)
    assert len(found) == 9  # 10 rows in batches of 4, three times
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=params_of().fine_tune.learning_rate)
    scheduler = get_linear_schedule_with_warmup(optimizer, math.ceil(warmup * 9), 9)
    for rates, _ in found:
        assert rates == pytest.approx(scheduler.get_last_lr() * 2)
        optimizer.step()
        scheduler.step()


def test_every_step_has_a_seed_of_its_own(
    store: token_store.TokenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = params_of()
    seeds = [seed for _, seed in steps_of(store, params, tmp_path / "run", monkeypatch)]
    assert len(set(seeds)) == len(seeds)
    again = [seed for _, seed in steps_of(store, params, tmp_path / "again", monkeypatch)]
    assert again[: len(seeds)] == seeds


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


def test_a_step_is_that_of_plain_torch(base_model: Path) -> None:
    """The loss is the weighted mean of the rows, and its gradients are clipped before the step."""
    params = params_of(max_grad_norm=0.01, learning_rate=0.1, weight_decay=0.0)
    ids, targets = torch.tensor([[2, 7, 8, 3], [2, 9, 3, 0]]), torch.tensor([0, 2])
    mask = (ids != 0).long()
    ours, theirs = model_of(base_model), model_of(base_model)
    theirs.load_state_dict(ours.state_dict())
    torch.manual_seed(0)
    optimizer, batch = torch.optim.SGD(ours.parameters(), lr=0.1), ((ids, mask, targets), 0.5)
    loss = loop.train_step(ours, optimizer, batch, classifier.LOSSES["single_label"], params)
    torch.manual_seed(0)
    expected = torch.nn.CrossEntropyLoss()(theirs.train()(ids, mask), targets) / 2
    expected.backward()
    norm = torch.stack([one.grad.norm() for one in theirs.parameters() if one.grad is not None]).norm()
    assert loss.item() == pytest.approx(expected.item())
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        if other.grad is not None:
            torch.testing.assert_close(one.data, other.data - 0.1 * 0.01 / norm * other.grad, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_nan_or_infinite_stops_training(loss: float) -> None:
    assert loop.mean_of([torch.tensor(1.0), torch.tensor(2.0)]) == 1.5
    with pytest.raises(UserError, match="NaN or infinite"):
        loop.mean_of([torch.tensor(1.0), torch.tensor(loss)])


@pytest.mark.parametrize(("epoch", "epochs"), [(201, 1), (201, 3), (7, 2), (100, 50), (1, 1)])
def test_points_of_the_curve_are_means_over_equally_many_steps(epoch: int, epochs: int) -> None:
    plan = loop.Plan.of(cast(FineTune, SimpleNamespace(epochs=epochs, batch_size=1, min_steps=1)), rows=epoch)
    stops = [step for step in range(1, plan.steps + 1) if plan.stops_at(step)]
    lengths = np.diff([0, *stops])
    assert lengths.max() - lengths.min() <= 1
    assert {n * epoch for n in range(1, epochs + 1)} <= set(stops)  # every epoch ends with a point
    assert len(stops) >= min(24, plan.steps)


@pytest.mark.parametrize(("rows", "epochs", "plan"), [
    (20, 3, (1, 67, 201)), (300, 3, (10, 70, 210)), (6402, 1, (201, 201, 201)), (6402, 3, (201, 201, 603)),
])  # fmt: skip
def test_few_rows_are_passed_over_several_times_in_an_epoch(rows: int, epochs: int, plan: tuple[int, ...]) -> None:
    params = params_of(epochs=epochs, batch_size=32, min_steps=200)
    made = loop.Plan.of(params.fine_tune, rows)
    assert (made.once, made.epoch, made.steps) == plan
    lengths = np.full(rows, 5)
    taken = SimpleNamespace(sequences=SimpleNamespace(lengths=lambda: lengths), batch=list)
    given = list(loop.batches_from(0, made, cast(batches.Rows, taken), params))
    assert len(given) == made.steps
    batched = [own for own, _ in given]
    passes = [list(chain(*batched[n : n + made.once])) for n in range(0, made.steps, made.once)]
    assert all(sorted(one) == list(range(rows)) for one in passes)
    assert made.steps == made.once or passes[0] != passes[1]
    later = list(loop.batches_from(made.steps - 3, made, cast(batches.Rows, taken), params))
    assert later == given[-3:]


class SixtyRows:
    """Rows whose label is 0."""

    def __len__(self) -> int:
        return 60

    def targets(self, rows: np.ndarray) -> np.ndarray:
        return np.zeros_like(rows)


def logits_of_epoch(wrong: range, confidence: float) -> np.ndarray:
    """Logits of 60 rows of label 0; the model takes these for label 1."""
    labels = np.isin(np.arange(60), wrong).astype(int)
    return confidence * np.eye(2, dtype=np.float32)[labels]


@pytest.mark.parametrize(
    ("epochs", "kept"),
    [
        ([(range(30), 1), (range(12), 2), (range(12), 1), (range(12), 2), (range(40), 1)], 2),  # of equals by loss
        ([(range(30), 1), (range(12), 1), (range(47, 60), 1)], 2),  # worse by a row, and 25 rows differ
        ([(range(30), 1), (range(12), 1), (range(20, 60), 1)], 1),
        ([(range(12), 1), (range(20), 1), (range(47, 60), 1)], 0),  # below the model before the first step
    ],
)
def test_the_best_epoch_is_kept_or_the_last_where_chance_may_have_made_it_worse(
    epochs: list[tuple[range, float]], kept: int, base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, progress, found = model_of(base_model), checkpoints.Progress(), [logits_of_epoch(*one) for one in epochs]
    for number, logits in enumerate(found):
        monkeypatch.setattr(loop, "logits_of", lambda *_, logits=logits: logits)
        progress.curve.append({"step": number})
        is_last = number == len(found) - 1
        loop.end_epoch(model, cast(batches.Rows, SixtyRows()), params_of(), tmp_path, progress, is_last=is_last)
    assert np.array_equal(checkpoints.kept_logits(tmp_path), found[kept])


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
    plan = loop.Plan.of(params.fine_tune, rows=20)
    curve = [{"step": 10 * n, "validation_accuracy": score} for n, score in enumerate(scores)]
    assert loop.is_over(checkpoints.Progress(10 * len(curve) - 10, [*curve, {"step": 45}]), plan, params) is over
    assert loop.is_over(checkpoints.Progress(plan.steps, curve[:1]), plan, params)


@pytest.mark.slow
def test_training_that_only_harms_ends_with_the_probe(trained: Path, base_model: Path, tmp_path: Path) -> None:
    project = before_fine_tune(trained, tmp_path / "project")
    write_params(project / "params.yaml", base_model, fine_tune__learning_rate=0.3, fine_tune__patience=1)
    assert run_stage(project, "fine_tune").returncode == 0
    curve = pl.read_csv(project / paths.TRAINING_CURVE).drop_nulls("validation_accuracy")
    assert curve["step"][0] == 0
    assert curve["validation_accuracy"][0] > max(curve["validation_accuracy"][1:])
    before, after = (load_file(project / at / "model.safetensors") for at in (paths.BASE_MODEL, paths.FINE_TUNED))
    assert all(torch.equal(before[name], weights) for name, weights in after.items())
    head = load_file(project / paths.FINE_TUNED / HEAD)["linear.weight"]
    assert head.numpy() == pytest.approx(load_probe(project / paths.PROBE).weight)


def test_a_weight_of_an_unknown_label_is_refused() -> None:
    rows = SimpleNamespace(labels=["bad", "good"])
    with pytest.raises(UserError, match=r"expected: bad, good\n +found: +great"):
        loss.training_loss(cast("batches.Rows", rows), params_of(class_weights={"great": 2.0}), torch.device("cpu"))


def test_balanced_labels_weigh_alike_in_sum_and_a_row_1_on_average() -> None:
    targets = np.array([0] * 6 + [1] * 3 + [2])
    weights = loss.of_classes("balanced", targets, ["a", "b", "c"])
    assert weights == pytest.approx(compute_class_weight("balanced", classes=np.arange(3), y=targets))
    twice = loss.of_classes({"c": 2.0}, targets, ["a", "b", "c"])
    assert twice[2] == pytest.approx(2 * twice[0])
    assert twice[targets].mean() == pytest.approx(1)
    sets = np.array([[1, 0], [1, 0], [1, 1], [0, 0]], dtype=np.float32)
    assert loss.of_present_labels("balanced", sets, ["a", "b"]) == pytest.approx([1 / 3, 3])
    assert loss.of_present_labels({"b": 2.5}, sets, ["a", "b"]) == pytest.approx([1, 2.5])


def test_the_weighted_loss_of_a_batch_is_the_mean_of_those_of_its_halves() -> None:
    generator = torch.Generator().manual_seed(1)
    weights, logits = torch.tensor([0.5, 1.0, 4.0]), torch.randn(8, 3, generator=generator)
    targets = torch.tensor([0, 0, 0, 2, 1, 1, 1, 2])
    whole = loss.weighted_cross_entropy(weights, logits, targets)
    halves = [loss.weighted_cross_entropy(weights, logits[part], targets[part]) for part in (slice(4), slice(4, 8))]
    assert whole.item() == pytest.approx((halves[0] + halves[1]).item() / 2)
    sums = torch.nn.functional.cross_entropy(logits, targets, weights, reduction="sum")
    assert whole.item() == pytest.approx(sums.item() / 8)


def test_smoothed_targets_are_spread_over_all_labels() -> None:
    logits, targets = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]]), torch.tensor([0, 1])
    spread = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])
    by_hand = -(spread * logits.log_softmax(1)).sum(1)
    rows = cast("batches.Rows", SimpleNamespace(labels=["a", "b", "c"]))
    plain = loss.training_loss(rows, params_of(label_smoothing=0.3), torch.device("cpu"))
    assert plain(logits, targets).item() == pytest.approx(by_hand.mean().item())
    weights = torch.tensor([0.5, 1.5, 1.0])
    weighted = loss.weighted_cross_entropy(weights, logits, targets, label_smoothing=0.3)
    assert weighted.item() == pytest.approx((by_hand * weights[:2]).mean().item())
    for task in ("multi_label", "regression"):
        other = params_of(label_smoothing=0.3).model_copy(update={"task": task})
        assert loss.training_loss(rows, other, torch.device("cpu")) is classifier.LOSSES[task]


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_the_temperature_undoes_a_factor(task: Task) -> None:
    """Labels are drawn by the probabilities of the logits, so 1 is right for these, and 3 for three times as large."""
    draw = np.random.default_rng(5)
    logits = draw.normal(size=(20_000, 4))
    if task == "multi_label":
        targets = (draw.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    else:
        targets = (logits + draw.gumbel(size=logits.shape)).argmax(axis=1)
    assert temperature.temperature(task, logits, targets) == 1  # the best is 1.00 ± 0.01, and no better than chance
    assert temperature.temperature(task, 3 * logits, targets) == pytest.approx(3, abs=0.09)
    assert temperature.temperature("regression", logits[:, :1], logits[:, 0]) == 1
    right = (logits > 0).astype(np.float32) if task == "multi_label" else logits.argmax(axis=1)
    assert temperature.temperature(task, logits, right) == 1  # the lower, the better
