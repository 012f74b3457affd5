"""The whole pipeline on the tables and models that users bring."""

import csv
import json
import random
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from hub import COMMIT, hub_of
from ruamel.yaml import YAML
from texts import film_reviews, german_messages
from workshop import Project, grow

pytestmark = pytest.mark.slow


def write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def metrics_of(project: Project) -> dict:
    return json.loads(project.text("reports/metrics.json"))


def take_small_model(project: Project, texts: list[str]) -> None:
    """Let the project begin from a small model that knows the words of these texts; it learns at a higher rate."""
    names = runpy.run_path(str(project.path / "tests/small_project.py"))
    names["write_base_model"].__globals__["sentences"] = lambda *_, **__: [(text, "") for text in texts]
    model = project.path.parent / "model"
    names["write_base_model"](model)
    digests = names["digests"](model, ("config.json", "model.safetensors", "tokenizer.json"))
    params = re.sub("uri: pkg://.*", f"uri: {model}", project.text("params.yaml"))
    params = re.sub(r"(\S+): [0-9a-f]{64}", lambda digest: f"{digest[1]}: {digests[digest[1]]}", params)
    (project.path / "params.yaml").write_text(params, encoding="utf-8")
    project.set_params(fine_tune__learning_rate=0.002)


def test_three_labels_in_german_with_odd_column_names(tmp_path: Path) -> None:
    project = grow(tmp_path, data_source="files")
    rows = german_messages()
    write_csv(project.path / "data/raw/meine Tabelle.csv", rows)
    project.run("dvc", "add", "data/raw")
    project.set_params(prepare__text_column="Nachricht", prepare__label_column="Herkunft (Teil)")
    project.set_params(export_onnx__max_int8_drop=0.1, text__max_length=64)
    take_small_model(project, [row["Nachricht"] for row in rows])
    project.run_pipeline()
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
    said = json.loads(project.run("make", "--silent", "predict", "TEXT=Das Passwort ist zu kurz."))
    assert said["label"] == "Anmeldung"


def test_preset_splits_in_parquet(tmp_path: Path) -> None:
    project = grow(tmp_path, data_source="files")
    rows = film_reviews(900)
    raw = project.path / "data/raw"
    raw.mkdir(parents=True)
    held_out = {"train": rows[:700], "validation": rows[700:800], "test": [*rows[800:], rows[0]]}
    for split, part in held_out.items():
        pl.DataFrame(part).with_columns(pl.col("label").cast(pl.Int64)).write_parquet(raw / f"{split}.parquet")
    project.run("dvc", "add", "data/raw")
    project.run("dvc", "repro", "prepare")
    tables = {split: pl.read_parquet(project.path / f"data/processed/{split}.parquet") for split in held_out}
    assert {split: table.height for split, table in tables.items()} == {"train": 699, "validation": 100, "test": 101}
    assert json.loads(project.text("reports/data_profile.json"))["dropped"]["in_another_split"] == 1
    assert json.loads(project.text("data/processed/labels.json")) == ["0", "1"]


def test_own_tables_need_no_edit_of_the_pipeline(tmp_path: Path) -> None:
    """A project that was grown for the sample takes tables of its user's after an edit of params.yaml alone."""
    project = grow(tmp_path)
    project.commit("Begin")
    head, rest = project.text("params.yaml").split("  data:", 1)
    params = head + rest[rest.index("  model:") :]
    filters = "    column: source\n    value: rotten_tomatoes\n"
    (project.path / "params.yaml").write_text(params.replace(filters, ""), encoding="utf-8")
    project.set_params(prepare__keep="null", prepare__label_names="null", prepare__text_column="sentence")
    lines = [f"sentence {number} of the table,{'yes' if number % 2 else 'no'}" for number in range(200)]
    (project.path / "data/raw").mkdir(parents=True)
    (project.path / "data/raw/mine.csv").write_text("\n".join(["sentence,label", *lines, ""]), encoding="utf-8")
    project.run("dvc", "add", "data/raw")
    project.run("dvc", "repro", "prepare")
    assert project.text("data/processed/labels.json").split() == ["[", '"no",', '"yes"', "]"]
    assert project.run("git", "diff", "--name-only").split() == ["params.yaml"]
    assert "fetch@data" not in project.run("dvc", "stage", "list", "--name-only")


def test_77_labels_need_no_edit_but_of_the_parameters(tmp_path: Path) -> None:
    project = grow(tmp_path, data_source="files")
    draw = random.Random(0)
    themes = [f"theme{number}" for number in range(77)]
    verbs = "open close change cancel find lose pay send move check".split()
    rows = [
        {"text": f"how do I {draw.choice(verbs)} my {theme} {draw.choice(verbs)} {number}?", "category": theme}
        for number in range(2_000)
        for theme in [themes[number % 77]]
    ]
    draw.shuffle(rows)
    write_csv(project.path / "data/raw/train.csv", rows[400:])
    write_csv(project.path / "data/raw/test.csv", rows[:400])
    project.run("dvc", "add", "data/raw")
    project.set_params(prepare__label_column="category", text__max_length=16)
    take_small_model(project, [row["text"] for row in rows])
    project.run_pipeline()
    assert json.loads(project.text("data/processed/labels.json")) == sorted(themes)
    metrics = metrics_of(project)
    assert metrics["test_rows"] == 400
    assert metrics["torch"]["accuracy"] > 0.5
    assert len(pl.read_csv(project.path / "reports/evaluation/per_class.csv")) == 4 * 77


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A small model (the one of the project's own tests) and real sentences on a stand-in of the hub; its address."""
    folder = tmp_path_factory.mktemp("hub")
    names = runpy.run_path(str(grow(folder).path / "tests/small_project.py"))
    names["write_base_model"](folder / "model")
    write_csv(folder / "data/data/train.csv", film_reviews(900))
    with hub_of({"acme/small-bert": folder / "model", "datasets/acme/reviews": folder / "data"}) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def from_hub(tmp_path_factory: pytest.TempPathFactory, hub: str) -> Project:
    """A project whose data and model come from the hub, pinned, run and committed."""
    project = grow(tmp_path_factory.mktemp("from-hub"), scope="team", data_source="hub", base_model="acme/small-bert")
    project.env |= {"HF_ENDPOINT": hub, "HF_HUB_OFFLINE": "0"}
    text = project.text("params.yaml").replace("owner/name@main", "acme/reviews@main/data")
    (project.path / "params.yaml").write_text(text, encoding="utf-8")
    project.set_params(text__max_length=64, fine_tune__min_steps=1, export_onnx__max_int8_drop=0.5)
    refused = project.try_to("make", "repro")
    assert refused.returncode != 0
    assert "is not pinned" in refused.stderr
    assert f"write {COMMIT} in its place" in refused.stderr
    project.run("make", "pin")
    project.run_pipeline()
    project.commit("Run the pipeline")
    return project


def test_data_and_model_from_the_hub_are_pinned_to_a_commit(from_hub: Project) -> None:
    params = from_hub.text("params.yaml")
    assert params.count(f"@{COMMIT}") == 2
    assert "null" not in params.split("prepare:")[0].split("fetch:")[1]
    assert "# fp32 | bf16" in params
    assert metrics_of(from_hub)["test_rows"] > 50


def test_what_was_fetched_once_serves_without_the_hub(from_hub: Project) -> None:
    from_hub.run("dvc", "repro", "--force", "--single-item", "fetch@data", "fetch@model", HF_HUB_OFFLINE="1")
    assert from_hub.run("dvc", "status", "--quiet") == ""


def test_what_the_hub_does_not_have_is_named(from_hub: Project) -> None:
    text = from_hub.text("params.yaml").replace("acme/reviews@", "acme/gone@")
    (from_hub.path / "params.yaml").write_text(text, encoding="utf-8")
    refused = from_hub.try_to("make", "repro")
    from_hub.run("git", "restore", "--staged", "--worktree", ".")
    from_hub.run("dvc", "checkout", "--force")
    assert refused.returncode != 0
    assert "cannot fetch hf://datasets/acme/gone" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """A project without data after `make small AGAIN=1`, as CI calls it, and what was printed."""
    project = grow(tmp_path_factory.mktemp("again"), scope="team", data_source="files")
    (project.path / "models/student.dvc").parent.mkdir(exist_ok=True)
    (project.path / "models/student.dvc").write_text(
        "outs:\n- md5: 0\n  hash: md5\n  path: student\n", encoding="utf-8"
    )
    project.commit("Begin")
    return project, project.run("make", "small", "AGAIN=1")


def test_the_small_pipeline_runs_before_there_are_data(again: tuple[Project, str]) -> None:
    project, shown = again
    assert "ONNX int8" in shown
    assert re.search(r"(\d+) of \1 outs are the same", shown)
    assert project.run("git", "status", "--porcelain") == ""
    stages = YAML(typ="safe").load(project.text(".tools/small/dvc.lock"))["stages"]
    assert list(stages)[-1] == "evaluate"
    # AGAIN=1 would pull what such files name, from a remote whose keys nobody has there.
    assert not [path for path in (project.path / ".tools/small").rglob("*.dvc") if path.is_file()]


def test_maturity_is_looked_up(again: tuple[Project, str]) -> None:
    """Of the small pipeline, whose second run left its record; the remote is empty at first."""
    small = Project(again[0].path / ".tools/small", again[0].path.parent / "home")
    assert "level 1 of 5: kept\nfor level 2: remote sound\n" in small.run("make", "maturity")
    small.run("make", "push")
    shown = small.run("make", "maturity")
    record = json.loads(small.text("reports/reproduce.json"))
    assert "level 3 of 5: verified\nfor level 4: " in shown
    assert re.search(r"made again elsewhere +(\d+) outs the same", shown)
    assert re.search(r"outs that can be made again +(\d+) of \1 \(100%\)", shown)
    assert re.search(rf"time to make everything again +{record['seconds']} s", shown)
    (small.path / "reports/reproduce.json").unlink()
    assert "level 2 of 5: repeatable\nfor level 3: made again elsewhere\n" in small.run("make", "maturity")


def test_an_older_commit_is_made_again_with_its_own_code(tmp_path: Path) -> None:
    """Every byte of the real stages is compared above and in test_environment.py."""
    project = grow(tmp_path)
    (project.path / "dvc.yaml").write_text("stages:\n  count: {cmd: sh count.sh, outs: [counted]}\n", encoding="utf-8")
    (project.path / "count.sh").write_text("echo 1 > counted", encoding="utf-8")
    project.run("dvc", "repro")
    project.commit("Count")
    (project.path / "count.sh").write_text("echo 2 > counted", encoding="utf-8")
    project.commit("Count on")
    refused = project.try_to("make", "reproduce")
    assert refused.returncode != 0
    assert "counted differs: 2 bytes here, 2 there, the first difference at byte 0" in refused.stdout
    assert json.loads(project.text("reports/reproduce.json"))["differing"] == ["counted"]
    assert "1 of 1 outs are the same" in project.run("make", "reproduce", "AGAINST=HEAD~1")


def test_the_spread_of_seeds_is_shown(from_hub: Project) -> None:
    shown = from_hub.run("make", "seeds", "SEEDS=42 1")  # the first is that of the last run
    after_accuracy = shown[shown.index("\naccuracy\n") :]
    line = next(line for line in after_accuracy.splitlines() if line.startswith("  torch"))
    mean, spread, one, two = re.fullmatch(r"  torch +(\S+) ± (\S+)   (\S+) (\S+)", line).groups()
    assert float(mean) == pytest.approx((float(one) + float(two)) / 2, abs=1e-4)
    assert float(spread) == pytest.approx(abs(float(one) - float(two)) / 2**0.5, abs=2e-4)
    assert from_hub.run("git", "status", "--porcelain") == ""
    assert from_hub.run("dvc", "status", "--quiet") == ""
    experiments = from_hub.run("dvc", "exp", "list", "--name-only").split()
    compared = from_hub.run("make", "compare", "A=HEAD", f"B={' '.join(experiments)}", "MODEL=torch")
    assert len(experiments) == 2
    assert f"torch on the same {metrics_of(from_hub)['test_rows']} test rows; A is HEAD" in compared
    assert sorted(re.findall(r"^\S+ +\d\.\d{4} +(\d\.\d{4}) ", compared, re.MULTILINE)) == sorted((one, two))
    assert len(re.findall(r"p = \d\.\d{4} \(McNemar, .*corrected for 2 comparisons", compared)) == 2
