"""The whole pipeline through `dvc repro` on the tables and models that users bring."""

import csv
import json
import random
import runpy
from pathlib import Path

import polars as pl
import pytest
from hub import COMMIT, hub_of
from texts import film_reviews, german_messages
from workshop import PROJECT, Project, grow

pytestmark = pytest.mark.slow


def write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def metrics_of(project: Project) -> dict:
    return json.loads(project.text("reports/metrics.json"))


def test_three_labels_in_german_with_odd_column_names(tmp_path: Path) -> None:
    project = grow(tmp_path, data_source="files")
    rows = german_messages()
    write_csv(project.path / "data/raw/meine Tabelle.csv", rows)
    project.run("dvc", "add", "data/raw")
    project.set_params(prepare__text_column="Nachricht", prepare__label_column="Herkunft (Teil)")
    project.set_params(export_onnx__max_int8_accuracy_drop=0.1, fine_tune__epochs=2)
    project.run("make", "repro")
    assert json.loads(project.text("data/processed/labels.json")) == ["Anmeldung", "Kern", "Verwaltung"]
    profile = json.loads(project.text("reports/data_profile.json"))
    assert profile["read"] == len(rows)
    assert sum(profile[split]["rows"] for split in ("train", "validation", "test")) == len(rows) - sum(
        profile["dropped"].values()
    )
    metrics = metrics_of(project)
    assert metrics["onnx_fp32"]["accuracy"] == metrics["torch"]["accuracy"]
    largest = max(profile["test"]["per_label"].values()) / profile["test"]["rows"]
    assert metrics["torch"]["accuracy"] > largest
    said = json.loads(project.run("make", "--silent", "predict", "TEXT=Bitte geben Sie Ihr Passwort ein."))
    assert said["label"] in ("Anmeldung", "Kern", "Verwaltung")


def test_preset_splits_in_parquet(tmp_path: Path) -> None:
    project = grow(tmp_path, data_source="files")
    rows = film_reviews(900)
    raw = project.path / "data/raw"
    raw.mkdir(parents=True)
    held_out = {"train": rows[:700], "validation": rows[700:800], "test": [*rows[800:], rows[0]]}
    for split, part in held_out.items():
        pl.DataFrame(part).with_columns(pl.col("label").cast(pl.Int64)).write_parquet(raw / f"{split}.parquet")
    project.run("dvc", "add", "data/raw")
    project.set_params(export_onnx__max_int8_accuracy_drop=0.1)
    project.run("make", "repro")
    tables = {split: pl.read_parquet(project.path / f"data/processed/{split}.parquet") for split in held_out}
    assert {split: table.height for split, table in tables.items()} == {"train": 699, "validation": 100, "test": 101}
    assert json.loads(project.text("reports/data_profile.json"))["dropped"]["in_another_split"] == 1
    assert json.loads(project.text("data/processed/labels.json")) == ["0", "1"]
    assert metrics_of(project)["test_rows"] == 101


def test_77_labels_need_no_edit_but_of_the_parameters(tmp_path: Path) -> None:
    project = grow(tmp_path, data_source="files")
    draw = random.Random(0)
    themes = [f"theme{number}" for number in range(77)]
    verbs = "open close change cancel find lose pay send move check".split()
    rows = [
        {"text": f"how do I {draw.choice(verbs)} my {theme} {draw.choice(verbs)} {number}?", "category": theme}
        for number in range(10_000)
        for theme in [themes[number % 77]]
    ]
    draw.shuffle(rows)
    write_csv(project.path / "data/raw/train.csv", rows[1000:])
    write_csv(project.path / "data/raw/test.csv", rows[:1000])
    project.run("dvc", "add", "data/raw")
    project.set_params(prepare__label_column="category", text__max_length=16, fine_tune__batch_size=128)
    project.run("make", "repro")
    metrics = metrics_of(project)
    assert metrics["test_rows"] == 1000
    assert metrics["torch"]["accuracy"] > 0.5
    assert len(pl.read_csv(project.path / "reports/per_class.csv")) == 4 * 77


@pytest.fixture
def hub(tmp_path: Path) -> dict[str, Path]:
    """A small model (the one of the project's own tests) and real sentences, as repositories of the hub."""
    names = runpy.run_path(str(PROJECT / "tests/small_project.py"))
    names["write_base_model"](tmp_path / "hub/model")
    write_csv(tmp_path / "hub/data/data/train.csv", film_reviews(900))
    return {"acme/small-bert": tmp_path / "hub/model", "datasets/acme/reviews": tmp_path / "hub/data"}


def test_data_and_model_from_the_hub_pinned_to_a_commit(tmp_path: Path, hub: dict[str, Path]) -> None:
    project = grow(tmp_path / "grown", data_source="hub", base_model="acme/small-bert")
    text = project.text("params.yaml").replace("owner/name@main", "acme/reviews@main/data")
    (project.path / "params.yaml").write_text(text, encoding="utf-8")
    project.set_params(text__max_length=64, export_onnx__max_int8_accuracy_drop=0.5)
    with hub_of(hub) as endpoint:
        online = {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0"}
        refused = project.try_to("make", "repro", **online)
        assert refused.returncode != 0
        assert "is not pinned" in refused.stderr
        assert f"write {COMMIT} in its place" in refused.stderr
        project.run("make", "pin", **online)
        assert project.text("params.yaml").count(f"@{COMMIT}") == 2
        assert "null" not in project.text("params.yaml").split("prepare:")[0].split("fetch:")[1]
        assert "# fp32 | bf16" in project.text("params.yaml")
        project.run("make", "repro", **online)
    assert metrics_of(project)["test_rows"] > 50
    # What was fetched once is in the hub's cache: it serves when the hub is gone.
    project.run("dvc", "repro", "--force", "--single-item", "fetch")
    text = project.text("params.yaml").replace("acme/reviews@", "acme/gone@")
    (project.path / "params.yaml").write_text(text, encoding="utf-8")
    refused = project.try_to("make", "repro")
    assert refused.returncode != 0
    assert "cannot fetch hf://datasets/acme/gone" in refused.stderr
    assert "Traceback" not in refused.stderr
