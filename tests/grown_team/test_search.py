"""What `make search` decides: by seeds and scores, never by when they came."""

import shutil
import subprocess
from pathlib import Path

import optuna
import pytest
from dvc.utils import hydra
from dvc.utils.cli_parse import to_path_overrides
from optuna.trial import TrialState
from review_sentiment.config import load_params
from review_sentiment.errors import UserError
from ruamel.yaml import YAML
from small_project import ROOT, params_with
from tools.evidence import search

PARAMS = params_with()
SPACES = search.Spaces.model_validate(
    {
        "fine_tune.learning_rate": {"low": 0.00001, "high": 0.0005, "log": True},
        "fine_tune.epochs": [1, 2, 3],
        "fine_tune.batch_size": [16, 32, 64],
    }
).root


def study_with(*curves: list[float]) -> optuna.Study:
    """A search in which trials of these validation scores ran to their end."""
    study = optuna.create_study(direction="maximize")
    for number, curve in enumerate(curves, 1):
        study.enqueue_trial({"fine_tune.epochs": len(curve)})
        trial = search.ask(study, PARAMS, SPACES, number)
        assert not search.falls_behind(trial, [], curve, epochs=len(curve))
        study.tell(trial, max(curve))
    return study


@pytest.mark.parametrize("arrivals", [[1, 2, 3], [3], [0, 2, 2, 3]])
@pytest.mark.parametrize(
    ("scores", "behind"),
    [([0.6, 0.9, 0.9], True), ([0.8, 0.9, 0.9], False), ([0.8, 0.8, 0.9], True), ([0.9, 0.9, 0.1], False)],
)
def test_a_trial_is_ended_by_its_scores_not_by_when_they_are_read(
    arrivals: list[int], scores: list[float], behind: bool
) -> None:
    study = study_with([0.7, 0.8, 0.95], [0.8, 0.85, 0.95], [0.75, 0.85, 0.85])
    trial, seen = search.ask(study, PARAMS, SPACES, 4), []
    assert any(search.falls_behind(trial, seen, scores[:known], epochs=3) for known in arrivals) == behind


def test_no_trial_is_ended_before_there_is_something_to_compare_with() -> None:
    for others in ([[0.9, 0.9]] * 2, [[0.9, 0.9]] * 2 + [[0.9]], [[0.835], [0.83], [0.838]]):
        trial = search.ask(study_with(*others), PARAMS, SPACES, len(others) + 1)
        assert not search.falls_behind(trial, [], [0.1], epochs=2)


def test_a_killed_trial_gets_its_parameters_again() -> None:
    unbroken, broken = (study_with(*[[0.5 + n / 100] for n in range(7)]) for _ in range(2))
    killed = search.ask(broken, PARAMS, SPACES, 8)
    broken.tell(killed, state=TrialState.FAIL)
    again, never_killed = search.ask(broken, PARAMS, SPACES, 8), search.ask(unbroken, PARAMS, SPACES, 8)
    assert killed.params == again.params == never_killed.params


def test_a_trial_that_fails_twice_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(search.trials, "SEARCH", tmp_path)
    monkeypatch.setattr(search.trials, "start", lambda *_: subprocess.Popen(["false"]))
    study = study_with([0.5])
    with pytest.raises(UserError, match="trial 2 failed"), (tmp_path / "lock").open("w") as lock:
        search.run_trial(study, PARAMS, SPACES, 2, lock)
    assert len(search.finished(study)) == 1
    with (tmp_path / "lock").open("w") as lock:
        search.run_trial(study, PARAMS, SPACES, 2, lock)
    assert len(search.finished(study)) == 2
    search.show(study, PARAMS)
    assert "    2  failed   " in capsys.readouterr().out


TEXTS = ["a,b", "{a}", "it's", 'say "so"', "é: 1", "null", "", "Instruct: a\nQuery: ", "a\\b", "t\tx", 'b\\"q', "end\\"]


@pytest.mark.parametrize("value", [None, True, 3, 1e-05, *TEXTS])
def test_dvc_sets_the_value_that_was_drawn(tmp_path: Path, value: object) -> None:
    _, change = search.trials.settings({"text.prefix": value})
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    hydra.apply_overrides(tmp_path / "params.yaml", to_path_overrides([change])["params.yaml"])
    assert YAML(typ="safe").load(tmp_path / "params.yaml")["text"]["prefix"] == value
    assert not any(one.is_sweep_override() for one in hydra.to_hydra_overrides([change]))


def test_every_trial_draws_anew() -> None:
    first, second = (search.ask(study_with(), PARAMS, SPACES, number) for number in (1, 2))
    assert first.params != second.params


def test_the_earliest_of_equals_is_the_best() -> None:
    number, trial = search.best_of(study_with([0.5], [0.9], [0.9])) or (0, None)
    assert number == 2
    assert trial is not None


def test_a_range_is_written_in_numbers_that_can_be_read() -> None:
    values = search.values_of(search.ask(study_with(), PARAMS, SPACES, 1))
    assert values.keys() == SPACES.keys()
    assert len(f"{values['fine_tune.learning_rate']:g}".rstrip("0").partition("e")[0].replace(".", "").strip("0")) <= 3
    assert 0.00001 <= values["fine_tune.learning_rate"] <= 0.0005
    assert isinstance(values["fine_tune.batch_size"], int)


def test_the_file_of_the_project_is_valid(tmp_path: Path) -> None:
    (tmp_path / "search.yaml").write_text("fine_tune.class_weights: [null, balanced]\n", encoding="utf-8")
    assert search.read_spaces(PARAMS, tmp_path / "search.yaml")["fine_tune.class_weights"] == [None, "balanced"]
    assert search.read_spaces(load_params(ROOT / "params.yaml"), ROOT / search.SPACES)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("fine_tune.lr: [1]", "fine_tune.lr: no such parameter"),
        ("fine_tune.epochs: [null]", "fine_tune.epochs: None: Input should be a valid integer"),
        ("seed: [1]", "seed: no such parameter"),
        ("fine_tune.epochs: [0, 1]", "fine_tune.epochs: 0: Input should be greater than or equal to 1"),
        ("fine_tune.epochs: []", "fine_tune.epochs.choices: List should have at least 1 item"),
        ("fine_tune.learning_rate: {low: 1, high: 0.5, log: true}", "fine_tune.learning_rate.range: Value error, low"),
        (
            "fine_tune.learning_rate: {low: 0.1, high: 0.5, log: 1}",
            "fine_tune.learning_rate.range.log: Input should be",
        ),
        ("{}", "the file: Dictionary should have at least 1 item"),
    ],
)
def test_what_params_yaml_would_refuse_is_not_searched(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "search.yaml").write_text(text + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="is refused") as refusal:
        search.read_spaces(PARAMS, tmp_path / "search.yaml")
    assert f"\n  {line}" in str(refusal.value)
