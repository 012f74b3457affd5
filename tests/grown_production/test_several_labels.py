"""Several labels and numbers in production: the service, feedback, exports and a judge, on the small model."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from pydantic import ValidationError
from review_sentiment.common.manifest import MANIFEST, verified_manifest, write_manifest
from review_sentiment.config import SCORES
from review_sentiment.monitoring.feedback import Entry, feedback_in, predictions_in
from review_sentiment.monitoring.judgement import judge, labelled_in, quarantined_keys
from review_sentiment.monitoring.training_rows import failures, target_range
from review_sentiment.service.exchange import Item
from review_sentiment.service.links.guard_out import GuardOut
from review_sentiment.service.settings import Substitute
from test_feedback import PREDICTIONS, SETTINGS, log_of, said, set_in
from test_promotion import answered, project, set_route, write_log  # noqa: F401 - a fixture
from test_service import Client
from test_service_links import changed, exchange
from tools.monitoring import judge as judging
from tools.monitoring import label_queue
from tools.monitoring.promote import NEW, promote
from tools.releases.release import score_of

pytestmark = pytest.mark.slow

BAD, GOOD = "a dull stale story", "a warm funny film"


def as_task(trained: Path, directory: Path, task: str, labels: list[str], **facts: Any) -> Path:
    """The fp32 file of the small model as one of another task, which reads its logits in another way."""
    shutil.copytree(trained / "models/onnx", directory)
    manifest = verified_manifest(directory) | {"task": task, "labels": labels, **facts}
    for name in (MANIFEST, "onnx/model_int8.onnx"):
        (directory / name).unlink()
    if task == "regression":  # one output of the two
        model = onnx.load(directory / "onnx/model.onnx")
        for node in model.graph.node:
            node.output[:] = ["both" if name == "logits" else name for name in node.output]
        model.graph.initializer.append(onnx.numpy_helper.from_array(onnx.numpy_helper.np.array([1]), "second"))
        model.graph.node.append(onnx.helper.make_node("Gather", ["both", "second"], ["logits"], axis=1))
        onnx.save(model, directory / "onnx/model.onnx")
    write_manifest(directory, manifest)
    return directory


@pytest.fixture
def client(request: pytest.FixtureRequest, trained: Path, tmp_path: Path, monkeypatch: Any) -> Iterator[Client]:
    """The service of a task. Of several labels, a threshold lets no text be called good."""
    task, labels, facts = request.param
    shipped = as_task(trained, tmp_path / "onnx", task, labels, **facts)
    running = Client(tmp_path / "service", shipped)
    monkeypatch.chdir(running.directory)
    yield running
    running.stop()


def infer(client: Client, *texts: str) -> tuple[int, Any]:
    """The answer by the Open Inference Protocol."""
    tensor = {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": texts}
    return client.ask("POST", "/v2/models/classifier/infer", {"inputs": [tensor]})


SEVERAL = {"label_separator": ";", "thresholds": {"fp32": [0.0, None]}}


@pytest.mark.parametrize("client", [("multi_label", ["bad", "good"], SEVERAL)], indirect=True)
def test_a_life_of_several_labels(client: Client) -> None:
    client.start(fallback={"stopped": {"labels": ["bad", "good"]}, "failed": {"label": "bad"}})
    assert "fallback names no labels, as the model does, for failed" in client.log()
    answer = client.predict(BAD, GOOD)
    assert [one["labels"] for one in answer["predictions"]] == [["bad"], []]
    assert answer["predictions"][1]["probabilities"]["good"] > 0.5
    assert infer(client, BAD, GOOD)[1]["outputs"][0]["data"] == ["bad", ""]
    for index in (0, 1):
        about = {"response_id": answer["response_id"], "index": index, "verdict": "right"}
        assert client.ask("POST", "/v1/feedback", about)[0] == 200
        assert client.ask("POST", "/v1/feedback", about | {"label": 52998224725})[0] == 400  # no mask reads numbers
    assert client.ask("PUT", "/admin/kill-switch")[0] == 200
    assert client.predict(BAD)["predictions"][0]["labels"] == ["bad", "good"]
    assert infer(client, BAD)[1]["outputs"][0]["data"] == ["bad;good"]

    predictions = predictions_in(Path(".service/responses"))
    judged = judge(feedback_in(Path(".service/feedback")), predictions, SETTINGS, ";")
    assert [(one.about.text, one.label, one.right) for one in labelled_in(judged, SETTINGS)] == [(BAD, ("bad",), True)]
    assert failures(labelled_in(judged, SETTINGS)) == []
    wrong = judge([Entry(id=(answer["response_id"], 1), key="expert", label=["bad"])], predictions, SETTINGS, ";")
    assert [(one.about.text, one.label) for one in failures(labelled_in(wrong, SETTINGS))] == [(GOOD, ("bad",))]
    rows = [one for one in predictions.values() if one.id[0] == answer["response_id"]]
    _, labels = judging.by_teacher("models/onnx", rows)
    assert labels == {(answer["response_id"], 0): ("bad",)}
    set_in("monitoring.yaml")
    label_queue.work(4)
    [folder] = Path(".service/label_queue").iterdir()
    tasks, records = (json.loads((folder / f"{name}.json").read_text()) for name in ("label_studio", "argilla"))
    assert {one["data"]["text"]: len(one["predictions"]) for one in tasks} == {BAD: 1, GOOD: 0}
    assert {one["fields"]["text"]: len(one["suggestions"]) for one in records} == {BAD: 1, GOOD: 0}


@pytest.mark.parametrize("client", [("regression", [], {})], indirect=True)
def test_a_text_without_an_answer_has_no_number(client: Client) -> None:
    client.start(guard_in={"banned": ["stale"]}, fallback={"stopped": {"label": None}})
    status, answer = infer(client, GOOD)
    assert (status, answer["outputs"][0]["shape"]) == (200, [1])
    status, answer = infer(client, GOOD, BAD)
    assert status == 400
    assert answer["error"] == "text 1 has no number: refused, banned_word; leave it out"
    assert (client.records()[-1]["status"], client.records()[-1]["cause"]) == (400, "refused")
    assert client.ask("POST", "/v2/models/other/infer", key=None)[0] == 401
    assert client.ask("POST", "/v2/models/other/infer")[0] == 404
    assert client.records()[-1]["cause"] == "unknown_model"
    assert client.ask("GET", "/v2/models/other")[1]["error"] == "there is no model other; ask for classifier"
    assert client.ask("GET", "/v2/nothing")[1]["error"].startswith("there is no such address")
    given = client.predict(GOOD)["response_id"]
    assert client.ask("POST", "/v1/feedback", {"response_id": given, "label": 5.5})[0] == 200
    assert client.ask("POST", "/v1/feedback", {"response_id": given, "label": True})[0] == 400
    [entry] = feedback_in(Path(".service/feedback"))
    assert entry.label == 5.5
    assert client.ask("PUT", "/admin/kill-switch")[0] == 200
    status, answer = infer(client, GOOD)
    assert (status, answer["headers"]["retry-after"]) == (503, "1")
    assert answer["error"] == "text 0 has no number: fallback, stopped; ask again later"
    counted = client.ask("GET", "/metrics")[1]
    for route, status, number in (("infer", 400, 1), ("infer", 503, 1), ("infer", 404, 1), ("unknown", 404, 2)):
        assert f'classifier_requests_total{{route="{route}",status="{status}"}} {number}.0' in counted
    assert 'classifier_refusals_total{cause="stopped"} 1.0' in counted


def test_a_label_that_looks_like_a_number_is_the_models() -> None:
    whole = log_of(1, prediction={"label": "1.0", "probabilities": {"1.0": 0.8, "2.0": 0.2}})
    assert [judge([said(0, label=name)], whole, SETTINGS, ",")[0].label for name in ("2.0", "3.0")] == ["2.0", None]


def test_a_substitute_is_of_one_form() -> None:
    for given in ({"label": None}, {"labels": ["a"]}, {"value": 0.5}):
        assert Substitute.model_validate(given).model_dump(exclude_unset=True) == given
    for given in ({}, {"label": "a", "value": 1.0}, {"value": float("nan")}):
        with pytest.raises(ValidationError):
            Substitute.model_validate(given)


@pytest.mark.parametrize("labels", [["billing", "login"], ["login", "billing"], ["billing"]])
def test_a_banned_label_is_refused_whatever_stands_beside_it(tmp_path: Path, labels: list[str]) -> None:
    rules = {"confidence": 0.9, "banned_labels": ["billing"]}
    prediction = {"labels": labels, "probabilities": {"billing": 0.99, "login": 0.6}}
    asked = exchange(items=[Item("text", prediction=prediction)])
    GuardOut(changed(tmp_path, guard_out=rules))(asked)
    assert (asked.items[0].outcome, asked.items[0].cause) == ("refused", "banned_label")


def test_a_number_of_a_stranger_beyond_the_training_rows_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert target_range() == (-float("inf"), float("inf"))
    Path("reports").mkdir()
    Path("reports/data_profile.json").write_text('{"train": {"target": {"p0": 0.5, "p100": 9.0}}}', encoding="utf-8")
    numbers = log_of(4, prediction=PREDICTIONS["regression"])
    entries = [said(0, label="1e9"), said(1, label="9"), said(2, "expert", label="1e9"), said(3, label="-4")]
    [beyond] = judge([said(0, verdict="right")], log_of(1, prediction={"value": 9.5}), SETTINGS, ",", (), (0.5, 9.0))
    assert beyond.reason == "counts"
    found = judge(entries, numbers, SETTINGS, ",", (), target_range())
    assert [one.reason for one in found] == ["out of range", "counts", "counts", "out of range"]
    assert list(quarantined_keys(found)) == [("ada", "out of range", 2, "1e+09, -4")]


@pytest.mark.usefixtures("project")
def test_a_promotion_counts_the_answers_that_thresholds_change(capsys: pytest.CaptureFixture[str]) -> None:
    for stage in ("production", "staging"):
        about = NEW.parent / stage / "manifest.json"
        about.write_text(about.read_text().replace("binary", "multi_label"), encoding="utf-8")
    set_route("shadow", directory=NEW.as_posix(), share=1.0)
    records = [answered(number, role, positive=True) for number in range(9) for role in ("champion", "shadow")]
    for number, record in enumerate(records):
        record["texts"][0] |= {"cached": True}
        both = number % 2 or number < 8
        prediction = {"labels": ["positive", *(["negative"] if both else [])]}
        record["texts"][0]["prediction"] = prediction | {"probabilities": {"negative": 0.6, "positive": 0.9}}
    write_log(records)
    assert promote("") == 0
    shown = capsys.readouterr().out
    assert "they decide otherwise about 0 of 9 texts that both answered, with thresholds about 5" in shown
    assert re.search(r"^negative, positive +100.0% +100.0%$", shown, re.MULTILINE)
    assert re.search(r"^ms, 95 % below +- +-$", shown, re.MULTILINE)


def test_a_release_shows_the_score_that_chose_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    both = {"before": 0.25, "after": 0.5}
    metrics = {f"onnx_fp32.{score}": both for score in sorted(SCORES["multi_label"])}
    tag: Any = type("Tag", (), {"commit": "c", "record": {"metrics": metrics}})
    for chosen, shown in ((None, "micro_f1 0.500"), ("macro_f1", "macro_f1 0.500")):
        params = {"task": "multi_label", "select_by": chosen}
        monkeypatch.setattr("tools.releases.release.params_at", lambda _, params=params: params)
        assert score_of(tag) == (shown, "+0.250")
