"""Pairs in production: what the service reads and refuses, what a judge and a report show; and a damaged release."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from review_sentiment.errors import UserError
from review_sentiment.monitoring.apis import Api, LanguageModel, version_and_prompt
from review_sentiment.service import app
from review_sentiment.service.engine import Service
from review_sentiment.service.exchange import RefusalError
from review_sentiment.service.links.feedback import Feedback
from review_sentiment.service.links.validate import Validate
from review_sentiment.service.models import Models
from review_sentiment.service.openinference import texts_of
from small_project import ROOT
from test_monitoring import made, scores, settings  # noqa: F401 - a fixture
from test_service_links import changed, exchange, served
from tools.monitoring.facts import drift_facts

GOOD = ["a warm film", "a dull plot"]


@pytest.mark.parametrize(
    ("pairs", "texts", "detail"),
    [
        (True, [GOOD, ["a", "b", "c"]], "texts.1: List should have at most 2 items"),
        (True, [GOOD, ["a"], GOOD], "texts.1: List should have at least 2 items"),
        (True, [GOOD, "a"], "texts.1: Input should be a valid array"),
        (True, [GOOD, ["a", 1]], "texts.1.1: Input should be a valid string"),
        (True, [GOOD, ["a", " "]], "texts.1.1: expected text, found only white space"),
        (True, [GOOD, ["a", "b" * 20_000]], "texts.1.0 and texts.1.1: more than 20000 characters"),
        (False, ["a", ["b"]], "texts.1: Input should be a valid string"),
        (False, ["a", ""], "texts.1: expected text, found an empty one"),
        (False, [GOOD], "texts.0: Input should be a valid string"),
    ],
)
def test_a_malformed_text_refuses_all_and_is_named(tmp_path: Any, pairs: bool, texts: Any, detail: str) -> None:
    link, asked = Validate(changed(tmp_path), pairs=pairs), exchange({"texts": texts})
    with pytest.raises(RefusalError) as refused:
        link(asked)
    assert str(refused.value).startswith(detail)
    assert asked.items == []
    if refused.value.cause == "malformed":  # the fix is a body that is accepted
        asked.body = refused.value.fix.removeprefix("send ").replace(", …", "").encode()
        link(asked)
        assert len(asked.items) == 1


def tensors(*columns: list[Any], **changes: Any) -> dict[str, Any]:
    """The body of a request by the Open Inference Protocol."""
    names = ("text", "second_text")
    tensor = {"datatype": "BYTES"} | changes
    return {"inputs": [{"name": name, "data": data, **tensor} for name, data in zip(names, columns, strict=False)]}


@pytest.mark.parametrize(
    ("pairs", "body", "detail"),
    [
        (True, tensors(["a", "b"], ["c", ""]), "second_text.1: expected text"),
        (True, tensors(["a" * 20_000], ["b"]), "text.0 and second_text.0: more than 20000"),
        (True, tensors(["a"] * 257, ["b"] * 257), "257 texts, at most 256"),
        *((True, body, "expected the inputs text (BYTES, [n]) and second_text") for body in (
            tensors(["a"]), tensors(["a"], ["b", "c"]), tensors(["a"], [1]), tensors(["a"], [["b"]]), tensors([], []),
        )),
        (False, tensors(["a", " "]), "text.1: expected text"),
        (False, tensors(["a"], datatype="FP32"), "expected the inputs text (BYTES, [n]) as JSON"),
    ],
)  # fmt: skip
def test_a_client_of_the_protocol_reads_its_own_terms(tmp_path: Any, pairs: bool, body: Any, detail: str) -> None:
    link, read = Validate(changed(tmp_path), pairs=pairs), partial(texts_of, name="classifier", pairs=pairs)
    asked = exchange(body, route="infer", read=read)
    with pytest.raises(RefusalError) as refused:
        link(asked)
    assert str(refused.value).startswith(detail)
    assert "texts" not in refused.value.fix
    if refused.value.cause == "malformed":
        asked.body = refused.value.fix.removeprefix("send ").partition(", and no")[0].encode()
        link(asked)
        assert len(asked.items) == 1


@pytest.mark.parametrize(("task", "items"), [("pair", "array"), ("single_label", "string")])
def test_the_document_shows_what_the_task_reads(task: str, items: str) -> None:
    champion = served(task=task)
    limits = SimpleNamespace(model=SimpleNamespace(concurrent=1))
    engine = SimpleNamespace(version="v", settings=limits, models=SimpleNamespace(champion=champion))
    paths = app.create(cast("Any", SimpleNamespace(engine=engine))).openapi()["paths"]
    bodies = {name: one["post"].get("requestBody") for name, one in paths.items() if "post" in one}
    schemas = {name: one["content"]["application/json"]["schema"]["properties"] for name, one in bodies.items() if one}
    for address in ("/v1/predict", "/v1/explain"):
        assert schemas[address]["texts"]["items"]["type"] == items
    named = schemas["/v2/models/{name}/infer"]["inputs"]["items"]["properties"]["name"]["enum"]
    assert list(named) == (["text", "second_text"] if task == "pair" else ["text"])


def test_a_malformed_label_is_named_as_it_was_sent(tmp_path: Any) -> None:
    with pytest.raises(RefusalError, match=r"^label: Input should be"):
        Feedback(changed(tmp_path))(exchange({"response_id": "0" * 32, "label": True}, route="feedback"))


def test_a_judge_sees_both_texts_under_their_names() -> None:
    api: Any = Api.model_construct(endpoint="", model="", version="", takes_seed=False)
    _, prompt = version_and_prompt((ROOT / "prompts/label.md").read_text(encoding="utf-8"), "label.md")
    model = LanguageModel(api, prompt, ["same", "other"], False, 1, ("premise", "hypothesis"))
    asked = model._body(("a warm film", "a dull plot"))["messages"][0]["content"]
    assert asked.endswith("---\npremise:\na warm film\n\nhypothesis:\na dull plot\n---")
    assert "a pair of texts under their names" in asked


def test_a_report_shows_both_texts_of_a_pair(settings: Any, tmp_path: Path) -> None:  # noqa: F811
    traffic = replace(made(300, seed=1, longer=4.0), texts=[("a warm film", "a dull plot")] * 300)
    old = scores(made(500, seed=2))
    found = drift_facts(traffic, scores(traffic), old, settings, tmp_path / "looks.json", remember=False)
    assert found["typical"][0] == "a warm film | a dull plot"


def test_a_damaged_release_names_what_takes_it_again(trained: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained / "models/onnx", ".service/releases/v1.0.0-abcdef")
    Path(".service/releases/production").symlink_to("v1.0.0-abcdef")
    Path(".service/releases/production/tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"tokenizer.json is not the file [^$]*fix:      make deploy STAGE=production$"):
        Models(changed(tmp_path))


def test_a_reload_that_fails_by_a_users_mistake_is_logged_without_a_traceback(caplog: Any) -> None:
    def act() -> None:
        raise UserError("broken", expected="a release", found="none", fix="make deploy")

    object.__new__(Service)._try(act, "reload")
    assert "reload failed; the service goes on as it was: broken" in caplog.text
    assert "fix:      make deploy" in caplog.text
    assert "Traceback" not in caplog.text
