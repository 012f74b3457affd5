"""From labels to the next champion on the small project: a branch that the gate judges, shadow, canary, release."""

import json
import re
import runpy

import pytest
from workshop import SMALL_GATE, Project, grow

pytestmark = pytest.mark.slow

# Predictions and their feedback go through the chain of the service, without HTTP.
SERVE = """
import json, sys, threading, time
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
    answer = ask("predict", {"texts": [text]})
    if label:
        ask("feedback", {"response_id": answer["response_id"], "label": label})
engine.close()
[thread.join() for thread in threading.enumerate() if thread.name == "shadow"]
"""

APPROVED = "APPROVED_BY=Ada Lovelace <ada@example.com>"
PROMOTION = {"promotion__shares": "[0.5]", "promotion__responses": 10, "promotion__must_be_better": "false"}


@pytest.fixture(scope="module")
def labelled(small: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A production project whose released model predicted twenty texts and heard their labels."""
    project = grow(tmp_path_factory.mktemp("retrain"), scope="production", data_source="files")
    project.commit("Begin")
    project.take_run_of(small)
    project.set_params("gate.yaml", **SMALL_GATE)
    project.set_params("monitoring.yaml", feedback__trusted_keys="[me]", **PROMOTION)
    project.commit("Settings")
    release(project, "1.0.0")
    project.run("make", "release", "VERSION=1.0.0", "STAGE=production", APPROVED)
    project.run("make", "deploy", "STAGE=production")
    made = project.try_to("make", "--silent", "api-key", "NAME=me", "SCOPES=predict,feedback")
    project.env["KEY_OF_ME"] = made.stdout.splitlines()[-1]
    serve(project, 99)
    return project


def release(project: Project, version: str) -> None:
    project.run("make", "push")
    project.run("make", "release", f"VERSION={version}", "STAGE=staging")


def serve(project: Project, seed: int, *, labels: bool = True) -> None:
    """Predict twenty texts, and say which labels are right."""
    rows = runpy.run_path(str(project.path / "tests/small_project.py"))["sentences"](20, seed=seed)
    file = project.path / "rows.json"
    file.write_text(json.dumps([(text, label if labels else None) for text, label in rows]))
    project.run("python", "-c", SERVE, project.env["KEY_OF_ME"])
    file.unlink()


def held_out(project: Project) -> list[bytes]:
    return [(project.path / f"data/processed/{split}.parquet").read_bytes() for split in ("validation", "test")]


def test_labels_become_a_branch_that_waits_for_a_human(labelled: Project) -> None:
    before, began_at = held_out(labelled), labelled.run("git", "rev-parse", "HEAD")
    assert "not retrained: 20 new or changed labels" in labelled.run("make", "retrain")
    assert labelled.run("git", "branch", "--show-current") == "main\n"

    labelled.set_params("monitoring.yaml", retrain__new_labels=20)
    refused = labelled.try_to("make", "retrain")
    assert refused.returncode != 0
    assert "found:    changes: 1" in refused.stderr
    labelled.commit("Retrain sooner")
    labelled.run("git", "init", "--quiet", "--bare", "../origin.git")
    labelled.run("git", "remote", "add", "origin", "../origin.git")
    labelled.set_params("gate.yaml", min_score=1.1)
    labelled.commit("Ask too much")
    assert labelled.try_to("make", "retrain", "TO=origin").returncode != 0
    assert "is checked out, and waits for somebody" in labelled.run("make", "retrain")
    labelled.run("git", "switch", "main")
    assert "the gate refused what these labels make" in labelled.run("make", "retrain", "TO=origin")
    labelled.run("git", "revert", "--no-edit", "HEAD")
    done = labelled.try_to("make", "retrain", "TO=origin")
    print(done.stdout[-3000:], done.stderr[-3000:])
    assert done.returncode == 0

    branch = labelled.run("git", "branch", "--show-current").strip()
    assert branch.startswith("retrain/2")
    assert labelled.run("git", "rev-list", "--count", f"main..{branch}") == "1\n"
    subject = "Retrain with 20 new or changed labels: at least 20 new labels\n"
    assert labelled.run("git", "log", "-1", "--format=%s") == subject
    assert labelled.run("git", "status", "--porcelain") == ""
    assert labelled.run("git", "rev-parse", "main~3") == began_at
    assert "file: data/feedback/additions.jsonl" in labelled.text("params.yaml")
    assert "regression_set: data/feedback/regression.jsonl" in labelled.text("gate.yaml")
    assert json.loads(labelled.text("reports/data_profile.json"))["additions"] == {"read": 20, "rows": 20}
    assert held_out(labelled) == before
    assert json.loads(labelled.run("dvc", "status", "--json")) == {}
    labelled.run("make", "owners")
    summary = labelled.text(".service/monitoring/retraining.md")
    assert f"| on the same test rows | main | {branch} |" in summary
    assert "| regression set |" in summary.partition("## Gate")[2]

    assert labelled.run("git", "rev-parse", f"origin/{branch}") == labelled.run("git", "rev-parse", "HEAD")
    assert json.loads(labelled.run("dvc", "status", "--cloud", "--json")) == {}
    code = f"import tools.shared as s, tools.monitoring.retrain as r; s.run(lambda: r.push('{branch}', 'origin'))"
    assert f"{branch} is not pushed" in labelled.try_to("python", "-c", code, REMOTE="nowhere").stderr
    assert f"{branch} waits" in labelled.run("make", "retrain", "TO=origin", "ANYWAY=1")
    assert labelled.run("make", "retrain", "ANYWAY=1").endswith("not retrained: 0 new or changed labels\n")


def test_another_checkout_on_the_machine_of_the_service_sees_its_log(labelled: Project) -> None:
    """By the documented line: the one of a runner, which retrains every night."""
    labelled.run("git", "clone", "--quiet", "--branch", "main", ".", "../runner")
    line = re.search(r"`(ln -sf ….*)`", labelled.text("docs/monitoring.md"))[1].replace("…", str(labelled.path))
    labelled.run("sh", "-c", f"cd ../runner && {line} && make pull")
    look(labelled, "-C", "../runner")
    assert labelled.run("git", "-C", "../runner", "status", "--porcelain") == ""
    report = json.loads((labelled.path.parent / "runner/.service/monitoring/report.json").read_text(encoding="utf-8"))
    assert report["rows"] >= 20


def look(project: Project, *where: str) -> None:
    """Run `make monitor`, which gives 2 for an alarm and 1 for an error; make itself ends with 2 for both."""
    done = project.try_to("make", *where, "monitor")
    assert done.returncode == 0 or done.stderr.rstrip().endswith("Error 2"), done.stderr


def test_the_new_release_becomes_the_champion_step_by_step(labelled: Project) -> None:
    branch = labelled.run("git", "branch", "--show-current").strip()
    labelled.run("git", "switch", "main")
    labelled.run("git", "merge", "--ff-only", branch)
    assert "make deploy STAGE=staging" in labelled.try_to("make", "promote").stderr
    release(labelled, "1.1.0")
    labelled.run("make", "deploy", "STAGE=staging")
    assert "1.1.0 answers as a shadow of 1.0.0" in labelled.run("make", "promote")
    assert "it waits for the service, which has not taken these settings yet" in labelled.run("make", "promote")
    look(labelled)  # models/onnx is the candidate by now
    watched = json.loads(labelled.text(".service/monitoring/report.json"))["model"]
    assert watched["version"] == "1.0.0"
    serve(labelled, 100, labels=False)
    printed = labelled.run("make", "promote")
    assert "of 20 texts that both answered" in printed
    assert "it is a canary now, with 50% of the requests" in printed
    serve(labelled, 101, labels=False)
    serve(labelled, 102, labels=False)
    refused = labelled.try_to("make", "promote")
    assert "production needs an approval" in refused.stderr
    labelled.run("make", "promote", APPROVED)
    link = labelled.path / ".service/releases/production"
    assert link.readlink().name.startswith("v1.1.0-")
    assert "canary: null" in labelled.text("service.yaml")
    assigned = labelled.run("make", "--silent", "releases").partition("approved by")[2].splitlines()[1]
    assert assigned.split()[:3] == ["production", "v1.1.0", "Ada"]
    serve(labelled, 103, labels=False)
    last = max((labelled.path / ".service/responses").glob("*.jsonl")).read_text().splitlines()[-1]
    assert json.loads(last)["model"]["version"] == "1.1.0"
