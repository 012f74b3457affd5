"""Several processes: the same vectors as one, the same weights twice, and what happens when one of them dies."""

import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import psutil
import pytest
from bad_inputs import params_with
from small_project import before_fine_tune, bytes_of, checkpoints_of, run_stage, start_stage, write_params

from {{ cookiecutter.package_name }} import paths
from {{ cookiecutter.package_name }}.common import distributed
from {{ cookiecutter.package_name }}.common.io import write_json
from {{ cookiecutter.package_name }}.config import Task
from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.stages.fine_tune import knobs
from {{ cookiecutter.package_name }}.text import token_store
from {{ cookiecutter.package_name }}.text.tokenization import (
    encode,
    load_tokenizer,
)
from {{ cookiecutter.package_name }}.training.batches import Rows, order_of

TWO = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python")
SECONDS_TO_END = 60


@pytest.fixture(scope="module", params=["copies", "parts"])
def before(
    request: pytest.FixtureRequest, trained: Path, base_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The trained project before `fine_tune`, each process to hold a copy or a part of the model; read only."""
    project = before_fine_tune(trained, tmp_path_factory.mktemp(request.param) / "project")
    write_params(project / "params.yaml", base_model, fine_tune__sharded=request.param == "parts")
    return project


@pytest.fixture(scope="module")
def trained_by_two(before: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That project, fine-tuned by two processes; read only."""
    project = shutil.copytree(before, tmp_path_factory.mktemp("two") / "project")
    done = run_stage(project, "fine_tune", TWO)
    assert done.returncode == 0, done.stderr
    return project


def kill_one_in_the_second_epoch(project: Path, which: str) -> None:
    """Start `fine_tune` with two processes and kill the launcher or its last worker; all must be gone soon."""
    launcher = start_stage(project, "fine_tune", TWO)
    while max(checkpoints_of(project), default=0) < 15:  # the end of the first epoch
        assert launcher.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    workers = psutil.Process(launcher.pid).children(recursive=True)
    assert len(workers) == 2
    (workers[-1] if which == "worker" else psutil.Process(launcher.pid)).send_signal(signal.SIGKILL)
    assert launcher.wait(timeout=SECONDS_TO_END) != 0
    _, left = psutil.wait_procs(workers, timeout=SECONDS_TO_END)
    assert left == []
    assert not (project / "models/fine_tuned").exists()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["machine", "portable"])
def test_two_processes_embed_as_one_does(trained: Path, base_model: Path, tmp_path: Path, mode: str) -> None:
    project = tmp_path / "project"
    shutil.copytree(trained, project)
    write_params(project / "params.yaml", base_model, compute__determinism=mode)
    found = []
    for prefix in ((), TWO) if mode == "portable" else (TWO,):
        shutil.rmtree(project / paths.VECTORS)
        shutil.rmtree(project / paths.EMBEDDINGS)
        done = run_stage(project, "embeddings", prefix)
        assert done.returncode == 0, done.stderr
        found.append(bytes_of(project))
    assert found[-1] == (found[0] if mode == "portable" else bytes_of(trained))


@pytest.mark.slow
def test_the_death_of_a_worker_ends_the_stage_and_costs_no_bytes(
    before: Path, trained_by_two: Path, tmp_path: Path
) -> None:
    project = shutil.copytree(before, tmp_path / "project")
    kill_one_in_the_second_epoch(project, "worker")
    done = run_stage(project, "fine_tune", TWO)
    assert "going on from step " in done.stderr
    assert bytes_of(project) == bytes_of(trained_by_two)


@pytest.mark.slow
def test_no_worker_outlives_its_launcher(trained: Path, tmp_path: Path) -> None:
    kill_one_in_the_second_epoch(before_fine_tune(trained, tmp_path / "project"), "launcher")


@pytest.mark.slow
def test_two_processes_learn_as_much_as_one(trained: Path, trained_by_two: Path) -> None:
    last = [
        (project / paths.TRAINING_CURVE).read_text(encoding="utf-8").splitlines()[-1].split(",")
        for project in (trained, trained_by_two)
    ]
    assert last[0][0] == last[1][0]  # the same number of steps
    assert float(last[1][3]) == pytest.approx(float(last[0][3]), abs=0.05)


def test_one_process_does_not_go_on_where_two_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    params = params_with()
    alone = knobs(params)
    monkeypatch.setattr(distributed, "count", lambda: 2)
    assert knobs(params) != alone
    other = params.model_copy(update={"compute": params.compute.model_copy(update={"launcher": "torchrun"})})
    assert knobs(other) == knobs(params)


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "count", lambda: 3)
    assert distributed.share_of_batch(33) == 11
    with pytest.raises(UserError, match="multiple of 3"):
        distributed.share_of_batch(32)


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
    return token_store.open_store(max_length=16)


def test_the_store_gives_back_every_text(store: token_store.TokenStore) -> None:
    tokenizer = load_tokenizer(paths.BASE_MODEL / "tokenizer.json", 16)
    for split in paths.SPLITS:
        texts = pl.read_parquet(paths.split_table(split))["text"].to_list()
        assert [row.tolist() for row in store.split(split)] == encode(tokenizer, texts)
    assert store.span("validation") == (10, 13)
    assert len(store.all) == 14
    again = token_store.open_store(max_length=16)
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
    rows = Rows("validation", store, task)
    ids, mask, targets = rows.batch(np.array([2, 0]))
    assert targets.tolist() == [expected[2], expected[0]]
    assert str(targets.dtype) == ("torch.int64" if kind == pl.UInt32 else "torch.float32")
    lengths = [len(rows.sequences[2]), len(rows.sequences[0])]
    assert ids.shape == mask.shape == (2, max(lengths))
    assert mask.sum(dim=1).tolist() == lengths


def test_the_order_of_the_rows_follows_from_seed_and_epoch() -> None:
    lengths = np.arange(1000) % 37
    first = order_of(lengths, 32, seed=42, epoch=0).tolist()
    assert order_of(lengths, 32, seed=42, epoch=0).tolist() == first
    assert sorted(first) == list(range(1000))
    assert order_of(lengths, 32, seed=42, epoch=1).tolist() != first
    assert order_of(lengths, 32, seed=43, epoch=0).tolist() != first
    spread = [np.ptp(lengths[first[start : start + 32]]) for start in range(0, 1000, 32)]
    assert np.median(spread) < 3
