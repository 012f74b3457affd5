"""`make retrain` on the small project: labels of predictions become training rows on a branch that the gate judges."""

import json
import runpy

import pytest
from workshop import SMALL_GATE, Project, grow

pytestmark = pytest.mark.slow

# Predictions and their feedback go through the chain of the service, without HTTP.
SERVE = """
import json, sys, time
from pathlib import Path
from review_sentiment.service.engine import Engine
from review_sentiment.service.exchange import Exchange
from review_sentiment.service.links.model import Watchdog
key, rows = sys.argv[1], json.loads(Path("rows.json").read_text())
engine = Engine(Path("service.yaml"), Watchdog())
def ask(route, body):
    exchange = Exchange(json.dumps(body).encode(), key, "127.0.0.1", route, route, time.monotonic() + 20)
    engine.run(exchange)
    assert exchange.refusal is None, exchange.refusal
    return exchange.answer()
for text, label in rows:
    said = {"response_id": ask("predict", {"texts": [text]})["response_id"], "label": label}
    ask("feedback", said)
"""


@pytest.fixture(scope="module")
def labelled(small: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A production project whose service predicted twenty texts and heard their labels."""
    project = grow(tmp_path_factory.mktemp("retrain"), scope="production", data_source="files")
    project.commit("Begin")
    project.take_run_of(small)
    project.set_params("gate.yaml", **SMALL_GATE)
    project.set_params("monitoring.yaml", feedback__trusted_keys="[me]")
    project.commit("Settings")
    made = project.try_to("make", "--silent", "api-key", "NAME=me", "SCOPES=predict,feedback")
    rows = runpy.run_path(str(project.path / "tests/small_project.py"))["sentences"](20, seed=99)
    (project.path / "rows.json").write_text(json.dumps(rows))
    project.run("python", "-c", SERVE, made.stdout.splitlines()[-1])
    (project.path / "rows.json").unlink()
    return project


def held_out(project: Project) -> list[bytes]:
    return [(project.path / f"data/processed/{split}.parquet").read_bytes() for split in ("validation", "test")]


def test_labels_become_a_branch_that_waits_for_a_human(labelled: Project) -> None:
    before, began_at = held_out(labelled), labelled.run("git", "rev-parse", "HEAD")
    assert "not retrained: 20 new labels" in labelled.run("make", "retrain")
    assert labelled.run("git", "branch", "--show-current") == "main\n"

    labelled.set_params("monitoring.yaml", retrain__new_labels=20)
    refused = labelled.try_to("make", "retrain")
    assert refused.returncode != 0
    assert "found:    changes: 1" in refused.stderr
    labelled.commit("Retrain sooner")
    done = labelled.try_to("make", "retrain")
    print(done.stdout[-3000:], done.stderr[-3000:])
    assert done.returncode == 0

    branch = labelled.run("git", "branch", "--show-current").strip()
    assert branch.startswith("retrain/2")
    subject = "Retrain with 20 new labels: at least 20 new labels\n"
    assert labelled.run("git", "log", "-1", "--format=%s") == subject
    assert labelled.run("git", "status", "--porcelain") == ""
    assert labelled.run("git", "rev-parse", "main~1") == began_at
    assert "file: data/feedback/additions.jsonl" in labelled.text("params.yaml")
    assert "regression_set: data/feedback/regression.jsonl" in labelled.text("gate.yaml")
    assert json.loads(labelled.text("reports/data_profile.json"))["additions"] == {"read": 20, "rows": 20}
    assert held_out(labelled) == before
    assert json.loads(labelled.run("dvc", "status", "--json")) == {}
    labelled.run("make", "owners")
    summary = labelled.text(".service/monitoring/retraining.md")
    assert f"| on the same test rows | main | {branch} |" in summary
    assert "| regression set |" in summary.partition("## Gate")[2]

    assert labelled.run("make", "retrain", "ANYWAY=1").endswith("not retrained: 0 new labels\n")
